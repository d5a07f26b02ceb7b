"""What a site's balancer has room for, and what it takes by default; other refusals have their files in `bad/`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from gslb.config import rules_balance
from gslb.config.draft import Draft
from gslb.config.kinds import Reported
from gslb.config.load import load
from gslb.config.problem import Problems, Refused, Where
from gslb.config.read import read
from gslb.config.rules import judge
from gslb.config.source import MapNode, parse
from gslb.model.deployment import (
    SOURCES4,
    SOURCES6,
    Answer,
    Attach,
    Backend,
    Balance,
    Balancer,
    Deployment,
    Forward,
    Listen,
    Pool,
    PoolId,
    SiteId,
    Via,
)
from tests.decide.worlds import deployment
from xdp import libbpf

LAYOUT = Path(libbpf.__file__).parent / "c" / "layout.h"
HEAD = "deployment: test\ndatacenters: {fra: {}}\nmonitors: {web: {type: http}}\npools:\n"
TAIL = 'policies: {web: {rules: [{pools: [%s]}]}}\nrecords: {www.example.com.: {policy: web}}\ndns: {listen: ["192.0.2.53:53"]}\nzones: []\n'


def judged(pools: list[str], extra: str = "") -> tuple[Deployment, list[str]]:
    """The deployment of these pools, and all that is wrong with it."""
    problems = Problems()
    names = ", ".join(pool.partition(":")[0] for pool in pools)
    text = HEAD + "".join(f"  {pool}\n" for pool in pools) + extra + TAIL % names
    try:
        draft, _ = read(parse(text, "test.yaml", problems), problems)
    except Reported:
        pytest.fail(str(problems.sorted()))
    draft.whole = False  # there is no zone
    judge(draft)
    told = [str(problem) for problem in problems.sorted()]
    return draft.deployment, told


def test_room_is_that_of_the_maps() -> None:
    sizes = dict(re.findall(r"(MOST_\w+) = (\d+)", LAYOUT.read_text()))
    assert int(sizes["MOST_VIPS"]) - 1 == rules_balance.MOST_VIPS, "id 0 is none"
    assert int(sizes["MOST_RINGS"]) - 1 == rules_balance.MOST_RINGS
    assert int(sizes["MOST_BACKENDS"]) - 1 == rules_balance.MOST_BACKENDS
    assert int(sizes["MOST_QUIC_IDS"]) == rules_balance.MOST_QUIC_IDS


def too_much(pools: list[Pool]) -> list[str]:
    """What `too_much_for_a_site` says of these pools."""
    model = deployment(pools=pools)
    draft = Draft(MapNode({}, Where("test.yaml")), model, [], Problems())
    return [str(finding.problem) for finding in rules_balance.too_much_for_a_site(draft)]


def balanced(name: str, number: int, backends: Iterable[int], ids: bool = False) -> Pool:  # noqa: FBT001, FBT002
    """A pool at `fra` with one VIP."""
    servers = tuple(Backend(IPv4Address(0x0A000000 + n), id=place if ids else None) for place, n in enumerate(backends))
    balance = Balance((Listen("udp", 443),), Forward.L2, servers)
    return Pool(PoolId(name), SiteId("fra"), (Answer(IPv4Address(0xC6120000 + number)),), balance=balance)


@pytest.mark.parametrize("count", [1023, 1024])
def test_pools_of_a_site(count: int) -> None:
    said = ["test.yaml: datacenters.fra: 1024 balanced pools - expected at most 1023 at one site"]
    assert too_much([balanced(f"p{n}", n, [1]) for n in range(count)]) == (said if count > 1023 else [])


@pytest.mark.parametrize("last", [4095, 4096])
def test_backends_of_a_site(last: int) -> None:
    """Those that pools share count once, however many pools there are."""
    pools = [balanced(f"p{n}", n, range(n % 4 * 4096, n % 4 * 4096 + (last if n % 4 == 3 else 4096))) for n in range(8)]
    said = ["test.yaml: datacenters.fra: 16384 different backends - expected at most 16383 at one site"]
    assert too_much(pools) == (said if last == 4096 else [])


@pytest.mark.parametrize("count", [16, 17])
def test_ids_of_a_site(count: int) -> None:
    said = ["test.yaml: datacenters.fra: 69632 backends with an id - expected at most 65536 at one site"]
    assert too_much([balanced(f"p{n}", n, range(4096), ids=True) for n in range(count)]) == (said if count > 16 else [])


def test_a_pool_has_at_most_4096_backends() -> None:
    backends = ", ".join(f"10.1.{n >> 8}.{n & 255}" for n in range(4097))
    _, said = judged(
        [
            f"p: {{datacenter: fra, monitor: web, answers: [192.0.2.1], balance: {{listen: [tcp/80], backends: [{backends}]}}}}"
        ]
    )
    assert any("4097 items - expected at most 4096" in line for line in said)


def test_defaults() -> None:
    model, said = judged(
        [
            "p: {datacenter: fra, monitor: web, answers: [192.0.2.1], balance: {listen: [tcp/0, udp/443], backends: [10.1.0.1]}}"
        ]
    )
    assert said == []
    assert model.balancer == Balancer(Attach.AUTO, SOURCES4, SOURCES6, 300.0)
    assert [node.interfaces for node in model.nodes.values()] == [()]
    assert model.monitors is not None
    assert [monitor.via for monitor in model.monitors.values()] == [Via.ADDRESS]


def test_one_family_of_tunnel_sources_leaves_the_other_its_default() -> None:
    pool = "p: {datacenter: fra, monitor: web, answers: [192.0.2.1], balance: {listen: [tcp/80], backends: [10.1.0.1]}}"
    model, said = judged([pool], "balancer: {tunnel_sources: ['2001:db8::/64'], flow_idle: 24h}\n")
    assert said == []
    assert (model.balancer.source4, str(model.balancer.source6)) == (SOURCES4, "2001:db8::/64")
    assert model.balancer.flow_idle_s == 86_400


def test_ports_beside_any_port_and_sites_beside_each_other(tmp_path: Path) -> None:
    """Neither is a second claim of the same VIP."""
    pools = [
        "a: {datacenter: fra, monitor: web, answers: [192.0.2.1], balance: {listen: [tcp/0], backends: [10.1.0.1]}}",
        "b: {datacenter: iad, monitor: web, answers: [192.0.2.1], balance: {listen: [tcp/0, tcp/80], backends: [10.1.0.1]}}",
    ]
    twin = "c: {datacenter: fra, monitor: web, answers: [192.0.2.1], balance: {listen: [%s], backends: [10.1.0.2]}}"
    for listen, refused in (("tcp/80, udp/0", False), ("tcp/0", True)):
        file = tmp_path / "gslb.yaml"
        text = HEAD.replace("{fra: {}}", "{fra: {}, iad: {}}") + "".join(
            f"  {pool}\n" for pool in (*pools, twin % listen)
        )
        policies = "policies: {web: {rules: [{pools: [a, b]}]}, other: {rules: [{pools: [c]}]}}\n"
        records = "records: {www.example.com.: {policy: web}, c.example.com.: {policy: other}}\n"
        file.write_text(text + policies + records + 'dns: {listen: ["192.0.2.53:53"]}\nzones: [example.com.yaml]\n')
        (tmp_path / "example.com.yaml").write_text(
            "'': {type: NS, value: ns1.example.com.}\nns1: {type: A, value: 192.0.2.53}\n"
        )
        if refused:
            with pytest.raises(Refused, match="pool a balances"):
                load(file)
        else:
            load(file)
