"""A site of the lab whose ExaBGP is driven by `tests/bgp/announcer.py`: told what to announce, killed, hung, started anew.  IO."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import tests.bgp.announcer
from tests.bgp.lab import OURS, THEIRS, Lab
from tests.e2e.lifecycle import wait_until

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True, slots=True)
class Said:
    """One thing that the controller told: its kind, all of it as text, and its moment by the monotonic clock."""

    at: float
    what: str
    said: str


class Controlled:
    """One site's controller and ExaBGP.  `close` ends both."""

    def __init__(
        self,
        lab: Lab,
        site: str,
        folder: Path,
        *,
        after_s: float = 3.0,
        user: str | None = None,
        local_as: int = OURS,
        hold_s: int = 9,
        session: Mapping[str, object] | None = None,
        nobody: tuple[str, ...] = (),
    ) -> None:
        """`session` is what holds for the sessions of both families: `peer_as`, `password`, `gtsm`, `passive`, `port`;
        `nobody`: IPv4 addresses of more routers, which do not exist.
        """
        self._host = lab.sites[site]
        self.folder = folder
        known = [(lab.gateway(site, v), lab.address(site, v)) for v in (4, 6)]
        missing = [(address, lab.address(site)) for address in nobody]
        self.words = {
            "folder": str(folder),
            "local_as": local_as,
            "hold_s": hold_s,
            "router_id": lab.address(site),
            "after_s": after_s,
            "user": user,
            "python": "/usr/bin/python3" if user else sys.executable,  # others cannot run what is in root's home
            "sessions": [
                {"address": address, "local": local, "peer_as": THEIRS, **(session or {})}
                for address, local in (*known, *missing)
            ],
        }
        self.said: list[Said] = []
        self._process: subprocess.Popen[str] | None = None
        self._listener: threading.Thread | None = None

    def start(self) -> None:
        """Start the controller."""
        program = str(Path(tests.bgp.announcer.__file__))
        self._process = subprocess.Popen(
            self._host.command([sys.executable, program, json.dumps(self.words)]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            start_new_session=True,
        )
        self._listener = threading.Thread(target=self._listen, args=(self._process,))
        self._listener.start()

    def announce(self, **states: str) -> None:
        """Announce these prefixes and no others: `announce(**{"192.0.2.1/32": "drain"})`."""
        self._tell({"routes": states})

    def stop(self, wait_s: float) -> None:
        """Let it end in order."""
        self._tell({"stop": wait_s})

    def wait(self, what: str, *, within_s: float = 15.0, text: str = "", since: float = 0.0) -> Said:
        """The first thing of that kind, with `text` in it, at `since` or later."""
        wait_until(lambda: self._found(what, text, since) is not None, f"{what} {text}", within_s)
        found = self._found(what, text, since)
        assert found
        return found

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the controller."""
        assert self._process
        self._process.send_signal(number)

    def leave(self) -> None:
        """End the controller by the end of its input."""
        assert self._process
        assert self._process.stdin
        self._process.stdin.close()
        self._ended()

    def kill(self) -> None:
        """End the controller as a crash does."""
        self.signal(signal.SIGKILL)
        self._ended()

    @property
    def exabgp(self) -> int:
        """The process id of the ExaBGP of now."""
        return int([said for said in self.said if said.what == "Running"][-1].said.split("pid=")[1].split(",")[0])

    @property
    def bridge(self) -> int:
        """The process id of the bridge that came last."""
        return int([said for said in self.said if said.what == "Hello"][-1].said.split("bridge=")[1].split(",")[0])

    def close(self) -> None:
        """End everything that it started."""
        if self._process:
            self.signal(signal.SIGCONT)
            self.kill()
        for pid in {int(said.said.split("pid=")[1].split(",")[0]) for said in self.said if said.what == "Running"}:
            if str(self.folder).encode() in arguments(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)

    def _tell(self, said: object) -> None:
        assert self._process
        assert self._process.stdin
        self._process.stdin.write(json.dumps(said) + "\n")
        self._process.stdin.flush()

    def _ended(self) -> None:
        assert self._process
        assert self._listener
        self._process.wait(15)
        self._listener.join(15)
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if pipe:
                    pipe.close()
        self._process = None

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout
        for line in process.stdout:
            self.said.append(Said(**json.loads(line)))

    def _found(self, what: str, text: str, since: float) -> Said | None:
        found = (said for said in list(self.said) if said.what == what and text in said.said and said.at >= since)
        return next(found, None)


def now() -> float:
    """The clock of all `Said`."""
    return time.monotonic()


def arguments(pid: int) -> bytes:
    """The command line of a process; empty when it has ended, even if nobody has collected it."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
