"""While the files of a running node are refused, operators still see and steer what it has in force."""

from __future__ import annotations

import json

from tests.e2e.conftest import MakeServer
from tests.e2e.lifecycle import wait_until

SAID = "is refused now (`gslb check` says why); this goes by the configuration in force"


def test_commands_go_by_what_is_in_force(server: MakeServer) -> None:
    one = server()
    one.start()
    wait_until(lambda: one.addresses() == ["192.0.2.10"], "the nearest as written")
    one.spoil()
    wait_until(lambda: "configuration" in one.status()["problems"], "that the files are refused")

    drained = one.command("drain", "pool/web-fra", "--why", "a cable")
    assert (drained.returncode, drained.stderr) == (0, f"gslb: {one.config} {SAID}\n")
    assert "policy web A    web-fra -> web-iad" in drained.stdout
    assert drained.stdout.endswith("  node fra goes by it now\n")
    wait_until(lambda: one.addresses() == ["198.51.100.10"], "the other pool", 2.0)

    wait_until(lambda: 'override pool/web-fra: auto -> drain why="a cable"' in one.said(), "a line of the log")

    explained = one.command("explain", "www.example.com", "--json")
    assert (explained.returncode, explained.stderr) == (0, f"gslb: {one.config} {SAID}\n")
    assert json.loads(explained.stdout)["plan"]["in_force"] is True

    simulated = one.command("simulate", "--without", "iad")
    assert (simulated.returncode, simulated.stderr) == (0, f"gslb: {one.config} {SAID}\n")
    assert "web-iad" in one.command("status").stdout

    assert one.command("auto", "pool/web-fra").returncode == 0
    wait_until(lambda: one.addresses() == ["192.0.2.10"], "the pool that is drained no more", 2.0)


def test_a_file_that_no_node_has_in_force_is_refused(server: MakeServer) -> None:
    one = server()
    one.start()
    other = one.folder / "other.yaml"
    other.write_text("deployment: [")
    one.config = other
    done = one.command("drain", "pool/web-fra", "--why", "a cable")
    assert done.returncode == 1
    assert "other.yaml:2:1: not YAML" in done.stderr
