"""A packet case: what is sent, what must come of it, and how a difference is told.

Every counter that changes must be named: a case without a counter says that it stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from scapy.layers.l2 import Ether
from scapy.packet import Packet

from tests.xdp.harness import VERDICTS, Programs, Ran

DROP, PASS, TX, REDIRECT = 1, 2, 3, 4


@dataclass(frozen=True)
class Case:
    """One frame.  `expect` None: it is left as it came."""

    name: str
    send: Packet | bytes
    verdict: int
    expect: Packet | bytes | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    eaten: int = 0  # octets of headroom taken away before


def named(case: Case) -> str:
    """The name that pytest shows."""
    return case.name


def sent(vip: str, backend: str, octets: int, **more: int) -> dict[str, int]:
    """Counters of one packet that goes to a backend; `more` by event, or by field of both VIP and backend (`syns=1`)."""
    counts = {f"{vip}.packets": 1, f"{vip}.octets": octets, f"{backend}.packets": 1, f"{backend}.octets": octets}
    for name, value in more.items():
        counts |= {name: value} if name.isupper() else {f"{vip}.{name}": value, f"{backend}.{name}": value}
    return counts


def check(programs: Programs, case: Case) -> Ran:
    """Run it; an AssertionError says all that differs, with both frames."""
    frame = bytes(case.send)
    want = frame if case.expect is None else bytes(case.expect)
    ran = programs.run(frame, eaten=case.eaten)
    wrong = []
    if ran.verdict != case.verdict:
        wrong.append(f"verdict {VERDICTS[ran.verdict]}, expected {VERDICTS[case.verdict]}")
    if case.verdict != DROP and ran.out != want:
        wrong.append(difference(ran.out, want))
    if dict(ran.counts) != dict(case.counts):
        wrong.append(f"counters {dict(ran.counts)}, expected {dict(case.counts)}")
    assert not wrong, "\n".join([f"{case.name}: sent {frame.hex()}", *wrong])
    return ran


def difference(out: bytes, want: bytes) -> str:
    """Both frames and their first octet that differs, to be pasted."""
    at = next(
        (at for at, (is_, was) in enumerate(zip(out, want, strict=False)) if is_ != was), min(len(out), len(want))
    )
    return (
        f"frame differs at octet {at} ({len(out)} octets, expected {len(want)})\n"
        f"out    {out.hex()}\nexpect {want.hex()}\n"
        f"out    {Ether(out)!r}\nexpect {Ether(want)!r}"
    )
