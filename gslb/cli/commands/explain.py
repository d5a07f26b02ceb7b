"""`gslb explain NAME [TYPE]`: how a name is answered for a client, step by step."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from ipaddress import ip_address, ip_network

from rich.console import Console
from rich.progress import Progress as Bar

from gslb.cli.explanation_text import text_lines
from gslb.cli.options import add_config, add_node, add_state
from gslb.cli.situation import situation
from gslb.config.problem import Refused
from gslb.config.zonefile import name_wire, type_number
from gslb.inspect.basis import from_files, with_table
from gslb.inspect.explanation import Report, report
from gslb.inspect.explanation_json import as_json
from gslb.inspect.question import Asked
from gslb.inspect.situation import Situation
from gslb.model.deployment import Address, Network


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `gslb explain`."""
    parser.add_argument("name", metavar="NAME", type=_name, help="the name asked")
    parser.add_argument(
        "type", metavar="TYPE", nargs="?", type=_type, default=type_number("A"), help="A, AAAA, TXT, ... [A]"
    )
    parser.add_argument(
        "--client", metavar="ADDR|SUBNET", type=_network, help="on whose behalf, as a resolver tells it (client subnet)"
    )
    parser.add_argument(
        "--resolver",
        metavar="ADDR",
        type=_address,
        default=ip_address("127.0.0.1"),
        help="who asks: decides where no client is told [127.0.0.1]",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_config(parser)
    add_node(parser)
    add_state(parser)


def run(arguments: argparse.Namespace) -> int:
    """Explain one question; 1 where the configuration or the location table is not to be had."""
    logging.getLogger("gslb").addHandler(logging.NullHandler())  # log lines are for `gslb run`
    asked = Asked(arguments.name, arguments.type, arguments.client, arguments.resolver)
    try:
        here = situation(arguments)
        told = _report(here, asked, arguments)
    except (Refused, ValueError, OSError) as error:
        print(f"gslb: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps(as_json(told), indent=2))
    else:
        print("\n".join(text_lines(told)))
    return 0


def _report(here: Situation, asked: Asked, arguments: argparse.Namespace) -> Report:
    """The report, with a progress bar on a terminal where a location table must be made first."""
    now = time.time()  # noqa: TID251  # the one clock of this command
    with Bar(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=1.0, visible=False)
        basis = with_table(
            from_files(here, now),
            arguments.state / "geography",
            lambda step, share: bar.update(task, description=step, completed=share, visible=True),
        )
        return report(basis, asked)


def _name(text: str) -> bytes:
    try:
        return name_wire(text).lower()
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} - {error}") from None


def _type(text: str) -> int:
    try:
        return type_number(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _network(text: str) -> Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no address and no subnet") from None


def _address(text: str) -> Address:
    try:
        return ip_address(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no address") from None
