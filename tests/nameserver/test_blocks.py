"""What executors in C counted is added once, to the counts that it belongs to."""

from __future__ import annotations

import ctypes
from array import array

import pytest

from gslb.dnslayout import DnsCounts, DnsQtype, DnsUp
from gslb.nameserver.blocks import Counted
from gslb.nameserver.counters import Counter
from gslb.nameserver.given import Given
from gslb.nameserver.legend import Cells, Legend

HEAD = ctypes.sizeof(DnsCounts) // 8
LEGEND = Legend(
    geography="one",
    cells=[Cells("web", 1, 0, 3), Cells("shop", 28, 4, 2)],
    marks=[(0, ()), (1, ("fra",)), (28, ("fra", "iad"))],
    asked={"shop": 3},
)
NUMBERS = HEAD + 6 + 3
CELL, MARK = HEAD, HEAD + 6


def at(field: str, number: int) -> int:
    return int(getattr(DnsCounts, field).offset) // 8 + number


@pytest.mark.parametrize("whole", [True, False])
def test_each_number_is_added_where_it_belongs(*, whole: bool) -> None:
    counts, given = [0] * len(Counter), Given("one")
    subject = Counted(LEGEND, counts, given, Counter.XDP)
    block = array("Q", bytes(8 * (NUMBERS + 9)))  # as native memory: rounded up
    told = {
        at("counter", Counter.ANSWERED): 7,
        at("counter", Counter.FAST): 8,
        at("counter", 31): 99,  # room for counters to come
        at("up", DnsUp.DNS_UP_VIEW): 2,
        at("qtype", DnsQtype.DNS_QTYPE_AAAA): 5,
        CELL + 1: 3,
        CELL + 3: 4,
        CELL + 5: 6,
        MARK: 1,
        MARK + 1: 10,
        MARK + 2: 20,
    }
    for turn in (1, 2, 2, 5):
        for number, count in told.items():
            block[number] = count * turn
        if whole:
            subject.add(block)
        else:
            subject.add_some({number: count * turn for number, count in told.items()})
    assert (counts[Counter.ANSWERED], counts[Counter.XDP], sum(counts)) == (35, 40, 75)
    assert subject.ups[DnsUp.DNS_UP_VIEW] == sum(subject.ups) == 10
    assert subject.qtypes[DnsQtype.DNS_QTYPE_AAAA] == sum(subject.qtypes) == 25
    assert given.cells == {("web", 1): [0, 15, 0], ("shop", 28): [0, 30]}
    assert given.sources["shop"].total == 20
    assert given.pools() == {("fra", 1): 50, ("fra", 28): 100, ("iad", 28): 100}


def test_cells_of_another_location_table_are_dropped() -> None:
    counts, given = [0] * len(Counter), Given("another")
    Counted(LEGEND, counts, given, Counter.XDP).add_some({CELL + 1: 3, MARK + 1: 3, at("counter", Counter.ANSWERED): 3})
    assert given.cells == {}
    assert given.pools() == {("fra", 1): 3}
    assert counts[Counter.ANSWERED] == 3


def test_another_image_goes_on_where_the_one_before_ended() -> None:
    counts, given = [0] * len(Counter), Given("one", ["web", "shop"])
    subject = Counted(LEGEND, counts, given, Counter.XDP)
    subject.add_some({CELL: 5, MARK + 1: 5})
    after = Given("one", ["web", "shop"])
    after.go_on(given)
    again = Counted(LEGEND, counts, after, Counter.NATIVE, subject.ups, subject.qtypes)
    again.add_some({CELL: 2, MARK + 1: 2})
    assert after.cells["web", 1] == [7, 0, 0]
    assert after.pools()["fra", 1] == 7


def test_a_block_that_began_anew_counts_from_zero_and_what_is_known_does_not_count() -> None:
    counts, given = [0] * len(Counter), Given("one")
    subject = Counted(LEGEND, counts, given, Counter.XDP)
    subject.known({CELL: 4, CELL + 1: 1})
    subject.add_some({CELL: 6, CELL + 1: 1})
    assert given.cells["web", 1] == [2, 0, 0]
    subject.add_some({CELL: 1})
    assert given.cells["web", 1] == [3, 0, 0]
