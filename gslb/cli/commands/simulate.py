"""`gslb simulate`: what clients, loads and distances become when sites fail or another configuration decides."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.progress import Progress as Bar

from gslb.cli.options import add_config, add_node, add_state
from gslb.cli.simulation_json import as_json, losses_as_json
from gslb.cli.simulation_text import show, show_losses
from gslb.cli.situation import configuration, situation
from gslb.cli.whatif import Asked, Losses, WhatIf, compare, losses
from gslb.config.load import load
from gslb.config.problem import Refused, one_of
from gslb.control.store import Store
from gslb.decide.marks import Over
from gslb.inspect.basis import from_files, with_table
from gslb.inspect.situation import Situation
from gslb.model.deployment import SiteId

_WIDE = 10_000  # columns where nobody looks: a line stays a line for grep and awk


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `gslb simulate`."""
    parser.add_argument(
        "--without", metavar="SITE", nargs="+", action="extend", default=[], help="sites that fail, all at once"
    )
    parser.add_argument("--new", metavar="FILE", type=Path, help="the configuration to compare with the present one")
    parser.add_argument(
        "--load",
        metavar="FILE",
        type=Path,
        help="weigh clients by queries: lines `network,count[,name]`, or JSON lines",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_config(parser)
    add_node(parser)
    add_state(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the comparison, or without --without and --new the loss of each site; 1 where that brings a pool over hard."""
    logging.getLogger("gslb").addHandler(logging.NullHandler())  # log lines are for `gslb run`
    try:
        here = _here(arguments)
        asked = _asked(arguments, here)
        found = _found(arguments, here, asked)
    except (Refused, ValueError, OSError) as error:
        print(f"gslb: {error}", file=sys.stderr)
        return 1
    console = Console(width=None if sys.stdout.isatty() else _WIDE)
    if isinstance(found, Losses):
        print(json.dumps(losses_as_json(found), indent=2)) if arguments.json else show_losses(found, console)
        return int(any(site.over_hard for site in found.sites))
    print(json.dumps(as_json(found), indent=2)) if arguments.json else show(found, console)
    return int(any(pool.brought is Over.HARD for pool in found.simulation.pools))


def _here(arguments: argparse.Namespace) -> Situation:
    """The node that is named; else the only one that keeps a state here, or any where none does, so in CI.

    Raises Refused, SystemExit.
    """
    loaded = configuration(arguments)
    if arguments.node is None and arguments.site is None and "GSLB_NODE" not in os.environ:
        deployment = loaded.deployment
        nodes = list(deployment.nodes)
        running = [name for name in nodes if Store(arguments.state, deployment.name, name).folder.exists()]
        arguments.node = (running or nodes)[0] if len(running) < 2 else None
    return situation(arguments, loaded)


def _asked(arguments: argparse.Namespace, here: Situation) -> Asked:
    """What is asked about.  Raises Refused over the new configuration, SystemExit over an unknown site."""
    new = None if arguments.new is None else load(arguments.new).deployment
    known = (new or here.model).datacenters
    for site in arguments.without:
        if site not in known:
            raise SystemExit(f"gslb: site {site} - {one_of(known, site)}")
    return Asked(tuple(dict.fromkeys(map(SiteId, arguments.without))), new, arguments.load)


def _found(arguments: argparse.Namespace, here: Situation, asked: Asked) -> WhatIf | Losses:
    """The figures, with a progress bar on a terminal where something must be made first."""
    now = time.time()  # noqa: TID251  # the one clock of this command
    cache = arguments.state / "geography"
    with Bar(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=1.0, visible=False)

        def progress(step: str, share: float) -> None:
            bar.update(task, description=step, completed=share, visible=True)

        basis = with_table(from_files(here, now), cache, progress)
        if asked.sites or asked.new is not None:
            return compare(basis, asked, cache, progress)
        return losses(basis, asked, cache, progress)
