"""`gslb explain`, through the front door: every step it prints, and its JSON beside what the nameserver says."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gslb.cli.main import main
from gslb.config.load import load
from gslb.control.executor import Content, DnsTables
from gslb.control.observed import Observed
from gslb.control.store import Store
from gslb.decide.decide import decide
from gslb.geo.load import location_table
from gslb.inspect.situation import mapped_table
from gslb.model.deployment import TYPE_A, PolicyId, PoolId
from gslb.model.history import WHOLE, Cause, History, Moved, Shed
from gslb.model.world import Health, Load, Verdict, World
from tests.cli.deployment import CONFIG

Explain = Callable[..., Any]
Text = Callable[..., str]
SECRET = b"0123456789abcdef"


@pytest.fixture
def text(options: list[str], capsys: pytest.CaptureFixture[str]) -> Text:
    """What a command on the small deployment prints."""

    def run(*words: str) -> str:
        assert main([*words, *options]) == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def explain(text: Text) -> Explain:
    """`explain --json`, read."""

    def run(*words: str) -> Any:
        return json.loads(text("explain", *words, "--json"))

    return run


@pytest.fixture
def secret(store: Store) -> None:
    """The node has a secret, as `gslb run` leaves it."""
    store.create()
    (store.folder / "secret").write_bytes(SECRET)


@pytest.mark.usefixtures("secret")
def test_the_whole_way_of_one_client(text: Text) -> None:
    assert text("drain", "site/iad", "--why", "CHG-7").startswith("site/iad: drain, by ")
    lines = text("explain", "www.example.com", "--client", "10.20.3.0/24").splitlines()
    assert lines[0] == "www.example.com. A for client subnet 10.20.3.0/24, told by 127.0.0.1"
    assert lines[1:6] == [
        "zone      example.com.",
        "record    dynamic: www.example.com. is bound to policy web",
        "place     no database row",
        "class     1 of 2, /16 (10.20.0.0/16)",
        lines[5],
    ]
    assert lines[6] == "rule      1 of 2: in 10.20.0.0/16; 10.20.0.0/16: as written"
    assert lines[7] == "pools     1. web-iad at iad (as written): removed"
    removed = next(
        number for number, line in enumerate(lines) if "198.51.100.10 removed by drained: drain site/iad by " in line
    )
    rest = lines[removed + 1 :]
    assert rest[:2] == [
        "          2. web-cloud at cloud (spill target): answers",
        "          3. web-fra at fra (other pool of the policy): usable",
    ]
    assert rest[2:9] == [
        "choice    normal: the first pool is out, and its clients are divided among those with room",
        "          web-iad sheds all of this class to web-cloud (out)",
        "          203.0.113.1 weight 1: 1 of 1 in a reply",
        "          this client goes from web-iad to web-cloud: it is out of the answers",
        "ttl       30 s: the least of record 60 and policy 30",
        "answer    NOERROR, scope /16",
        "          www.example.com. 30 IN A 203.0.113.1",
    ]
    assert rest[9].startswith("plan      version 1, digest ")
    assert rest[10] == "          nothing is served with this state folder"


@pytest.mark.usefixtures("secret")
@pytest.mark.parametrize("client", ["192.0.2.0/24", "192.0.3.0/24", "198.18.7.9", "2001:db8:77::/56"])
def test_a_choice_by_hash_names_slot_and_network(explain: Explain, client: str) -> None:
    told = explain("www.example.com", "--client", client)
    decision = told["decision"]
    assert [(member["address"], member["weight"]) for member in decision["members"]] == [
        ("192.0.2.10", 3),
        ("192.0.2.11", 1),
    ]
    assert decision["slot"]["slots"] == 1021
    assert told["answer"]["scope"] == (24 if "." in client else 56)
    assert told["answer"]["records"][0].split()[-1] in ("192.0.2.10", "192.0.2.11")
    assert explain("www.example.com", "--client", client) == told


def test_without_a_secret_what_hangs_on_it_is_not_told(explain: Explain) -> None:
    told = explain("www.example.com", "--client", "192.0.2.0/24")
    assert (told["decision"]["slot"], told["answer"]) == (None, None)
    assert "has no secret yet" in told["notes"][0]
    assert explain("api.example.com")["notes"] == []


def test_the_resolver_decides_where_no_client_is_told(explain: Explain) -> None:
    by_resolver = explain("www.example.com", "--resolver", "10.20.0.53")
    assert [pool["pool"] for pool in by_resolver["decision"]["pools"] if pool["chosen"]] == ["web-iad"]
    assert by_resolver["answer"]["scope"] is None
    hidden = explain("www.example.com", "--resolver", "10.20.0.53", "--client", "0.0.0.0/0")
    assert hidden["decision"]["class"] == by_resolver["decision"]["class"]
    assert hidden["answer"]["scope"] == 0


def test_a_type_that_no_pool_has(explain: Explain, tmp_path: Path) -> None:
    config = tmp_path / "gslb.yaml"
    config.write_text(CONFIG.replace(', "2001:db8:1::10"', ""))
    told = explain("www.example.com", "AAAA")
    assert (told["decision"]["mode"], told["decision"]["pools"], told["answer"]["rcode"]) == ("nodata", [], "NOERROR")
    assert told["answer"]["records"] == []


@pytest.mark.parametrize(
    ("words", "kind", "owner", "wildcard", "records", "rcode"),
    [
        (["text.example.com", "TXT"], "static", "text", None, ["text.example.com. 300 IN TXT"], "NOERROR"),
        (
            ["a.b.text.example.com", "TXT"],
            "static",
            "a.b.text",
            "*.text",
            ["a.b.text.example.com. 300 IN TXT"],
            "NOERROR",
        ),
        (["text.example.com", "MX"], "no data", "text", None, [], "NOERROR"),
        (["none.example.com"], "no such name", "none", None, [], "NXDOMAIN"),
        (["x.child.example.com"], "delegated", "x.child", None, ["child.example.com. 300 IN NS"], "NOERROR"),
        (["a.app.example.com"], "dynamic", "a.app", "*.app", [], "NOERROR"),
        (["blog.example.com"], "dynamic", "www", None, ["blog.example.com. 300 IN CNAME"], "NOERROR"),
        (
            ["A.old.example.com"],
            "dynamic",
            "a.app",
            "*.app",
            ["old.example.com. 300 IN DNAME", "a.old.example.com. 300 IN CNAME"],
            "NOERROR",
        ),
        (["example.org"], "not ours", None, None, [], "REFUSED"),
    ],
)
@pytest.mark.usefixtures("secret")
def test_kinds_of_names(
    explain: Explain,
    words: list[str],
    kind: str,
    owner: str | None,
    wildcard: str | None,
    records: list[str],
    rcode: str,
) -> None:
    told = explain(*words)
    record = told["record"]
    assert record["kind"] == kind
    assert record["owner"] == ("example.org." if owner is None else f"{owner}.example.com.")
    assert record["wildcard"] == (None if wildcard is None else f"{wildcard}.example.com.")
    assert [line.rsplit(" ", 1)[0] for line in record["records"]] == records
    assert told["answer"]["rcode"] == rcode
    assert (told["decision"] is not None) == (kind == "dynamic")
    if kind != "delegated":
        assert told["answer"]["records"][: len(record["records"])] == record["records"]


def test_the_plan_in_force_is_compared(explain: Explain, text: Text, store: Store) -> None:
    now = explain("api.example.com")["plan"]
    assert (now["version"], now["stored"], now["served"], now["in_force"]) == (1, None, None, False)
    serve(store)
    served = explain("api.example.com")["plan"]
    assert served["in_force"]
    assert served["stored"] == served["served"] == {"version": 1, "digest": now["digest"]}
    text("drain", "site/iad", "--why", "x")
    changed = explain("api.example.com")["plan"]
    assert (changed["version"], changed["in_force"], changed["served"]["version"]) == (2, False, 1)
    assert "NOT in force: generation 1 serves version 1" in text("explain", "api.example.com")


def test_the_table_in_force_is_used_unless_the_configuration_moved_on(
    explain: Explain, store: Store, tmp_path: Path
) -> None:
    serve(store)
    geography = explain("www.example.com")["decision"]["geography"]
    cache = tmp_path / "state" / "geography"
    cache.unlink()
    assert explain("www.example.com")["decision"]["geography"] == geography
    assert not cache.exists()
    config = CONFIG.replace("      - {subnets: [10.20.0.0/16], pools: [web-iad]}\n", "")
    (tmp_path / "gslb.yaml").write_text(config)
    assert explain("www.example.com")["decision"]["geography"] != geography


@pytest.mark.usefixtures("secret")
def test_a_damaged_state_folder_is_noted_and_left_alone(explain: Explain, store: Store) -> None:
    (store.folder / "plan.json").write_text("{")
    store.overrides_path.write_text("{")
    notes = explain("api.example.com")["notes"]
    assert ["not a plan" in notes[0], "the whole file is ignored" in notes[1]] == [True, True]
    assert (store.folder / "plan.json").read_text() == store.overrides_path.read_text() == "{"


def test_a_database_that_cannot_be_read_is_noted(explain: Explain, tmp_path: Path) -> None:
    (tmp_path / "city.mmdb").write_bytes(b"no database")
    config = tmp_path / "gslb.yaml"
    config.write_text(config.read_text() + "geo: {databases: [city.mmdb]}\n")
    told = explain("api.example.com")
    assert told["answer"]["records"] == ["api.example.com. 60 IN A 192.0.2.20"]
    assert any("city.mmdb" in note for note in told["notes"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a..b"], "expected a domain name"),
        (["www.example.com", "NOTYPE"], "expected a record type"),
        (["www.example.com", "--client", "x"], "'x' is no address and no subnet"),
        (["www.example.com", "--resolver", "x"], "'x' is no address"),
    ],
)
def test_wrong_usage(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["explain", *words])
    assert said in capsys.readouterr().err


FULL = (
    CONFIG.replace("web-fra: {datacenter: fra,", "web-fra: {datacenter: fra, capacity: {conns_per_s: 100},")
    .replace("web-iad: {datacenter: iad,", "web-iad: {datacenter: iad, capacity: {conns_per_s: 100},")
    .replace(", 192.0.2.11", "")
)
WEB, FRA, IAD = PolicyId("web"), PoolId("web-fra"), PoolId("web-iad")


def shed(store: Store, slots: int) -> None:
    """The node sheds: the plan of the last decision moved `slots` of the class of all other clients, and web-fra is as full
    as it wants to be.
    """
    folder = store.folder.parent.parent.parent
    (folder / "gslb.yaml").write_text(FULL)
    loaded, now = load(folder / "gslb.yaml"), time.time()
    geography = mapped_table(location_table(loaded.deployment, folder / "state" / "geography").path).geography()
    plan = decide(loaded.deployment, geography, World(now - 5), None)
    ranking = next(index for index, one in enumerate(geography.rankings[WEB]) if one.pools4[0] == FRA)
    moved = Moved(WEB, TYPE_A, ranking, IAD, slots)
    history = History(sheds={FRA: Shed(Cause.LOAD, slots / WHOLE, now - 5, geography.digest, (moved,))})
    store.create()
    store.save_plan(replace(plan, history=history))
    up = {"192.0.2.10": Verdict(Health.UP, 1.0, "refused once", settles_s=7.0)}
    loads = {FRA: Load(0.85, 2.0), IAD: Load(0.3, 2.0, stale=True)}
    store.save_observed(Observed(now, {FRA: up}, loads))


@pytest.mark.usefixtures("secret")
def test_a_client_that_was_shed_is_told_from_where_to_where_and_why(text: Text, explain: Explain, store: Store) -> None:
    shed(store, WHOLE // 2)
    answered = {}
    for client in (f"198.51.{number}.0/24" for number in range(40)):
        told = explain("www.example.com", "--client", client)
        (going,) = told["decision"]["shed"]
        assert (going["pool"], going["receiver"], going["cause"], going["first"]) == (FRA, IAD, "load", 0)
        slot, moved = told["decision"]["slot"]["slot"], told["decision"]["moved_by"]
        assert (moved is not None) == (slot < going["slots"])
        assert told["answer"]["scope"] == 24
        given = told["answer"]["records"][0].split()[-1]
        assert [member["address"] for member in told["decision"]["members"]] == [given]
        assert [pool["pool"] for pool in told["decision"]["pools"] if pool["chosen"]] == [FRA if moved is None else IAD]
        answered[given] = client
    assert answered.keys() == {"192.0.2.10", "198.51.100.10"}
    lines = text("explain", "www.example.com", "--client", answered["198.51.100.10"])
    assert "1. web-fra at fra (as written): would answer, and sheds this client" in lines
    assert "2. web-iad at iad (as written): answers" in lines
    assert "this client goes from web-fra to web-iad: it is fuller than its soft mark" in lines
    assert "load 30.0% of its capacity, " in lines
    assert " s ago, stale, soft 80%, hard 90%" in lines
    assert "192.0.2.10 up, checked " in lines
    assert "refused once; its checks disagree, it could change in 7.0 s" in lines
    assert "ttl       7 s: the least of record 60 and policy 7" in lines
    assert "the policy's TTL is shortened from 30, since an answer may change soon" in lines
    stays = text("explain", "www.example.com", "--client", answered["192.0.2.10"])
    assert "1. web-fra at fra (as written): answers" in stays
    assert "this client goes" not in stays


def test_a_class_that_went_whole_needs_no_secret(explain: Explain, store: Store) -> None:
    shed(store, WHOLE)
    told = explain("www.example.com", "--client", "198.51.7.0/24")
    assert (told["decision"]["slot"], told["decision"]["moved_by"]["receiver"]) == (None, IAD)
    assert told["answer"]["records"][0].endswith(" A 198.51.100.10")
    assert told["notes"] == []


def serve(store: Store) -> None:
    """What `gslb run` would have left: a stored plan, and a generation that serves it."""
    state = store.folder.parent.parent
    loaded = load(state.parent / "gslb.yaml")
    located = location_table(loaded.deployment, state / "geography")
    plan = decide(loaded.deployment, mapped_table(located.path).geography(), World(now=0.0), None)
    store.save_plan(plan)
    executor = DnsTables(store.folder / "serving", "test")
    executor.apply(plan, Content(located.path, loaded.zones, None, SECRET))
    executor.close()


@pytest.mark.usefixtures("secret")
def test_where_nothing_is_usable_an_answer_says_so(text: Text, store: Store) -> None:
    down = Verdict(Health.DOWN, why="refused")
    pools = {PoolId("api-fra"): "192.0.2.20", PoolId("api-iad"): "198.51.100.20"}
    store.save_observed(Observed(time.time(), {pool: {address: down} for pool, address in pools.items()}))
    lines = text("explain", "api.example.com")
    assert "1. api-fra at fra (as written): answers (serve_all: nothing is usable)" in lines
    store.save_observed(Observed(time.time(), {PoolId("api-iad"): {"198.51.100.20": down}}))
    assert "1. api-fra at fra (as written): answers\n" in text("explain", "api.example.com")


BALANCED = CONFIG.replace(
    'web-fra: {datacenter: fra, answers: [{value: 192.0.2.10, weight: 3}, 192.0.2.11, "2001:db8:1::10"]}',
    "web-fra: {datacenter: fra, answers: [192.0.2.10], balance: "
    "{listen: [tcp/80], backends: [10.1.0.1, 10.1.0.2, 10.1.0.3, 10.1.0.4]}}",
)


@pytest.mark.usefixtures("secret")
def test_what_the_balancer_does_with_backends(
    text: Text, explain: Explain, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    """An operator's word on a backend acts on its table, and explain and status say what became of each."""
    (tmp_path / "gslb.yaml").write_text(BALANCED)
    verdicts = {"10.1.0.1": Verdict(Health.UP, 1.0), "10.1.0.2": Verdict(Health.DOWN, 1.0, "refused")}
    store.save_observed(Observed(time.time(), {FRA: verdicts}))
    text("drain", "backend/web-fra/10.1.0.3", "--why", "CHG-7")
    pools = {pool["pool"]: pool for pool in explain("www.example.com")["decision"]["pools"]}
    assert {one["address"]: one["serving"] for one in pools[FRA]["targets"]} == {
        "10.1.0.1": "up",
        "10.1.0.2": "down",
        "10.1.0.3": "drain",
        "10.1.0.4": "up",
    }
    assert {one["serving"] for one in pools[IAD]["targets"]} == {None}
    lines = [line.strip() for line in text("explain", "www.example.com").splitlines()]
    assert any(line.startswith("10.1.0.1 up, checked ") and line.endswith(" s ago") for line in lines)
    assert any(line.endswith("refused; its balancer gives it nothing") for line in lines)
    drained = "10.1.0.3 its balancer leaves it its flows, and gives it no new ones (drain by "
    assert [line.endswith(": CHG-7)") for line in lines if line.startswith(drained)] == [True]
    assert not [line for line in lines if line.startswith("10.1.0.4")]
    loaded = load(tmp_path / "gslb.yaml")
    places = mapped_table(location_table(loaded.deployment, tmp_path / "state" / "geography").path).geography()
    store.save_plan(decide(loaded.deployment, places, World(time.time(), verdicts={FRA: verdicts}), None))
    main(["status", *options, "--json"])
    told = json.loads(capsys.readouterr().out)
    (fra,) = (pool for pool in told["pools"] if pool["name"] == FRA)
    assert {one["address"]: one["serving"] for one in fra["targets"]} == {"10.1.0.1": "up", "10.1.0.2": "down"}


@pytest.mark.usefixtures("secret")
def test_why_a_backend_that_fails_is_given_flows(text: Text, store: Store, tmp_path: Path) -> None:
    (tmp_path / "gslb.yaml").write_text(BALANCED)
    down = {f"10.1.0.{number}": Verdict(Health.DOWN, 1.0, "refused") for number in range(1, 5)}
    store.save_observed(Observed(time.time(), {FRA: down}))
    told = "refused; its balancer gives it new flows all the same: too few others serve"
    assert text("explain", "www.example.com").count(told) == 4


@pytest.mark.usefixtures("secret")
def test_why_a_pool_cannot_be_balanced_here(text: Text, explain: Explain, store: Store, tmp_path: Path) -> None:
    (tmp_path / "gslb.yaml").write_text(BALANCED)
    store.save_observed(Observed(time.time(), unbalanced={FRA: "no interface takes the program"}))
    assert [pool["pool"] for pool in explain("www.example.com")["decision"]["pools"] if pool["chosen"]] == [IAD]
    why = "192.0.2.10 removed by voted_down: cannot be balanced here: no interface takes the program"
    assert why in text("explain", "www.example.com")
