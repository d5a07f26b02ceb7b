"""`gslb apply`: what is refused before anything is published."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gslb.cli.main import main
from gslb.control.facts import ROLLOUT, Facts
from gslb.control.lock import Lock
from gslb.control.proposal import ANSWERED, PROPOSED
from gslb.control.store import Store
from tests.cli.deployment import CONFIG, ZONE

Apply = Callable[..., tuple[int, str, str]]


@pytest.fixture
def apply(options: list[str], capsys: pytest.CaptureFixture[str]) -> Apply:
    """Run it on the small deployment: exit status, stdout, stderr."""

    def run(*words: str) -> tuple[int, str, str]:
        status = main(["apply", *words, *options])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """Another configuration."""
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "example.com.yaml").write_text(ZONE)
    (folder / "gslb.yaml").write_text(CONFIG.replace("max: 30", "max: 20"))
    return folder / "gslb.yaml"


@pytest.fixture
def lives(store: Store) -> Iterator[Facts]:
    """A controller that lives, as far as its lock and its facts say."""
    store.create()
    lock = Lock(store.folder)
    told = Facts()
    told.open(store.folder)
    yield told
    lock.release()


def test_what_is_asked_must_be_clear(apply: Apply, new: Path) -> None:
    assert apply()[::2] == (2, "gslb: expected a FILE, or --back\n")
    assert apply(str(new), "--back")[::2] == (2, "gslb: expected a FILE, or --back\n")
    assert apply(str(new), "--json")[::2] == (2, "gslb: expected --yes with --json\n")


def test_a_node_that_does_not_run_publishes_nothing(apply: Apply, new: Path, store: Store) -> None:
    status, _, said = apply(str(new), "--yes")
    assert status == 1
    assert "node fra is not running with this state folder: it is the running node that publishes" in said
    assert not (store.folder / PROPOSED).exists()


@pytest.mark.usefixtures("lives")
def test_files_that_no_node_could_run_are_refused(apply: Apply, new: Path, tmp_path: Path) -> None:
    good = new.read_text()
    for bad, why in (
        (good.replace("max: 20", "max: twenty"), "twenty"),
        (good.replace("deployment: test", "deployment: other"), "it is of deployment other, expected test"),
        (good.replace("example.com.yaml", str(tmp_path / "example.com.yaml")), "lies outside of"),
    ):
        new.write_text(bad)
        status, _, said = apply(str(new), "--yes")
        assert status == 1
        assert why in said


@pytest.mark.usefixtures("lives")
def test_nobody_is_asked_where_nobody_types(apply: Apply, new: Path, store: Store) -> None:
    status, shown, said = apply(str(new))
    assert status == 1
    assert "web-fra" in shown, "what it changes is shown"
    assert shown.endswith("nothing was published\n")
    assert said == "gslb: there is nobody to ask; --yes publishes without a question\n"
    assert not (store.folder / PROPOSED).exists()


@pytest.mark.usefixtures("lives")
def test_who_changes_the_bus_is_told_that_there_may_be_no_way_back(apply: Apply, new: Path) -> None:
    assert "it changes `bus`" not in apply(str(new))[1]
    new.write_text(new.read_text() + "bus: {nats: ['nats://192.0.2.1:4222']}\n")
    assert "it changes `bus`: a node that cannot reach the new one" in apply(str(new))[1]


def test_what_the_node_answers_is_told(
    apply: Apply, new: Path, store: Store, lives: Facts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node answers before it is asked: who asks looks for the name of the proposal."""
    monkeypatch.setattr("gslb.cli.commands.apply.os.urandom", lambda _: b"\1")
    lives.say(**{ANSWERED: {"id": "01", "version": None, "lines": ["version 4 by bob is published now", "more"]}})
    assert apply(str(new), "--yes")[::2] == (1, "gslb: version 4 by bob is published now\n      more\n")
    proposed = json.loads((store.folder / PROPOSED).read_text())
    assert (proposed["base"], proposed["why"]) == (0, "")
    lives.say(
        **{ANSWERED: {"id": "01", "version": 5, "lines": []}, ROLLOUT: {"published": {"version": 4}, "in_force": 5}}
    )
    status, shown, _ = apply(str(new), "--yes", "--json", "--why", "CHG-7")
    assert status == 0
    told = json.loads(shown)
    assert (told["version"], told["in_force_here"]) == (5, True)
    assert {pool["pool"] for pool in told["changes"]["pools"]} >= {"web-fra", "web-iad"}
    proposed = json.loads((store.folder / PROPOSED).read_text())
    assert (proposed["base"], proposed["why"]) == (4, "CHG-7")
    status, shown, _ = apply("--back", "--yes")
    assert status == 0
    assert shown.startswith("this node does not have the version before")
    assert json.loads((store.folder / PROPOSED).read_text())["bundle"] is None
