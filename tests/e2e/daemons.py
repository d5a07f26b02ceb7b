"""Servers as processes of a test, each in a session of its own: started, signalled, killed and frozen whole.  IO."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.lifecycle import wait_until

NGINX = """\
daemon off;
pid {folder}/nginx.pid;
worker_processes 1;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ {server} }}
}}
"""


class Daemon:
    """A server that a command starts, and that `ready` says to answer."""

    def __init__(self, command: Sequence[str], ready: Callable[[], bool], output: Path) -> None:
        self._command = command
        self._ready = ready
        self._output = output
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, also again; returns when it answers."""
        with self._output.open("ab") as sink:
            process = self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True
            )
        what = f"{shlex.join(self._command)} answers"
        wait_until(lambda: process.poll() is not None or self._ready(), what)
        assert process.poll() is None, f"{what}: {self._output.read_text()}"

    def signal(self, number: int) -> None:
        """Send a signal to its first process."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL to all its processes."""
        self._all(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def freeze(self) -> None:
        """SIGSTOP to all its processes."""
        self._all(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT to all its processes."""
        self._all(signal.SIGCONT)

    def close(self) -> None:
        """The end of it, whatever state it is in."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def _all(self, number: int) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, number)


@contextmanager
def daemon(command: Sequence[str], ready: Callable[[], bool], output: Path) -> Iterator[Daemon]:
    """A server for a block."""
    made = Daemon(command, ready, output)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def module(name: str, address: str, port: int, output: Path) -> Iterator[Daemon]:
    """A server of these tests, `python -m tests.e2e.NAME ADDRESS PORT`, for a block."""
    command = [sys.executable, "-m", f"tests.e2e.{name}", address, str(port)]
    with daemon(command, lambda: connects(address, port), output) as made:
        yield made


def nginx_command(program: str, folder: Path, server: str) -> list[str]:
    """The command of an nginx with one server section, whose files are in `folder`."""
    folder.mkdir(exist_ok=True)
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, server=server))
    return [program, "-e", "stderr", "-p", str(folder), "-c", str(config)]


def connects(address: str, port: int) -> bool:
    """Whether a TCP connection is taken."""
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True
