"""`gslb COMMAND ...`: imports only the command that was asked, since `gslb run` must answer within a second."""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType

from gslb import __version__

COMMANDS = {
    "run": "serve: the nameserver and its controller",
    "check": "load and check the configuration and zones; print every problem found",
    "explain": "say how a name is answered for a client, step by step",
    "status": "show sites, pools and overrides",
    "drain": "take a site, pool or answer out of new answers, or a backend out of new flows",
    "up": "force a site, pool, answer or backend up",
    "down": "force a site, pool, answer or backend down",
    "auto": "end an override",
    "apply": "show what another configuration changes, and have all nodes run it; or go back",
    "simulate": "show what becomes of answers, loads and distances if sites fail or the configuration changes",
    "lb": "look into the balancer: what is in force, where flows go, live rates, sampled packets",
    "backend": "on a backend: prepare the machine for what balancers send it, or say what is wrong with it",
    "geo": "show what is known of an address: location, class, order of pools, scope",
}
_OVERRIDES = ("drain", "up", "down", "auto")  # one module: they differ by one word


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status (0 done, 1 refused, 2 wrong usage)."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="gslb", description="Global DNS load balancing with anycast.")
    parser.add_argument("--version", action="version", version=f"gslb {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    asked = next((word for word in words if not word.startswith("-")), None)
    module: ModuleType | None = None
    for name, help_text in COMMANDS.items():
        command = commands.add_parser(name, help=help_text, description=help_text[0].upper() + help_text[1:] + ".")
        if name == asked:
            module = importlib.import_module(f"gslb.cli.commands.{'override' if name in _OVERRIDES else name}")
            module.add_arguments(command)
    arguments = parser.parse_args(words)
    if module is None:
        parser.error("no command given")
    return _run(module, arguments)


def _run(module: ModuleType, arguments: argparse.Namespace) -> int:
    """Run a command whose output may go to a pipe that closes, or to a full disk."""
    try:
        status: int = module.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        _mute()
        return 0
    except OSError as error:
        if error.filename is not None:
            print(f"gslb: {error.filename}: {error.strerror}", file=sys.stderr)
            return 1
        if error.errno != errno.ENOSPC:
            raise
        _mute()
        print(f"gslb: the output could not be written: {error.strerror}", file=sys.stderr)
        return 1
    return status


def _mute() -> None:
    """Nothing more can be said on standard output, at the interpreter's end neither."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
