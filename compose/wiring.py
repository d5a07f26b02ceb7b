"""Host-side ends of the lab's links, made so that a balancer's packets pass: `python -m compose.wiring`.  IO: sysfs, ethtool.

What an XDP program sends back (XDP_TX) over a veth pair is taken by the other end only where that end has GRO on or a program of
its own, and what the host's stack hands over must have its checksums filled in, so `tx` is off.  Linux 6.18 wakes only an end with a
program: with GRO alone packets may wait until the node's own stack sends something (docs/lab.md).
Every container's end is new when it starts: the ends are looked for as long as this runs.  It leaves nothing to take back: what it
set goes with the links.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path

BRIDGES = "gslb-"  # how the names of the lab's bridges begin
EVERY_S = 0.2
LONGEST_S = 30.0  # at most, between two tries of an end that refuses
_LINKS = Path("/sys/class/net")
DONE = Path("/run/wired")  # there while there are ends and all of them are settled: for the health check
End = tuple[str, int]


def ends(links: Path = _LINKS) -> set[End]:
    """The links that stand in the lab's bridges: names and numbers, as a name alone may come back as another link."""
    found = set()
    for link in links.iterdir():
        try:
            if (link / "master").readlink().name.startswith(BRIDGES):
                found.add((link.name, int((link / "ifindex").read_text())))
        except OSError:
            continue  # no master, or gone by now
    return found


def settle(name: str) -> None:
    """Have one end take what comes from XDP, and hand over whole checksums.  Raises CalledProcessError."""
    subprocess.run(["ethtool", "-K", name, "gro", "on", "tx", "off"], check=True, capture_output=True, text=True)


class Wiring:
    """Which ends are settled, and when those that refused are tried again."""

    def __init__(self, settle: Callable[[str], None] = settle) -> None:
        self._settle = settle
        self._settled: set[End] = set()
        self._refused: dict[End, tuple[float, float]] = {}  # -> when it is tried again, and how long it waits then

    def round(self, present: Collection[End], now: float) -> bool:
        """Settle what is not; whether there are ends and all of them are settled.  What refuses is told once."""
        self._settled &= set(present)
        self._refused = {end: wait for end, wait in self._refused.items() if end in present}
        for end in sorted(set(present) - self._settled):
            due, wait_s = self._refused.get(end, (now, EVERY_S))
            if now < due:
                continue
            try:
                self._settle(end[0])
            except subprocess.CalledProcessError as error:
                if end not in self._refused:
                    sys.stderr.write(
                        f"wiring: {end[0]}: {error.stderr.strip()}\n"
                    )  # mostly gone again; else tried anew
                self._refused[end] = (now + wait_s, min(2 * wait_s, LONGEST_S))
            else:
                self._refused.pop(end, None)
                self._settled.add(end)
        return bool(self._settled) and len(self._settled) == len(present)


def follow() -> None:
    """Settle every end, now and as they come; never returns."""
    DONE.unlink(missing_ok=True)  # of a container that was started again
    wiring = Wiring()
    while True:
        if wiring.round(ends(), time.monotonic()):
            DONE.touch()
        else:
            DONE.unlink(missing_ok=True)
        time.sleep(EVERY_S)


if __name__ == "__main__":
    follow()
