"""What the client of `anycasting.py` asks, and what the monitors there ask.  IO."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

import dns.edns
import dns.message

from tests.bgp.lab import Lab, Meter

PACE_S = 0.005
_QUERY = dns.message.make_query(
    "www.example.com", "A", use_edns=0, options=[dns.edns.GenericOption(dns.edns.OptionType.NSID, b"")]
).to_wire()
_NSID = b"\0\3\0"  # RFC 5001, and the upper half of its length


class DnsMeter(Meter):
    """Queries to an address of the nameserver; the site that answers tells its name (NSID)."""

    def __init__(self, lab: Lab, vip: str) -> None:
        super().__init__(lab, vip, 53, PACE_S)

    def _asked(self, number: int) -> bytes:  # type: ignore[explicit-override]
        return (number & 0xFFFF).to_bytes(2, "big") + _QUERY[2:]

    def _answered(self, data: bytes) -> tuple[int, str] | None:  # type: ignore[explicit-override]
        if data[3] & 0xF or _NSID not in data:
            return None
        latest = len(self.losses.sent)
        number = latest - ((latest - int.from_bytes(data[:2], "big")) & 0xFFFF)
        return number, data.rpartition(_NSID)[2][1:].decode().split()[0]


class Checked:
    """The servers that monitors ask, one at each site; those in `failing` fail."""

    def __init__(self, lab: Lab) -> None:
        self.failing: set[str] = set()
        self.failed: dict[tuple[str, str], list[float]] = defaultdict(list)  # when, by (site of the server, who asked)
        self._servers = [
            host.call(partial(_Server, (lab.address(site), 80), partial(_Page, self, site)))
            for site, host in lab.sites.items()
        ]
        for server in self._servers:
            threading.Thread(target=partial(server.serve_forever, 0.05), name="checked").start()

    @contextmanager
    def fails(self, *sites: str) -> Iterator[None]:
        """All checks of these sites' servers fail while the block runs."""
        self.failed.clear()
        self.failing |= set(sites)
        try:
            yield
        finally:
            self.failing -= set(sites)

    def close(self) -> None:
        """End all."""
        for server in self._servers:
            server.shutdown()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self) -> None:  # type: ignore[explicit-override]
        """Without asking DNS for a name."""
        TCPServer.server_bind(self)


class _Page(BaseHTTPRequestHandler):
    def __init__(self, checked: Checked, site: str, *arguments: Any) -> None:
        self._checked, self._site = checked, site
        super().__init__(*arguments)

    def do_GET(self) -> None:
        """Answer a check."""
        failing = self._site in self._checked.failing
        self.send_response(503 if failing else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()
        if failing:
            self._checked.failed[self._site, self.client_address[0]].append(time.monotonic())

    def log_message(self, *_: object) -> None:  # type: ignore[explicit-override]
        """Nothing is logged."""
