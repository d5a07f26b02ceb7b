"""The audit log on disk: lines, rotation, a full disk, and a chronicle that tells each change once."""

from __future__ import annotations

import json
import logging
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gslb.control.audit import NAME, AuditLog, moment_text
from gslb.control.changes import Moment
from gslb.control.chronicle import Chronicle
from gslb.control.endings import Ending, add, endings
from gslb.control.events import Hub
from gslb.model.world import Forced, Override

NOW = 1_700_000_000.25
DRAIN = Override("site/fra", Forced.DRAIN, "alice", "CHG-7", NOW)


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def wait_for(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_lines_are_json_for_the_owner_alone(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    log.write(NOW, {"what": "override", "why": "a\nb\u2028\U0001f600"})
    log.close()
    (line,) = lines(tmp_path / NAME)
    assert line == {"time": "2023-11-14T22:13:20.250Z", "what": "override", "why": "a\nb\u2028\U0001f600"}
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600


def test_a_later_run_goes_on_in_the_same_file(tmp_path: Path) -> None:
    for number in range(3):
        log = AuditLog(tmp_path)
        log.write(NOW, {"n": number})
        log.close()
    assert [line["n"] for line in lines(tmp_path / NAME)] == [0, 1, 2]


def test_files_are_rotated_and_bounded(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, file_bytes=500)
    for number in range(200):
        log.write(NOW, {"n": number})
    log.close()
    found = sorted(tmp_path.iterdir())
    assert len(found) == 6
    assert all(path.stat().st_size <= 500 for path in found)
    assert lines(tmp_path / NAME)[-1]["n"] == 199
    kept = [line["n"] for path in (*reversed(found[1:]), found[0]) for line in lines(path)]
    assert kept == list(range(kept[0], 200))


def test_a_disk_that_cannot_be_written_is_said_once_and_mended_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gslb.audit")
    folder = tmp_path / "gone"
    log = AuditLog(folder)
    for number in range(3):
        log.write(NOW, {"n": number})
    wait_for(lambda: len(caplog.records) == 1)
    assert caplog.records[0].getMessage() == "the audit log cannot be written"
    assert caplog.records[0].__dict__["why"] == "No such file or directory"
    wait_for(lambda: log.waiting == 0)
    folder.mkdir()
    log.write(NOW, {"n": 3})
    wait_for(lambda: len(caplog.records) == 2)
    assert caplog.records[1].getMessage() == "the audit log is written again"
    log.close()
    assert [line["n"] for line in lines(folder / NAME)] == [3]


@pytest.mark.root
def test_a_full_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gslb.audit")
    os.mknod(tmp_path / NAME, stat.S_IFCHR | 0o600, os.makedev(1, 7))  # a /dev/full of its own
    log = AuditLog(tmp_path)
    log.write(NOW, {"n": 1})
    log.write(NOW, {"n": 2})
    log.close()
    assert [record.getMessage() for record in caplog.records] == ["the audit log cannot be written"]
    assert caplog.records[0].__dict__["why"] == "No space left on device"


def test_a_file_in_another_place_is_not_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / NAME).symlink_to(tmp_path / "elsewhere")
    log = AuditLog(tmp_path)
    log.write(NOW, {"n": 1})
    log.close()
    assert [record.getMessage() for record in caplog.records] == ["the audit log cannot be written"]
    assert not (tmp_path / "elsewhere").exists()


def test_what_a_slow_disk_cannot_take_is_lost_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gslb.audit")
    os.mkfifo(tmp_path / NAME)  # opening it waits for a reader
    log = AuditLog(tmp_path, waiting=5)
    began = time.monotonic()
    for number in range(50):
        log.write(NOW, {"n": number})
    assert time.monotonic() - began < 1
    assert [record.getMessage() for record in caplog.records] == [
        "the audit log cannot keep up; changes are missing from it"
    ]
    with (tmp_path / NAME).open() as reader:
        wait_for(lambda: log.waiting == 0)
        log.write(NOW, {"n": 50})
        log.close()
        assert json.loads(reader.readlines()[-1])["n"] == 50
    assert caplog.records[-1].__dict__["lost"] >= 44


def test_the_end_does_not_wait_for_a_disk_that_hangs(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / NAME)
    code = (
        "import sys; from pathlib import Path; from gslb.control.audit import AuditLog;"
        "log = AuditLog(Path(sys.argv[1])); log.write(0.0, {}); log.close(); print('over')"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, timeout=30, check=True)
    assert ended.stdout == b"over\n"


def test_moments_are_text_in_utc() -> None:
    assert moment_text(0.0) == "1970-01-01T00:00:00.000Z"


def test_a_chronicle_tells_each_change_once(tmp_path: Path) -> None:
    hub = Hub(epoch=1)
    began = Moment(now=NOW, configuration="c", plan=(1, "d"))
    chronicle = Chronicle(tmp_path, hub, began)
    chronicle.take(replace(began, now=NOW + 1))
    drained = replace(began, now=NOW + 2, overrides=(DRAIN,))
    chronicle.take(drained)
    chronicle.take(replace(drained, now=NOW + 3))
    add(tmp_path, Ending("site/fra", NOW, "bob", NOW + 4))
    chronicle.take(replace(began, now=NOW + 4))
    chronicle.close()
    told = [
        (line["what"], line["who"], line["before"] is None, line["after"] is None) for line in lines(tmp_path / NAME)
    ]
    assert told == [("override", "alice", True, False), ("override", "bob", False, True)]
    assert [dict(event.body)["who"] for event in hub.after(0).events] == ["alice", "bob"]


def test_endings_are_bounded_and_never_fail(tmp_path: Path) -> None:
    assert endings(tmp_path) == ()
    for number in range(150):
        add(tmp_path, Ending("site/fra", float(number), "bob", NOW))
    assert [one.since for one in endings(tmp_path)] == [float(number) for number in range(50, 150)]
    for damaged in ("{", "[[1]]", "[1]", "[" * 5_000, '[["a", "b", "c", "d"]]'):
        (tmp_path / "endings.json").write_text(damaged)
        assert endings(tmp_path) == ()
    add(tmp_path / "absent", Ending("site/fra", 0.0, "bob", NOW))
