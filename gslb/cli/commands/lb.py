"""`gslb lb show|flows|stats|capture`: this node's balancer, as the kernel has it.

It is read from the maps that are pinned in bpffs, beside the running node or without it; that takes root.
"""

from __future__ import annotations

import argparse
import errno
import sys

from gslb.cli.commands import lb_capture, lb_flows, lb_show, lb_stats
from gslb.cli.options import add_config, add_node, add_state
from gslb.cli.situation import situation
from gslb.config.problem import Refused
from xdp import pins
from xdp.pinned import NotInForce, Pinned

_VIEWS = {"show": lb_show, "flows": lb_flows, "stats": lb_stats, "capture": lb_capture}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `gslb lb`."""
    views = parser.add_subparsers(dest="view", metavar="VIEW", required=True)
    for name, module in _VIEWS.items():
        view = views.add_parser(name, help=module.HELP, description=f"{module.HELP[0].upper()}{module.HELP[1:]}.")
        module.add_arguments(view)
        add_config(view)
        add_node(view)
        add_state(view)


def run(arguments: argparse.Namespace) -> int:
    """Print what is asked; 1 where there is no balancer in force, or nobody but root may look."""
    try:
        with _opened(arguments) as found:
            status: int = _VIEWS[arguments.view].run(arguments, found)
            return status
    except Refused as error:
        print(error, file=sys.stderr)
    except NotInForce as error:
        print(f"gslb: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        print(f"gslb: {_refusal(error)}", file=sys.stderr)
    return 1


def _refusal(error: OSError) -> str:
    """What the kernel said no to, for people.  Raises the error where it is one of output."""
    if error.errno in (errno.EPERM, errno.EACCES):
        return f"only root may look at the balancer ({error.strerror}); sudo gslb lb ..."
    if error.errno in (errno.EPIPE, errno.ENOSPC):
        raise error
    return f"the balancer cannot be read: {error.strerror or error}; it may be changing just now, so try again"


def _opened(arguments: argparse.Namespace) -> Pinned:
    """The balancer of the node that the options name.  Raises Refused, SystemExit, NotInForce, OSError."""
    here = situation(arguments)
    deployment = here.loaded.deployment
    plan = here.store.read_plan().plan
    tables = (
        {} if plan is None else {str(name): one for name, one in plan.balancers.items() if one.site == here.node.site}
    )
    return Pinned.opened(pins.folder(deployment.name, here.node.name), tables, deployment.balancer)
