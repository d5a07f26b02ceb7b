"""`gslb drain|up|down|auto WHAT`: write or end an override, and say whose answers move.

The running controller of this node watches the file; the last-site guard of `decide` holds whatever is written.
"""

from __future__ import annotations

import argparse
import sys
import time
from datetime import UTC, datetime

from gslb.cli.duration import duration
from gslb.cli.options import add_config, add_node, add_state, operator
from gslb.cli.situation import situation
from gslb.config.problem import Refused
from gslb.config.zonefile import type_text
from gslb.control import facts
from gslb.control.lock import holder
from gslb.control.store import StateError, Store
from gslb.control.targets import UnknownTarget, target_of
from gslb.decide.moves import Side, Turn
from gslb.inspect.basis import from_files
from gslb.inspect.override import Done, WouldHarm, begin, end, lasting, words
from gslb.inspect.situation import Situation
from gslb.model.deployment import Deployment
from gslb.model.plan import Mode, Serving
from gslb.model.world import Forced, Override

_PATIENCE_S = 2.0  # with a running node
_LOOK_S = 0.02


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the four commands."""
    parser.add_argument(
        "what", metavar="WHAT", help="site/NAME, pool/NAME, answer/POOL/ADDRESS or backend/POOL/ADDRESS"
    )
    ends = parser.prog.endswith(" auto")
    if not ends:
        parser.add_argument(
            "--for", dest="lasting", metavar="TIME", type=_duration, help="end it by itself after 30m, 2h, 7d"
        )
        parser.add_argument("--force", action="store_true", help="even where a service is left without an answer")
    parser.add_argument("--why", metavar="TEXT", type=_reason, required=not ends, help="for those who read it later")
    add_config(parser)
    add_node(parser)
    add_state(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write it, and print what changes."""
    now = time.time()  # noqa: TID251  # the one clock of this command
    try:
        here = situation(arguments)
        if arguments.command == "auto":
            return _end(here, arguments, now)
        return _begin(here, _asked(here.model, arguments, now), now)
    except WouldHarm as error:
        print(f"gslb: {error}; nothing was changed (--force does it all the same)", file=sys.stderr)
    except (Refused, UnknownTarget, StateError) as error:
        print(f"gslb: {error}", file=sys.stderr)
    return 1


def _asked(model: Deployment, arguments: argparse.Namespace, now: float) -> Override:
    return Override(
        target=target_of(model, arguments.what),
        state=Forced(arguments.command),
        who=operator(),
        why=arguments.why,
        since=now,
        until=None if arguments.lasting is None else now + arguments.lasting,
        force=arguments.force,
    )


def _begin(here: Situation, new: Override, now: float) -> int:
    done = begin(from_files(here, now), new)
    until = "" if new.until is None else f" until {_clock(new.until)}"
    print(f"{new.target}: {new.state}{until}, by {new.who}: {new.why}")
    if done.replaced is not None:
        print(f"  in place of {_told(done.replaced)}")
    _print_effect(here, done)
    return 0


def _end(here: Situation, arguments: argparse.Namespace, now: float) -> int:
    done = end(from_files(here, now), arguments.what, operator(), arguments.why or "")
    if done.replaced is None:
        print(f"{done.target}: there is no override")
        return 0
    print(f"{done.target}: ended {_told(done.replaced)}")
    _print_effect(here, done)
    return 0


def _print_effect(here: Situation, done: Done) -> None:
    for move in done.moves:
        now = " or ".join(dict.fromkeys(_side(side, move.before) for side in move.after))
        print(f"  policy {move.policy} {type_text(move.rtype):4} {_side(move.before, move.after[0])} -> {now}")
    for turn in done.turns:
        own = done.new is not None and done.target == f"backend/{turn.pool}/{turn.backend}"
        print(f"  backend {turn.pool} {turn.backend} {_turned(turn, done.new if own else None)}")
        if own and turn.after is Serving.DRAIN:
            idle = duration(here.model.balancer.flow_idle_s)
            print(
                f"  it is empty when `gslb lb stats` shows no packets to it; flows that are silent for {idle} may move"
            )
    if not done.moves and not done.turns:
        print("  no answer moves")
    if done.note is not None:
        print(f"gslb: {done.note}", file=sys.stderr)
    name, store = here.node.name, here.store
    if holder(store.folder) is None:
        print(f"  node {name} is not running with this state folder: it is kept in {store.overrides_path}")
    elif _taken(store):
        print(f"  node {name} goes by it now")
    else:
        print(f"gslb: it is written, but node {name} has not taken it yet; `gslb status` may say why", file=sys.stderr)


def _taken(store: Store) -> bool:
    """Whether the running node goes by the overrides as they are written; waits for it, within bounds."""
    until = time.monotonic() + _PATIENCE_S
    while facts.read(store.folder).get(facts.TAKEN) != store.overrides_stamp():
        if time.monotonic() > until:
            return False
        time.sleep(_LOOK_S)
    return True


def _side(side: Side, other: Side) -> str:
    """A side's pool, with the addresses only where the pool alone does not tell it from the other side."""
    if not side.addresses:
        return side.mode.value
    name = side.pool or "addresses of last resort"
    unlike = side.addresses != other.addresses and side.pool == other.pool
    mode = "" if side.mode is Mode.NORMAL else f" ({side.mode})"
    return f"{name} {', '.join(side.addresses)}{mode}" if unlike else f"{name}{mode}"


def _turned(turn: Turn, new: Override | None) -> str:
    """What the balancers did with a backend, do now, and what that means for its flows."""
    others = f"{turn.others} {'other' if turn.others == 1 else 'others'}"
    what = {
        Serving.UP: "takes new flows",
        Serving.DRAIN: f"keeps its flows; new ones go to {others}",
        Serving.DOWN: f"its flows move at once, to {others}" if turn.others else "no other serves: packets are dropped",
    }[turn.after]
    if turn.after is Serving.UP and new is not None and new.state is Forced.DRAIN:
        what += " until another backend can: only then it drains"
    change = f"{turn.after} as before" if turn.before is turn.after else f"{turn.before} -> {turn.after}"
    return f"{change}: {what}"


def _told(override: Override) -> str:
    until = "" if override.until is None else f" until {_clock(override.until)}"
    return f"{override.state} since {_clock(override.since)}{until}, by {override.who}: {override.why}"


def _clock(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _duration(text: str) -> float:
    try:
        return lasting(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} - expected {error}") from None


def _reason(text: str) -> str:
    try:
        return words(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected {error}") from None
