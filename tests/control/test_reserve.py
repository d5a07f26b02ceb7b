"""Room that is kept for a full disk."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from gslb.control.reserve import LEAST_BYTES, Reserve, is_full


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill(folder: Path) -> None:
    """Take what room is left."""
    with (folder / "fill").open("ab", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass


@pytest.mark.root
def test_what_is_kept_can_be_written_when_the_disk_is_full(small: Path) -> None:
    reserve = Reserve(small)
    assert reserve.keep(1000)
    fill(small)
    with pytest.raises(OSError, match="No space left"):
        (small / "plan").write_bytes(bytes(100_000))
    assert reserve.spend()
    (small / "plan").write_bytes(bytes(100_000))
    assert not reserve.spend()


@pytest.mark.root
def test_a_disk_without_room_has_none_and_nothing_is_left(small: Path) -> None:
    fill(small)
    reserve = Reserve(small)
    assert not reserve.keep(1000)
    assert not reserve.spend()
    assert [path.name for path in small.iterdir()] == ["fill"]
    (small / "fill").unlink()
    assert reserve.keep(1000)


def test_it_grows_with_the_plan_and_does_not_shrink(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path)
    assert reserve.keep(10)
    assert (tmp_path / "reserve").stat().st_size == LEAST_BYTES
    assert reserve.keep(1 << 20)
    assert (tmp_path / "reserve").stat().st_size == 8 << 20
    assert reserve.keep(10)
    assert (tmp_path / "reserve").stat().st_size == 8 << 20


def test_want_of_room_is_known_by_its_cause() -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    wrapped = ValueError("the plan cannot be written")
    wrapped.__cause__ = full
    assert is_full(full)
    assert is_full(wrapped)
    assert not is_full(OSError(errno.EACCES, "Permission denied"))
    assert not is_full(None)
