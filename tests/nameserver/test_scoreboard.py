"""Pages: shown by one process, read by another, summed when their writer is dead."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gslb.nameserver.counters import Counter
from gslb.nameserver.scoreboard import RETIRED, Kind, Page, Scoreboard, Tally, read, retire


def board(path: Path, sent_failed: int = 0, counts: tuple[int, ...] = ()) -> None:
    one = Scoreboard(path, Kind.UDP, 3)
    one.tallies[Tally.SEND_FAILED] = sent_failed
    one.serving(9, 4)
    one.show(counts)
    one.close()


def page(path: Path) -> Page:
    found = read(path)
    assert found is not None
    return found


def test_a_page_reads_as_it_was_shown(tmp_path: Path) -> None:
    board(tmp_path / "udp-1.board", 7, (1, 2, 3))
    found = page(tmp_path / "udp-1.board")
    assert (found.kind, found.pid, found.slot, found.generation, found.plan_version) == (Kind.UDP, os.getpid(), 3, 9, 4)
    assert found.tallies[Tally.SEND_FAILED] == 7
    assert found.counts == (1, 2, 3)
    assert 0 <= found.seen_s - found.started_s < 10


def test_a_page_has_room_for_all_counters(tmp_path: Path) -> None:
    counts = tuple(range(len(Counter)))
    board(tmp_path / "udp-1.board", counts=counts)
    assert page(tmp_path / "udp-1.board").counts == counts


def test_what_executors_in_c_count_has_room_beside_it(tmp_path: Path) -> None:
    assert len(Counter) + len(Tally) <= 64
    ups, qtypes = tuple(range(1, 11)), tuple(range(21, 29))
    for pid in (1, 2):
        path = tmp_path / f"xdp-{pid}.board"
        one = Scoreboard(path, Kind.XDP, 0)
        one.show(tuple(range(len(Counter))), ups, qtypes)
        one.close()
        found = page(path)
        assert (found.kind, found.counts) == (Kind.XDP, tuple(range(len(Counter))))
        assert (found.ups[:10], found.qtypes[:8], found.tallies) == (ups, qtypes, (0,) * len(Tally))
        assert not any((*found.ups[10:], *found.qtypes[8:]))
        retire(tmp_path, path)
    retired = page(tmp_path / RETIRED)
    assert retired.ups[:10] == tuple(2 * count for count in ups)
    assert retired.qtypes[:8] == tuple(2 * count for count in qtypes)
    assert retired.counts == tuple(2 * count for count in range(len(Counter)))


def test_the_counts_of_the_dead_are_kept(tmp_path: Path) -> None:
    for pid, counts in ((1, (1, 2)), (2, (10, 20)), (3, ())):
        path = tmp_path / f"udp-{pid}.board"
        board(path, pid, counts)
        retire(tmp_path, path)
        assert not path.exists()
    retired = page(tmp_path / RETIRED)
    assert retired.kind is Kind.RETIRED
    assert retired.tallies[Tally.SEND_FAILED] == 6
    assert retired.counts == (11, 22)


def test_a_page_that_is_not_there_retires_without_a_trace(tmp_path: Path) -> None:
    retire(tmp_path, tmp_path / "udp-1.board")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", bytes(1024), bytes(1023), b"\xff" * 1024])
def test_what_is_no_page_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "udp-1.board").write_bytes(content)
    assert read(tmp_path / "udp-1.board") is None


def test_without_room_for_its_page_a_worker_counts_for_itself(tmp_path: Path) -> None:
    """As on a full disk, where a store into a mapped hole would end the process."""
    one = Scoreboard(tmp_path / "absent" / "udp-1.board", Kind.UDP, 0)
    one.tallies[Tally.SEND_FAILED] = 2
    one.show([7])
    assert len(one.to_bytes()) == 1024
    one.close()
