"""`gslb drain|up|down|auto WHAT`: write or end an override, and say whose answers move.

The running controller of this node watches the file; the last-site guard of `decide` holds whatever is written.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from gslb import units
from gslb.cli.options import add_config, add_node, add_state
from gslb.cli.situation import Situation, generation_in_force, situation, table_in_force
from gslb.config.problem import Refused
from gslb.config.zonefile import type_text
from gslb.control.lock import holder
from gslb.control.overrides import with_override, without_target
from gslb.control.store import StateError
from gslb.control.targets import UnknownTarget, target_of
from gslb.decide.decide import decide
from gslb.decide.guard import harmed
from gslb.decide.moves import Move, Side, moves
from gslb.geo.ranking import written_ranking
from gslb.model.deployment import Deployment, PolicyId
from gslb.model.location import Geography
from gslb.model.plan import Mode, Plan
from gslb.model.world import Forced, Override, World

_LONGEST_S = 366 * 86_400.0  # an override for longer is a change of the configuration
_Overrides = tuple[Override, ...]


class WouldHarm(Exception):
    """The override would leave a service without an answer of its own."""


@dataclass(frozen=True, slots=True)
class _Done:
    """What was written, what it replaced, and what becomes of answers."""

    replaced: Override | None
    moves: tuple[Move, ...]
    note: str | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the four commands."""
    parser.add_argument("what", metavar="WHAT", help="site/NAME, pool/NAME or answer/POOL/ADDRESS")
    if not parser.prog.endswith(" auto"):
        parser.add_argument(
            "--for", dest="lasting", metavar="TIME", type=_duration, help="end it by itself after 30m, 2h, 7d"
        )
        parser.add_argument("--why", metavar="TEXT", type=_reason, required=True, help="for those who read it later")
        parser.add_argument("--force", action="store_true", help="even where a service is left without an answer")
    add_config(parser)
    add_node(parser)
    add_state(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write it, and print what changes."""
    now = time.time()  # noqa: TID251  # the one clock of this command
    try:
        here = situation(arguments)
        if arguments.command == "auto":
            return _end(here, arguments.what, now)
        return _begin(here, _asked(here.model, arguments, now), now)
    except (Refused, UnknownTarget, StateError, WouldHarm) as error:
        print(f"gslb: {error}", file=sys.stderr)
        return 1


def _asked(model: Deployment, arguments: argparse.Namespace, now: float) -> Override:
    return Override(
        target=target_of(model, arguments.what),
        state=Forced(arguments.command),
        who=_operator(),
        why=arguments.why,
        since=now,
        until=None if arguments.lasting is None else now + arguments.lasting,
        force=arguments.force,
    )


def _begin(here: Situation, new: Override, now: float) -> int:
    done = _edit(here, new.target, new, now)
    until = "" if new.until is None else f" until {_clock(new.until)}"
    print(f"{new.target}: {new.state}{until}, by {new.who}: {new.why}")
    if done.replaced is not None:
        print(f"  in place of {_told(done.replaced)}")
    _print_effect(here, done)
    return 0


def _end(here: Situation, what: str, now: float) -> int:
    stored = here.store.load_overrides().overrides or ()
    # What the configuration no longer knows can still be ended by its name in the file.
    target = what if any(override.target == what for override in stored) else target_of(here.model, what)
    done = _edit(here, target, None, now)
    if done.replaced is None:
        print(f"{target}: there is no override")
        return 0
    print(f"{target}: ended {_told(done.replaced)}")
    _print_effect(here, done)
    return 0


def _edit(here: Situation, target: str, new: Override | None, now: float) -> _Done:
    """Replace the override of `target` under the store's lock.  Raises StateError, WouldHarm."""
    geography = _geography(here)
    previous = here.store.read_plan().plan
    seen: list[tuple[_Overrides, _Overrides]] = []

    def plan(overrides: _Overrides) -> Plan:
        return decide(here.model, geography, World(now, overrides=overrides), previous)

    asked = _asked_for(here)

    def change(before: _Overrides) -> _Overrides:
        after = without_target(before, target) if new is None else with_override(before, new)
        if new is not None and not new.force:
            _refuse_harm(new, [harm for harm in harmed(plan(before), plan(after)) if harm[:2] in asked])
        seen.append((before, after))
        return after

    edited = here.store.edit_overrides(change, now)
    before, after = seen[0]
    replaced = next((override for override in before if override.target == target), None)
    moved = tuple(move for move in moves(plan(before), plan(after)) if (move.policy, move.rtype) in asked)
    return _Done(replaced, moved, edited.note)


def _asked_for(here: Situation) -> set[tuple[PolicyId, int]]:
    """The policies and record types that some name is bound to; what becomes of others concerns nobody."""
    records = (record for zone in here.loaded.zones for record in zone.dynamic)
    return {(record.policy, rtype) for record in records for rtype in record.types}


def _refuse_harm(new: Override, harm: Iterable[tuple[str, int, Mode]]) -> None:
    services = [f"policy {policy} {type_text(rtype)}" for policy, rtype, _ in harm]
    if services:
        raise WouldHarm(
            f"{new.state} {new.target} would leave nothing else to answer for {', '.join(services)}; "
            "nothing was changed (--force does it all the same)"
        )


def _geography(here: Situation) -> Geography:
    """The rankings in force; before there are any, one for each rule with its pools as written."""
    table = table_in_force(here, generation_in_force(here))
    if table is not None:
        return table.geography()
    model = here.model
    rankings = {
        name: tuple(written_ranking(model, index, rule) for index, rule in enumerate(policy.rules))
        for name, policy in model.policies.items()
    }
    return Geography("as written", classes=1, rankings=rankings)


def _print_effect(here: Situation, done: _Done) -> None:
    for move in done.moves:
        now = " or ".join(dict.fromkeys(_side(side, move.before) for side in move.after))
        print(f"  policy {move.policy} {type_text(move.rtype):4} {_side(move.before, move.after[0])} -> {now}")
    if not done.moves:
        print("  no answer moves")
    if done.note is not None:
        print(f"gslb: {done.note}", file=sys.stderr)
    pid = holder(here.store.folder)
    if pid is None:
        print(
            f"  node {here.node.name} is not running with this state folder: it is kept in {here.store.overrides_path}"
        )


def _side(side: Side, other: Side) -> str:
    """A side's pool, with the addresses only where the pool alone does not tell it from the other side."""
    if not side.addresses:
        return side.mode.value
    name = side.pool or "addresses of last resort"
    unlike = side.addresses != other.addresses and side.pool == other.pool
    mode = "" if side.mode is Mode.NORMAL else f" ({side.mode})"
    return f"{name} {', '.join(side.addresses)}{mode}" if unlike else f"{name}{mode}"


def _told(override: Override) -> str:
    until = "" if override.until is None else f" until {_clock(override.until)}"
    return f"{override.state} since {_clock(override.since)}{until}, by {override.who}: {override.why}"


def _clock(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _operator() -> str:
    """Who types: behind sudo, the one who called it."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        return f"uid {os.getuid()}"


def _duration(text: str) -> float:
    try:
        lasting = units.seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} - expected {error}") from None
    if not 0 < lasting <= _LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text!r} - expected more than 0s and at most 366d")
    return lasting


def _reason(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise argparse.ArgumentTypeError("expected some words on one line")
    return text.strip()
