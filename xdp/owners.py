"""Whose balancer of gslb's runs on an interface, and the line that ends it whole.  IO: bpffs.

Source: tc-bpf(8) for the line.
"""

from __future__ import annotations

import os
from pathlib import Path

from xdp import pins, seat, tc
from xdp.kernelinfo import LINK_XDP, link_info


def home_of(ifindex: int, program: int) -> Path | None:
    """The pin folder of the node that has this program on the interface; None where it is no balancer of ours."""
    for pin in sorted(pins.ROOT.glob(f"*/*/{pins.LINKS}/*")):
        try:
            fd = pins.opened(pin)
        except OSError:  # not ours to look at, or just removed
            continue
        try:
            info = link_info(fd)
        finally:
            os.close(fd)
        if (info.type, info.ifindex, info.program) == (LINK_XDP, ifindex, program):
            return pin.parents[2]
    return None


def told(home: Path, interface: str) -> tuple[str, str]:
    """What runs on the interface, with deployment and node; and the line that ends it.  Raises OSError."""
    pid = seat.driver(home)
    runs = f"gslb's own balancer of {home.name} (deployment-node) runs on {interface} and is left alone"
    if pid is None:
        return f"{runs}: an earlier run left it, and no process drives it", " && ".join(_lines(home))
    who, line = seat.told(pid)
    return f"{runs}: {who}", line


def _lines(home: Path) -> list[str]:
    filters = (f"tc filter del dev {name} egress {tc.selector(home)}" for name in tc.attached(home))
    return [f"rm -r {home}", *filters]
