"""The node that a command's options name.  IO."""

from __future__ import annotations

import argparse

from gslb.cli.options import node_of
from gslb.config.load import load
from gslb.control.store import Store
from gslb.inspect.situation import Situation


def situation(arguments: argparse.Namespace) -> Situation:
    """The situation that --config, --node or --site, and --state name.  Raises Refused, SystemExit."""
    loaded = load(arguments.config)
    node = node_of(loaded.deployment, arguments)
    return Situation(arguments.config, loaded, node, Store(arguments.state, loaded.deployment.name, node.name))
