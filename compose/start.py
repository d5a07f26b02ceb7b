"""The first process of a container of the lab: `python -m compose.start MACHINE`.  IO: network devices, mounts, processes.

It gives the interfaces their names, which container engines give in an order of their own, runs what prepares the machine, and
becomes its daemon.  Where there are several it ends when one of them does, so that the engine sees the loss.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from compose import commands
from compose.topology import Machine, lab

FILES = "/lab"  # what the image holds of compose/render.py


def names(machine: Machine, found: Mapping[str, str]) -> dict[str, str]:
    """The name that each interface must get, by its present one; `found` is address -> present name.  KeyError: not there."""
    return {found[line.address]: f"eth{number}" for number, line in enumerate(machine.interfaces)}


def _addresses() -> dict[str, str]:
    told = subprocess.run(["ip", "-4", "-j", "address"], check=True, capture_output=True, text=True).stdout
    return {address["local"]: link["ifname"] for link in json.loads(told) for address in link["addr_info"]}


def rename(wanted: Mapping[str, str]) -> None:
    """Give interfaces their names, by way of others, as two may change places."""
    moves = {old: new for old, new in wanted.items() if old != new}
    for old, new in [
        *((old, f"to-{new}") for old, new in moves.items()),
        *((f"to-{new}", new) for new in moves.values()),
    ]:
        for line in (["down"], ["name", new]):
            subprocess.run(["ip", "link", "set", old, *line], check=True)
        subprocess.run(["ip", "link", "set", new, "up"], check=True)


def prepare(machine: Machine) -> None:
    """All that its daemons need.  Raises CalledProcessError, OSError."""
    rename(names(machine, _addresses()))
    Path(commands.RUN).mkdir(parents=True, exist_ok=True)
    if machine.runs == "frr":
        Path("/run/frr").mkdir(exist_ok=True)
        shutil.chown("/run/frr", "frr", "frr")
    if machine.gateway is None:
        subprocess.run(["ip", "route", "flush", "default"], check=True)  # the engine's: a router knows its own ways
    for argv in commands.prepare(machine, FILES):
        subprocess.run(argv, check=True)


def run(daemons: Sequence[commands.Argv]) -> int:
    """Run several until one of them ends or we are told to; the exit status of the first that ended."""
    running = [subprocess.Popen(argv) for argv in daemons]

    def end(_number: int, _frame: FrameType | None) -> None:
        for process in running:
            process.terminate()

    signal.signal(signal.SIGTERM, end)
    first, status = os.wait()
    end(signal.SIGTERM, None)
    for process in running:
        if process.pid != first:
            process.wait()
    return os.waitstatus_to_exitcode(status)


def main(name: str) -> int:
    """Prepare the machine, then be its daemons."""
    machine = lab().by_name[name]
    prepare(machine)
    daemons = commands.serve(machine, FILES)
    if len(daemons) == 1:
        os.execvp(daemons[0][0], daemons[0])  # noqa: S606  no shell is wanted
    if not daemons:
        signal.pause()
    return run(daemons)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
