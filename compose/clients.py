"""A client that asks by DNS and fetches by HTTP all the while, and tells what became of each request.  IO; stdlib only.

`python -m compose.clients RESOLVER NAME` prints a line of JSON for each request, until `--seconds` have passed or SIGTERM ends it;
what is under way then is told too:

    {"at": 1764, "took_s": 0.004, "address": "203.0.113.1", "site": "fra", "server": "web-fra1", "failed": "", "opened": true}

As a browser does, it keeps an answer for its TTL, and asks twice, a second apart, before it gives up.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import signal
import socket
import struct
import sys
import time
from dataclasses import asdict, dataclass, replace

TIMEOUT_S = 1.0  # of one question
TRIES = 2
FETCH_S = 3.0
STATUS = "status"  # how a reply that is no page is told
_HEAD = 12
_A, _IN = 1, 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request.  `at` is of the system's clock; `failed` says what failed, "" where nothing did.

    `opened`: the connection was there, whatever became of it then.
    """

    at: float
    took_s: float = 0.0
    address: str = ""
    site: str = ""
    server: str = ""
    failed: str = ""
    opened: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """Addresses and how long they may be kept."""

    addresses: tuple[str, ...]
    ttl_s: int


class Unanswered(Exception):
    """The resolver did not answer, or with nothing of use."""


def question(name: str, number: int) -> bytes:
    """A query for the name's IPv4 addresses."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split("."))
    return struct.pack("!6H", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", _A, _IN)


def read(reply: bytes, number: int) -> Answer:
    """The addresses of a reply.  Raises Unanswered for a reply that has none."""
    if len(reply) < _HEAD or struct.unpack_from("!H", reply)[0] != number:
        raise Unanswered("an answer to something else")
    flags, questions, answers = struct.unpack_from("!3H", reply, 2)
    if flags & 15:
        raise Unanswered(f"rcode {flags & 15}")
    addresses: list[str] = []
    ttls: list[int] = []
    try:
        at = _HEAD
        for _ in range(questions):
            at = _past_name(reply, at) + 4
        for _ in range(answers):
            at = _past_name(reply, at)
            kind, _class, ttl, length = struct.unpack_from("!HHIH", reply, at)
            at += 10
            if kind == _A:
                addresses.append(socket.inet_ntoa(reply[at : at + length]))
                ttls.append(ttl)
            at += length
    except (struct.error, IndexError, OSError):
        raise Unanswered("an answer that cannot be read") from None
    if not addresses:
        raise Unanswered("no address")
    return Answer(tuple(addresses), min(ttls))


def ask(resolver: str, name: str, number: int, source: str = "") -> Answer:
    """Ask, from `source` if given, and once more where no answer comes in time.  Raises Unanswered."""
    why = "no answer"
    for attempt in range(TRIES):
        wanted = (number + attempt) & 0xFFFF
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(TIMEOUT_S)
            try:
                asking.bind((source, 0))
                asking.connect((resolver, 53))
                asking.send(question(name, wanted))
                return read(asking.recv(4096), wanted)
            except OSError as error:
                why = str(error)
            except Unanswered as error:
                why = str(error)
    raise Unanswered(why)


class Broken(Exception):
    """A connection that was there, and gave no page; `site` and `server` are what its head told, if there was one."""

    def __init__(self, why: str, site: str = "", server: str = "") -> None:
        super().__init__(why)
        self.site, self.server = site, server


def fetch(address: str, name: str, path: str = "/", port: int = 80, source: str = "") -> tuple[str, str]:
    """The site and the server that gave the page.  Raises OSError where there is no connection, Broken where there was one."""
    here = (source, 0) if source else None
    connection = http.client.HTTPConnection(address, port, timeout=FETCH_S, source_address=here)
    site = server = ""
    try:
        connection.connect()
        try:
            connection.request("GET", path, headers={"Host": name, "Connection": "close"})
            reply = connection.getresponse()
            site, server = reply.getheader("X-Site", ""), reply.getheader("X-Server", "")
            reply.read()
        except (OSError, http.client.HTTPException) as error:
            raise Broken(str(error) or type(error).__name__, site, server) from None
        if reply.status != http.client.OK:
            raise Broken(f"{STATUS} {reply.status}", site, server)
        return site, server
    finally:
        connection.close()


class Client:
    """One user: its resolver, a name, the path that it fetches (no path, no fetching), its own address, the answer that it keeps."""

    def __init__(self, resolver: str, name: str, path: str = "/", source: str = "") -> None:
        self._source = source
        self._resolver, self._name, self._path = resolver, name, path
        self._number = 0
        self._kept: Answer | None = None
        self._until = 0.0

    def request(self, now: float) -> Outcome:
        """Ask if need be, then fetch.  `now` is of the system's clock."""
        began = time.monotonic()
        outcome = Outcome(now)
        try:
            if self._kept is None or began >= self._until or not self._path:
                self._kept = None
                self._number += TRIES
                self._kept = ask(self._resolver, self._name, self._number & 0xFFFF, self._source)
                self._until = began + self._kept.ttl_s
            outcome = replace(outcome, address=self._kept.addresses[0])
            if self._path:
                site, server = fetch(outcome.address, self._name, self._path, source=self._source)
                outcome = replace(outcome, site=site, server=server, opened=True)
        except Unanswered as error:
            outcome = replace(outcome, failed=f"dns: {error}")
        except Broken as error:
            outcome = replace(outcome, failed=f"http: {error}", site=error.site, server=error.server, opened=True)
        except OSError as error:
            outcome = replace(outcome, failed=f"http: {str(error) or type(error).__name__}")
        return replace(outcome, took_s=round(time.monotonic() - began, 4))


def _past_name(reply: bytes, at: int) -> int:
    while (length := reply[at]) != 0:
        if length >= 0xC0:
            return at + 2
        at += 1 + length
    return at + 1


def main() -> None:
    """Request again and again; the request that is under way at the end is told like all others."""
    parser = argparse.ArgumentParser(description="Ask by DNS and fetch by HTTP all the while.")
    parser.add_argument("resolver", help="address of the resolver")
    parser.add_argument("name", help="name to ask for")
    parser.add_argument("--every", type=float, default=0.1, help="seconds between requests")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="how long")
    parser.add_argument("--path", default="/", help='what to fetch; "" only asks, each time anew')
    parser.add_argument(
        "--sources", nargs="*", default=[""], help="addresses of this machine: a user of each, by turns"
    )
    wanted = parser.parse_args()
    clients = itertools.cycle([Client(wanted.resolver, wanted.name, wanted.path, one) for one in wanted.sources])
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    due = began = time.monotonic()
    while not ended and due - began < wanted.seconds:
        outcome = next(clients).request(time.time())  # noqa: TID251  lines of many machines are put side by side
        sys.stdout.write(json.dumps(asdict(outcome)) + "\n")
        sys.stdout.flush()
        due = max(due + wanted.every, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    main()
