"""The kernel's side of a node, put together: the balancer, and DNS in the driver.  IO: libbpf, bpffs, netlink.

Rule: either runs where the kernel refuses the other.  What is not wanted is not loaded: a node that only answers DNS has none of the
balancer's maps, which take 30 MB.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from xdp import pins
from xdp.answers import Answers
from xdp.counters import Counters
from xdp.driver import Parts
from xdp.loader import BALANCER, OBJECTS, DataPlane
from xdp.messages import Pulse, TableState, Want
from xdp.preflight import Refused, Taken
from xdp.tables import Tables
from xdp.tracking import Tracking


def later_packets(pulse: Pulse) -> int:
    """Packets of TCP that are no SYN, of the VIPs that have had one."""
    return sum(count.packets - count.syns for found in pulse.vips.values() for count in found.values() if count.syns)


class Balancer:
    """Tables and counters of a plane, opened when there is something to balance; `refused`: why they cannot be."""

    def __init__(self, plane: DataPlane, refused: str = "") -> None:
        """Raises OSError."""
        self._plane = plane
        self._tables: Tables | None = None
        self._counters: Counters | None = None
        self._tracking: Tracking | None = None
        self.refused = refused
        if plane.has(BALANCER):
            self._open()

    @property
    def version(self) -> int:
        """Of the plan whose tables are in force; 0: none."""
        return self._tables.version if self._tables is not None else 0

    @property
    def marks(self) -> Collection[int]:
        """The marks in force, each of which names a backend."""
        return self._tables.marks if self._tables is not None else ()

    def want(self, want: Want) -> Mapping[str, TableState]:
        """Put these tables in force.  Raises Refused, ValueError, OSError, and then what was in force stays."""
        if self._tables is None:
            if not want.tables:
                return {}
            self._open()
        assert self._tables is not None
        return self._tables.want(want)

    def tick(self, now: float) -> Mapping[str, TableState] | None:
        """Age slots, and follow next hops; how the tables stand then."""
        return self._tables.tick(now) if self._tables is not None else None

    def read(self) -> Pulse:
        """All counters, how many connections there are, and the handshakes since the last call.  Raises OSError."""
        if self._counters is None or self._tracking is None:
            return Pulse(time.monotonic(), 0.0)
        pulse = self._counters.read()
        vips, backends = self._tracking.look(later_packets(pulse), pulse.at)
        return replace(pulse, active_vips=vips, active_backends=backends)

    def _open(self) -> None:
        """Raises Refused, OSError."""
        try:
            self._plane.use(BALANCER)
        except Refused as error:
            self.refused = str(error)
            raise
        self.refused = ""
        self._tables = Tables(self._plane)
        self._counters = Counters(self._plane, self._tables.names)
        self._tracking = Tracking(self._plane.maps, self._tables)


def opened(deployment: str, node: str, *, balances: bool, objects: Path = OBJECTS) -> Parts:
    """What is in force is adopted, and else it is made; the balancer where this node `balances`.  Raises Refused, OSError."""
    home = pins.folder(deployment, node)
    refused = ""
    try:
        plane = DataPlane.open(home, objects, (BALANCER,) if balances else (), drives=True)
    except Refused as error:
        if not balances or isinstance(error, Taken):
            raise
        plane, refused = DataPlane.open(home, objects, (), drives=True), str(error)
    try:
        balancer = Balancer(plane, refused)
        return Parts(plane, balancer, balancer, Answers(plane))
    except (Refused, OSError):
        plane.close()  # or this process itself would be in the way of its next attempt
        raise


def refusing(why: str) -> Parts:
    """Of a process that cannot do anything.  Raises Refused."""
    raise Refused(why)
