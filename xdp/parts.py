"""The kernel's side of a node's balancer, put together.  IO: libbpf, bpffs, netlink."""

from __future__ import annotations

from dataclasses import replace

from xdp import pins
from xdp.counters import Counters
from xdp.driver import Parts
from xdp.loader import DataPlane
from xdp.messages import Pulse
from xdp.preflight import Refused
from xdp.tables import Tables
from xdp.tracking import Tracking


class _Reader:
    """Counters, and how many connections there are."""

    def __init__(self, counters: Counters, tracking: Tracking) -> None:
        self._counters = counters
        self._tracking = tracking

    def read(self) -> Pulse:
        """As `xdp.driver.Reader`."""
        pulse = self._counters.read()
        vips, backends = self._tracking.look(later_packets(pulse), pulse.at)
        return replace(pulse, active_vips=vips, active_backends=backends)


def later_packets(pulse: Pulse) -> int:
    """Packets of TCP that are no SYN, of the VIPs that have had one."""
    return sum(count.packets - count.syns for found in pulse.vips.values() for count in found.values() if count.syns)


def opened(deployment: str, node: str) -> Parts:
    """What is in force is adopted, and else it is made.  Raises Refused, OSError."""
    plane = DataPlane.open(pins.folder(deployment, node), drives=True)
    tables = Tables(plane)
    return Parts(plane, tables, _Reader(Counters(plane, tables.names), Tracking(plane.maps, tables)))


def refusing(why: str) -> Parts:
    """Of a balancer that cannot run.  Raises Refused."""
    raise Refused(why)
