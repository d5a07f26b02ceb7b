"""A controller for tests: ExaBGP under our code in a namespace, told by lines on stdin what to announce.  A program.

    announcer.py WORDS      (JSON of `Controlled.words`)

Input: JSON of {"routes": {prefix: state}} or {"stop": seconds}; an orderly end of input ends us and leaves ExaBGP.
Output: a line of JSON for each thing that happened, with the monotonic time.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path, PurePosixPath
from typing import Any

import bgp.bridge
from bgp.exabgp import ExaBgp, Told
from bgp.launch import Setup
from bgp.render import Session, Speaker
from bgp.routes import Announce, Route, State, wanted
from gslb.model.bgp import Bgp, Drain, Neighbor

DRAIN = Drain("65535:0", 3, 100)


def told(event: Told) -> None:
    """Print what happened."""
    said = {"at": time.monotonic(), "what": type(event).__name__, "said": repr(event)}
    sys.stdout.write(f"{json.dumps(said)}\n")
    sys.stdout.flush()


def session_of(said: dict[str, Any]) -> Session:
    """One neighbor of the command line; `password` and what `Neighbor` knows beside the addresses may be missing."""
    password = said.pop("password", None)
    local, address = ip_address(said.pop("local")), ip_address(said.pop("address"))
    drain = Drain(**said.pop("drain")) if "drain" in said else DRAIN
    return Session(Neighbor(address, drain=drain, **said), local, password)


def setup_of(words: dict[str, Any]) -> tuple[Setup, Bgp]:
    """What the command line says."""
    folder, local_as, router_id = Path(words["folder"]), words["local_as"], IPv4Address(words["router_id"])
    sessions = tuple(map(session_of, words["sessions"]))
    bridge, python = PurePosixPath(bgp.bridge.__file__), PurePosixPath(words["python"])
    socket = PurePosixPath(folder / "exabgp.sock")
    speaker = Speaker(local_as, router_id, sessions, bridge, socket, python, words["hold_s"])
    spoken = Bgp("site", local_as, router_id, tuple(session.neighbor for session in sessions))
    return Setup(folder, speaker, words["user"], words["after_s"]), spoken


def routes_of(states: dict[str, str], spoken: Bgp) -> tuple[tuple[Route, ...], tuple[Announce, ...]]:
    """The routes of these states, and the same drained."""
    known = {ip_network(prefix): State(state) for prefix, state in states.items()}
    drained = {prefix: State.DRAIN for prefix, state in known.items() if state is not State.OFF}
    return wanted(known, spoken), tuple(map(Announce, wanted(drained, spoken)))


async def main() -> None:
    """Until the end of input, or until stopped."""
    setup, spoken = setup_of(json.loads(sys.argv[1]))
    exabgp = ExaBgp(setup, told)
    running = asyncio.create_task(exabgp.run())
    lines = asyncio.StreamReader(limit=1 << 24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    prepared: tuple[Announce, ...] = ()
    while not running.done() and (line := await lines.readline()):
        said = json.loads(line)
        if "stop" in said:
            await exabgp.stop([change.route for change in prepared], said["stop"])
            await running
        else:
            routes, prepared = routes_of(said["routes"], spoken)
            exabgp.want(routes, prepared)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main())
