"""Each executor of DNS asked itself: the workers over their own sockets, the program in the driver by its test run.  IO: channels.

Rule 1: what hangs is told apart from what is gone: a worker that ended has no sockets, so no query waits for it.
Rule 2: a worker that has nothing to answer from yet is none that fails, as long as another one answers.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

from gslb.nameserver import channel

ASK_S = 1.0
_WORKERS = "udp-*" + channel.SUFFIX
_RESPONSE, _RCODE = 0x80, 0x0F


async def silent(run: Path, probe: str, driver: Sequence[str]) -> tuple[str, ...]:
    """What does not answer `probe` (hex), one line each; first what is told of the driver."""
    lines = list(driver)
    found = await _workers_say(run, probe)
    lines += [why for why in found if why]
    if probe and not found:
        lines.append("no worker answers over UDP")
    return tuple(lines)


async def answering(run: Path, probe: str, *, driver: bool) -> int | None:
    """How many executors answer `probe` (hex) now, within ASK_S; `driver`: whether the program in the driver does.

    None: there is nothing yet that could be asked for.
    """
    if not probe:
        return None
    found = await _workers_say(run, probe)
    return found.count("") + driver


async def _workers_say(run: Path, probe: str) -> list[str]:
    """Of each worker that serves something: why it does not answer, empty where it does.  All are asked at once."""
    names = _workers(run) if probe else []
    return [one for one in await asyncio.gather(*(_ask(run, name, probe) for name in names)) if one is not None]


def _workers(run: Path) -> list[str]:
    return sorted(path.name for path in run.glob(_WORKERS))


async def _ask(run: Path, name: str, probe: str) -> str | None:
    """Why a worker does not answer; empty where it does, None where it is gone or serves nothing yet."""
    pid = name.removeprefix("udp-").removesuffix(channel.SUFFIX)
    hangs = f"the worker with pid {pid} was asked and has not answered for {ASK_S:g} s"
    try:
        line = channel.connect(run, name, 0.0)
    except BlockingIOError:  # nobody accepts
        return hangs
    except OSError:
        return None
    with line:
        channel.send(line, {"do": "ask", "query": probe})
        try:
            async with asyncio.timeout(ASK_S):
                said = await asyncio.get_running_loop().sock_recv(line, channel.MESSAGE_MAX)
        except TimeoutError:
            return hangs
        except OSError:
            return None
    return _judged(said, probe, pid) if said else None


def _judged(said: bytes, probe: str, pid: str) -> str | None:
    message = json.loads(said)
    if not message["serving"]:
        return None
    query, reply = bytes.fromhex(probe), bytes.fromhex(message["reply"])
    if not reply:  # over the limit of responses to this machine: it had an answer
        return ""
    if len(reply) < len(query) or reply[:2] != query[:2] or not reply[2] & _RESPONSE or reply[3] & _RCODE:
        return (
            f"the worker with pid {pid} replies {reply[:12].hex()} when it is asked, expected a response without error"
        )
    return ""
