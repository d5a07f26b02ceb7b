"""The file of buckets that the workers of a node share."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

import pytest

from gslb.nameserver import buckets
from gslb.nameserver.limit import BUCKETS_OCTETS


def test_processes_share_them(tmp_path: Path) -> None:
    first = buckets.shared(tmp_path)
    assert len(first.words) * 8 == BUCKETS_OCTETS
    first.words[5] = 7
    pid = os.fork()
    if pid == 0:
        buckets.shared(tmp_path).words[6] = 8
        os._exit(0)
    os.waitpid(pid, 0)
    assert first.words[5:7].tolist() == [7, 8]
    assert (tmp_path / buckets.NAME).stat().st_size == BUCKETS_OCTETS
    assert abs(first.clock_ns() - time.monotonic_ns()) < 10**9


@pytest.mark.parametrize("octets", [0, 1, BUCKETS_OCTETS, BUCKETS_OCTETS + 1])
def test_whatever_lies_there_is_used(tmp_path: Path, octets: int) -> None:
    (tmp_path / buckets.NAME).write_bytes(b"\xff" * octets)
    assert len(buckets.shared(tmp_path).words) * 8 == BUCKETS_OCTETS


def test_without_a_file_a_process_has_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / buckets.NAME).mkdir()
    assert len(buckets.shared(tmp_path).words) * 8 == BUCKETS_OCTETS

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(os, "posix_fallocate", full)
    (tmp_path / "other").mkdir()
    assert len(buckets.shared(tmp_path / "other").words) * 8 == BUCKETS_OCTETS
