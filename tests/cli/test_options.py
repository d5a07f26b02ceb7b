"""Options that commands share: which node this is, and where things are."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from gslb.cli.options import add_config, add_node, add_state, node_of
from gslb.config.load import load
from gslb.model.deployment import Deployment

FULL = Path(__file__).parent.parent / "config" / "good" / "full.yaml"


@pytest.fixture(scope="module")
def deployment() -> Deployment:
    return load(FULL).deployment


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GSLB_CONFIG", "GSLB_NODE", "GSLB_STATE", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_config(parser)
    add_node(parser)
    add_state(parser)
    return parser.parse_args(words)


def test_node_by_name_by_site_and_by_environment(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    assert node_of(deployment, options("--node", "fra2")).site == "fra"
    assert node_of(deployment, options("--site", "iad")).name == "iad"
    monkeypatch.setenv("GSLB_NODE", "iad")
    assert node_of(deployment, options()).name == "iad"
    assert node_of(deployment, options("--node", "fra1")).name == "fra1", "an option outranks the environment"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "which node is this? Give --node (or --site, or GSLB_NODE), one of fra1, fra2, iad"),
        (["--node", "fra3"], "node fra3 - did you mean fra1?"),
        (["--node", "london"], "node london - expected one of fra1, fra2, iad"),
        (["--site", "fra"], "site fra has several nodes - give --node, one of fra1, fra2"),
        (["--site", "far"], "site far - did you mean fra?"),
        (["--site", "cloud"], "site cloud - no node runs there; expected one of fra, iad"),
    ],
)
def test_no_such_node(deployment: Deployment, words: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as stop:
        node_of(deployment, options(*words))
    assert stop.value.code == f"gslb: {message}"


def test_the_only_node_needs_no_name(tmp_path: Path) -> None:
    file = tmp_path / "gslb.yaml"
    file.write_text("deployment: one\ndatacenters: {here: {}}\nnodes: {here: {site: here}}\n")
    assert node_of(load(file).deployment, options()).name == "here"


def test_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    assert options().config == Path("gslb.yaml")
    monkeypatch.setenv("GSLB_CONFIG", "other.yaml")
    monkeypatch.setenv("GSLB_STATE", "kept")
    assert options().config == Path("other.yaml")
    assert options().state == Path("kept")
    assert options("--config", "x.yaml", "--state", "y").config == Path("x.yaml")
