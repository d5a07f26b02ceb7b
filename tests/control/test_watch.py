"""Noticing changed files: each settled change once, whatever way it is made."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from gslb.control import watch
from gslb.control.watch import signature, touched_between

WITHIN_S = 8.0


def write(folder: Path) -> None:
    (folder / "file").write_text("changed")


def replace(folder: Path) -> None:
    (folder / "new").write_text("changed")
    (folder / "new").replace(folder / "file")


def remove(folder: Path) -> None:
    (folder / "file").unlink()


def turn_link(folder: Path) -> None:
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "file").write_text("changed")
    (folder / "other").symlink_to(folder / "elsewhere" / "file")
    (folder / "other").replace(folder / "link")


async def count_changes(paths: list[Path], act: Callable[[], None], since: watch.Signature) -> int:
    """How many changes are told, until there was one and then nothing for half a second."""
    stop = asyncio.Event()
    told: asyncio.Queue[object] = asyncio.Queue()
    task = asyncio.create_task(watch.watch(lambda: paths, partial(told.put_nowait, object()), stop, since))
    await asyncio.sleep(0.2)
    act()
    count = 0
    try:
        while await asyncio.wait_for(told.get(), 0.5 if count else WITHIN_S):
            count += 1
    except TimeoutError:
        stop.set()
    await task
    return count


@pytest.mark.parametrize("act", [write, replace, remove, turn_link])
def test_a_change_is_told_once(tmp_path: Path, act: Callable[[Path], None]) -> None:
    (tmp_path / "file").write_text("as it was")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    paths = [tmp_path / "link" if act is turn_link else tmp_path / "file"]
    assert asyncio.run(count_changes(paths, lambda: act(tmp_path), signature(paths))) == 1


def test_a_new_file_in_a_watched_folder_is_told(tmp_path: Path) -> None:
    assert asyncio.run(count_changes([tmp_path], lambda: write(tmp_path), signature([tmp_path]))) >= 1


def test_a_change_before_the_watch_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("as it was")
    paths = [tmp_path / "file"]
    before = signature(paths)
    write(tmp_path)
    assert asyncio.run(count_changes(paths, lambda: None, before)) == 1


def test_a_folder_that_vanishes_and_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    paths = [folder / "file"]

    def act() -> None:
        folder.rmdir()
        folder.mkdir()
        write(folder)

    assert asyncio.run(count_changes(paths, act, signature(paths))) == 1


def test_what_was_written_while_it_was_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    before = time.time_ns()
    path.write_text("as it was")
    after = time.time_ns()
    assert touched_between([path, tmp_path / "absent"], before, after)
    assert not touched_between([path], after + 10**9, after + 2 * 10**9)
    assert not touched_between([path], before - 2 * 10**9, before - 10**9)
