"""`gslb backend setup`, `doctor` and `remove`: on a backend, by the deployment's file; it need not be a node.

Rule 1: what is run is what is printed, line by line, and can be copied; only the program that decapsulates has no line of its own.
Rule 2: setup is run again without harm, and takes back what an earlier one made and the file does not want any more.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from gslb.cli.options import add_config
from gslb.config.load import load
from gslb.config.problem import Refused as ConfigRefused
from gslb.inspect import backend_record, backend_steps
from gslb.inspect.backend import NoBackend, Task, task_of
from gslb.inspect.backend_doctor import Case, Judged, findings, served
from gslb.inspect.backend_facts import Facts
from gslb.inspect.backend_gather import gather, program
from gslb.inspect.backend_steps import DEVICES, Decap, Step
from xdp import decap
from xdp.messages import Attached
from xdp.preflight import Refused

AUTO = "auto"
_SHOWN = {Judged.OK: "ok   ", Judged.LOOK: "look ", Judged.WRONG: "WRONG"}


class _Failed(Exception):
    """The command ends with this line."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "what", choices=("setup", "doctor", "remove"), help="prepare this machine, examine it, or undo setup"
    )
    add_config(parser)
    parser.add_argument(
        "--pool", metavar="POOL", action="append", default=[], help="only for this pool (may be repeated)"
    )
    parser.add_argument("--interface", metavar="DEV", help="where packets come in (that of the backend's address)")
    parser.add_argument(
        "--decap",
        choices=(AUTO, *Decap),
        default=AUTO,
        help="what ends tunnels: an XDP program, the kernel's tunnel devices, nothing of ours (auto: XDP where it can run)",
    )
    parser.add_argument("--dry-run", action="store_true", help="setup, remove: print the lines, run nothing")


def run(arguments: argparse.Namespace) -> int:
    """Do it; 1 where it cannot be done, or where doctor finds something wrong."""
    what: dict[str, Callable[[argparse.Namespace], int]] = {"setup": _setup, "doctor": _doctor, "remove": _remove}
    try:
        return what[arguments.what](arguments)
    except ConfigRefused as refused:
        for problem in refused.problems:
            print(problem, file=sys.stderr)
        print(f"{arguments.config}: refused", file=sys.stderr)
    except (_Failed, NoBackend) as failed:
        print(f"gslb: {failed}", file=sys.stderr)
    except Refused as refused:
        print(f"gslb: {refused.why}", file=sys.stderr)
        if refused.mend:
            print(f"       {refused.mend}", file=sys.stderr)
    return 1


def _setup(arguments: argparse.Namespace) -> int:
    task, facts, interface = _here(arguments)
    ends = _chosen(arguments.decap, task, facts)
    wanted = backend_steps.steps(task, facts, interface, ends)
    if not arguments.dry_run:
        _insist_on_root("setup changes addresses and settings of the kernel", "setup")
    recorded = backend_record.read()
    if arguments.dry_run:
        lines = [*backend_steps.stale(recorded, wanted), *(step.line for step in wanted if not step.met)]
        print("\n".join(lines) or "# nothing of the kernel's settings is missing")
        if ends is Decap.XDP:
            print(f"# decapsulation by XDP on {interface}")
        return 0
    _take_back(recorded, backend_steps.stale(recorded, wanted))
    _decapsulate(task, interface, ends)
    _take(wanted, recorded)
    print(
        f"# this machine is a backend of {', '.join(map(served, task.parts))}; a reboot forgets it (docs/balancer.md)"
    )
    return 0


def _decapsulate(task: Task, interface: str, ends: Decap) -> None:
    if ends is not Decap.XDP:
        if decap.remove():
            print("# decapsulation by XDP is taken away")
        return
    made = decap.install(interface, task.tunnelled, task.ends)
    print(f"# decapsulation by XDP on {interface}: {made.attached}")
    if made.attached is Attached.GENERIC:
        print(f"# slower than native: {made.why}")
        if made.mend:
            print(f"# {made.mend}")


def _take(wanted: tuple[Step, ...], recorded: dict[str, str]) -> None:
    """Run what is not met; each line is recorded before the next."""
    for step in wanted:
        if step.met:
            continue
        _run(step.line)
        if step.undo:
            recorded.setdefault(step.line, step.undo)
            backend_record.write(recorded)


def _take_back(recorded: dict[str, str], undos: tuple[str, ...]) -> None:
    for undo in undos:
        try:
            _run(undo)
        except _Failed as failed:  # others took it away before
            print(f"# {failed}")
    for line in [line for line, undo in recorded.items() if undo in undos]:
        del recorded[line]
    backend_record.write(recorded)


def _doctor(arguments: argparse.Namespace) -> int:
    task, facts, interface = _here(arguments)
    for part in task.parts:
        print(f"this machine serves {served(part)}, by {interface}")
    found = findings(Case(task, facts, interface, _in_force(arguments.decap, task, facts)))
    for one in found:
        print(f"{_SHOWN[one.judged]} {one.text}")
        if one.mend and one.judged is not Judged.OK:
            print(f"      {one.mend}")
    wrong = sum(one.judged is Judged.WRONG for one in found)
    print("nothing is wrong" if not wrong else f"{wrong} {'thing is' if wrong == 1 else 'things are'} wrong")
    return 1 if wrong else 0


def _remove(arguments: argparse.Namespace) -> int:
    recorded = backend_record.read()
    undos = backend_steps.stale(recorded, ())
    if arguments.dry_run:
        print("\n".join(undos) or "# setup made nothing here")
        return 0
    _insist_on_root("remove changes addresses and settings of the kernel", "remove")
    _take_back(recorded, undos)
    if decap.remove():
        print("# decapsulation by XDP is taken away")
    return 0


def _here(arguments: argparse.Namespace) -> tuple[Task, Facts, str]:
    """What this machine is, how it stands, and the interface by which packets come.  Raises what `run` catches."""
    facts = gather()
    task = task_of(load(arguments.config).deployment, facts.own, arguments.pool)
    address = task.parts[0].address
    interface = arguments.interface or facts.device_of(address)
    if interface == "lo":
        interface = facts.default_devices.get(address.version, "lo")
    if interface not in facts.devices or interface == "lo":
        known = ", ".join(name for name in facts.devices if name != "lo") or "none"
        raise _Failed(f"no interface {interface} for packets to come in by - give --interface, one of {known}")
    return task, facts, str(interface)


def _chosen(asked: str, task: Task, facts: Facts) -> Decap:
    """What is to end tunnels.  Raises Refused."""
    if not task.ends:
        return Decap.NONE
    if asked != AUTO:
        return Decap(asked)
    if facts.refusal is None or os.geteuid() != 0:
        return Decap.XDP
    if facts.modules:
        return Decap.KERNEL
    raise facts.refusal


def _in_force(asked: str, task: Task, facts: Facts) -> Decap:
    """What ends tunnels now, as far as it can be seen."""
    if not task.ends:
        return Decap.NONE
    if asked != AUTO:
        return Decap(asked)
    tunnels = any(name in facts.devices for name in DEVICES.values())
    return Decap.KERNEL if tunnels and facts.decap is None else Decap.XDP


def _insist_on_root(why: str, what: str) -> None:
    if os.geteuid() != 0:
        raise _Failed(f"{why}, which root may: sudo gslb backend {what} (--dry-run prints the lines)")


def _run(line: str) -> None:
    """Print and run.  Raises _Failed."""
    print(line, flush=True)
    words = shlex.split(line)
    path = program(words[0])
    if path is None:
        package = {"sysctl": "procps", "ip": "iproute2", "nft": "nftables"}.get(words[0], words[0])
        raise _Failed(f"{words[0]} is not installed - apt-get install {package}")
    done = subprocess.run([Path(path), *words[1:]], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise _Failed(f"`{line}` failed: {said}")
