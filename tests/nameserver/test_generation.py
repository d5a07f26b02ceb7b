"""Generations on disk: put in force whole, refused when damaged, swept when old."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gslb.nameserver import generation
from gslb.nameserver.generation import Current, Manifest, Publisher, UnusableGeneration, read_manifest

DEPLOYMENT = "example"


def publish(publisher: Publisher, version: int, names: bytes = b"names", geography: bytes = b"geography") -> Manifest:
    plan = publisher.store("plan", b"plan %d" % version, str(version))
    return publisher.publish(
        (version, f"digest {version}"), publisher.store("geography", geography), publisher.store("names", names), plan
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "serving"


def test_a_reader_sees_the_number_move(folder: Path) -> None:
    publisher = Publisher(folder, DEPLOYMENT)
    reader = Current(folder)
    assert reader.number == 0
    manifest = publish(publisher, 1)
    assert reader.number == reader.word[1] == manifest.generation == 1
    assert read_manifest(folder, 1, DEPLOYMENT) == manifest
    assert generation.read_file(folder, manifest.names) == b"names"
    assert generation.map_file(folder, manifest.geography)[:] == b"geography"


def resident(path: Path) -> int:
    """How many octets of a mapped file are in this process's memory."""
    lines = iter(Path("/proc/self/smaps").read_text().splitlines())
    next(line for line in lines if line.endswith(str(path)))
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("Rss:"))


def test_the_check_of_a_large_file_leaves_none_of_it_in_memory(folder: Path) -> None:
    manifest = publish(Publisher(folder, DEPLOYMENT), 1, geography=bytes(range(256)) * (1 << 16))
    mapped = generation.map_file(folder, manifest.geography)
    path = folder / manifest.geography.name
    assert resident(path) == 0
    assert mapped[1 << 20] == 0
    assert 0 < resident(path) < 4 << 20, "a folio at most"
    mapped.close()


def test_the_number_survives_a_restart_of_the_publisher(folder: Path) -> None:
    publish(Publisher(folder, DEPLOYMENT), 1)
    again = Publisher(folder, DEPLOYMENT)
    assert again.in_force is not None
    assert again.in_force.plan_version == 1
    assert publish(again, 2).generation == 2


def test_a_lost_current_goes_on_behind_the_newest_manifest(folder: Path) -> None:
    publisher = Publisher(folder, DEPLOYMENT)
    for version in (1, 2, 3):
        publish(publisher, version)
    (folder / "current").write_bytes(b"damaged")
    assert publish(Publisher(folder, DEPLOYMENT), 4).generation == 4


def _replace(path: Path) -> None:
    path.with_name("another").write_bytes(generation.MAGIC + (1).to_bytes(8, sys.byteorder))
    path.with_name("another").replace(path)


@pytest.mark.parametrize(
    "harm",
    [
        Path.unlink,
        _replace,
        lambda path: path.write_bytes(b"damaged"),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(generation.MAGIC + b"\xff" * 8),
    ],
    ids=["removed", "replaced", "cut short", "emptied", "overwritten"],
)
def test_current_is_restored_under_a_running_publisher(folder: Path, harm: Callable[[Path], object]) -> None:
    publisher = Publisher(folder, DEPLOYMENT)
    for version in (1, 2, 3):
        publish(publisher, version)
    assert not publisher.restore()
    before = Current(folder)
    assert before.in_place
    harm(folder / "current")
    assert publisher.in_force == read_manifest(folder, 3, DEPLOYMENT)
    assert publisher.restore()
    assert not publisher.restore()
    after = Current(folder)
    assert (after.number, after.in_place) == (3, True)
    assert before.in_place == (before._inode == after._inode), "a worker of before can tell"
    assert publish(publisher, 4).generation == after.number == 4
    publisher.close()


def test_the_last_two_generations_are_kept_and_no_other_file(folder: Path) -> None:
    publisher = Publisher(folder, DEPLOYMENT)
    for version in range(1, 6):
        publish(publisher, version, names=b"names %d" % version)
    (folder / ".leftover.new").write_bytes(b"of a crash")
    publish(publisher, 6)
    names = sorted(path.name.partition("-")[0] for path in folder.iterdir())
    assert names == ["current", "generation", "generation", "geography", "names", "names", "plan", "plan"]


def test_equal_content_is_one_file(folder: Path) -> None:
    publisher = Publisher(folder, DEPLOYMENT)
    first, second = publish(publisher, 1), publish(publisher, 2)
    assert first.geography == second.geography
    inode = (folder / first.geography.name).stat().st_ino
    publish(publisher, 3)
    assert (folder / first.geography.name).stat().st_ino == inode


def test_a_damaged_file_is_written_again(folder: Path) -> None:
    publisher = Publisher(folder, DEPLOYMENT)
    manifest = publish(publisher, 1)
    (folder / manifest.names.name).write_bytes(b"nimes")
    assert generation.read_file(folder, publish(publisher, 2).names) == b"names"


def test_a_finished_file_is_linked_and_not_copied(folder: Path, tmp_path: Path) -> None:
    publisher = Publisher(folder, DEPLOYMENT)
    source = tmp_path / "table"
    source.write_bytes(b"a location table")
    file = publisher.adopt("geography", source)
    assert (folder / file.name).stat().st_ino == source.stat().st_ino
    source.unlink()
    assert generation.map_file(folder, file)[:] == b"a location table"


def spoil_manifest(folder: Path, _: Manifest) -> None:
    path = folder / "generation-1.json"
    path.write_bytes(path.read_bytes().replace(b'"plan_version":1', b'"plan_version":2'))


def cut_manifest(folder: Path, _: Manifest) -> None:
    os.truncate(folder / "generation-1.json", 100)


def remove_manifest(folder: Path, _: Manifest) -> None:
    (folder / "generation-1.json").unlink()


def climb_out(folder: Path, manifest: Manifest) -> None:
    content = json.loads(manifest.to_bytes())["manifest"]
    content["names"]["name"] = "../names"
    rewrite(folder, content)


def mistype(folder: Path, manifest: Manifest) -> None:
    content = json.loads(manifest.to_bytes())["manifest"]
    content["plan_version"] = "1"
    rewrite(folder, content)


def rewrite(folder: Path, content: dict[str, object]) -> None:
    digest = generation._digest(generation._dump(content))
    whole = {"format": generation.FORMAT, "digest": digest, "manifest": content}
    (folder / "generation-1.json").write_bytes(generation._dump(whole))


@pytest.mark.parametrize("harm", [spoil_manifest, cut_manifest, remove_manifest, climb_out, mistype])
def test_a_damaged_manifest_is_refused(folder: Path, harm: Callable[[Path, Manifest], None]) -> None:
    harm(folder, publish(Publisher(folder, DEPLOYMENT), 1))
    with pytest.raises(UnusableGeneration, match=r"generation-1\.json"):
        read_manifest(folder, 1, DEPLOYMENT)


def test_another_deployments_manifest_is_refused(folder: Path) -> None:
    publish(Publisher(folder, "other"), 1)
    with pytest.raises(UnusableGeneration, match="deployment 'other', expected 'example'"):
        read_manifest(folder, 1, DEPLOYMENT)


@pytest.mark.parametrize("content", [b"", b"name", b"nimes", b"names and more"])
def test_a_damaged_file_is_refused(folder: Path, content: bytes) -> None:
    manifest = publish(Publisher(folder, DEPLOYMENT), 1)
    (folder / manifest.names.name).write_bytes(content)
    with pytest.raises(UnusableGeneration, match="names-"):
        generation.read_file(folder, manifest.names)
    with pytest.raises(UnusableGeneration, match="names-"):
        generation.map_file(folder, manifest.names)


@pytest.mark.parametrize("content", [b"", b"gslbgen\x01", b"gslbgen\x02" + bytes(8)])
def test_a_damaged_current_is_refused_by_readers(folder: Path, content: bytes) -> None:
    Publisher(folder, DEPLOYMENT).close()
    (folder / "current").write_bytes(content)
    with pytest.raises(UnusableGeneration, match="damaged"):
        Current(folder)


def test_a_manifest_says_which_image_belongs_to_it_and_may_be_without(folder: Path) -> None:
    publisher = Publisher(folder, DEPLOYMENT)
    without = publish(publisher, 1)
    assert without.image is None
    assert b"image" not in (folder / "generation-1.json").read_bytes(), "as those of earlier versions"
    image = publisher.store("image", b"an image", "2")
    manifest = publisher.publish((2, "digest"), without.geography, without.names, without.plan, image)
    assert read_manifest(folder, 2, DEPLOYMENT) == manifest
    assert manifest.image == image == manifest.files[3]
    assert read_manifest(folder, 1, DEPLOYMENT) == without
    for version in (3, 4):
        publish(publisher, version)
    assert not (folder / image.name).exists(), "swept with its generation"
