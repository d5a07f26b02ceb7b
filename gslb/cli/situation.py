"""The configuration and the node that a command's options name.  IO.

While the files are refused, the node goes on with what it has in force, and so do the commands that look at it or act on it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from gslb.cli.options import node_of
from gslb.config.load import Loaded, load, load_copy
from gslb.config.problem import Refused
from gslb.control.applied import APPLIED, chosen
from gslb.control.kept import kept
from gslb.control.store import CONFIGURATION, Store
from gslb.inspect.situation import Situation

_MOST = 100  # nodes that keep their state in one folder


def situation(arguments: argparse.Namespace, loaded: Loaded | None = None) -> Situation:
    """The situation that --config, --node or --site, and --state name; `loaded` where the configuration is at hand.

    Raises Refused, SystemExit.
    """
    loaded = loaded or configuration(arguments)
    node = node_of(loaded.deployment, arguments)
    return Situation(
        arguments.config.absolute(), loaded, node, Store(arguments.state, loaded.deployment.name, node.name)
    )


def configuration(arguments: argparse.Namespace) -> Loaded:
    """What counts: the files that --config names, or the version that was applied after them (`gslb apply`).

    While the files are refused, what the node has in force of them, which is said in one line.
    Raises Refused where there is no such thing, SystemExit where nodes have different ones in force.
    """
    try:
        return _counting(arguments, load(arguments.config))
    except Refused:
        found = list(_in_force(arguments))
        if not found:
            raise
        if len({one.digest for one in found}) > 1:
            message = "is refused now, and its nodes have different ones in force; give --node"
            raise SystemExit(f"gslb: {arguments.config} {message}") from None
        said = "is refused now (`gslb check` says why); this goes by the configuration in force"
        print(f"gslb: {arguments.config} {said}", file=sys.stderr)
        return found[0]


def _counting(arguments: argparse.Namespace, own: Loaded) -> Loaded:
    """What counts at the node that is meant; where several are meant, at all of them alike, else the `own` files."""
    with suppress(SystemExit):
        name = node_of(own.deployment, arguments).name
        found = chosen(Store(arguments.state, own.deployment.name, name), arguments.config, own)
        return own if found is None else found.loaded
    files = sorted((arguments.state / own.deployment.name).glob(f"*/{APPLIED}"))[:_MOST]
    stores = (Store(arguments.state, own.deployment.name, file.parent.name) for file in files)
    several = {one.loaded.digest: one.loaded for store in stores if (one := chosen(store, arguments.config, own))}
    return next(iter(several.values())) if len(several) == 1 else own


def _in_force(arguments: argparse.Namespace) -> Iterator[Loaded]:
    """What the nodes that are meant have in force of this very file."""
    name = None if arguments.site is not None else arguments.node or os.environ.get("GSLB_NODE")
    for file in sorted(arguments.state.glob(f"*/*/{CONFIGURATION}"))[:_MOST]:
        store = Store(arguments.state, file.parent.parent.name, file.parent.name)
        copy = kept(store) if name in (None, store.folder.name) else None
        if copy is None or not _same(copy.config, arguments.config):
            continue
        with suppress(Refused):  # an older version's copy: its rules were others
            loaded = load_copy(copy)
            node = next((one for one in loaded.deployment.nodes.values() if one.name == store.folder.name), None)
            here = arguments.site is None or (node is not None and node.site == arguments.site)
            if here and loaded.deployment.name == store.deployment:
                yield loaded


def _same(left: Path, right: Path) -> bool:
    """Whether both name one file, be it there or not."""
    with suppress(OSError):
        return left.resolve() == right.resolve()
    return left == right.absolute()
