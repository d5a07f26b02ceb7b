"""The kernel's side of a node, put together: each part runs where the kernel refuses the other."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.nameserver.imagescene import scene
from tests.nameserver.make import query
from tests.xdp.dnsplane import V4, wanted
from tests.xdp.harness import compiled
from xdp import asking, machine, parts, pins
from xdp.build import OBJECTS
from xdp.libbpf import XDP_TX
from xdp.loader import BALANCER, DataPlane, remove

pytestmark = pytest.mark.root
OVERHEAD = 14 + 20 + 8


@pytest.mark.usefixtures("objects")
def test_where_the_kernel_refuses_the_balancer_dns_answers(tmp_path: Path) -> None:
    names = "test", f"parts-{os.getpid()}"
    home, folder, one = pins.folder(*names), tmp_path / "objects", scene(one_class=True)
    shutil.copytree(OBJECTS, folder)
    compiled(Path(__file__).with_name("refused.bpf.c"), tmp_path).replace(folder / f"{BALANCER}.bpf.o")
    try:
        made = parts.opened(*names, balances=True, objects=folder)
        try:
            assert isinstance(made.plane, DataPlane)
            assert "the kernel refuses lb.bpf.o" in made.tables.refused
            state = made.dns.want(wanted(tmp_path, one.file, one.geography), 0.0)
            assert state is not None
            assert (state.refused, state.version) == ("", one.tables.version)
            verdict, out = made.plane.run(asking.frame(query("www.z.test.", "A"), V4, 53, max(machine.own().ethernets)))
            assert verdict == XDP_TX
            assert out[OVERHEAD:] == one.responder.general(query("www.z.test.", "A"), str(asking.NOBODY[4]))
        finally:
            made.plane.close()
    finally:
        remove(home)
