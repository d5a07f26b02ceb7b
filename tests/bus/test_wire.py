"""Octets of messages: what was told is what is read, and whatever comes is a message or refused."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from ipaddress import ip_address

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gslb.bus.bus import MESSAGE_MOST, Message
from gslb.bus.messages import (
    Answers,
    Body,
    Kind,
    Life,
    Loads,
    Opinion,
    Opinions,
    RoundTrips,
    Rows,
    SharedLoad,
    Stamp,
    Told,
)
from gslb.bus.rows import ROW, TEXT_MOST, unpack
from gslb.bus.wire import AHEAD_S, FORMAT, PART_MOST, SEGMENT, Cause, Refused, decode, encode, kind_of, target_key
from gslb.model.deployment import Monitor, MonitorId, PolicyId, PoolId
from gslb.model.world import Health

KEY = 6437857159067961860
WALL = 1_700_000_000.0
STAMP = Stamp(7, 41, 1234.5, WALL)
LIFE = Life("c" * 32, 3, 17, "p" * 32, "g" * 32, "", 2.5, {"192.0.2.53/32": "announced"}, "1.0", 60.0)
WEB = Monitor(MonitorId("web"), "http", 5.0, 2.0, 3, 5, 0.5, 80, {"path": "/healthz", "expect": 200})

names = st.text("ab0_-", min_size=1, max_size=63)
texts = st.text(max_size=TEXT_MOST).filter(str.isprintable)
floats = st.floats(0, 1e9, width=32)
opinions = st.builds(
    Opinion,
    st.sampled_from(Health),
    st.integers(0, 1 << 31).map(lambda ms: ms / 1000),
    st.integers(0, 1 << 31).map(lambda ms: ms / 1000),
    st.integers(0, 60_000).map(float),
    st.none() | st.integers(0, 60_000).map(lambda hundredths: hundredths / 100),
    st.booleans(),
    texts,
    texts,
)
lives = st.builds(
    Life, texts, st.integers(0, 99), st.integers(0, 99), texts, texts, texts, st.none() | floats,
    st.dictionaries(names, texts, max_size=4), texts, floats,
)  # fmt: skip
loads = st.builds(Loads, st.dictionaries(names.map(PoolId), st.builds(SharedLoad, floats, st.just(1.5), st.booleans())))
trips = st.builds(
    RoundTrips,
    texts,
    st.dictionaries(
        st.tuples(names.map(PoolId), st.sampled_from((4, 6)), st.integers(0, 1 << 24)),
        st.tuples(floats, floats, st.integers(0, 1 << 31), floats),
    ),
)
answers = st.builds(
    Answers,
    texts,
    st.dictionaries(
        st.tuples(names.map(PolicyId), st.sampled_from((1, 28)), st.integers(0, 9).map(lambda part: part * SEGMENT)),
        st.lists(floats, max_size=20).map(tuple),
        max_size=5,
    ),
    st.lists(names, max_size=3).map(tuple),
    floats,
)
bodies = st.one_of(st.dictionaries(st.integers(0, (1 << 64) - 1), opinions).map(Opinions), lives, loads, trips, answers)


def message(kind: str, body: bytes) -> Message:
    return Message("fra", "fra1", kind, body, 10.0)


def back(body: Body, wall_s: float = WALL) -> Told:
    return decode(message(kind_of(body), encode(STAMP, body)), wall_s)


def load(pool: str, share: float) -> Loads:
    return Loads({PoolId(pool): SharedLoad(share, 0.0, part=True)})


def refusal(kind: str, body: bytes, wall_s: float = WALL) -> Cause:
    with pytest.raises(Refused) as refused:
        decode(message(kind, body), wall_s)
    return refused.value.cause


@given(bodies)
def test_what_was_told_is_what_is_read(body: Body) -> None:
    told = back(body)
    assert (told.site, told.node, told.stamp, told.heard_at, told.skew_s) == ("fra", "fra1", STAMP, 10.0, 0.0)
    if isinstance(body, Opinions):
        assert isinstance(told.body, Rows)
        assert dict(unpack(told.body)) == body.found
    else:
        assert told.body == body


def test_an_opinion_without_reason_takes_21_octets() -> None:
    one = Opinion(Health.UP, 1.0, 100.0, 15.0)
    sizes = [len(encode(STAMP, Opinions(dict.fromkeys(range(count), one)))) for count in (100, 700)]
    assert sizes[1] - sizes[0] == 600 * ROW.itemsize == 600 * 21
    assert sizes[1] <= PART_MOST


def test_a_time_beyond_what_a_row_holds_is_the_longest() -> None:
    far = Opinion(Health.DOWN, 1e9, 1e9, 1e9, 1e9)
    told = back(Opinions({1: far})).body
    assert isinstance(told, Rows)
    ((_key, read),) = unpack(told)
    assert read.age_s == read.for_s == pytest.approx(49.7 * 86400, rel=1e-2)
    assert (read.ttl_s, read.settles_s) == (65535.0, 655.34)


REFUSED = [
    ("nothing", "life", b"", Cause.OTHER_FORMAT),
    ("another format", "life", bytes((FORMAT + 1,)) + encode(STAMP, LIFE)[1:], Cause.OTHER_FORMAT),
    ("unknown kind", "gossip", encode(STAMP, LIFE), Cause.UNKNOWN_KIND),
    ("another kind", "loads", encode(STAMP, LIFE), Cause.MALFORMED),
    ("cut off", "life", encode(STAMP, LIFE)[:-1], Cause.MALFORMED),
    ("more behind", "life", encode(STAMP, LIFE) + b"\0", Cause.MALFORMED),
    ("too long", "life", encode(STAMP, LIFE) + bytes(MESSAGE_MOST), Cause.OVERSIZED),
    ("a claim of 4 billion items", "loads", bytes((FORMAT, 0xDD)) + b"\xff" * 4, Cause.MALFORMED),
    ("run is none", "loads", encode(replace(STAMP, run=-1), Loads({})), Cause.MALFORMED),
    ("sent at nan", "loads", encode(replace(STAMP, sent_s=float("nan")), Loads({})), Cause.MALFORMED),
    ("infinite", "loads", encode(STAMP, load("w", float("inf"))), Cause.MALFORMED),
    ("negative", "loads", encode(STAMP, load("w", -1.0)), Cause.MALFORMED),
    ("no name", "loads", encode(STAMP, load("", 1.0)), Cause.MALFORMED),
    ("a name of control characters", "loads", encode(STAMP, load("\33[", 1.0)), Cause.MALFORMED),
    ("a name of 300", "loads", encode(STAMP, load("w" * 300, 1.0)), Cause.MALFORMED),
    ("round trip nan", "rtts", encode(STAMP, RoundTrips("", {(PoolId("w"), 4, 1): (float("nan"), 1.0, 1, 0.0)})), Cause.MALFORMED),
    ("family 5", "rtts", encode(STAMP, RoundTrips("", {(PoolId("w"), 5, 1): (1.0, 1.0, 1, 0.0)})), Cause.MALFORMED),
    ("rate negative", "demand", encode(STAMP, Answers("", {(PolicyId("w"), 1, 0): (-1.0,)})), Cause.MALFORMED),
    ("no segment", "demand", encode(STAMP, Answers("", {(PolicyId("w"), 1, 5): (1.0,)})), Cause.MALFORMED),
    ("long segment", "demand", encode(STAMP, Answers("", {(PolicyId("w"), 1, 0): (1.0,) * 4000})), Cause.MALFORMED),
    ("reason of no row", "opinions", encode(STAMP, Rows(np.empty(0, ROW), {3: ("a", "b")})), Cause.MALFORMED),
    ("long reason", "opinions", encode(STAMP, Rows(np.zeros(1, ROW), {0: ("a" * 201, "")})), Cause.MALFORMED),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "body", "cause"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_refused(kind: str, body: bytes, cause: Cause) -> None:
    assert refusal(kind, body) is cause


def test_skew_is_told_and_the_future_refused() -> None:
    assert back(LIFE, WALL - AHEAD_S).skew_s == AHEAD_S
    assert back(LIFE, WALL + 1e6).skew_s == -1e6
    assert refusal("life", encode(STAMP, LIFE), WALL - AHEAD_S - 1) is Cause.FUTURE


def test_what_a_terminal_would_obey_is_not_shown() -> None:
    told = back(Opinions({1: Opinion(Health.DOWN, 0.0, 0.0, 15.0, why="re\33[2Jset")})).body
    assert isinstance(told, Rows)
    assert told.texts[0][0] == "re?[2Jset"


def test_a_sender_cuts_what_is_too_long() -> None:
    many = {f"10.{n}.0.0/16": "announced" for n in range(1000)}
    told = back(replace(LIFE, routes=many, version="v" * 999)).body
    assert isinstance(told, Life)
    assert (len(told.routes), len(told.version)) == (256, TEXT_MOST)


@given(
    st.sampled_from(Kind), st.binary(max_size=400) | st.binary(max_size=400).map(lambda body: bytes((FORMAT,)) + body)
)
@example(Kind.LIFE, bytes((FORMAT,)) + b"\x91" * 5000)
@example(Kind.DEMAND, bytes((FORMAT,)) + b"\x9e\x01\x01\x01\x01\xa0" + b"\x91" * 60_000)
def test_any_octets_are_a_message_or_refused(kind: Kind, body: bytes) -> None:
    try:
        told = decode(message(kind, body), WALL)
    except Refused:
        return
    encode(told.stamp, told.body)


@given(
    bodies, st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=4), st.integers(0, 4)
)
def test_a_changed_message_is_a_message_or_refused(body: Body, flips: list[tuple[int, int]], cut: int) -> None:
    raw = bytearray(encode(STAMP, body))
    for place, octet in flips:
        raw[place % len(raw)] = octet
    try:
        told = decode(message(kind_of(body), bytes(raw[: len(raw) - cut])), WALL)
    except Refused:
        return
    encode(told.stamp, told.body)


def test_no_message_takes_much_memory() -> None:
    worst = bytes((FORMAT,)) + b"\x95\x01\x01\x01\x01\xdf\x00\x00\xff\xff" + b"\xa0\x93\x00\x00\xc2" * 13_000
    tracemalloc.start()
    try:
        for kind in Kind:
            for body in (worst[:MESSAGE_MOST], bytes((FORMAT,)) + b"\xdf" + b"\xff" * 60_000):
                refusal(kind, body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20


def test_every_node_names_a_target_alike() -> None:
    """Another number: nodes of two versions of gslb would not count each other's opinions."""
    assert target_key(WEB, "192.0.2.10") == target_key(WEB, ip_address("192.0.2.10")) == KEY
    assert target_key(replace(WEB, quorum=0.9), "192.0.2.10") == KEY
    assert target_key(replace(WEB, settings={"expect": 200, "path": "/healthz"}), "192.0.2.10") == KEY


@pytest.mark.parametrize(
    "other", [replace(WEB, port=81), replace(WEB, settings={"path": "/"}), replace(WEB, kind="tcp")]
)
def test_another_question_is_another_target(other: Monitor) -> None:
    assert target_key(other, "192.0.2.10") != KEY
