from __future__ import annotations

import math
import struct
from contextlib import suppress
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.model.framing import MOST, Frames, Garbled, frame
from gslb.model.world import Health
from healthcheck.check import Check
from healthcheck.messages import (
    Detail,
    Figures,
    Found,
    Note,
    Order,
    Outlier,
    Pulse,
    Reading,
    Report,
    Role,
    Work,
    reports,
)

ORDER = Order(
    Check("web/192.0.2.1", "http", "192.0.2.1", 80, 2.0, {"path": ["/a"], "expect": [200], "verify": False}),
    Role.TARGET,
    5.0,
    3,
    5,
    Health.DOWN,
    "status 500",
)
WORK = Work(7, (ORDER,), (("web/192.0.2.1",),))
REPORT = Report(
    7,
    (Found("a", Health.UP, 12.5, "slow", 3.0, double=True),),
    (Detail("a", (Figures("", 0.1, 0.1, None, 0.5),), "expires"),),
    (Reading("load", 13.0, 812.0), Reading("other", 13.0, None, "refused")),
    Pulse(3, 100, 1, 2, 3, 11.0, {"r": "", "s": None}, (Outlier(0, "a", "slow"),), {"web": (9, 1)}),
    (Note(20, "healthcheck", "hello"),),
)


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_messages_come_through_in_any_pieces(step: int) -> None:
    data = frame(REPORT) + frame(replace(REPORT, serial=8))
    frames = reports()
    seen = [one for at in range(0, len(data), step) for one in frames.feed(data[at : at + step])]
    assert seen == [REPORT, replace(REPORT, serial=8)]


def test_work_comes_through() -> None:
    assert list(Frames(Work).feed(frame(WORK))) == [WORK]


def test_half_a_message_waits() -> None:
    assert list(Frames(Work).feed(frame(WORK)[:-1])) == []


def framed(value: object) -> bytes:
    body = msgspec.msgpack.encode(value)
    return struct.pack("!I", len(body)) + body


GARBLED = {
    "far too long": struct.pack("!I", MOST + 1),
    "no msgpack": struct.pack("!I", 3) + b"\xc1\xc1\xc1",
    "empty": struct.pack("!I", 0),
    "a number": framed(17),
    "no serial": framed({"found": []}),
    "a verdict that there is not": framed({"serial": 1, "found": [{"id": "a", "health": "ill", "at": 1.0}]}),
    "a text for a time": framed({"serial": 1, "found": [{"id": "a", "health": "up", "at": "now"}]}),
    "NaN": framed({"serial": 1, "found": [{"id": "a", "health": "up", "at": math.nan}]}),
    "infinity": framed({"serial": 1, "readings": [{"id": "a", "at": 1.0, "value": math.inf}]}),
    "a negative share": framed(
        {
            "serial": 1,
            "details": [{"id": "a", "figures": [{"path": "", "latency_s": 1, "p50_s": 1, "p99_s": 1, "errors": -1}]}],
        }
    ),
    "1e308": framed({"serial": 1, "pulse": {"blind_since": 1e308}}),
    "deep": struct.pack("!I", 100_000) + b"\x91" * 100_000,
}


@pytest.mark.parametrize("what", GARBLED)
def test_what_is_no_report_is_told(what: str) -> None:
    with pytest.raises(Garbled, match=r"\w"):
        list(reports().feed(GARBLED[what]))


@given(st.binary(max_size=300))
def test_no_octets_raise_anything_else(data: bytes) -> None:
    for stream in (data, struct.pack("!I", len(data)) + data):
        for frames in (reports(), Frames(Work)):
            with suppress(Garbled):
                list(frames.feed(stream))


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_damaged_report_is_read_or_told(at: int, octet: int) -> None:
    data = bytearray(frame(REPORT))
    data[at % len(data)] = octet
    with suppress(Garbled):
        assert len(list(reports().feed(bytes(data)))) <= 1


def test_a_message_beyond_the_bound_is_not_sent() -> None:
    with pytest.raises(Garbled, match="at most"):
        frame(Report(1, (Found("a", Health.UP, 1.0, "x" * MOST),)))
