"""Building the location table in a child process, so that its memory goes with it and the node serves on.  IO.

The child is executed anew (`python -m gslb.control.geography`), since the controller has threads.  It reads one pickled request
from its parent and writes JSON lines: progress, then the result.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gslb.control import privilege
from gslb.geo.load import location_table
from gslb.model.deployment import Deployment

Progress = Callable[[str, float], None]
_LINE_MAX = 1 << 16


class GeographyFailed(Exception):
    """No location table could be made; the message is for people."""


@dataclass(frozen=True, slots=True)
class Located:
    """A finished table: its file, its digest, the databases that it was made of (for people), and remarks."""

    path: Path
    digest: str
    databases: tuple[str, ...]
    notes: tuple[str, ...]


def has_databases(deployment: Deployment) -> bool:
    """Whether there is a database to read, which may take long."""
    return any(Path(name).expanduser().exists() for name in deployment.geo.databases)


def at_once(deployment: Deployment, cache: Path) -> Located:
    """The location table where there is no database.  Raises GeographyFailed."""
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = location_table(deployment, cache)
    except (OSError, ValueError) as error:
        raise GeographyFailed(str(error)) from error
    return Located(made.path, made.digest, (), made.notes)


async def locate(deployment: Deployment, cache: Path, progress: Progress) -> Located:
    """The location table of `deployment`.  Raises GeographyFailed; ends its child when cancelled."""
    if not has_databases(deployment):
        return at_once(deployment, cache)
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        __name__,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        limit=_LINE_MAX,
    )
    try:
        return await _follow(child, pickle.dumps((deployment, cache)), progress)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()


async def _follow(child: asyncio.subprocess.Process, request: bytes, progress: Progress) -> Located:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(request)
    child.stdin.close()
    async for line in child.stdout:
        said = json.loads(line)
        if "step" in said:
            progress(said["step"], said["share"])
        elif "error" in said:
            raise GeographyFailed(said["error"])
        else:
            return Located(Path(said["path"]), said["digest"], tuple(said["databases"]), tuple(said["notes"]))
    status = await child.wait()
    raise GeographyFailed(f"the process that reads the geo databases ended with status {status}")


def _say(**words: object) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def _describe(deployment: Deployment) -> list[str]:
    from gslb.geo.rows import described  # noqa: PLC0415  # the controller does without pycountry

    paths = [Path(name).expanduser() for name in deployment.geo.databases]
    found = [described(path) for path in paths if path.exists()]
    return [f"{one.database.name} ({one.kind} of {one.built})" for one in found]


def main() -> int:
    """The child."""
    privilege.keep_only()
    privilege.die_with_parent()
    deployment, cache = pickle.load(sys.stdin.buffer)  # noqa: S301  # from our parent, by a pipe
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        located = location_table(deployment, cache, lambda step, share: _say(step=step, share=share))
        databases = _describe(deployment)
    except (OSError, ValueError, MemoryError) as error:
        _say(error=str(error) or "not enough memory")
        return 1
    _say(path=str(located.path), digest=located.digest, databases=databases, notes=located.notes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
