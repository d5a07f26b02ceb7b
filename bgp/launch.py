"""ExaBGP's configuration on disk, its acceptance by ExaBGP, and the start of the process.  IO.

Rule 1: what is started was accepted by `exabgp validate` before.
Rule 2: the configuration, which may hold passwords, is readable by ExaBGP's user alone; its folder is ours, so nobody plants links there.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bgp import render

VALIDATE_S = 30.0
CONFIGURATION = "exabgp.conf"
PID = "exabgp.pid"
LAST_WORDS = 400  # characters of what ExaBGP printed last


@dataclass(frozen=True, slots=True)
class Setup:
    """`folder` is ours and is empty after a boot; `user` is ExaBGP's, None: as we are."""

    folder: Path
    speaker: render.Speaker
    user: str | None = None
    after_s: float = 10.0  # until the bridge acts without us


class Launch:
    """All that is needed to start one ExaBGP.  Raises KeyError for an unknown user."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._folder = setup.folder
        self._path = setup.folder / CONFIGURATION
        self._account = pwd.getpwnam(setup.user) if setup.user else pwd.getpwuid(os.geteuid())
        other = self._account.pw_uid != os.geteuid()
        self.user: int | None = self._account.pw_uid if other else None  # whom it becomes; None: it stays as we are
        self.group: int | None = self._account.pw_gid if other else None

    def configure(self) -> str:
        """Write the configuration if ExaBGP accepts it; otherwise why not.  Takes a second."""
        trial = self._path.with_suffix(".new")
        try:
            text = render.configuration(self._setup.speaker)
            if text == self.configuration():  # a full disk keeps nobody from starting with what is there
                return self._refusal(self._path)
            trial.unlink(missing_ok=True)
            with os.fdopen(os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(text)
                if self.user is not None:
                    os.fchown(file.fileno(), self._account.pw_uid, self._account.pw_gid)
            if not (reason := self._refusal(trial)):
                trial.replace(self._path)
        except (OSError, ValueError) as error:
            return str(error)
        return reason

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start it in a session of its own, with no pipe to us.  Raises OSError."""
        logs = self._folder / "log"
        logs.mkdir(mode=0o750, exist_ok=True)
        if self.user is not None:
            os.chown(logs, self._account.pw_uid, self._account.pw_gid)
        with (self._folder / "exabgp.err").open("wb") as words:
            child = subprocess.Popen(
                [*self._python(), "server", str(self._path)],
                env=self._environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=words,
                start_new_session=True,
                user=self.user,
                group=self.group,
                extra_groups=None if self.user is None else [],
            )
        try:
            (self._folder / PID).write_text(f"{child.pid}\n")
        except OSError:  # nobody would find it again, and a second one would be started beside it
            child.kill()
            child.wait()
            raise
        return child

    def running(self) -> int | None:
        """The process id of an ExaBGP that was started with this configuration and lives."""
        return running(self._folder)

    def configuration(self) -> str:
        """What ExaBGP reads; empty where there is none."""
        return _text(self._path)

    def last_words(self) -> str:
        """What it printed last."""
        return _tail(_text(self._folder / "exabgp.err"))

    def _refusal(self, path: Path) -> str:
        """Why ExaBGP does not accept the configuration; empty if it does."""
        try:
            done = subprocess.run(
                [*self._python(), "validate", str(path)],
                env=self._environment() | {"exabgp_log_destination": "stderr"},
                cwd="/",
                capture_output=True,
                timeout=VALIDATE_S,
                check=False,
                user=self.user,
                group=self.group,
                extra_groups=None if self.user is None else [],
            )
        except subprocess.TimeoutExpired:
            return f"`exabgp validate` took longer than {VALIDATE_S:g} s"
        words = _tail((done.stdout + done.stderr).decode("utf-8", "replace"))
        return f"`exabgp validate` refused the configuration: {words}" if done.returncode else ""

    def _python(self) -> list[str]:
        return [str(self._setup.speaker.python), "-P", "-m", "exabgp"]

    def _environment(self) -> dict[str, str]:
        found = importlib.util.find_spec("exabgp")
        if found is None or found.origin is None:
            raise OSError("ExaBGP is not installed - expected the package exabgp beside this one")
        log = PurePosixPath(self._folder / "log" / "exabgp.log")
        modules = PurePosixPath(Path(found.origin).parent.parent)
        said: Mapping[str, str] = render.environment(self._account.pw_name, log, modules)
        return dict(said)


def running(folder: Path) -> int | None:
    """The process id of an ExaBGP that was started in `folder` and lives."""
    try:
        pid = int(_text(folder / PID))
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if os.fsencode(folder.absolute() / CONFIGURATION) in words else None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _tail(text: str) -> str:
    return " ".join(text.split())[-LAST_WORDS:]
