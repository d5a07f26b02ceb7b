"""`gslb status`, through the front door, of a node that does not run."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gslb.cli.main import main
from gslb.config.load import load
from gslb.control import anycastfile, balancerfile
from gslb.control.balancerchild import LOCK
from gslb.control.facts import Facts
from gslb.control.lock import CONTROLLER, Lock
from gslb.control.observed import Observed
from gslb.control.sharedfile import save_world
from gslb.control.store import Store
from gslb.decide.decide import decide
from gslb.inspect.basis import from_files
from gslb.inspect.situation import Situation
from gslb.model.deployment import NodeId, PoolId
from gslb.model.history import Cause, History, Shed
from gslb.model.world import Forced, Health, Load, Override, Verdict, World
from gslb.nameserver.counters import Counter
from gslb.nameserver.scoreboard import Kind, Scoreboard
from tests.cli.deployment import CONFIG, write_deployment
from tests.control import routed

NOBODY = 65534


@contextmanager
def another_user() -> Iterator[None]:
    """Root may read everything: be somebody else."""
    mine = os.geteuid()
    if mine == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(mine)


def test_a_folder_that_may_not_be_read_is_one_line(tables: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)  # the configuration may be read
        options = write_deployment(Path(name), tables)
        store = Store(Path(name) / "state", "test", "fra")
        (store.folder / "run").mkdir(parents=True)
        main(["status", *options])  # imports what another user may not
        capsys.readouterr()
        store.folder.chmod(0)
        with another_user():
            assert main(["status", *options]) == 1
        store.folder.chmod(0o700)
    remedy = "run it as the user that runs the node, or give --state"
    assert capsys.readouterr() == ("", f"gslb: {store.folder / 'run'}: Permission denied; {remedy}\n")


def test_what_is_not_known_is_left_out(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", *options]) == 1
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines()[0].endswith("  deployment test  node fra")
    assert "None" not in out


def test_lines_do_not_wrap_where_nobody_looks(
    options: list[str], store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    store.create()
    facts = Facts()
    facts.open(store.folder)
    problem = "a long word " * 30 + "end"
    facts.problem("zones", (problem,))
    main(["status", *options])
    assert f"problem     zones: {problem}" in capsys.readouterr().out.splitlines()


def test_what_checks_and_loads_warn_of(options: list[str], store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    store.create()
    target = {"check": "web/192.0.2.1", "address": "192.0.2.1", "pools": ["web-fra", "api-fra"]}
    well = {**target, "address": "192.0.2.2", "warning": ""}
    loads = {"web-fra": {"error": "no load: 'NaN'"}, "api-fra": {"error": ""}}
    store.save_figures({"targets": [{**target, "warning": "the certificate expires in 5 days"}, well], "loads": loads})
    main(["status", *options])
    out = capsys.readouterr().out.splitlines()
    assert "warning     web-fra, api-fra 192.0.2.1: the certificate expires in 5 days" in out
    assert "load        web-fra: no load: 'NaN'; the last one is kept" in out
    assert not [line for line in out if "192.0.2.2:" in line or "api-fra:" in line]


def test_what_the_driver_goes_on_with_is_not_told_under_a_dead_pid(
    options: list[str], store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    store.create()
    run = store.folder / "run"
    run.mkdir(exist_ok=True)
    board = Scoreboard(run / "xdp-77.board", Kind.XDP, 0)
    board.show([1] * len(Counter))
    board.close()
    interfaces = [{"name": "eth0", "attached": "native"}]
    driver = {"why": "", "notes": [], "interfaces": interfaces, "version": 7, "octets": 12_000_000, "addresses": 1}
    balancerfile.save(run, {"balancer": None, "driver": driver})

    def shown() -> tuple[list[str], bool]:
        main(["status", *options])
        out = capsys.readouterr().out.splitlines()
        (row,) = (line.split() for line in out if line.startswith("xdp 0"))
        return row[2:4] + row[6:7], any("no process drives it since 20" in line for line in out)

    assert shown() == (["-", "undriven", "-"], True)
    lock = Lock(store.folder, LOCK)
    assert shown() == ([str(os.getpid()), "alive", "-"], False)
    lock.release()


def test_routes_and_a_drain_by_what_the_controller_left(
    options: list[str], store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    store.create()
    (store.folder / "run").mkdir(exist_ok=True)
    anycastfile.save_state(store.folder / "run", routed.state())
    facts = Facts()
    facts.open(store.folder)
    draining = {
        "site": "fra",
        "state": "drain",
        "who": "alice",
        "why": "CHG-7",
        "since": time.time(),
        "at": time.time(),
    }
    facts.say(draining={**draining, "arrivals": [], "obstacles": [], "safe": True})
    held = [Lock(store.folder), Lock(store.folder, CONTROLLER)]

    def shown() -> list[str]:
        main(["status", *options])
        return [line.split()[0] for line in capsys.readouterr().out.splitlines()]

    found = shown()
    assert [found.count(word) for word in ("bgp", "neighbor", "route", "draining")] == [1, 1, 1, 2]
    for lock in held:
        lock.release()
    found = shown()
    assert [found.count(word) for word in ("bgp", "neighbor", "route", "draining")] == [2, 1, 1, 0]
    anycastfile.save_state(store.folder / "run", None)
    assert not {"bgp", "neighbor", "route"} & set(shown())


def test_looking_moves_no_file(options: list[str], store: Store) -> None:
    store.create()
    (store.folder / "plan.json").write_text("{")
    assert main(["status", *options]) == 1
    assert (store.folder / "plan.json").read_text() == "{"


def test_a_refused_configuration_shows_the_only_node(
    options: list[str], store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store.create()
    (store.folder / "controller.json").write_text("damaged")
    (tmp_path / "gslb.yaml").write_text("deployment: test\n")
    assert main(["status", *options]) == 1
    assert capsys.readouterr().out.splitlines()[0].endswith("  deployment test  node fra")


def test_overrides_of_no_such_target_are_told_last_and_many_are_folded(
    options: list[str], store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    targets = [*(f"pool/no-such-{number}" for number in range(1_020)), "pool/web-fra"]
    made = tuple(Override(target, Forced.DRAIN, "ops", "[b]x", time.time()) for target in targets)
    store.edit_overrides(lambda _: made, time.time())
    main(["status", *options])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("override ")]
    assert lines[0] == "override    pool/web-fra drain by ops, until ended: [b]x"
    assert lines[1] == "override    pool/no-such-0 drain (no such target) by ops, until ended: [b]x"
    assert (len(lines), lines[-1]) == (21, "override    ... and 1,001 more; --json has all")


def situation_of(options: list[str]) -> Situation:
    loaded = load(Path(options[1]))
    return Situation(
        Path(options[1]), loaded, loaded.deployment.nodes[NodeId("fra")], Store(Path(options[3]), "test", "fra")
    )


def policies_of(out: str) -> list[str]:
    return [line for line in out.splitlines() if line.startswith("policy ")]


def test_a_policy_of_which_all_is_down_is_told_with_mode_and_ttl(
    options: list[str], store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    model = load(Path(options[1])).deployment
    down = Verdict(Health.DOWN, why="refused")
    for fallen, told in (
        ("api", ["policy      api: A serve_all, AAAA serve_all; TTL 60 s"]),
        ("api-iad", []),
    ):
        pools = [pool for pool in model.pools.values() if pool.name.startswith(fallen)]
        verdicts = {pool.name: {str(answer.address): down for answer in pool.answers} for pool in pools}
        seen = Observed(time.time(), verdicts)
        geography = from_files(situation_of(options), time.time()).geography
        store.save_plan(decide(model, geography, seen.world(time.time(), (), geography.digest), None))
        main(["status", *options])
        assert policies_of(capsys.readouterr().out) == told


def test_what_a_continent_finds_otherwise(options: list[str], store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    store.create()
    name, (address, *_) = PoolId("web-fra"), load(Path(options[1])).deployment.pools[PoolId("web-fra")].answers
    target = str(address.address)
    of_all = {name: {target: Verdict(Health.UP)}}
    store.save_observed(
        Observed(time.time(), of_all, regional={"AS": {name: {target: Verdict(Health.DOWN, 3.0, "refused")}}})
    )
    main(["status", *options])
    out = capsys.readouterr().out
    (line,) = (line for line in out.splitlines() if line.startswith("web-fra"))
    assert "up, down from AS" in line
    assert f"regional    web-fra {target} is down as seen from AS: refused (checked 3 s ago)" in out


def test_loads_over_a_mark_and_marks_that_were_computed(
    options: list[str], store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Path(options[1])
    plain = "capacity: {conns_per_s: 100}"
    for capacity, share, told in (
        (plain, 0.5, "50% 80%/90%"),
        (plain, 0.85, "85% over soft 80%/90%"),
        (plain, 1.09, "109% over hard 80%/90%"),
        ("capacity: {conns_per_s: 100, servers: 4, soft: auto}", 0.2, "20% 53% (auto)/90%"),
    ):
        config.write_text(CONFIG.replace(plain, capacity))
        store.create()
        store.save_observed(Observed(time.time(), loads={PoolId("web-cloud"): Load(share)}))
        main(["status", *options])
        (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("web-cloud"))
        assert told in " ".join(line.split())


@pytest.mark.parametrize(("level", "told"), [(0.0004, "-"), (0.0006, "0.1% (return)")])
def test_what_is_shed_is_left_out_where_it_is_nothing(
    options: list[str], store: Store, capsys: pytest.CaptureFixture[str], level: float, told: str
) -> None:
    model = load(Path(options[1])).deployment
    geography = from_files(situation_of(options), time.time()).geography
    plan = decide(model, geography, World(time.time()), None)
    shed = Shed(Cause.RETURN, level, time.time(), geography.digest)
    store.save_plan(replace(plan, history=History(sheds={PoolId("web-fra"): shed})))
    main(["status", *options])
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("web-fra"))
    assert line.rstrip().endswith(f" {told}")


def test_addresses_in_brackets_are_shown(options: list[str], store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    store.create()
    facts = Facts()
    facts.open(store.folder)
    facts.say(listening=["192.0.2.53:53", "[fd00:1::10]:53"])
    main(["status", *options])
    assert "listening   192.0.2.53:53, [fd00:1::10]:53\n" in capsys.readouterr().out


def test_the_deployment_of_which_a_node_knows(
    options: list[str], store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    store.create()
    facts = Facts()
    facts.open(store.folder)
    facts.problem("bus", ("no bus since then",))
    now = time.time()
    main(["status", *options])
    alone = capsys.readouterr().out.splitlines()
    assert "problem     bus: no bus since then" in alone
    assert not [line for line in alone if line.startswith(("bus", "node"))]

    fra = {"node": "fra", "site": "fra", "this": True, "alive": True, "heard_s": 0.0}
    iad = {"node": "iad", "site": "iad", "this": False, "alive": False, "heard_s": 60.0, "known": {}}
    bus = {"connected": False, "since": now - 600, "why": "refused", "server": "", "keys_why": "", "refused": None}
    told = {"at": now - 120, "bus": bus, "nodes": [fra, iad], "refused": {}, "sheds": {"writers": {"web-fra": "fra"}}}
    save_world(store, Observed(now), told)
    main(["status", *options])
    out = capsys.readouterr().out.splitlines()
    (line,) = (line for line in out if line.startswith("bus "))
    assert line.endswith("(10 min); what other nodes say is as old: refused")
    assert "nodes       as they were known 2 min ago: the controller does not tell any more" in out
    assert "iad   iad   not heard for 3 min" in [line.rstrip() for line in out]
    assert not [line for line in out if line.startswith("problem ")]
    writers = {line.split()[0]: line.split()[-1] for line in out if line.startswith("web-")}
    assert writers == {"web-fra": "fra", "web-iad": "kept", "web-cloud": "kept"}
