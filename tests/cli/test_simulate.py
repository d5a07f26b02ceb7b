"""`gslb simulate`, through the front door."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gslb.cli.main import main
from gslb.control.observed import Observed
from gslb.control.store import Store
from gslb.geo import placefile
from gslb.geo.arcs import kilometres_to, points
from gslb.geo.table import LocationTable
from gslb.model.deployment import PolicyId, PoolId
from gslb.model.world import Load
from tests.geo.worlds import PLACES, flat, write

CONFIG = """
deployment: test
datacenters:
  fra: {at: [50.11, 8.68], continent: EU}
  iad: {at: [38.95, -77.45], continent: NA}
  sin: {at: [1.35, 103.82], continent: AS}
geo: {databases: [DATABASES]}
pools:
  web-fra: {datacenter: fra, answers: [192.0.2.10], capacity: {conns_per_s: 1000}}
  web-iad: {datacenter: iad, answers: [198.51.100.10], capacity: {conns_per_s: 1000, servers: 100}}
  web-sin: {datacenter: sin, answers: [203.0.113.10], capacity: {conns_per_s: 1000}}
policies:
  web: {rules: [{pools: nearest, of: [web-fra, web-iad, web-sin]}]}
dns: {listen: ["127.0.0.1:5399"]}
zones: [example.com.yaml]
"""
ZONE = """
'':
  - {type: SOA, ttl: 60, value: {mname: ns1.example.com., rname: hostmaster.example.com., serial: 1, minimum: 30}}
  - {type: NS, ttl: 60, values: [ns1.example.com.]}
ns1: {type: A, ttl: 60, value: 127.0.0.1}
www: {policy: web, ttl: 60, types: [A]}
'*.app': {policy: web, ttl: 60, types: [A]}
"""
NETWORKS = {
    "10.0.0.0/22": "fra",
    "10.1.0.0/23": "iad",
    "10.2.0.0/24": "sin",
    "10.3.0.0/24": "gru",
}  # gru: iad is nearest

Simulate = Callable[..., Any]


@pytest.fixture
def placed(tmp_path: Path) -> list[str]:
    """The options that name a deployment of three sites with a database of eight /24."""
    database = write(tmp_path / "four.mmdb", {network: flat(place) for network, place in NETWORKS.items()})
    (tmp_path / "gslb.yaml").write_text(CONFIG.replace("DATABASES", str(database)))
    (tmp_path / "example.com.yaml").write_text(ZONE)
    return ["--config", str(tmp_path / "gslb.yaml"), "--state", str(tmp_path / "state"), "--site", "fra"]


@pytest.fixture
def simulate(placed: list[str], capsys: pytest.CaptureFixture[str]) -> Simulate:
    """`simulate --json` on that deployment, read; with the exit status that is expected."""

    def run(*words: str, status: int = 0) -> Any:
        assert main(["simulate", *words, "--json", *placed]) == status
        return json.loads(capsys.readouterr().out)

    return run


def observe(folder: Path, **shares: float) -> None:
    """The node measured these loads."""
    store = Store(folder / "state", "test", "fra")
    store.create()
    store.save_observed(Observed(at=0.0, loads={PoolId(f"web-{site}"): Load(share) for site, share in shares.items()}))


def of(found: Any, kind: str, name: str) -> Any:
    return next(each for each in found[f"{kind}s" if kind == "pool" else "policies"] if each[kind] == name)


def test_networks_and_distances_are_those_of_the_database(simulate: Simulate) -> None:
    found = simulate("--without", "fra")
    web = of(found, "policy", "web")
    assert (web["networks"], web["moved_networks"]) == (8, 4)
    assert web["moved"] == pytest.approx(0.5)
    assert web["answers"]["web-iad"] == {"before": pytest.approx(3 / 8), "after": pytest.approx(7 / 8)}
    at = {name: PLACES[name][:2] for name in PLACES}

    def km(place: str, site: str) -> float:
        return float(kilometres_to(at[site], points(*(np.array([each]) for each in at[place])))[0])

    before = [km("fra", "fra")] * 4 + [km("iad", "iad")] * 2 + [km("sin", "sin"), km("gru", "iad")]
    after = [km("fra", "iad")] * 4 + before[4:]
    for side, expected in (("before", before), ("after", after)):
        told = web["distance"][side]
        assert told["mean_km"] == pytest.approx(sum(expected) / 8, rel=1e-6)
        assert told["p90_km"] == pytest.approx(sorted(expected)[7], abs=1)
        assert told["known"] == pytest.approx(1.0)


def test_a_pool_over_hard_is_told_and_fails_the_command(simulate: Simulate, tmp_path: Path) -> None:
    observe(tmp_path, fra=0.7, iad=0.34, sin=0.1)
    found = simulate("--without", "fra", "sin", status=1)
    assert found["verdict"] == "if fra, sin fail: web-iad would be at 114% of its capacity (over hard)"
    iad = of(found, "pool", "web-iad")
    assert iad["after"] == {
        "load": pytest.approx(1.14),
        "amount": pytest.approx(1140.0),
        "unit": "connections/s",
        "soft": 0.8,
        "hard": 0.9,
        "over": "hard",
        "waiting": 1.0,
        "shed": None,
    }
    assert iad["before"]["waiting"] < 0.01
    assert found["settles"]["after"]["calm"]


def test_without_anything_asked_each_site_fails_in_turn(simulate: Simulate, tmp_path: Path) -> None:
    observe(tmp_path, fra=0.8, iad=0.7, sin=0.6)
    found = simulate(status=1)
    by_site = {site["site"]: site for site in found["sites"]}
    assert list(by_site) == ["fra", "iad", "sin"]
    assert by_site["fra"]["moved"] == pytest.approx(0.5)
    assert by_site["fra"]["over_hard"] == ["web-iad", "web-sin"]
    assert by_site["fra"]["unknown"] == []
    assert found["verdict"].endswith("of 3 sites must not fail now")


def test_what_is_over_a_mark_as_it_is_fails_no_command(simulate: Simulate, tmp_path: Path) -> None:
    observe(tmp_path, fra=0.1, iad=0.1, sin=1.2)
    found = simulate("--without", "fra", status=0)
    assert found["verdict"].endswith("; already over a mark: web-sin at 85%")
    sin = of(found, "pool", "web-sin")
    assert (sin["after"]["over"], sin["brought_over"]) == ("soft", None)
    each = simulate(status=0)
    assert {site["site"]: site["already_over"] for site in each["sites"]} == {
        "fra": ["web-sin"],
        "iad": ["web-sin"],
        "sin": [],
    }
    assert (
        each["verdict"]
        == "whichever one site fails, it brings no pool over its hard mark; already over a mark: web-sin"
    )


def test_text(placed: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    observe(tmp_path, fra=0.2, iad=0.2, sin=0.1)
    assert main(["simulate", "--without", "fra", *placed]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "clients are weighed by the sizes of their networks"
    assert lines[-1] == (
        "if fra fails: up to 50% of a policy's answers move; web-iad would be the fullest, at 40% of its capacity"
    )
    fra = next(line.split() for line in lines if line.startswith("web-fra"))
    assert fra[:6] == ["web-fra", "fra", "50.0%", "0.0%", "20.0%", "0.0%"]
    assert main(["simulate", *placed]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "whichever one site fails, it brings no pool over its hard mark"


@pytest.mark.parametrize(
    "rows",
    [
        [
            "network,count,name",
            "10.0.0.0/24,30,www.example.com",
            "10.2.0.7,10,x.app.example.com.",
            "10.1.0.0/24,60,else.where",
        ],
        [
            "# by hand",
            '{"network": "10.0.0.0/24", "count": 30}',
            "",
            '{"network": "10.2.0.7", "count": "1e1", "name": null}',
        ],
    ],
    ids=["csv", "json lines"],
)
def test_queries_as_weights(simulate: Simulate, tmp_path: Path, rows: Sequence[str]) -> None:
    (tmp_path / "queries").write_text("\n".join(rows))
    found = simulate("--without", "fra", "--load", str(tmp_path / "queries"))
    web = of(found, "policy", "web")
    assert found["weights"] == f"by the queries in {tmp_path / 'queries'}"
    assert (web["networks"], web["moved_networks"], web["moved"]) == (2, 1, pytest.approx(0.75))
    assert web["distance"]["after"]["known"] == pytest.approx(1.0)
    assert any("60 queries are for names that no policy answers" in note for note in found["notes"]) == (
        "else" in str(rows)
    )


def test_a_wrong_histogram_is_refused_line_by_line(
    placed: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {
        "10.0.0.0/33,1": "network '10.0.0.0/33' - expected an IPv4 or IPv6 network, as 192.0.2.0/24",
        "10.0.0.0/24,-1": "count '-1' - expected a number from 0 to 1e+15",
        "10.0.0.0/24,nan": "count 'nan' - expected a number from 0 to 1e+15",
        "10.0.0.0/24,1e308": "count '1e308' - expected a number from 0 to 1e+15",
        "10.0.0.0/24": "1 fields - expected network,count or network,count,name",
        "10.0.0.0/24,1,a..b": "name 'a..b' - expected a domain name (",
        '{"network": "10.0.0.0/24"}': "the key 'count' is missing",
        '{"network": null, "count": 1}': "the key 'network' is missing",
        '{"netwrok": "10.0.0.0/24", "count": 1}': "key 'netwrok' - did you mean network?",
        '{"network": ["10.0.0.0/24"], "count": 1}': "a value is neither a text nor a number",
        '{"network": ': "no line of JSON",
        "{" * 1990: "no line of JSON",
        "1" * 2001: "a line of more than 2000 octets",
        '10.0.0.0/24,"1': "no line of CSV: ",
    }
    path = tmp_path / "queries.csv"
    path.write_bytes("\n".join(wrong).encode() + b"\n\xff\xfe\n")
    assert main(["simulate", "--without", "fra", "--load", str(path), *placed]) == 1
    said = capsys.readouterr().err.removeprefix("gslb: ").splitlines()
    expected = [*wrong.values(), "not UTF-8 text"]
    assert len(said) == len(expected)
    for number, (line, words) in enumerate(zip(said, expected, strict=True), 1):
        assert line.startswith(f"{path}:{number}: {words}"), line


def test_a_histogram_of_nothing_is_refused(
    placed: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "queries").write_text("network,count\n10.0.0.0/24,0\n")
    assert main(["simulate", "--without", "fra", "--load", str(tmp_path / "queries"), *placed]) == 1
    assert "it counts nothing - expected lines `network,count[,name]`" in capsys.readouterr().err


def test_a_new_configuration(simulate: Simulate, placed: list[str], tmp_path: Path) -> None:
    """sin is given up, and gru's networks get a site of their own."""
    observe(tmp_path, fra=0.4, iad=0.3, sin=0.1)
    new = (tmp_path / "gslb.yaml").read_text()
    new = new.replace("sin: {at: [1.35, 103.82], continent: AS}", "gru: {at: [-23.55, -46.63], continent: SA}")
    new = new.replace("web-sin", "web-gru").replace("datacenter: sin", "datacenter: gru")
    (tmp_path / "new.yaml").write_text(new)
    found = simulate("--new", str(tmp_path / "new.yaml"))
    web = of(found, "policy", "web")
    assert (web["networks"], web["moved_networks"]) == (8, 2)
    assert {name: change["after"] for name, change in web["answers"].items()} == pytest.approx(
        {"web-fra": 0.625, "web-iad": 0.25, "web-sin": 0.0, "web-gru": 0.125}
    )
    assert of(found, "pool", "web-sin")["after"] is None
    assert of(found, "pool", "web-gru")["before"] is None
    assert of(found, "pool", "web-gru")["after"]["amount"] == pytest.approx(100.0)  # of iad's 300 by three networks
    assert web["distance"]["after"]["mean_km"] != web["distance"]["before"]["mean_km"]
    assert found["verdict"].startswith("with the new configuration: ")
    both = simulate("--new", str(tmp_path / "new.yaml"), "--without", "gru")
    assert of(both, "policy", "web")["answers"]["web-iad"]["after"] == pytest.approx(0.375)
    with pytest.raises(SystemExit, match="site sin - "):
        main(["simulate", "--new", str(tmp_path / "new.yaml"), "--without", "sin", *placed])


def test_without_a_database_every_order_weighs_the_same(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--without", "fra", "--json", *options]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["weights"].startswith("alike for each way of ordering pools")
    web = of(found, "policy", "web")
    assert web["networks"] is None
    assert web["answers"]["web-iad"]["after"] == pytest.approx(0.5)  # nobody else has an AAAA
    assert "after: policy web has no usable pool, so all of them are answered" in found["notes"]
    assert "policy web: web-fra is lost and still answered: see `gslb explain`" in found["notes"]
    assert "is not known: no capacity, or no load measured" in found["verdict"]


def test_no_node_need_be_named_where_none_runs(
    tmp_path: Path, options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("GSLB_NODE", raising=False)
    words = [each for each in options if each not in ("--site", "fra")]
    assert main(["simulate", "--without", "iad", *words]) == 0
    for node in ("fra", "iad"):
        Store(tmp_path / "state", "test", node).create()
    with pytest.raises(SystemExit, match="which node is this"):
        main(["simulate", "--without", "iad", *words])
    capsys.readouterr()


def test_an_unknown_site_is_refused(options: list[str]) -> None:
    with pytest.raises(SystemExit, match="site frankfurt - expected one of fra, iad, cloud"):
        main(["simulate", "--without", "frankfurt", *options])


@pytest.mark.geodb
@pytest.mark.timeout(400)
def test_five_cities(city_databases: tuple[Path, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every /24 of the full database, counted one by one."""
    names = list(PLACES)
    sites = "\n".join(
        f"  {name}: {{at: [{place[0]}, {place[1]}], continent: {place[2]}}}" for name, place in PLACES.items()
    )
    pools = "\n".join(
        f"  web-{name}: {{datacenter: {name}, answers: [192.0.2.{at}]}}" for at, name in enumerate(names, 1)
    )
    listed = ", ".join(f"web-{name}" for name in names)
    databases = ", ".join(map(str, city_databases))
    (tmp_path / "gslb.yaml").write_text(
        f"deployment: test\ndatacenters:\n{sites}\ngeo: {{databases: [{databases}]}}\npools:\n{pools}\n"
        f"policies:\n  web: {{rules: [{{pools: nearest, of: [{listed}]}}]}}\n"
        'dns: {listen: ["127.0.0.1:5399"]}\nzones: [example.com.yaml]\n'
    )
    (tmp_path / "example.com.yaml").write_text(ZONE)
    options = ["--config", str(tmp_path / "gslb.yaml"), "--state", str(tmp_path / "state")]
    assert main(["simulate", "--without", "fra", "--json", *options]) == 0
    web = of(json.loads(capsys.readouterr().out), "policy", "web")
    [placed] = (tmp_path / "state" / "geography").glob("places-*")
    [mapped] = (tmp_path / "state" / "geography").glob("table-*")
    places, table = placefile.read(placed), LocationTable.from_buffer(mapped.read_bytes())
    lengths = np.diff(np.append(places.v4.starts, np.uint64(1 << 24))).astype(np.int64)
    place = np.repeat(places.v4.places, lengths)
    assert table.v4 is not None
    ranking = np.frombuffer(table.ranking_of[PolicyId("web")], "<u2")[np.frombuffer(table.v4, "<u4") >> 8]
    first = np.array([names.index(each.pools4[0][4:]) for each in table.rankings[PolicyId("web")]])[ranking]
    second = np.array([names.index(each.pools4[1][4:]) for each in table.rankings[PolicyId("web")]])[ranking]
    known = place != 0
    assert web["networks"] == int(known.sum())
    assert web["moved_networks"] == int((known & (first == 0)).sum())
    at = points(places.rows["latitude"], places.rows["longitude"])
    km = np.stack([kilometres_to(PLACES[name][:2], at) for name in names])
    for side, given in (("before", first), ("after", np.where(first == 0, second, first))):
        found = km[given[known], place[known]]
        found = found[np.isfinite(found)]
        assert web["distance"][side]["mean_km"] == pytest.approx(float(found.mean()), rel=1e-5)  # shares are millionths
        assert web["distance"][side]["p90_km"] == pytest.approx(float(np.quantile(found, 0.9)), abs=1)
