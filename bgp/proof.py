"""Whether a route is in the router: a look into BIRD or FRR on this machine that changes nothing.  IO.

ExaBGP's word is only that it sent a route; a filter of the router may have refused it.  BIRD's control socket is asked after
`restrict`, which forbids everything but looking; FRR is asked by vtysh.  Both are bounded in time and octets.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from bgp.routertext import InRouter, bird_routes, frr_routes
from bgp.routes import Attributes, Route
from gslb.model.deployment import Address, Network

PATIENCE_S = 2.0
MOST_OCTETS = 1 << 20
_NOT_FOUND = "8001"  # BIRD: Network not found


class Unanswered(Exception):
    """The router could not be asked; the text says why."""


class Standing(StrEnum):
    """How a route of ours stands in the router."""

    MISSING = "not in the router"
    OTHERWISE = "in the router with other attributes"
    UNUSED = "in the router, which prefers another route"
    USED = "in the router and used"


def standing(routes: Sequence[InRouter], sent: Route, local: Address) -> Standing:
    """How `sent` stands among what the router holds for its prefix; `local` is our address of that session.

    Only what was said is compared: a router adds local preference and communities of its own.
    """
    ours = [route for route in routes if route.giver == local]
    if not ours:
        return Standing.MISSING
    alike = [route for route in ours if _is_said(sent.attributes, route.attributes)]
    if not alike:
        return Standing.OTHERWISE
    return Standing.USED if any(route.used for route in alike) else Standing.UNUSED


async def ask_bird(control: Path, prefix: Network) -> tuple[InRouter, ...]:
    """The routes that BIRD holds for exactly `prefix`.  Raises Unanswered, and Unreadable for what is no answer."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            code, text = await _look(control, f"show route {prefix} all")
    except TimeoutError:
        raise Unanswered(f"BIRD at {control} does not answer within {PATIENCE_S:g} s") from None
    except (OSError, EOFError, asyncio.LimitOverrunError) as error:
        raise Unanswered(f"BIRD at {control} does not answer: {error}") from error
    if code == _NOT_FOUND:
        return ()
    if code[0] in "89":
        raise Unanswered(f"BIRD at {control} refused: {text.strip()}")
    return bird_routes(text)


async def ask_frr(vtysh: Sequence[str], prefix: Network) -> tuple[InRouter, ...]:
    """The routes that FRR holds for `prefix`, by `vtysh` with its options.  Raises Unanswered and Unreadable."""
    command = f"show bgp ipv{prefix.version} unicast {prefix} json"
    try:
        child = await asyncio.create_subprocess_exec(
            *vtysh,
            "-c",
            command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise Unanswered(f"{vtysh[0]} cannot be run: {error.strerror}") from error
    try:
        async with asyncio.timeout(PATIENCE_S):
            out, wrong = await child.communicate()
    except TimeoutError:
        raise Unanswered(f"FRR does not answer {vtysh[0]} within {PATIENCE_S:g} s") from None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode:
        raise Unanswered(f"{vtysh[0]} failed: {wrong.decode(errors='replace').strip()[:200]}")
    return frr_routes(out.decode(errors="replace"))


async def _look(control: Path, command: str) -> tuple[str, str]:
    reader, writer = await asyncio.open_unix_connection(str(control), limit=MOST_OCTETS)
    try:
        await _reply(reader)  # its greeting
        writer.write(b"restrict\n")
        await _reply(reader)
        writer.write(f"{command}\n".encode())
        return await _reply(reader)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def _reply(reader: asyncio.StreamReader) -> tuple[str, str]:
    """One reply of BIRD: its last code, and its lines without codes.  Raises OSError, EOFError and LimitOverrunError."""
    lines: list[str] = []
    size = 0
    while True:
        line = (await reader.readuntil(b"\n")).decode(errors="replace").rstrip("\n")
        size += len(line)
        if size > MOST_OCTETS:
            raise asyncio.LimitOverrunError(f"its reply is longer than {MOST_OCTETS} octets", size)
        found = re.match(r"(\d{4})([ -])(.*)", line)
        lines.append(found[3] if found else line[1:])
        if found and found[2] == " ":
            return found[1], "\n".join(lines)


def _is_said(sent: Attributes, held: Attributes) -> bool:
    return (
        (sent.med or 0) == (held.med or 0)
        and (not sent.as_path or sent.as_path == held.as_path)
        and set(sent.communities) <= set(held.communities)
        and set(sent.large) <= set(held.large)
    )
