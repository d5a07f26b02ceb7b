"""Fuzz the live server: `python -m tests.fuzz.live PACKETS [SEED]`.

The program is started as a user would start it, then PACKETS mutated packets go to it over UDP and one in fifty over
TCP as well.  Throughout: the same workers live, a good query is answered in time, nothing answers a response, each
reply carries an ID that was asked, and none is larger than its query allowed.  Exit status 1, with the packets to
blame in hex, if any of it fails.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gslb.nameserver.wire import AUTHORITATIVE
from tests.e2e.probes.wire import Target, framed, query, receive_framed
from tests.e2e.program import Program, acceptance
from tests.fuzz.packets import packets, payload_of

WINDOW = 64  # packets between two good queries: small enough for a socket's default buffer
BLOCK = 50_000  # packets that are made at a time
PATIENCE_S = 2.0  # generous, for a busy machine; a hang is for ever
UDP_MAX = 1232  # octets, what this server sends at most
CLIENTS = 4  # sockets, so that SO_REUSEPORT reaches every worker


class Failure(Exception):
    """What went wrong, and the packets that were sent just before."""

    def __init__(self, what: str, sent: Sequence[bytes]) -> None:
        super().__init__(what + "".join(f"\n  {packet.hex()}" for packet in sent))


@dataclass
class Tally:
    """What came of it."""

    sent: int = 0
    replies: Counter[int] = field(default_factory=Counter)
    slowest_s: float = 0.0


def fuzz(program: Program, count: int, seed: int) -> Tally:
    """Send `count` packets.  Raises Failure."""
    tally = Tally()
    workers = worker_pids(program)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(client(program.target)) for _ in range(CLIENTS)]
        for block in range(0, count, BLOCK):
            made = packets(min(BLOCK, count - block), seed + block)
            for start in range(0, len(made), WINDOW):
                number = start // WINDOW
                window = made[start : start + WINDOW]
                send_window(clients[number % CLIENTS], window, tally)
                if number % 50 == 0:
                    _tcp(program.target, window[:8])
    now = worker_pids(program)
    if now != workers:
        raise Failure(f"workers {sorted(workers)} are now {sorted(now)}", [])
    if failed := responder_failures(program):
        raise Failure(f"the workers caught {failed} exceptions of the responder:\n{program.log()}", [])
    return tally


def worker_pids(program: Program) -> set[int]:
    """The processes that answer."""
    return {worker["pid"] for worker in program.status()["workers"]}


def responder_failures(program: Program) -> int:
    """How often a worker had to answer for an exception."""
    return int(program.status()["counters"].get("responder_failed", 0))


def client(target: Target) -> socket.socket:
    """A socket from which to send windows."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect((target.address, target.port))
    sock.settimeout(PATIENCE_S)
    return sock


def send_window(sock: socket.socket, window: Sequence[bytes], tally: Tally) -> None:
    """Send a window, then a good query; one worker takes both in order, so its answer ends the window.

    In a turn, what the reference answers comes last: the good query has a flag for which it goes to the reference.
    """
    sent: dict[bytes, bytes] = {}
    for number, packet in enumerate(window):
        ident = number.to_bytes(2, "big")
        whole = ident + packet[2:] if len(packet) > 2 else packet
        sent[ident] = whole
        sock.send(whole)
    good = b"\xff\xfe" + query("leaf", "A", flags=AUTHORITATIVE)[2:]
    began = time.monotonic()
    sock.send(good)
    while True:
        try:
            reply = sock.recv(65535)
        except TimeoutError:
            raise Failure(f"no answer to a good query within {PATIENCE_S} s after:", window) from None
        if reply[:2] == good[:2]:
            break
        _judge(reply, sent)
        tally.replies[reply[3] & 15] += 1
    tally.slowest_s = max(tally.slowest_s, time.monotonic() - began)
    tally.sent += len(window)


def _judge(reply: bytes, sent: dict[bytes, bytes]) -> None:
    asked = sent.pop(reply[:2], None)
    if asked is None:
        raise Failure(f"a reply with an ID that was not asked, or a second one: {reply.hex()}", [])
    if len(reply) < 12 or not reply[2] & 0x80:
        raise Failure(f"not a response: {reply.hex()} to", [asked])
    if len(asked) < 12 or asked[2] & 0x80:
        raise Failure(f"must not be answered, was by {reply.hex()}:", [asked])
    allowed = max(512, min(payload_of(asked) or 0, UDP_MAX))
    if len(reply) > allowed:
        raise Failure(f"{len(reply)} octets where {allowed} were allowed: {reply.hex()} to", [asked])


def _tcp(target: Target, window: Sequence[bytes]) -> None:
    """The same packets over one connection; the server may close it, but must go on to serve others."""
    with contextlib.suppress(ConnectionError), target.connect() as sock:
        sock.sendall(b"".join(framed(packet) for packet in window) + framed(query("leaf", "A")))
        sock.shutdown(socket.SHUT_WR)
        try:
            while receive_framed(sock):
                pass
        except TimeoutError:
            raise Failure(f"a TCP connection hung for {PATIENCE_S} s after:", window) from None
    try:
        target.tcp(query("leaf", "A"))
    except OSError as error:
        raise Failure(f"TCP does not answer any more ({error}) after:", window) from None


def main(arguments: Sequence[str]) -> int:
    """Run from the command line."""
    count = int(arguments[0]) if arguments else 1_000_000
    seed = int(arguments[1]) if len(arguments) > 1 else 1
    with tempfile.TemporaryDirectory(prefix="gslb-fuzz-") as folder, acceptance(Path(folder)) as program:
        began = time.monotonic()
        try:
            tally = fuzz(program, count, seed)
        except Failure as failure:
            sys.stderr.write(f"{failure}\n")
            return 1
        took = time.monotonic() - began
        rcodes = ", ".join(f"rcode {rcode}: {times}" for rcode, times in sorted(tally.replies.items()))
        sys.stdout.write(
            f"{tally.sent} packets (seed {seed}) in {took:.0f} s, {sum(tally.replies.values())} replies ({rcodes}), "
            f"slowest good answer {tally.slowest_s * 1000:.0f} ms; no crash, no hang\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
