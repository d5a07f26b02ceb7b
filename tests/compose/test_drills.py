"""The drills that are short, and what is promised of them; users are watched all the while."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from compose.drills import result, sites
from compose.drills.catalogue import DRILLS
from compose.drills.result import Audience, Score, Story
from compose.drills.stage import play
from compose.topology import lab
from compose.wired import Wired, unavailable

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(400)]
LAB = lab(ttl_s=4)
LOST_S = 3  # of users of another site: one question that went to the lost nameserver, and again


@pytest.fixture(scope="module")
def up() -> Iterator[list[Wired]]:
    """The lab that is up, if one is."""
    if why := unavailable():
        pytest.skip(why)
    found: list[Wired] = []
    yield found
    for one in found:
        one.close()


@pytest.fixture
def wired(up: list[Wired], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Wired]:
    """The lab as the test before left it; a new one after a test that failed."""
    if not up:
        up.append(Wired(LAB, tmp_path_factory.mktemp("wired")).__enter__())
    failed = request.session.testsfailed
    yield up[0]
    if request.session.testsfailed > failed:
        up.pop().close()


def unicast(story: Story) -> Score:
    """Of all but those of the service by anycast."""
    return result.score(story, LAB, [one for one in story.heard if one.kind != "anycast"])


def told(story: Story) -> str:
    """For who has to find out."""
    return "\n".join(f"{line['at']:8.2f} {line['what']}" for line in result.to_json(story, LAB)["timeline"])


@pytest.mark.parametrize(
    "name", ["backend-killed", "controller-killed", "worker-killed", "bridge-killed", "nats-killed"]
)
def test_nobody_is_harmed(wired: Wired, tmp_path: Path, name: str) -> None:
    story = play(wired, DRILLS[name], tmp_path)
    found = result.total(story, LAB)
    assert found.requests > 100
    assert (found.failed, found.shifted) == (0, 0), told(story)
    assert name == "backend-killed" or found.in_flight == 0, told(story)


def test_a_site_that_is_drained_loses_no_request(wired: Wired, tmp_path: Path) -> None:
    drill = replace(DRILLS["site-drained"], play=partial(sites.drain_site, until_safe=False))
    story = play(wired, drill, tmp_path)
    assert result.total(story, LAB).failed == 0, told(story)
    found = unicast(story)
    assert (found.failed, found.in_flight, found.wrong_site) == (0, 0, 0), told(story)
    assert {"fra", "iad"} <= result.score(story, LAB, [Audience("america", "web")]).by_site.keys()


def test_users_of_a_lost_site_are_served_elsewhere(wired: Wired, tmp_path: Path) -> None:
    story = play(wired, DRILLS["site-lost"], tmp_path)
    assert DRILLS["site-lost"].kept(story, LAB) == [], told(story)
    elsewhere = result.score(story, LAB, [one for one in story.heard if (one.region, one.kind) == ("europe", "web")])
    assert (elsewhere.wrong_site, elsewhere.in_flight) == (0, 0), told(story)
    assert elsewhere.degraded_s <= LOST_S, told(story)
