"""The lab's description holds together, and what is made of it is taken by those who read it."""

from __future__ import annotations

import ipaddress
import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import maxminddb
import pytest

from compose import commands, render, routing
from compose.topology import ANYCAST, DNS, ROUTERS, Topology, lab
from gslb.config.load import load

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
LAB = lab()
CHECKERS = {
    "bird.conf": ("bird", "-p", "-c", "{}"),
    "unbound.conf": ("unbound-checkconf", "{}"),
    "nats.conf": ("nats-server", "-t", "-c", "{}"),
    "nginx.conf": ("nginx", "-t", "-c", "{}"),
    "frr.conf": ("vtysh", "-C", "-f", "{}"),
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab")
    run = tmp_path_factory.mktemp("run")
    render.write(LAB, folder, str(run))
    return folder


def test_addresses_are_of_one_machine_in_a_network_of_the_lab_and_never_the_engines() -> None:
    subnets = {network.name: ipaddress.ip_network(network.subnet) for network in LAB.networks}
    assert len(subnets) == len(LAB.networks)
    lines = [line for machine in LAB.machines for line in machine.interfaces]
    assert not [address for address, times in Counter(line.address for line in lines).items() if times > 1]
    for line in lines:
        assert ipaddress.ip_address(line.address) in subnets[line.network]
        assert not line.address.endswith(".1")
    assert len({machine.name for machine in LAB.machines}) == len(LAB.machines)


def test_gateways_are_routers_on_the_same_network() -> None:
    routers = {line.address: line.network for router in LAB.running(*ROUTERS) for line in router.interfaces}
    for machine in LAB.machines:
        assert (machine.gateway is None) == (machine.runs in ROUTERS)
        if machine.gateway is not None:
            assert routers[machine.gateway] == machine.interfaces[0].network


def test_the_lab_has_what_was_asked_for() -> None:
    count = Counter(machine.runs for machine in LAB.machines)
    assert {runs: count[runs] for runs in ("gslb", "nats", "backend", "server", "client")} == {
        "gslb": 4, "nats": 3, "backend": 6, "server": 2, "client": 3,
    }  # fmt: skip
    assert {LAB.by_name[f"router-{site}"].runs for site in ("fra", "iad")} == {"bird"}
    assert LAB.by_name["router-sin"].runs == "frr"
    assert count["unbound"]
    assert count["recursor"]


def test_sessions_are_alike_at_both_ends() -> None:
    routers = LAB.running(*ROUTERS)
    pairs = {(router.name, peer.name) for router in routers for peer, _ in LAB.peers(router) if peer in routers}
    assert pairs == {(right, left) for left, right in pairs}
    for node in LAB.running("gslb"):
        assert (node, node.address) in LAB.peers(LAB.by_name[f"router-{node.place}"])


def test_the_nodes_take_their_file_without_a_warning(rendered: Path) -> None:
    loaded = load(rendered / "gslb" / "gslb.yaml")
    assert not loaded.warnings
    assert {f"{DNS}/32", f"{ANYCAST}/32"} <= set(routing.vips(LAB))
    assert {str(p) for one in loaded.deployment.anycast for p in one.prefixes} == set(routing.vips(LAB))


def test_geography_places_each_region_by_the_site_that_is_nearest(rendered: Path) -> None:
    with maxminddb.open_database(rendered / "gslb" / "geography.mmdb") as database:
        for region in LAB.regions:
            client = LAB.by_name[f"client-{region.name}"].address
            found = database.get(client)
            assert isinstance(found, dict)
            assert found["country"] == {"iso_code": region.country}


@pytest.mark.parametrize("name", CHECKERS)
def test_the_daemons_own_checkers_take_every_file(rendered: Path, name: str) -> None:
    program, *words = CHECKERS[name]
    path = shutil.which(program, path=PATH)
    if path is None:
        pytest.skip(f"{program} is not installed")
    found = sorted(rendered.glob(f"*/{name}"))
    assert found
    for file in found:
        done = subprocess.run(
            [path, *(word.format(file) for word in words)], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{file}: {done.stdout}{done.stderr}"


def test_every_machine_that_serves_reads_a_file_that_was_rendered(rendered: Path) -> None:
    for machine in LAB.machines:
        for argv in commands.serve(machine, str(rendered)):
            files = [word for word in argv if word.startswith(str(rendered))]
            assert all(Path(word).exists() for word in files)
        assert bool(commands.serve(machine, str(rendered))) == (machine.runs != "client")


def test_rendering_again_gives_the_same_text() -> None:
    again: Topology = lab()
    for machine in LAB.machines:
        assert render.files(LAB, machine, "/run/lab") == render.files(again, machine, "/run/lab")
