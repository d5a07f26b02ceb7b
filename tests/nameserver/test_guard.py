"""What is sent over the limit, by a whole responder: nothing, TC, or BADCOOKIE; and who is never limited."""

from __future__ import annotations

import dns.flags
import dns.message
import pytest

from gslb.nameserver.answer import Responder
from gslb.nameserver.counters import ARRIVALS, OUTCOMES, Counter
from gslb.nameserver.guard import Buckets
from gslb.nameserver.limit import BUCKETS_OCTETS
from tests.nameserver.make import (
    CLIENT,
    NOW,
    bound,
    choice,
    ecs,
    one_class,
    opt,
    plan,
    policy_plan,
    protection,
    query,
    tables,
    zone,
)

SOA = "@ 60 SOA ns1 h 1 2 3 4 60\n@ 60 NS ns1\nns1 60 A 192.0.2.53\nlong 60 TXT " + " ".join(["x" * 200] * 20)
COOKIE = (10, b"12345678")
RATE = 5
ORDINARY = query("www.z.test.", opt=opt(ecs("192.0.2.0/24")))


class Time:
    def __init__(self) -> None:
        self.ns = 10**12

    def __call__(self) -> int:
        return self.ns


def subject(
    *, slip: int = 2, dry_run: bool = False, exempt: tuple[str, ...] = (), time: Time | None = None
) -> Responder:
    location = one_class("web")
    made = plan(location, {"web": policy_plan({1: (0,), 28: (1,)})}, [choice("192.0.2.1"), choice("2001:db8::1")])
    zones = [zone("z.test.", SOA, bound("www.z.test.")), zone("other.test.", SOA)]
    compiled = tables(zones, made, location, b"nsid", protection(RATE, slip, exempt=exempt, dry_run=dry_run))
    buckets = Buckets(memoryview(bytearray(BUCKETS_OCTETS)).cast("Q"), time or Time())
    return Responder(compiled, clock=lambda: NOW, buckets=buckets)


def over(responder: Responder, message: bytes, source: str = CLIENT) -> list[bytes | None]:
    """The next two replies once nothing more is let through."""
    while (reply := responder.udp(message, source)) is not None and not cut(reply):
        pass
    return [responder.udp(message, source), responder.udp(message, source)]


def cut(reply: bytes) -> bool:
    return bool(reply[2] & 2) or reply[3] & 15 == 7


def badcookie(reply: bytes) -> bool:
    return dns.message.from_wire(reply).rcode() == 23


CASES = {
    "ordinary": ORDINARY,
    "no EDNS": query("www.z.test."),
    "RD": query("www.z.test.", flags=0x100),
    "NXDOMAIN": query("absent.z.test.", opt=opt()),
    "REFUSED": query("www.elsewhere."),
    "nsid": query("www.z.test.", opt=opt((3, b""))),
    "status": query("www.z.test.", flags=2 << 11),
    "malformed": query("www.z.test.") + b"x",
    "BADVERS": query("www.z.test.", opt=opt(version=1)),
    "CH": query("version.bind.", "TXT", rclass=3),
}


@pytest.mark.parametrize("message", CASES.values(), ids=CASES)
def test_every_other_reply_over_the_limit_says_come_by_tcp(message: bytes) -> None:
    whole = subject().tcp(message, CLIENT)
    assert whole is not None
    responder = subject()
    silent, short = sorted(over(responder, message), key=lambda reply: reply is not None)
    assert silent is None
    assert short is not None
    expected, found = dns.message.from_wire(whole), dns.message.from_wire(short)
    assert found.flags == expected.flags | dns.flags.TC
    assert found.rcode() == expected.rcode()
    assert found.question == expected.question
    assert not found.answer + found.authority + found.additional
    assert found.options == tuple(option for option in expected.options if option.otype != 3)
    assert len(short) <= len(message)


@pytest.mark.parametrize("options", [(COOKIE,), (COOKIE, ecs("192.0.2.0/24")), ((3, b""), COOKIE), ((10, bytes(24)),)])
def test_who_has_a_cookie_is_given_a_good_one_instead(options: tuple[tuple[int, bytes], ...]) -> None:
    responder = subject()
    message = query("www.z.test.", opt=opt(*options), flags=0x100)
    silent, short = sorted(over(responder, message), key=lambda reply: reply is not None)
    assert silent is None
    assert short is not None
    found = dns.message.from_wire(short)
    assert found.rcode() == 23
    assert not found.flags & (dns.flags.TC | dns.flags.AA)
    assert found.flags & dns.flags.RD
    assert not found.answer
    (data,) = (option.to_wire() for option in found.options if option.otype == 10)
    assert data is not None
    assert not any(option.otype == 3 for option in found.options)
    again = responder.udp(query("www.z.test.", opt=opt((10, data))), CLIENT)
    assert again is not None
    assert not cut(again)


def good_cookie(responder: Responder) -> bytes:
    reply = responder.tcp(query("www.z.test.", opt=opt(COOKIE)), CLIENT)
    assert reply is not None
    data: bytes | None = dns.message.from_wire(reply).options[0].to_wire()
    assert data is not None
    return data


@pytest.mark.parametrize("beside", [(), (ecs("192.0.2.0/24"),), ((3, b""),)])
def test_good_cookies_and_tcp_pass(beside: tuple[tuple[int, bytes], ...]) -> None:
    responder = subject()
    over(responder, ORDINARY)
    message = query("www.z.test.", opt=opt((10, good_cookie(responder)), *beside))
    for _ in range(3 * RATE):
        reply, by_tcp = responder.udp(message, CLIENT), responder.tcp(ORDINARY, CLIENT)
        assert reply is not None
        assert by_tcp is not None
        assert not cut(reply)
        assert not cut(by_tcp)


def test_a_stolen_cookie_does_not_pass() -> None:
    responder = subject()
    message = query("www.z.test.", opt=opt((10, good_cookie(responder))))
    replies = [responder.udp(message, "198.51.100.1") for _ in range(3 * RATE)]
    assert sum(reply is not None and not cut(reply) for reply in replies) == RATE
    assert all(reply is None or not cut(reply) or badcookie(reply) for reply in replies)


def test_the_rate_is_what_was_configured_and_networks_do_not_share_it() -> None:
    time = Time()
    responder = subject(slip=0, time=time)
    whole = 0
    for _ in range(1000):
        whole += responder.udp(ORDINARY, CLIENT) is not None
        time.ns += 10**7
    assert whole == RATE + 10 * RATE - 1 or whole == RATE + 10 * RATE
    assert responder.udp(ORDINARY, "198.51.100.1") is not None


def test_absent_names_of_a_zone_are_limited_together_and_apart_from_all_else() -> None:
    responder = subject(slip=0)
    absent = [query(f"absent{number}.z.test.") for number in range(3 * RATE)]
    assert sum(responder.udp(message, CLIENT) is not None for message in absent) == RATE
    assert responder.udp(query("www.other.test."), CLIENT) is not None
    assert responder.udp(query("www.elsewhere."), CLIENT) is not None
    assert responder.udp(ORDINARY, CLIENT) is not None


@pytest.mark.parametrize("message", CASES.values(), ids=CASES)
@pytest.mark.parametrize("slip", [0, 1, 2])
def test_both_paths_do_the_same(message: bytes, slip: int) -> None:
    by_path = []
    for path in ("udp", "general"):
        responder = subject(slip=slip)
        ask = getattr(responder, path)
        by_path.append(([ask(message, CLIENT) for _ in range(4 * RATE)], responder.counts[3:]))
    assert by_path[0] == by_path[1]


@pytest.mark.parametrize("slip", [0, 1, 2])
@pytest.mark.parametrize("message", [ORDINARY, query("www.z.test.", opt=opt(COOKIE))])
def test_counts(message: bytes, slip: int) -> None:
    responder = subject(slip=slip)
    replies = [responder.udp(message, CLIENT) for _ in range(RATE + 10)]
    counts = responder.counts
    sent = sum(reply is not None for reply in replies)
    slipped = sent - RATE
    cookies = message is not ORDINARY
    assert sum(counts[arrival] for arrival in ARRIVALS) == sum(counts[one] for one in OUTCOMES) == len(replies)
    assert counts[Counter.OVER_LIMIT] == 10
    assert counts[Counter.LIMITED] == 10 - slipped
    assert counts[Counter.SLIPPED] == slipped == (10 // slip if slip else 0)
    assert counts[Counter.TRUNCATED] == (0 if cookies else slipped)
    assert counts[Counter.BADCOOKIE] == (slipped if cookies else 0)
    assert counts[Counter.ANSWERED] == RATE + (0 if cookies else slipped)
    assert counts[Counter.COOKIES] == (len(replies) if cookies else 0)
    assert sum(responder.given.marks[1:]) == RATE  # what was not answered is no demand
    assert sum(map(sum, responder.given.cells.values())) == RATE
    assert responder.guard is not None
    assert responder.guard.last == CLIENT


def test_a_dry_run_only_counts() -> None:
    responder = subject(dry_run=True)
    replies = [responder.udp(ORDINARY, CLIENT) for _ in range(RATE + 10)]
    assert len(set(replies)) == 1
    counts = responder.counts
    assert (counts[Counter.OVER_LIMIT], counts[Counter.LIMITED], counts[Counter.SLIPPED]) == (10, 0, 0)
    assert counts[Counter.ANSWERED] == RATE + 10


def test_the_exempt() -> None:
    responder = subject(exempt=("192.0.2.64/26",))
    assert all(responder.udp(ORDINARY, CLIENT) is not None for _ in range(100))
    assert responder.counts[Counter.OVER_LIMIT] == 0


def test_what_is_too_long_stays_short_over_the_limit() -> None:
    found = set(over(subject(slip=1), query("long.z.test.", "TXT")))
    assert None not in found
    assert all(reply is not None and len(reply) == len(query("long.z.test.")) for reply in found)
