"""The compose file is what the description makes; what only containers need: wiring, names of interfaces, pages, the guide."""

from __future__ import annotations

import itertools
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from compose import composefile, guide, pages, start, wiring
from compose.topology import lab

ROOT = Path(__file__).resolve().parent.parent.parent
LINK_NAME = 15  # octets that the kernel gives a link's name
LAB = lab()


def _file() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(composefile.compose(LAB))
    return found


def test_the_file_in_the_tree_is_what_is_made() -> None:
    made = composefile.compose(LAB)
    assert (ROOT / "compose/docker-compose.yaml").read_text() == made, (
        "python -m compose.composefile > compose/docker-compose.yaml"
    )


def test_each_machine_is_a_service_and_no_address_is_given_twice() -> None:
    services = _file()["services"]
    assert services.keys() == {machine.name for machine in LAB.machines} | {"wiring", "pages"}
    given = [
        line["ipv4_address"]
        for service in services.values()
        if "networks" in service
        for line in service["networks"].values()
    ]
    assert len(set(given)) == len(given)
    assert not any(address.endswith(".1") for address in given), "that is the engine's"


def test_bridges_have_names_that_the_wiring_knows_and_the_kernel_takes() -> None:
    for network in _file()["networks"].values():
        name = network["driver_opts"]["com.docker.network.bridge.name"]
        assert name.startswith(wiring.BRIDGES)
        assert len(name) <= LINK_NAME


def test_no_service_is_privileged_and_pages_are_on_loopback_only() -> None:
    for service in _file()["services"].values():
        assert "privileged" not in service
        assert set(service.get("cap_add", [])) <= {"NET_ADMIN", "SYS_ADMIN"}
        assert ("apparmor:unconfined" in service.get("security_opt", [])) == (
            "GSLB_NODE" in service.get("environment", {})
        )
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        assert service["healthcheck"]["test"]


def test_only_nodes_and_frr_are_admins_and_what_is_published_may_nothing() -> None:
    services = _file()["services"]
    for machine in LAB.machines:
        assert ("SYS_ADMIN" in services[machine.name]["cap_add"]) == (machine.runs in {"gslb", "frr"}), machine.name
    published = {name: service for name, service in services.items() if "ports" in service}
    assert published.keys() == {"pages"}
    assert published["pages"]["cap_drop"] == ["ALL"]
    assert "cap_add" not in published["pages"]


def test_wiring_finds_the_ends_in_the_bridges_of_the_lab(tmp_path: Path) -> None:
    for number, (name, master) in enumerate([("veth1", "gslb-fra"), ("veth2", "docker0"), ("eth0", None)], start=1):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ifindex").write_text(f"{number}\n")
        if master is not None:
            (tmp_path / name / "master").symlink_to(Path(os.pardir) / master)
    assert wiring.ends(tmp_path) == {("veth1", 1)}


def test_wiring_is_well_while_there_are_ends_and_all_are_settled() -> None:
    told: list[str] = []
    wired = wiring.Wiring(told.append)
    assert not wired.round([], 0)
    assert wired.round([("veth1", 1)], 0)
    assert wired.round([("veth1", 1), ("veth2", 2)], 0)
    assert told == ["veth1", "veth2"], "an end is settled once"
    assert wired.round([("veth1", 3)], 0)
    assert told[2:] == ["veth1"], "another link of the same name"
    assert not wired.round([], 0)


def test_wiring_tells_once_of_an_end_that_refuses_and_tries_it_less_and_less(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tried: list[float] = []
    refuses, now = True, 0.0

    def settle(name: str) -> None:
        if name == "veth2":
            tried.append(now)
            if refuses:
                raise subprocess.CalledProcessError(1, "ethtool", "", "not possible")

    wired, present = wiring.Wiring(settle), [("veth1", 1), ("veth2", 2)]
    for number in range(3000):
        now = number * wiring.EVERY_S
        assert not wired.round(present, now)
    waits = [after - before for before, after in itertools.pairwise(tried)]
    assert waits == sorted(waits)
    assert wiring.LONGEST_S <= max(waits) <= wiring.LONGEST_S + wiring.EVERY_S
    assert len(tried) < 40
    assert capsys.readouterr().err == "wiring: veth2: not possible\n"
    refuses = False
    assert wired.round(present, now + wiring.LONGEST_S)


def test_interfaces_are_named_by_their_addresses() -> None:
    router = LAB.by_name["transit-a"]
    lines = router.interfaces
    found = {line.address: f"eth{len(lines) - 1 - number}" for number, line in enumerate(lines)}
    wanted = start.names(router, found)
    assert {wanted[found[line.address]]: line.address for line in lines} == {
        f"eth{number}": line.address for number, line in enumerate(lines)
    }


def test_pages_are_read_only_and_for_loopback() -> None:
    text = pages.nginx(LAB)
    for node, port in pages.ports(LAB).items():
        assert f"listen {port};" in text
        assert f"http://{LAB.by_name[node].address}:8053" in text
    assert text.count("limit_except GET { deny all; }") == len(LAB.running("gslb"))
    assert "default_server; return 421;" in text


def test_the_guide_names_what_is_there() -> None:
    text = guide.guide(LAB)
    for machine in LAB.machines:
        assert machine.name in text
    for port in pages.ports(LAB).values():
        assert f"http://localhost:{port}" in text
