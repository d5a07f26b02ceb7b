"""`gslb drain`, `up`, `down` and `auto`, through the front door."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gslb.cli.main import main
from gslb.control.endings import endings
from gslb.control.lock import Lock
from gslb.control.observed import Observed
from gslb.control.store import Store
from gslb.control.words import MAX_OVERRIDES
from gslb.model.deployment import PoolId
from gslb.model.world import Forced, Override
from tests.cli.deployment import CONFIG

Gslb = Callable[..., tuple[int, str, str]]


@pytest.fixture
def gslb(options: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Gslb:
    """Run a command on the small deployment: exit status, stdout, stderr."""
    monkeypatch.setenv("SUDO_USER", "alice")

    def run(*words: str) -> tuple[int, str, str]:
        try:
            status = main([*words, *options])
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 1
        told = capsys.readouterr()
        return status, told.out, told.err

    return run


def test_drain_says_what_moves_and_until_when(gslb: Gslb, store: Store) -> None:
    status, out, err = gslb("drain", "pool/web-iad", "--for", "2h", "--why", "CHG-1042 new kernel")
    assert (status, err) == (0, "")
    first, *rest = out.splitlines()
    assert first.startswith("pool/web-iad: drain until 20")
    assert first.endswith(" UTC, by alice: CHG-1042 new kernel")
    assert rest == [
        "  policy web A    web-iad -> web-cloud",
        f"  node fra is not running with this state folder: it is kept in {store.overrides_path}",
    ]
    (override,) = store.load_overrides().overrides or ()
    assert (override.target, override.state, override.who, override.force) == ("pool/web-iad", "drain", "alice", False)
    assert override.until == pytest.approx(override.since + 7200)


def test_aaaa_that_only_this_pool_has_is_guarded(gslb: Gslb, store: Store) -> None:
    """The guard looks at each record type: no other pool of the policy has AAAA."""
    status, out, err = gslb("down", "pool/web-fra", "--why", "x")
    assert (status, out) == (1, "")
    assert err == (
        "gslb: down pool/web-fra would leave nothing else to answer for policy web AAAA; "
        "nothing was changed (--force does it all the same)\n"
    )
    assert store.load_overrides().overrides == ()


def test_types_that_no_name_has_are_nobodys_concern(gslb: Gslb) -> None:
    """Only api-fra has AAAA, but no record of this policy asks for it."""
    status, out, _ = gslb("drain", "pool/api-fra", "--why", "x")
    assert (status, out.splitlines()[1:2]) == (0, ["  policy api A    api-fra -> api-iad"])


def test_force_does_it_all_the_same(gslb: Gslb, store: Store) -> None:
    status, out, _ = gslb("down", "pool/web-fra", "--why", "x", "--force")
    assert status == 0
    assert "  policy web A    web-fra -> web-iad\n  policy web AAAA web-fra -> nodata\n" in out
    assert [override.force for override in store.load_overrides().overrides or ()] == [True]


def test_the_last_of_several_overrides_is_refused(gslb: Gslb) -> None:
    assert gslb("drain", "answer/web-fra/192.0.2.10", "--why", "x")[0] == 0
    assert gslb("drain", "answer/web-fra/192.0.2.11", "--why", "x")[0] == 0
    assert gslb("drain", "site/iad", "--why", "x")[0] == 0
    status, _, err = gslb("drain", "site/cloud", "--why", "x")
    assert status == 1
    assert "for policy web A;" in err


def test_one_address_of_a_pool(gslb: Gslb) -> None:
    status, out, _ = gslb("drain", "answer/web-fra/192.0.2.10", "--why", "x")
    assert status == 0
    assert "  policy web A    web-fra 192.0.2.10, 192.0.2.11 -> web-fra 192.0.2.11\n" in out


def test_addresses_may_be_written_in_any_form(gslb: Gslb, store: Store) -> None:
    assert gslb("up", "answer/web-fra/2001:DB8:1:0::10", "--why", "x")[0] == 0
    assert [o.target for o in store.load_overrides().overrides or ()] == ["answer/web-fra/2001:db8:1::10"]


def test_up_moves_nothing_while_all_is_well(gslb: Gslb) -> None:
    status, out, _ = gslb("up", "site/iad", "--why", "x")
    assert (status, out.splitlines()[1]) == (0, "  no answer moves")


@pytest.fixture
def balanced(options: list[str]) -> None:
    """The pool web-iad has two backends behind a balancer."""
    plain = "answers: [198.51.100.10]"
    balance = "balance: {listen: [tcp/80], forward: l2, backends: [10.2.0.1, 10.2.0.2]}"
    Path(options[1]).write_text(CONFIG.replace(plain, f"{plain}, {balance}"))


@pytest.mark.usefixtures("balanced")
def test_what_becomes_of_a_backend(gslb: Gslb) -> None:
    def told(*words: str) -> list[str]:
        status, out, err = gslb(*words)
        assert (status, err) == (0, "")
        return out.splitlines()[1:-1]

    one, two = (f"  backend web-iad 10.2.0.{number}" for number in (1, 2))
    empty = "  it is empty when `gslb lb stats` shows no packets to it; flows that are silent for 5 min may move"
    kept = "keeps its flows; new ones go to 1 other"
    assert told("drain", "backend/web-iad/10.2.0.1", "--why", "x") == [f"{one} up -> drain: {kept}", empty]
    _, *again = told("drain", "backend/web-iad/10.2.0.1", "--why", "once more")
    assert again == [f"{one} drain as before: {kept}", empty]
    _, down = told("down", "backend/web-iad/10.2.0.1", "--why", "x")
    assert down == f"{one} drain -> down: its flows move at once, to 1 other"
    waits = "takes new flows until another backend can: only then it drains"
    gone = "  policy web A    web-iad -> web-cloud"
    assert told("drain", "backend/web-iad/10.2.0.2", "--why", "x") == [gone, f"{two} up as before: {waits}"]
    _, *ended = told("auto", "backend/web-iad/10.2.0.1")
    assert ended == [f"{one} down -> up: takes new flows", f"{two} up -> drain: {kept}"]
    assert told("drain", "pool/web-iad", "--why", "x") == [gone]


@pytest.mark.usefixtures("balanced")
def test_a_pool_that_is_not_balanced_here(gslb: Gslb, store: Store) -> None:
    store.create()
    store.save_observed(Observed(time.time(), unbalanced={PoolId("web-iad"): "balancer.attach is off"}))
    status, _, err = gslb("drain", "backend/web-iad/10.2.0.1", "--why", "x")
    assert (status, err) == (0, "gslb: pool web-iad is not balanced here: balancer.attach is off\n")


@pytest.mark.usefixtures("balanced")
@pytest.mark.parametrize("name", ["", "backend/", "backend/web-fra/", "answer/web-iad/", "pool/"])
def test_a_backend_that_is_not_named_as_one(gslb: Gslb, name: str) -> None:
    status, out, err = gslb("drain", f"{name}10.2.0.1", "--why", "x")
    assert (status, out) == (1, "")
    assert err.startswith(f"gslb: {name}10.2.0.1: ")
    assert err.endswith("did you mean backend/web-iad/10.2.0.1?\n")


@pytest.mark.usefixtures("balanced")
def test_the_last_backend_of_a_pool(gslb: Gslb) -> None:
    assert gslb("down", "backend/web-iad/10.2.0.1", "--why", "x")[0] == 0
    status, out, _ = gslb("down", "backend/web-iad/10.2.0.2", "--why", "x", "--force")
    dropped = "  backend web-iad 10.2.0.2 up -> down: no other serves: packets are dropped"
    assert (status, out.splitlines()[1:-1]) == (0, ["  policy web A    web-iad -> web-cloud", dropped])


def test_a_later_word_replaces_the_earlier(gslb: Gslb, store: Store) -> None:
    gslb("up", "site/iad", "--why", "first")
    status, out, _ = gslb("drain", "site/iad", "--why", "second")
    assert status == 0
    assert "  in place of up since " in out
    assert ", by alice: first\n" in out
    assert [o.why for o in store.load_overrides().overrides or ()] == ["second"]


def test_auto_ends_an_override(gslb: Gslb, store: Store) -> None:
    gslb("drain", "answer/web-fra/192.0.2.10", "--why", "x")
    status, out, _ = gslb("auto", "answer/web-fra/192.0.2.10")
    assert status == 0
    assert out.startswith("answer/web-fra/192.0.2.10: ended drain since ")
    assert "  policy web A    web-fra 192.0.2.11 -> web-fra 192.0.2.10, 192.0.2.11\n" in out
    assert store.load_overrides().overrides == ()
    assert gslb("auto", "answer/web-fra/192.0.2.10")[:2] == (0, "answer/web-fra/192.0.2.10: there is no override\n")


def test_auto_notes_who_ended_it_and_why(gslb: Gslb, store: Store) -> None:
    gslb("drain", "pool/web-iad", "--why", "x")
    gslb("auto", "pool/web-iad", "--why", "CHG-8 is done")
    gslb("drain", "pool/web-iad", "--why", "x")
    gslb("auto", "pool/web-iad")
    assert [(one.target, one.who, one.why) for one in endings(store.folder)] == [
        ("pool/web-iad", "alice", "CHG-8 is done"),
        ("pool/web-iad", "alice", ""),
    ]
    status, _, err = gslb("auto", "pool/web-iad", "--why", "")
    assert (status, "some words on one line" in err) == (2, True)


def test_auto_ends_an_override_of_what_is_no_longer_configured(gslb: Gslb, store: Store, tmp_path: Path) -> None:
    gslb("up", "site/iad", "--why", "x")
    config = tmp_path / "gslb.yaml"
    config.write_text(CONFIG.replace("  iad:", "  ord:").replace("datacenter: iad", "datacenter: ord"))
    assert gslb("auto", "site/iad")[0] == 0
    assert store.load_overrides().overrides == ()


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("pool/web-far", "pool/web-far: did you mean web-fra?"),
        ("site/clod", "site/clod: did you mean cloud?"),
        ("web-fra", "web-fra: did you mean pool/web-fra?"),
        ("iad", "iad: did you mean site/iad?"),
        ("policy/web", "policy/web: expected site/NAME, pool/NAME, answer/POOL/ADDRESS or backend/POOL/ADDRESS"),
        ("answer/web-iad/198.51.100.11", "pool web-iad has no such address; did you mean 198.51.100.10?"),
        ("answer/web-iad/x", "'x' is no address; expected 198.51.100.10"),
        ("backend/web-fra/10.1.0.11", "pool web-fra has no backends; expected answer/web-fra/ADDRESS"),
        ("", ": expected site/NAME"),
    ],
)
def test_unknown_targets_are_refused_with_what_was_meant(gslb: Gslb, store: Store, what: str, said: str) -> None:
    status, out, err = gslb("drain", what, "--why", "x")
    assert (status, out) == (1, "")
    assert said in err
    assert store.load_overrides().overrides == ()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["drain", "site/fra"], "required: --why"),
        (["drain", "site/fra", "--why", " "], "expected some words on one line"),
        (["drain", "site/fra", "--why", "a\nb"], "expected some words on one line"),
        (["drain", "site/fra", "--why", "\udc80"], "expected some words on one line"),
        (["drain", "site/fra", "--why", "x", "--for", "soon"], "expected a duration such as"),
        (["drain", "site/fra", "--why", "x", "--for", "0s"], "more than 0s and at most 366d"),
        (["drain", "site/fra", "--why", "x", "--for", "400d"], "more than 0s and at most 366d"),
        (["auto", "site/fra", "--force"], "unrecognized arguments: --force"),
    ],
)
def test_wrong_usage(gslb: Gslb, words: list[str], said: str) -> None:
    status, _, err = gslb(*words)
    assert status == 2
    assert said in err


def test_overrides_of_no_such_target_make_room(gslb: Gslb, store: Store) -> None:
    def stored(*targets: str) -> None:
        made = tuple(Override(target, Forced.DRAIN, "ops", "x", time.time() - 1) for target in targets)
        store.edit_overrides(lambda _: made, time.time())

    unknown = [f"pool/no-such-{number}" for number in range(MAX_OVERRIDES - 1)]
    stored(*unknown[:-1], "pool/api-iad")
    status, _, err = gslb("drain", "pool/web-iad", "--why", "there is room")
    assert (status, err) == (0, "")
    status, _, err = gslb("drain", "pool/web-fra", "--why", "there is none", "--force")
    removed = f"overrides of targets that do not exist: {MAX_OVERRIDES - 2:,} removed, to make room for this one"
    assert (status, err) == (0, f"gslb: {removed}\n")
    targets = [one.target for one in store.load_overrides().overrides or ()]
    assert targets == ["pool/api-iad", "pool/web-fra", "pool/web-iad"]


def test_a_node_that_does_not_take_it_is_told(gslb: Gslb, store: Store) -> None:
    store.create()
    lock = Lock(store.folder)
    status, _, err = gslb("drain", "pool/web-iad", "--why", "x")
    assert (status, err) == (0, "gslb: it is written, but node fra has not taken it yet; `gslb status` may say why\n")
    assert len(store.load_overrides().overrides or ()) == 1
    lock.release()


def test_an_unreadable_file_is_set_aside_and_said(gslb: Gslb, store: Store) -> None:
    store.create()
    store.overrides_path.write_text("{")
    status, _, err = gslb("up", "site/iad", "--why", "x")
    assert status == 0
    assert err.startswith(f"gslb: {store.overrides_path}: not an overrides file")
    assert err.endswith("; set aside as overrides.json.bad\n")


def test_a_state_folder_that_cannot_be_written_is_said(gslb: Gslb, tmp_path: Path) -> None:
    (tmp_path / "state" / "test").write_text("in the way")
    status, out, err = gslb("up", "site/iad", "--why", "x")
    assert (status, out) == (1, "")
    assert err.startswith("gslb: ")
    assert err.endswith("; nothing was changed\n")


def test_a_refused_configuration_is_said(gslb: Gslb, tmp_path: Path) -> None:
    (tmp_path / "gslb.yaml").write_text("deployment: test\n")
    status, _, err = gslb("up", "site/iad", "--why", "x")
    assert status == 1
    assert "gslb.yaml:1:1: datacenters: missing" in err


def test_two_commands_at_once_both_hold(gslb: Gslb, store: Store, options: list[str]) -> None:
    """Real processes that race for the file: neither word is lost, and the guard's answer stays true."""
    racing = [
        subprocess.Popen(
            [sys.executable, "-m", "gslb.cli", "up", target, "--why", "race", *options], stdout=subprocess.DEVNULL
        )
        for target in ("site/iad", "site/cloud", "pool/api-fra")
    ]
    assert [process.wait(timeout=60) for process in racing] == [0, 0, 0]
    assert {o.target for o in store.load_overrides().overrides or ()} == {"site/iad", "site/cloud", "pool/api-fra"}
    assert json.loads(store.overrides_path.read_text())["deployment"] == "test"
    assert gslb("auto", "site/iad")[0] == 0
