"""A follower hands on the image of the generation that it serves, and serves without one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gslb.nameserver.follower import Follower
from gslb.nameserver.scoreboard import Kind, Scoreboard, Tally
from tests.nameserver.echo import DEPLOYMENT, Stage, make_echo


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def follower(stage: Stage, *, images: bool = True) -> Follower:
    board = Scoreboard(None, Kind.UDP, 0)
    return Follower(stage.serving, DEPLOYMENT, make_echo, board, images=images)


def publish(stage: Stage, version: int) -> Path:
    """A generation with an image; the image's file."""
    image = stage.publisher.store("image", b"image %d" % version, str(version))
    stage.publisher.publish((version, "digest"), *stage.store(b"names", version), image)
    return stage.serving / image.name


def test_the_image_is_that_of_the_generation_that_is_served(stage: Stage) -> None:
    publish(stage, 1)
    subject = follower(stage)
    assert subject.follow(0.0)
    assert subject.image is not None
    assert subject.geography is not None
    assert (subject.image[:], subject.geography[:]) == (b"image 1", b"geography")
    publish(stage, 2)
    assert subject.follow(1.0)
    assert subject.image[:] == b"image 2"
    stage.publish(b"names", 3)
    assert subject.follow(2.0)
    assert subject.image is None


def test_who_does_not_ask_for_images_is_given_none(stage: Stage) -> None:
    publish(stage, 1)
    subject = follower(stage, images=False)
    assert subject.follow(0.0)
    assert subject.image is None


@pytest.mark.parametrize(
    "harm",
    [Path.unlink, lambda path: path.write_bytes(b""), lambda path: path.write_bytes(b"x")],
    ids=["gone", "empty", "cut"],
)
def test_a_damaged_image_is_left_alone_and_the_generation_served(
    stage: Stage, caplog: pytest.LogCaptureFixture, harm: Callable[[Path], object]
) -> None:
    harm(publish(stage, 1))
    board = Scoreboard(None, Kind.UDP, 0)
    subject = Follower(stage.serving, DEPLOYMENT, make_echo, board, images=True)
    assert subject.follow(0.0)
    assert subject.answers is not None
    assert subject.image is None
    assert board.tallies[Tally.GENERATION_REFUSED] == 0
    assert "image refused" in caplog.text
