"""Each generation has an image; what keeps one from being made keeps no plan from the workers."""

from __future__ import annotations

import errno
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from gslb.control.executor import DnsTables
from gslb.control.facts import Facts
from gslb.control.imaging import Images, told
from gslb.control.planner import Planner
from gslb.control.store import Store
from gslb.model.zone import RRset
from gslb.nameserver.generation import File, Manifest, Publisher, map_file, read_file
from gslb.nameserver.image import ImageBuilder, split
from tests.control.make import ZONE, model

NOW = 1_000_000.0


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "state", "example", "fra")
    store.create()
    return store


def in_force(executor: DnsTables) -> Manifest:
    found = executor.in_force
    assert found is not None
    return found


def test_a_generation_has_its_image(store: Store, tmp_path: Path) -> None:
    folder = store.folder / "serving"
    executor = DnsTables(folder, "example")
    planner = Planner(store, executor, Facts())
    one = model(tmp_path)
    assert planner.adopt(one, NOW)
    first = in_force(executor)
    assert first.image is not None
    image, legend = split(memoryview(map_file(folder, first.image)))
    assert len(image) % 64 == 0
    assert legend.left_out == {}
    assert planner.adopt(replace(one, zones=(replace(ZONE, dynamic=()),)), NOW)
    second = in_force(executor)
    assert second.image not in (None, first.image)


def test_a_restart_makes_the_same_image(store: Store, tmp_path: Path) -> None:
    folder = store.folder / "serving"
    for _ in range(2):
        executor = DnsTables(folder, "example")
        assert Planner(store, executor, Facts()).adopt(model(tmp_path), NOW)
        assert in_force(executor).generation == 1


def test_a_generation_of_an_earlier_version_is_given_an_image(store: Store, tmp_path: Path) -> None:
    folder = store.folder / "serving"
    executor = DnsTables(folder, "example")
    assert Planner(store, executor, Facts()).adopt(model(tmp_path), NOW)
    before = in_force(executor)
    publisher = Publisher(folder, "example")
    publisher.publish((before.plan_version, before.plan_digest), before.geography, before.names, before.plan)
    executor = DnsTables(folder, "example")
    assert Planner(store, executor, Facts()).adopt(model(tmp_path), NOW)
    assert in_force(executor) == replace(before, generation=3)


class FullDisk:
    """A publisher that has no room for an image."""

    def __init__(self) -> None:
        self.tried = 0

    def store(self, kind: str, content: bytes, label: str = "") -> File:
        self.tried += 1
        raise OSError(errno.ENOSPC, f"no room for {kind}-{label} of {len(content)} octets")


def test_without_room_for_an_image_there_is_none_and_the_log_says_so_once(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = store.folder / "serving"
    executor = DnsTables(folder, "example")
    assert Planner(store, executor, Facts()).adopt(model(tmp_path), NOW)
    before = in_force(executor)
    files = before.geography, before.names, before.plan
    full = FullDisk()
    images = Images(folder, full)  # type: ignore[arg-type]  # all that it uses
    for _ in range(3):
        assert images.of(*files) is None
    assert full.tried == 1, "until something changes"
    images.forget()
    assert images.of(*files) is None
    assert caplog.text.count("no image for executors in C") == 1


def test_a_damaged_file_gives_no_image(store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = store.folder / "serving"
    executor = DnsTables(folder, "example")
    assert Planner(store, executor, Facts()).adopt(model(tmp_path), NOW)
    before = in_force(executor)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(folder, elsewhere)
    (elsewhere / before.plan.name).write_bytes(b"")
    publisher = Publisher(elsewhere, "example")
    assert Images(elsewhere, publisher).of(before.geography, before.names, before.plan) is None
    (said,) = (record for record in caplog.records if "no image" in record.message)
    assert "0 octets, expected" in vars(said)["why"]


def test_what_is_left_out_is_said_once(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ImageBuilder.__init__, "__defaults__", (1,))
    folder = store.folder / "serving"
    executor = DnsTables(folder, "example")
    planner = Planner(store, executor, Facts())
    hosts = tuple(RRset(bytes((1, 48 + host)) + ZONE.apex, 1, 60, (b"1234",)) for host in range(5))
    one = replace(model(tmp_path), zones=(replace(ZONE, rrsets=(*ZONE.rrsets, *hosts)),))
    assert planner.adopt(one, NOW)
    assert planner.adopt(replace(one, secret=b"another"), NOW)
    image = in_force(executor).image
    assert image is not None
    _, legend = split(read_file(folder, image))
    assert legend.left_out["names"] >= len(hosts)
    assert told(folder, image) == {"octets": image.size - len(legend.to_bytes()), "left_out": legend.left_out}
    assert told(folder, None) is None
    (folder / image.name).write_bytes(b"no image")
    assert told(folder, image) is None
    (said,) = (record for record in caplog.records if "is not in the image" in record.message)
    assert vars(said)["left out"] == f"{legend.left_out['names']} names"
