"""Good files: every key means something, paths, digest, files to watch; and the example of `make run`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address
from pathlib import Path

import pytest

from gslb.config.keys import KEYS
from gslb.config.load import load
from gslb.config.problem import KeyPath, Problems, Refused
from gslb.config.read import read
from gslb.config.source import Entry, ListNode, MapNode, Node, parse
from gslb.config.zonedraft import SOA
from gslb.config.zonefile import name_wire
from gslb.model.bgp import Announce, Drain, Look, Router
from gslb.model.deployment import (
    TYPE_A,
    TYPE_AAAA,
    AllDown,
    Attach,
    Balancer,
    NodeId,
    PolicyId,
    PoolId,
    SiteId,
    Via,
    View,
)

ROOT = Path(__file__).parent.parent.parent
GOOD = Path(__file__).parent / "good"
FULL = GOOD / "full.yaml"
NAMED = {
    key.path.removesuffix(".*") for key in (k for k in KEYS) if any(o.path.startswith(f"{key.path}.*") for o in KEYS)
}


def keys_in(node: Node, path: str = "", place: KeyPath = ()) -> Iterator[tuple[str, KeyPath]]:
    """(documented path, place) of every key in a document."""
    if isinstance(node, MapNode):
        for name, entry in node.entries.items():
            below = f"{path}.*" if path in NAMED else f"{path}.{name}".lstrip(".")
            if path not in NAMED:
                yield below, (*place, name)
            yield from keys_in(entry.value, below, (*place, name))
    elif isinstance(node, ListNode):
        for number, item in enumerate(node.items):
            yield from keys_in(item, f"{path}[]", (*place, number))


def without(node: Node, place: KeyPath) -> Node:
    """The document without the key at `place`."""
    first, rest = place[0], place[1:]
    if isinstance(node, ListNode):
        return ListNode(
            tuple(without(item, rest) if at == first else item for at, item in enumerate(node.items)), node.where
        )
    assert isinstance(node, MapNode)
    entries = dict(node.entries)
    entry = entries.pop(str(first))
    if rest:
        entries[str(first)] = Entry(entry.key, without(entry.value, rest))
    return MapNode(entries, node.where)


DOCUMENT = parse(FULL.read_text(), "full.yaml", Problems())


def meaning(document: Node) -> tuple[object, ...]:
    problems = Problems()
    draft, patterns = read(document, problems)
    return draft.deployment, [(r.owner, r.types, r.policy, r.ttl) for r in draft.records], patterns, problems.failed


def test_full_uses_every_key() -> None:
    """Files of secrets exclude their twins, and a user every other way to show who a node is."""
    excluded = {"secret_file", "api.token_file", "bus.password_file"}
    excluded |= {"bus.token_env", "bus.token_file", "bus.credentials_file", "bus.nkey_file"}
    assert {path for path, _ in keys_in(DOCUMENT)} == {key.path for key in KEYS} - excluded


@pytest.mark.parametrize(
    "place", [place for _, place in keys_in(DOCUMENT)], ids=lambda place: ".".join(map(str, place))
)
def test_every_key_means_something(place: KeyPath) -> None:
    assert meaning(without(DOCUMENT, place)) != meaning(DOCUMENT)


def test_full() -> None:
    loaded = load(FULL)
    deployment = loaded.deployment
    assert [str(warning) for warning in loaded.warnings] == []
    assert list(deployment.nodes) == ["fra1", "fra2", "iad"], "sites without a node are given one, but for cloud"
    assert deployment.nodes[NodeId("iad")].site == "iad"
    pool = deployment.pools[PoolId("web-fra")]
    assert [answer.weight for answer in pool.answers_of(TYPE_A)] == [3]
    assert [answer.address for answer in pool.answers_of(TYPE_AAAA)] == [ip_address("2001:db8:1::10")]
    assert pool.capacity is not None
    assert (pool.capacity.soft, pool.capacity.hard) == (None, 0.95)
    assert pool.balance is not None
    assert [backend.forward for backend in pool.balance.backends] == ["ipip", "gue"]
    assert deployment.nodes[NodeId("fra1")].interfaces == ("eth1", "bond0.7")
    assert deployment.balancer == Balancer(
        Attach.NATIVE, IPv4Network("10.7.0.0/16"), IPv6Network("2001:db8:7::1/128"), 90.0
    )
    assert deployment.monitors is not None
    assert {monitor.name for monitor in deployment.monitors.values() if monitor.via is Via.VIP} == {"http"}
    web = deployment.policies[PolicyId("web")]
    assert web.on_all_down is AllDown.LAST_RESORT
    assert web.spill.step_per_s == pytest.approx(0.1 / 60)
    assert deployment.policies[PolicyId("spare")].sticky is None
    assert [one.view for one in deployment.policies.values()] == [View.REGIONAL, View.GLOBAL]
    assert deployment.dns.workers == 3
    assert deployment.datacenters[SiteId("fra")].at == (50.11, 8.68)


def test_a_check_is_waited_for_no_longer_than_its_interval() -> None:
    """Where no timeout is written."""
    text = FULL.read_text().replace("type: exec,", "type: exec, interval: 1s,")
    draft, _ = read(parse(text, "full.yaml", Problems()), Problems())
    monitors = draft.deployment.monitors
    assert monitors is not None
    timeouts = {monitor.kind: (monitor.interval_s, monitor.timeout_s) for monitor in monitors.values()}
    assert timeouts == {"https": (10, 1.5), "dns": (5, 2), "grpc": (5, 2), "exec": (1, 1), "tcp": (5, 2)}


def test_database_paths() -> None:
    databases = load(FULL).deployment.geo.databases
    assert databases == (str(Path.home() / "geo/city.mmdb"), str(GOOD / "geo/asn.mmdb"), "/var/lib/geo/city.mmdb")


def test_speaker() -> None:
    deployment = load(FULL).deployment
    (speaker,) = deployment.bgp
    first, second = speaker.neighbors
    assert (speaker.allow, speaker.max_routes, speaker.controller_loss_s) == ((IPv4Network("192.0.2.0/24"),), 10, 20.0)
    carried = Announce(("65001:100",), ("64512:1:2",), 1, 10, IPv4Address("10.0.1.3"))
    assert (first.announce, second.announce) == (carried, Announce())
    assert (first.drain, second.drain) == (Drain("65535:0", 3, 100), Drain(prepend=2))
    assert (first.look, second.look) == (Look(Router.BIRD, "/run/bird/bird.ctl"), Look(Router.FRR, "/usr/bin/vtysh"))
    assert second.md5_file == str(GOOD / "keys/md5"), "a path starts at the configuration's folder"
    assert deployment.speaker(deployment.nodes[NodeId("fra1")]) is speaker
    assert deployment.speaker(deployment.nodes[NodeId("fra2")]) is None


def test_anycast() -> None:
    (one,) = load(FULL).deployment.anycast
    assert (one.announce_when, one.on_controller_loss, one.min_sites) == (("dns", "pools"), "withdraw", 0)
    assert (one.rise_s, one.least_s, one.drain_s, one.hold_s, one.longest_hold_s) == (10, 20, 45, 60, 3600)


def test_zones() -> None:
    net, com = load(FULL).zones
    assert net.apex == name_wire("example.net.")
    assert {(record.owner, record.ttl, record.types) for record in net.dynamic} == {
        (name_wire("www.example.net."), 20, (TYPE_AAAA,)),
        (name_wire("spare.example.net."), 60, (TYPE_A, TYPE_AAAA)),
    }
    assert [record.ttl for record in com.dynamic] == [30]
    owners = {rrset.owner for rrset in net.rrsets}
    assert {name_wire("mail.example.net."), name_wire("mail.deep.example.net.")} <= owners, "an included file's origin"


def test_files_to_watch(tmp_path: Path) -> None:
    zones = GOOD / "zones"
    expected = {FULL, zones, zones / "example.net.zone", zones / "mail.inc", zones / "example.com.yaml"}
    assert set(load(FULL).files) == expected
    broken = tmp_path / "gslb.yaml"
    broken.write_text("zones: [here/*.zone]\n")
    with pytest.raises(Refused) as refused:
        load(broken)
    assert set(refused.value.files) == {broken, tmp_path / "here"}


def test_digest_follows_content_and_not_place(tmp_path: Path) -> None:
    copy = shutil.copytree(GOOD, tmp_path / "copy")
    assert load(copy / "full.yaml").digest == load(FULL).digest
    with (copy / "zones" / "mail.inc").open("a") as file:
        file.write("; changed\n")
    assert load(copy / "full.yaml").digest != load(FULL).digest


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"none.yaml: cannot be read: No such file or directory"):
        load(tmp_path / "none.yaml")
    with pytest.raises(Refused, match="no regular file"):
        load(tmp_path)


def test_least_configuration(tmp_path: Path) -> None:
    """Loopback only, unless told otherwise."""
    file = tmp_path / "gslb.yaml"
    file.write_text("deployment: least\ndatacenters: {here: {}}\nnodes: {here: {site: here}}\n")
    loaded = load(file)
    listen = loaded.deployment.dns.listen
    assert [(str(socket.address), socket.port) for socket in listen] == [("127.0.0.1", 53), ("::1", 53)]
    assert all(socket.address.is_loopback for socket in (*listen, loaded.deployment.api.listen))
    assert loaded.zones == ()


def test_nearest_without_of(tmp_path: Path) -> None:
    """Without `of`: what the other rules name, burst sites left out."""
    file = tmp_path / "gslb.yaml"
    old = "{pools: nearest, of: [web-iad, web-fra]}"
    text = FULL.read_text()
    assert old in text
    file.write_text(
        text.replace(old, "{pools: nearest}").replace("pools: [web-fra, web-iad]", "pools: [web-cloud, web-fra]")
    )
    shutil.copytree(GOOD / "zones", tmp_path / "zones")
    with pytest.raises(Refused) as refused:
        load(file)
    assert "unused" in str(refused.value), "web-iad is named by no rule now"
    draft, _ = read(parse(file.read_text(), "f", Problems()), Problems())
    assert draft.deployment.policies[PolicyId("web")].rules[1].pools == ("web-fra",)


def test_the_example_has_no_warnings() -> None:
    loaded = load(ROOT / "gslb.yaml")
    assert [str(warning) for warning in loaded.warnings] == []
    assert list(loaded.deployment.datacenters) == ["fra", "iad", "sin", "syd", "gru", "cloud-eu"]
    assert [zone.apex for zone in loaded.zones] == [name_wire("example.com."), name_wire("example.net.")]


LEAST = "deployment: least\ndatacenters: {here: {}}\nnodes: {here: {site: here}}\ndns: {listen: ['192.0.2.53:53']}\n"
WEB = "pools: {web: {datacenter: here, answers: [192.0.2.1]}}\npolicies: {web: {rules: [{pools: [web]}]%s}}\n"
NAMES = "'': {type: NS, value: ns1.example.com.}\nns1: {type: A, value: 192.0.2.53}\n"


@pytest.mark.parametrize(
    ("policy", "record", "beside", "minimum"),
    [
        ("", "{policy: web, ttl: 20}", "", 20),
        (", ttl: {min: 5, max: 10}", "{policy: web}", "", 10),
        ("", "{policy: web, ttl: 60}", "records: {b.example.com.: {policy: web, ttl: 15}}\n", 15),
        ("", "{policy: web, ttl: 60}", "", 30),
    ],
)
def test_the_soa_that_is_made_draws_no_warning(
    tmp_path: Path, policy: str, record: str, beside: str, minimum: int
) -> None:
    """Nobody could place a warning about a record that is nowhere written."""
    file = tmp_path / "gslb.yaml"
    file.write_text(LEAST + WEB % policy + "zones: ['*.com.yaml']\n" + beside)
    (tmp_path / "example.com.yaml").write_text(f"{NAMES}www: {record}\n")
    loaded = load(file)
    assert [str(warning) for warning in loaded.warnings] == []
    (soa,) = (rrset for rrset in loaded.zones[0].rrsets if rrset.rtype == SOA)
    assert int.from_bytes(soa.rdatas[0][-4:], "big") == minimum


def test_folders_among_zone_files(tmp_path: Path) -> None:
    """One that is named as a zone is surely a slip; others are how people order files."""
    file = tmp_path / "gslb.yaml"
    for name in ("a.zone", "old", ".git"):
        (tmp_path / "zones" / name).mkdir(parents=True)
    (tmp_path / "zones" / "example.com.yaml").write_text(NAMES)
    file.write_text(f"{LEAST}zones: [zones/*]\n")
    loaded = load(file)
    assert [zone.apex for zone in loaded.zones] == [name_wire("example.com.")]
    (warning,) = loaded.warnings
    assert str(warning) == f"{file}:5:9: warning: zones[0]: zones/* - {tmp_path}/zones/a.zone is a folder: passed over"
    file.write_text(f"{LEAST}zones: [zones]\n")
    with pytest.raises(Refused, match=r"zones\[0\]: zones - no such file, only a folder"):
        load(file)
