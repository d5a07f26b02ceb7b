"""`gslb run`: serve until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from typing import TYPE_CHECKING

from gslb import __version__
from gslb.cli.options import add_config, add_node, add_state, node_of
from gslb.control.desk import Api, Desk
from gslb.control.journal import open_journal
from gslb.control.start import Serving, Start
from gslb.control.supervise import CannotStart, supervise

if TYPE_CHECKING:
    from rich.progress import TaskID

_MANY = 6  # listening addresses that are worth a line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `gslb run`."""
    add_config(parser)
    add_node(parser)
    add_state(parser)
    parser.add_argument("--log", choices=("text", "json"), default="text", help="how log lines are written")


def run(arguments: argparse.Namespace) -> int:
    """Serve."""
    open_journal(arguments.log)
    audience = Terminal() if sys.stdout.isatty() else Quiet()
    start = Start(
        config=arguments.config,
        state=arguments.state,
        node_of=partial(node_of, arguments=arguments),
        identity=repr((arguments.node, arguments.site, os.environ.get("GSLB_NODE"))),
        audience=audience,
        api=_open_api,
    )
    try:
        return supervise(start)
    except CannotStart as error:
        print(f"gslb: {error}", file=sys.stderr)
        return 1


def _open_api(desk: Desk) -> Api:
    """The controller's API; only that process loads it."""
    from gslb.api.app import open_api  # noqa: PLC0415

    return open_api(desk)


class Quiet:
    """Not a terminal: plain lines, and of a long step only its beginning and each quarter."""

    def __init__(self) -> None:
        self._told: tuple[str, int] | None = None

    def progress(self, step: str, share: float) -> None:
        """A long step is so far (0..1)."""
        told = step, int(share * 4)
        if told != self._told:
            self._told = told
            print(f"{step}: {share:.0%}", flush=True)

    def serving(self, facts: Serving) -> None:
        """The first answers can be had."""
        print("\n".join(banner(facts)), flush=True)


class Terminal:
    """A terminal: a bar for long steps, then the banner."""

    def __init__(self) -> None:
        self._bar: Bar | None = None

    def progress(self, step: str, share: float) -> None:
        """A long step is so far (0..1)."""
        if self._bar is None:
            self._bar = Bar()
        self._bar.draw(step, share)

    def serving(self, facts: Serving) -> None:
        """The first answers can be had."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        print("\n".join(banner(facts)), flush=True)


class Bar:
    """rich's progress bar, loaded only when there is something to wait for."""

    def __init__(self) -> None:
        from rich.progress import Progress  # noqa: PLC0415  # a warm start does without

        self._progress = Progress(transient=True)
        self._progress.start()
        self._tasks: dict[str, TaskID] = {}

    def draw(self, step: str, share: float) -> None:
        """Move the bar of `step`."""
        if step not in self._tasks:
            self._tasks[step] = self._progress.add_task(step, total=1.0)
        self._progress.update(self._tasks[step], completed=share)

    def close(self) -> None:
        """Remove the bars."""
        self._progress.stop()


def banner(facts: Serving) -> list[str]:
    """What is served, where, and a line to try."""
    deployment = facts.deployment
    shown = list(facts.listening[:_MANY])
    if len(facts.listening) > _MANY:
        shown.append(f"and {len(facts.listening) - _MANY} more")
    lines = [
        f"gslb {__version__} serves deployment {deployment.name} as node {facts.node.name} (site {facts.node.site})",
        f"  listening on  {', '.join(shown)} (UDP and TCP)",
        f"  sites         {', '.join(deployment.datacenters)}",
        *_geography(facts),
    ]
    if facts.example is not None and facts.listening:
        host, _, port = facts.listening[0].rpartition(":")
        lines.append(f"  try           dig @{host.strip('[]')} -p {port} {facts.example} +subnet=8.8.8.0/24")
    return lines


def _geography(facts: Serving) -> list[str]:
    lines = [f"  geography     {', '.join(facts.databases)}"] if facts.databases else []
    if any("dbip" in name.lower().replace("-", "") for name in facts.databases):
        lines.append("                IP Geolocation by DB-IP (https://db-ip.com), CC BY 4.0")
    if not facts.databases:
        lines.append("  geography     none: `nearest` gives the pools in the order in which they are written")
    return lines
