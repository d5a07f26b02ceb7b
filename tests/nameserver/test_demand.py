"""Pages: shown by one process, read by another; whole at any moment, on a full disk, and after any death."""

from __future__ import annotations

import os
import resource
import signal
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given as given_that
from hypothesis import strategies as st

from gslb.nameserver import demand
from gslb.nameserver.demand import CELLS_MAX, DECAY_S, RETIRED, WRITE_S, DemandPage, Page, read, read_page, retire
from gslb.nameserver.given import Given


def counted(pools: dict[str, int], geography: str = "here") -> Given:
    """A count of some answers of policy `web`, type A, ranking 1 of 3."""
    given = Given(geography, ["web"])
    for pool, times in pools.items():
        given.marks[given.mark(1, [[pool]])] += times
        given.cells_of("web", 1, 3)[1] += times
    return given


def shown(path: Path, given: Given) -> Page:
    page = DemandPage(path)
    page.show(given, 0.0)
    page.close(None)
    found = read_page(path)
    assert found is not None
    return found


def test_a_page_reads_as_it_was_shown(tmp_path: Path) -> None:
    given = counted({"fra": 3, "": 2})
    for source in ("192.0.2.1", "192.0.2.1", ""):
        given.sources_of("web").add(source)
    page = DemandPage(tmp_path / "udp-1.demand")
    page.close(given)
    found = read_page(tmp_path / "udp-1.demand")
    assert found is not None
    assert (found.pid, found.geography) == (os.getpid(), "here")
    assert found.cells == {("web", 1): array("Q", [0, 5, 0])}
    assert found.pools == {("fra", 1): 3, ("", 1): 2}
    assert found.asked == {"web": demand.Asked(3, {"192.0.2.1": 2})}


def test_a_page_is_written_once_a_second_at_most(tmp_path: Path) -> None:
    path = tmp_path / "udp-1.demand"
    given = counted({"fra": 1})
    page = DemandPage(path)
    page.show(given, 100.0)
    given.cells["web", 1][1] = 7
    page.show(given, 100.0 + WRITE_S / 2)
    assert _count(path) == 1
    page.show(given, 100.0 + 10 * WRITE_S)
    assert _count(path) == 7
    before = path.stat().st_mtime_ns
    page.show(given, 100.0 + 30 * WRITE_S)
    assert path.stat().st_mtime_ns == before, "nothing new, nothing written"
    page.close(given)


def test_what_sources_asked_decays(tmp_path: Path) -> None:
    given = counted({})
    page = DemandPage(tmp_path / "udp-1.demand")
    page.show(given, 0.0)
    for _ in range(100):
        given.sources_of("web").add("192.0.2.1")
    for turn in range(3):
        page.show(given, DECAY_S + turn)
    assert given.sources["web"].total == 50
    page.close(given)


def test_a_full_disk_is_said_once_and_leaves_the_last_page(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, few_octets: Callable[[int], None]
) -> None:
    path = tmp_path / "udp-1.demand"
    given = counted({"fra": 1})
    page = DemandPage(path)
    few_octets(0)
    page.show(given, 0.0)
    page.show(given, 10.0)
    assert read_page(path) is None
    few_octets(resource.RLIM_INFINITY)
    page.show(given, 20.0)
    assert _count(path) == 1
    few_octets(32)
    for turn in range(3):
        given.cells["web", 1][1] += 1
        page.show(given, 30.0 + 10 * turn)
        assert _count(path) == 1
    few_octets(resource.RLIM_INFINITY)
    page.show(given, 100.0)
    assert _count(path) == 4
    page.close(given)
    assert [record.getMessage() for record in caplog.records if "cannot be written" in record.getMessage()] == [
        "counts for the controller cannot be written; they go on in memory"
    ] * 2


@pytest.fixture
def few_octets() -> Iterator[Callable[[int], None]]:
    """Limits how long a file may become, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda octets: resource.setrlimit(resource.RLIMIT_FSIZE, (octets, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_folder_that_is_not_there_costs_nothing(tmp_path: Path) -> None:
    page = DemandPage(tmp_path / "absent" / "udp-1.demand")
    page.show(counted({"fra": 1}), 0.0)
    page.close(counted({"fra": 1}))
    assert read(tmp_path / "absent") == demand.Pages((), {})


def test_more_cells_than_there_is_room_for_leave_whole_policies_out(tmp_path: Path) -> None:
    given = Given("here", ["a", "b", "c"])
    for policy in "abc":
        given.cells_of(policy, 1, CELLS_MAX // 2)[0] = 9
    assert shown(tmp_path / "udp-1.demand", given).cells.keys() == {("a", 1), ("b", 1)}


def test_a_reader_never_sees_half_a_page_while_a_writer_is_killed_again_and_again(tmp_path: Path) -> None:
    for turn in range(5):
        path = tmp_path / f"udp-{turn}.demand"
        pid = os.fork()
        if pid == 0:
            _write_forever(path)
        _wait_until_above(path, 100)
        reads = [read_page(path) for _ in range(100)]
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        reads.append(read_page(path))
        assert sum(page is None for page in reads) <= 10, "overtaken more than thrice in a row"
        assert reads[-1] is not None, f"kill {turn}"
        sums = [_sum(page) for page in reads if page is not None]
        assert sums == sorted(sums)


def _write_forever(path: Path) -> None:
    try:
        given = counted({"fra": 1})
        page = DemandPage(path)
        cells = given.cells_of("web", 28, 5000)
        for number in range(10_000_000):
            for ranking in range(5000):
                cells[ranking] = number
            page._due_s = 0.0
            page.show(given, float(number))
    finally:
        os._exit(1)


def _sum(page: Page) -> int:
    cells = page.cells["web", 28]
    assert len(set(cells)) == 1, "two moments in one page"
    return cells[0]


def _wait_until_above(path: Path, number: int) -> None:
    for _ in range(1_000_000):
        page = read_page(path)
        if page is not None and _sum(page) > number:
            return
    pytest.fail("the page does not move")


def test_the_counts_by_pool_of_the_dead_are_kept(tmp_path: Path) -> None:
    for pid, pools in ((1, {"fra": 1, "iad": 2}), (2, {"fra": 10}), (3, {})):
        path = tmp_path / f"udp-{pid}.demand"
        shown(path, counted(pools))
        retire(tmp_path, path)
        assert not path.exists()
    shown(tmp_path / "udp-4.demand", counted({"sin": 5}))
    pages = read(tmp_path)
    assert pages.retired == {("fra", 1): 11, ("iad", 1): 2}
    assert [dict(page.pools) for page in pages.living] == [{("sin", 1): 5}]
    assert sorted(path.name for path in tmp_path.iterdir()) == [RETIRED, "udp-4.demand"]


def test_a_page_that_is_not_there_retires_without_a_trace(tmp_path: Path) -> None:
    retire(tmp_path, tmp_path / "udp-1.demand")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_page_of_the_retired_begins_anew(tmp_path: Path) -> None:
    (tmp_path / RETIRED).write_bytes(b"damaged")
    path = tmp_path / "udp-1.demand"
    shown(path, counted({"fra": 1}))
    retire(tmp_path, path)
    assert read(tmp_path).retired == {("fra", 1): 1}


@given_that(st.binary(max_size=200), st.booleans())
def test_any_octets_are_a_page_or_none(tmp_path_factory: pytest.TempPathFactory, octets: bytes, sealed: bool) -> None:  # noqa: FBT001
    path = tmp_path_factory.mktemp("any") / "udp-1.demand"
    head = (demand.MAGIC + bytes(8)).ljust(demand.HALVES_AT, b"\0")
    path.write_bytes(head + demand._half(octets) if sealed else octets)
    found = read_page(path)
    assert found is None or isinstance(found, Page)
    retire(path.parent, path)


def _count(path: Path) -> int:
    page = read_page(path)
    assert page is not None
    return page.cells["web", 1][1]
