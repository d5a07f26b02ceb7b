"""Coverage-guided fuzz of the pure responder: `python -m tests.fuzz.fuzz_answer [-runs=N] [libFuzzer options]`.

The first octet picks the source, the rest is the message.  Exit status 77 and the input in a `crash-*` file when the
responder raises, answers a response, answers more than it may, or when its two paths disagree.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["gslb.nameserver", "dnslib"]):
    from gslb.nameserver.answer import Responder

from gslb.nameserver.edns import UDP_PLAIN, UDP_SAFE
from tests.fuzz.packets import packets
from tests.nameserver.make import bound, responder, zone

ZONE = """
@ 3600 SOA ns1 h 1 2 3 4 60
@ 300 NS ns1
ns1 300 A 198.18.0.53
alias 300 CNAME www
old 300 DNAME new
sub 300 NS ns.sub
ns.sub 300 A 192.0.2.40
*.wild 300 TXT "wild"
big 300 TXT "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
mx 300 MX 10 ns1
"""
SOURCES = ("192.0.2.77", "2001:db8::77", "fe80::1%eth0", "::ffff:192.0.2.77")
SEEDS = 200


def subject() -> Responder:
    """A responder with a name of every kind; the zone is the one that the packets of `tests.fuzz.packets` ask for."""
    apex = "acceptance.test."
    names = bound(f"www.{apex}") | bound(f"spread.{apex}", f"*.dyn.{apex}", policy="spread")
    names |= bound(f"none.{apex}", policy="none") | bound(f"dead.{apex}", policy="dead")
    names |= bound(f"shed.{apex}", policy="shed")
    return responder(zone(apex, ZONE, names), nsid=b"fuzz")


def check(asked: Responder, data: bytes) -> None:
    """Ask once, and hold the reply against what every reply must be."""
    source, message = SOURCES[data[0] % len(SOURCES)] if data else SOURCES[0], data[1:]
    first = asked.udp(message, source)
    assert asked.udp(message, source) == first == asked.general(message, source), "the paths disagree"
    streamed = asked.tcp(message, source)
    if len(message) < 12 or message[2] & 0x80:
        assert first is None, "a response was answered"
        assert streamed is None, "a response was answered"
        return
    assert first is not None, "silence"
    assert streamed is not None, "silence"
    for reply in (first, streamed):
        assert reply[:2] == message[:2], "another id"
        assert reply[2] & 0x80, "not a response"
        assert (reply[2] ^ message[2]) & 0x78 == 0, "another opcode"
    plain = message[6:12] == bytes(6)  # no records beside the question, so no EDNS
    assert len(first) <= (UDP_PLAIN if plain else UDP_SAFE), "larger than allowed"


def main() -> None:
    """Fuzz, from the packets of the live fuzzer as seeds."""
    asked = subject()
    with tempfile.TemporaryDirectory(prefix="gslb-fuzz-") as folder:
        for number, packet in enumerate(packets(SEEDS, 1)):
            (Path(folder) / f"{number:03}").write_bytes(bytes([number % len(SOURCES)]) + packet)
        atheris.Setup([*sys.argv, folder], lambda data: check(asked, data))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
