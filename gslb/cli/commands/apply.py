"""`gslb apply FILE`: show what another configuration changes, and have all nodes run it; `--back` goes back to the one before.

The running controller of this node publishes it (`gslb.control.rollout`); each node takes it if its own check passes.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress as Bar

from gslb.cli.console import console
from gslb.cli.options import add_config, add_node, add_state, node_of, operator
from gslb.cli.simulation_json import as_json
from gslb.cli.simulation_text import show
from gslb.cli.situation import situation
from gslb.cli.whatif import Asked, WhatIf, compare
from gslb.config.load import Loaded, load
from gslb.config.problem import Refused
from gslb.control import facts
from gslb.control.applied import BEFORE, load_bundle, read
from gslb.control.bundle import BundleRefused, bundle_of, packed
from gslb.control.lock import holder
from gslb.control.proposal import ANSWERED, Proposal, propose
from gslb.control.store import StateError, Store
from gslb.inspect.basis import from_files, with_table
from gslb.inspect.override import words
from gslb.inspect.situation import Situation

_PATIENCE_S = 45.0  # with a bus that is slow, and files of some MB
_TAKES_S = 10.0  # until it is in force on this node
_LOOK_S = 0.05


class _NotApplied(Exception):
    """Nothing was published; the message says why."""


@dataclass(frozen=True, slots=True)
class _New:
    """What is to run: its octets (None: the version before, which only the bus has), and what this node would make of them."""

    data: bytes | None
    loaded: Loaded | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `gslb apply`."""
    parser.add_argument("file", metavar="FILE", type=Path, nargs="?", help="the configuration that all nodes shall run")
    parser.add_argument("--back", action="store_true", help="go back to the version before the present one")
    parser.add_argument("--why", metavar="TEXT", type=_reason, help="for those who read it later")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--json", action="store_true", help="print JSON; needs --yes")
    add_config(parser)
    add_node(parser)
    add_state(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show what changes, ask, and publish it; 1 where it is not published, 2 on wrong usage."""
    logging.getLogger("gslb").addHandler(logging.NullHandler())  # log lines are for `gslb run`
    if (arguments.file is None) is not arguments.back or (arguments.json and not arguments.yes):
        expected = "expected --yes with --json" if arguments.json else "expected a FILE, or --back"
        print(f"gslb: {expected}", file=sys.stderr)
        return 2
    try:
        here = situation(arguments)
        base = _base(here.store)
        new = _before(here) if arguments.back else _new(here, arguments)
        found = _whatif(here, new.loaded, arguments.state / "geography")
        if not arguments.json:
            _show(found, new, here)
        if not (arguments.yes or _agreed(here, base)):
            print("nothing was published")
            return 1
        version = _publish(here.store, _proposal(arguments, base, new.data))
        taken = _taken(here.store, version)
    except (Refused, _NotApplied, BundleRefused, StateError, OSError, ValueError) as error:
        print(f"gslb: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        changes = None if found is None else as_json(found)
        print(json.dumps({"version": version, "in_force_here": taken, "changes": changes}, indent=2))
        return 0
    print(f"version {version} is published: each node takes it when its own check passes; `gslb status` shows them")
    if taken:
        print(f"  node {here.node.name} goes by it now")
    else:
        print(f"gslb: node {here.node.name} does not go by it yet; `gslb status` may say why", file=sys.stderr)
    return 0


def _new(here: Situation, arguments: argparse.Namespace) -> _New:
    """The files as this node would run them.  Raises Refused, BundleRefused, _NotApplied, SystemExit."""
    loaded, name = load(arguments.file), here.model.name
    if loaded.deployment.name != name:
        raise _NotApplied(f"{arguments.file}: it is of deployment {loaded.deployment.name}, expected {name}")
    node_of(loaded.deployment, arguments)
    data = packed(bundle_of(name, loaded.copy))
    return _New(data, load_bundle(here.store, here.config, data))


def _before(here: Situation) -> _New:
    """The version before, as far as this node has it."""
    kept = read(here.store, BEFORE)
    said = facts.read(here.store.folder).get(facts.ROLLOUT) or {}
    if kept is None or (said.get("before") or {}).get("digest") != kept.record.digest:
        return _New(None, None)
    return _New(None, load_bundle(here.store, here.config, kept.bundle))


def _whatif(here: Situation, new: Loaded | None, cache: Path) -> WhatIf | None:
    if new is None:
        return None
    now = time.time()  # noqa: TID251  # the one clock of this command
    with Bar(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=1.0, visible=False)

        def progress(step: str, share: float) -> None:
            bar.update(task, description=step, completed=share, visible=True)

        return compare(with_table(from_files(here, now), cache, progress), Asked(new=new.deployment), cache, progress)


def _show(found: WhatIf | None, new: _New, here: Situation) -> None:
    if found is None:
        print("this node does not have the version before, so what it changes is not shown")
        return
    show(found, console())
    if new.loaded is not None and new.loaded.deployment.bus != here.model.bus:
        print("it changes `bus`: a node that cannot reach the new one hears of no later version, --back included;")
        print("  then only an edit of its own file brings it back")
    for warning in new.loaded.warnings if new.loaded is not None else ():
        print(warning)


def _agreed(here: Situation, base: int) -> bool:
    """Whether the one who types wants it; nobody is asked where nobody types."""
    if not sys.stdin.isatty():
        print("gslb: there is nobody to ask; --yes publishes without a question", file=sys.stderr)
        return False
    nodes = len(here.model.nodes)
    try:
        answer = input(f"publish it as version {base + 1} for {nodes} {'node' if nodes == 1 else 'nodes'}? [y/N] ")
    except EOFError:
        return False
    return answer.strip().lower() in ("y", "yes")


def _base(store: Store) -> int:
    """The version that is published, as the running node knows it.  Raises _NotApplied where none runs."""
    if holder(store.folder) is None:
        why = "it is the running node that publishes; start it, or edit its own file"
        raise _NotApplied(f"node {store.folder.name} is not running with this state folder: {why}")
    published = (facts.read(store.folder).get(facts.ROLLOUT) or {}).get("published")
    return 0 if published is None else int(published["version"])


def _proposal(arguments: argparse.Namespace, base: int, data: bytes | None) -> Proposal:
    now = time.time()  # noqa: TID251  # the one clock of this command
    return Proposal(os.urandom(8).hex(), base, operator(), arguments.why or "", now, data)


def _publish(store: Store, proposal: Proposal) -> int:
    """The new version.  Raises StateError, _NotApplied."""
    propose(store, proposal)
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        answer = facts.read(store.folder).get(ANSWERED) or {}
        if answer.get("id") != proposal.name:
            time.sleep(_LOOK_S)
        elif answer["version"] is not None:
            return int(answer["version"])
        else:
            raise _NotApplied("\n      ".join(answer["lines"]))
    raise _NotApplied(f"node {store.folder.name} did not answer within {_PATIENCE_S:.0f} s; `gslb status` may say why")


def _taken(store: Store, version: int) -> bool:
    """Whether the node goes by the version; waits for it, within bounds."""
    until = time.monotonic() + _TAKES_S
    while time.monotonic() < until:
        said = facts.read(store.folder).get(facts.ROLLOUT) or {}
        if said.get("in_force") == version:
            return True
        time.sleep(_LOOK_S)
    return False


def _reason(text: str) -> str:
    try:
        return words(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected {error}") from None
