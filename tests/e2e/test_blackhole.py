"""Sites that packets do not reach any more: dropped and rejected by nftables between two hosts.  Asked over DNS; needs root."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dns.message
import dns.query
import pytest

from tests.e2e.lifecycle import wait_until
from tests.e2e.pairs import FALL, INTERVAL_S, RISE, SPARE, TIMEOUT_S, TOKEN, Pair, configuration
from tests.e2e.probes.wire import Target, query
from tests.e2e.program import Program, running
from tests.namespaces import Namespace, World
from tests.ports import free_port

pytestmark = [pytest.mark.root, pytest.mark.slow]

NODE, SITE, REFERENCE = "198.18.7.1", "198.18.7.2", "198.18.7.3"
HTTP_PORT = 8080
LEAVES_S = FALL * INTERVAL_S + TIMEOUT_S + 1.0
RETURNS_S = RISE * INTERVAL_S + TIMEOUT_S + 1.0
REFERENCE_S = 15.0  # of references that are asked every few seconds
RULES = {
    "drop": ("drop", "no connection within 300ms"),
    "reject": ("reject with icmp type admin-prohibited", "no route to host"),
    "reset": ("reject with tcp reset", "connection refused"),
}
NFTABLES = """\
table inet blackhole {{
  chain input {{
    type filter hook input priority 0;
    {rule}
  }}
}}
"""


@dataclass(frozen=True)
class Scene:
    """A node on one host, its site on another."""

    program: Program
    node: Namespace
    site: Namespace
    folder: Path

    def addresses(self, name: str) -> list[str]:
        """Who answers, asked on the node's host."""
        question = dns.message.make_query(f"{name}.example.com", "A")
        target = self.program.target
        reply = self.node.call(lambda: dns.query.udp(question, target.address, timeout=2, port=target.port))
        return [record.address for record in reply.answer[-1]]

    def rule(self, rule: str) -> None:
        """Have the site's host judge what comes in by this rule of nftables."""
        file = self.folder / "rules.nft"
        file.write_text("flush ruleset\n" + NFTABLES.format(rule=rule))
        self.site.run("nft", "-f", str(file))

    def changes(self, name: str, to: str, within_s: float) -> float:
        """Wait until `to` answers; seconds that took."""
        began = time.monotonic()
        wait_until(lambda: self.addresses(name) == [to], f"{name} is answered by {to}", within_s)
        return time.monotonic() - began

    def down(self, name: str, why: str) -> None:
        """Wait until `gslb status` shows the target as down, for this reason."""
        wait_until(lambda: self._why(name) == why, f"{name} is shown as down: {why}")

    def _why(self, name: str) -> str | None:
        pool = next(one for one in self.program.status()["pools"] if one["name"] == f"{name}-home")
        return next((one["why"] for one in pool["targets"] if one["health"] == "down"), None)


@pytest.fixture
def scene(netns: World, tmp_path: Path, tool: Callable[[str], str]) -> Iterator[Scene]:
    """`web` is checked by http, `ping` by icmp; the reference is an address of the site's host too."""
    tool("nft")
    node, site = netns.namespace("node"), netns.namespace("site")
    _, end = netns.join(node, site, f"{NODE}/24", f"{SITE}/24")
    site.add_address(end, f"{REFERENCE}/24")
    node.run("sysctl", "-qw", "net.ipv4.ping_group_range=0 2147483647")
    site.start(sys.executable, "-m", "tests.e2e.services", SITE, str(HTTP_PORT))
    pairs = (Pair("web", SITE, f"type: http, port: {HTTP_PORT}"), Pair("ping", SITE, "type: icmp"))
    config, zone = configuration(pairs, free_port())
    target = Target(NODE, 5353)
    (tmp_path / "zones").mkdir()
    (tmp_path / "zones" / "example.com.yaml").write_text(zone)
    (tmp_path / "token").write_text(TOKEN)
    path = tmp_path / "gslb.yaml"
    text = config.replace("ADDRESS:PORT", f"{NODE}:{target.port}")
    path.write_text(f"{text}healthcheck: {{reference: [{REFERENCE}]}}\n")
    first = query(b"\3web\7example\3com\0", "A")
    with running(tmp_path, path, "fra", target, first=first, inside=node) as program:
        made = Scene(program, node, site, tmp_path)
        for pair in pairs:
            made.changes(pair.name, SITE, REFERENCE_S)
        yield made


@pytest.mark.parametrize("how", RULES)
def test_a_service_that_is_not_reached(scene: Scene, how: str) -> None:
    action, why = RULES[how]
    scene.rule(f"tcp dport {HTTP_PORT} {action}")
    scene.changes("web", SPARE, LEAVES_S)
    scene.down("web", f"/: {why}")
    assert scene.addresses("ping") == [SITE]
    scene.rule("")
    scene.changes("web", SITE, RETURNS_S)


def test_a_host_that_does_not_answer_pings(scene: Scene) -> None:
    scene.rule(f"ip daddr {SITE} icmp type echo-request drop")
    scene.changes("ping", SPARE, LEAVES_S)
    scene.down("ping", "no echo reply within 300ms")
    assert scene.addresses("web") == [SITE]
    scene.rule("")
    scene.changes("ping", SITE, RETURNS_S)


def test_a_node_that_is_cut_off_itself_changes_nothing(scene: Scene) -> None:
    """Also the reference is lost: it is this node that does not see."""
    scene.rule("drop")
    wait_until(lambda: scene.program.status()["blind_since"] is not None, "it knows that it is blind", REFERENCE_S)
    until = time.monotonic() + LEAVES_S
    while time.monotonic() < until:
        assert scene.addresses("web") == scene.addresses("ping") == [SITE]
        time.sleep(0.05)
    scene.rule("")
    wait_until(lambda: scene.program.status()["blind_since"] is None, "it sees again", REFERENCE_S)
    assert scene.addresses("web") == scene.addresses("ping") == [SITE]
    scene.rule(f"tcp dport {HTTP_PORT} drop")
    scene.changes("web", SPARE, LEAVES_S + REFERENCE_S)
