"""The kernel's side of a node's balancer, put together.  IO: libbpf, bpffs, netlink."""

from __future__ import annotations

from xdp import pins
from xdp.counters import Counters
from xdp.driver import Parts
from xdp.loader import DataPlane
from xdp.preflight import Refused
from xdp.tables import Tables


def opened(deployment: str, node: str) -> Parts:
    """What is in force is adopted, and else it is made.  Raises Refused, OSError."""
    plane = DataPlane.open(pins.folder(deployment, node))
    tables = Tables(plane)
    return Parts(plane, tables, Counters(plane, tables.names))


def refusing(why: str) -> Parts:
    """Of a balancer that cannot run.  Raises Refused."""
    raise Refused(why)
