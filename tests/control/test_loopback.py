"""Addresses that this node lends to `lo`, in a network namespace: what is added, what is left alone, what a killed run left."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest

from gslb.control import loopback
from gslb.control.loopback import NAME, Loopback
from gslb.model.deployment import Address
from tests.namespaces import Namespace, World

pytestmark = pytest.mark.root

FOUR, SIX = IPv4Address("198.51.100.53"), IPv6Address("2001:db8:53::53")
THEIRS = IPv4Address("198.51.100.54")


@pytest.fixture
def node(netns: World) -> Namespace:
    return netns.namespace("node")


def begin(node: Namespace, folder: Path) -> Loopback:
    """What a run begins with."""
    return node.call(lambda: Loopback(folder))


def want(node: Namespace, one: Loopback, *asked: Address) -> tuple[str, ...]:
    return node.call(lambda: one.want(asked))


def on_lo(node: Namespace) -> set[str]:
    """The addresses of `lo`, without those that every host has."""
    found = json.loads(node.run("ip", "-j", "addr", "show", "dev", "lo"))
    return {f"{one['local']}/{one['prefixlen']}" for one in found[0]["addr_info"]} - {"127.0.0.1/8", "::1/128"}


def test_exactly_what_was_asked_for_beside_what_others_put_there(node: Namespace, tmp_path: Path) -> None:
    node.add_address("lo", f"{THEIRS}/32")
    one = begin(node, tmp_path)
    assert want(node, one, FOUR, SIX, THEIRS) == ()
    assert on_lo(node) == {f"{FOUR}/32", f"{SIX}/128", f"{THEIRS}/32"}
    assert one.ours == {FOUR, SIX}
    assert want(node, one, SIX) == ()
    assert on_lo(node) == {f"{SIX}/128", f"{THEIRS}/32"}
    assert want(node, one) == ()
    assert on_lo(node) == {f"{THEIRS}/32"}
    assert not (tmp_path / NAME).exists()


def test_an_address_of_another_interface_is_on_this_node(node: Namespace, tmp_path: Path) -> None:
    node.run("ip", "link", "add", "vips", "type", "veth", "peer", "name", "other")
    node.add_address("vips", f"{FOUR}/24")
    one = begin(node, tmp_path)
    assert want(node, one, FOUR) == ()
    assert on_lo(node) == set()
    assert one.ours == set()


def test_a_run_after_a_kill_knows_what_the_one_before_added(node: Namespace, tmp_path: Path) -> None:
    node.add_address("lo", f"{THEIRS}/32")
    want(node, begin(node, tmp_path), FOUR, SIX, THEIRS)
    second = begin(node, tmp_path)
    assert second.ours == {FOUR, SIX}
    want(node, second, SIX)
    assert on_lo(node) == {f"{SIX}/128", f"{THEIRS}/32"}
    want(node, begin(node, tmp_path))
    assert on_lo(node) == {f"{THEIRS}/32"}


def test_what_was_removed_and_put_back_by_others_while_no_run_lived_is_theirs_once_it_was_seen_gone(
    node: Namespace, tmp_path: Path
) -> None:
    first = begin(node, tmp_path)
    want(node, first, FOUR)
    node.run("ip", "addr", "del", f"{FOUR}/32", "dev", "lo")
    assert begin(node, tmp_path).ours == set()
    want(node, first, FOUR)
    assert on_lo(node) == {f"{FOUR}/32"}, "what is wanted and went comes back"


def test_after_a_boot_nothing_is_ours(node: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    want(node, begin(node, tmp_path), FOUR)
    (tmp_path / "boot").write_text("another\n")
    monkeypatch.setattr(loopback, "_BOOT", tmp_path / "boot")
    second = begin(node, tmp_path)
    assert second.ours == set()
    want(node, second)
    assert on_lo(node) == {f"{FOUR}/32"}


def test_in_another_namespace_nothing_is_ours(node: Namespace, netns: World, tmp_path: Path) -> None:
    want(node, begin(node, tmp_path), FOUR)
    other = netns.namespace("other")
    other.add_address("lo", f"{FOUR}/32")
    assert begin(other, tmp_path).ours == set()


@pytest.mark.parametrize("content", ["", "[]", "{", '{"boot": 1}', '{"boot": "", "network": 1, "addresses": ["x"]}'])
def test_a_file_that_cannot_be_read_says_nothing(node: Namespace, tmp_path: Path, content: str) -> None:
    (tmp_path / NAME).write_text(content)
    assert begin(node, tmp_path).ours == set()


def test_what_the_kernel_refuses_is_said_and_the_rest_is_done(node: Namespace, tmp_path: Path) -> None:
    node.run("sysctl", "-qw", "net.ipv6.conf.lo.disable_ipv6=1")
    one = begin(node, tmp_path)
    (problem,) = want(node, one, FOUR, SIX)
    assert problem.startswith(f"{SIX} cannot be put on lo: ")
    assert on_lo(node) == {f"{FOUR}/32"}
    assert one.ours == {FOUR}
    node.run("sysctl", "-qw", "net.ipv6.conf.lo.disable_ipv6=0")
    assert want(node, one, FOUR, SIX) == ()
    assert one.ours == {FOUR, ip_address(str(SIX))}


def test_without_the_right_nothing_is_added_and_the_line_says_what_to_do(
    node: Namespace, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    node.add_address("lo", f"{THEIRS}/32")
    code = (
        "import sys; from ipaddress import ip_address; from pathlib import Path\n"
        "from gslb.control.loopback import Loopback\n"
        "print(*Loopback(Path(sys.argv[1])).want(map(ip_address, sys.argv[2:])), sep='\\n')"
    )
    powerless = [tool("setpriv"), "--bounding-set=-net_admin", "--inh-caps=-all", sys.executable, "-c", code]
    said = node.run(*powerless, str(tmp_path), str(FOUR), str(THEIRS)).splitlines()
    assert len(said) == 1, "what is there already needs no right"
    assert said[0].startswith(f"{FOUR} is not on this node, and this run has no CAP_NET_ADMIN")
    assert said[0].endswith(f"packaging/gslb-bgp.conf, or put it there: ip address add {FOUR}/32 dev lo")
    assert on_lo(node) == {f"{THEIRS}/32"}


def test_a_state_folder_that_cannot_be_written_does_not_keep_an_address_away(
    node: Namespace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = begin(node, tmp_path / "gone")
    assert want(node, one, FOUR) == ()
    assert on_lo(node) == {f"{FOUR}/32"}
    assert "not on disk" in caplog.text
    assert want(node, one) == ()
    assert on_lo(node) == set()
