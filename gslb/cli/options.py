"""Options that several commands share: which configuration, which node, which state folder."""

from __future__ import annotations

import argparse
import getpass
import os
from pathlib import Path

from gslb.config.problem import one_of
from gslb.model.deployment import Deployment, Node, NodeId


def add_config(parser: argparse.ArgumentParser) -> None:
    """`--config FILE`, else GSLB_CONFIG, else gslb.yaml; `arguments.config` is a Path."""
    parser.add_argument(
        "--config",
        metavar="FILE",
        type=Path,
        default=default_config(),
        help="the deployment's file (GSLB_CONFIG, else gslb.yaml)",
    )


def add_node(parser: argparse.ArgumentParser) -> None:
    """`--node NAME` or `--site NAME`, else GSLB_NODE; read with `node_of`."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--node", metavar="NAME", help="which node this is (GSLB_NODE)")
    which.add_argument("--site", metavar="NAME", help="which site this is, where the site has one node")


def add_state(parser: argparse.ArgumentParser) -> None:
    """`--state DIR`, else GSLB_STATE, else a folder of the user's own; `arguments.state` is a Path."""
    parser.add_argument(
        "--state",
        metavar="DIR",
        type=Path,
        default=_default_state(),
        help="what the node keeps: last plan, overrides, serving tables (GSLB_STATE, else %(default)s)",
    )


def default_config() -> Path:
    """GSLB_CONFIG, else gslb.yaml in the current folder."""
    return Path(os.environ.get("GSLB_CONFIG") or "gslb.yaml")


def node_of(deployment: Deployment, arguments: argparse.Namespace) -> Node:
    """The node that the options name; without any, the only node.  Raises SystemExit with a line for people."""
    site: str | None = arguments.site
    if site is not None:
        return _only_node_of(deployment, site)
    name: str | None = arguments.node or os.environ.get("GSLB_NODE")
    if name is None:
        if len(deployment.nodes) == 1:
            return next(iter(deployment.nodes.values()))
        names = ", ".join(deployment.nodes)
        raise SystemExit(f"gslb: which node is this? Give --node (or --site, or GSLB_NODE), one of {names}")
    node = deployment.nodes.get(NodeId(name))
    if node is None:
        raise SystemExit(f"gslb: node {name} - {one_of(deployment.nodes, name)}")
    return node


def operator() -> str:
    """Who types: behind sudo, the one who called it."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        return f"uid {os.getuid()}"


def _only_node_of(deployment: Deployment, site: str) -> Node:
    here = [node for node in deployment.nodes.values() if node.site == site]
    if not here:
        expected = one_of(dict.fromkeys(node.site for node in deployment.nodes.values()), site)
        raise SystemExit(
            f"gslb: site {site} - {'no node runs there; ' if site in deployment.datacenters else ''}{expected}"
        )
    if len(here) > 1:
        names = ", ".join(node.name for node in here)
        raise SystemExit(f"gslb: site {site} has several nodes - give --node, one of {names}")
    return here[0]


def _default_state() -> Path:
    stated = os.environ.get("GSLB_STATE")
    if stated:
        return Path(stated)
    if os.geteuid() == 0:
        return Path("/var/lib/gslb")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "gslb"
