"""The balancer and the decapsulation in generic mode, which drivers without XDP are left with: the same, only slower."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.balanced import BACKENDS, VIP6, Balanced, Flows, datagrams
from tests.e2e.lifecycle import GSLB
from tests.namespaces import World
from xdp import decap
from xdp.messages import Attached

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(180)]


def test_flows_through_tunnels_in_generic_mode(netns: World, tmp_path: Path) -> None:
    """Told to be generic, the balancer is; a backend whose driver refuses decapsulates generically, and doctor says so."""
    with contextlib.closing(Balanced(netns, tmp_path, f"g{os.getpid()}", forward="ipip")) as site:
        site.attach = "generic"
        for port in range(2, 2 + len(BACKENDS)):  # to which one queue at its peer is not enough for XDP natively
            site.switch.run("ethtool", "-L", f"port{port}", "tx", "2")
        with site.running() as program:
            (interface,) = program.status()["balancer"]["interfaces"]
            assert (interface["name"], interface["attached"]) == ("eth0", "generic")
            assert "xdpgeneric" in site.balancer.run("ip", "link", "show", "eth0")
            for host in site.backends.values():
                found = host.call(decap.read)
                assert found is not None
                assert [one.attached for one in found.interfaces] == [Attached.GENERIC]
            assert set(site.flows(60).names) == set(BACKENDS)
            with contextlib.closing(Flows(site.client, 60, VIP6)) as flows:
                assert set(flows.names) == set(BACKENDS)
            assert datagrams(site.client, 200).total() == 200
            doctor = [*GSLB, "backend", "doctor", "--config", str(site.config)]
            said = subprocess.run(
                site.backends["b"].command(doctor), capture_output=True, text=True, timeout=60, check=False
            )
            assert "decapsulation runs on eth0 (generic)" in said.stdout, said.stderr
            assert "slower than native" in said.stdout
