"""DNS over TCP (RFC 7766, item 65) and the size of answers (item 77)."""

from __future__ import annotations

import contextlib
import socket
from contextlib import ExitStack
from functools import partial

from tests.e2e.probes.case import Probes
from tests.e2e.probes.wire import KEEPALIVE, Reply, Target, framed, opt, query, receive_framed

probe = Probes()


@probe(65, "tcp-five")
def five_on_one_connection(target: Target) -> None:
    with target.connect() as sock:
        for name in ("host", "leaf", "absent", "chain1", "www.sub"):
            packet = query(name, "A")
            sock.sendall(framed(packet))
            Reply(packet, receive_framed(sock))


@probe(65, "tcp-pipelined")
def twenty_pipelined(target: Target) -> None:
    packets = [query(("host", "absent", "any.wild", "above512")[number % 4], "A") for number in range(20)]
    with target.connect() as sock:
        sock.sendall(b"".join(framed(packet) for packet in packets))
        replies = {reply[:2]: reply for reply in (receive_framed(sock) for _ in packets)}
    for packet in packets:  # RFC 7766 section 7: any order
        Reply(packet, replies[packet[:2]])


@probe(65, "tcp-octets")
def one_octet_at_a_time(target: Target) -> None:
    packet = query("host", "A")
    with target.connect() as sock:
        for octet in framed(packet):
            sock.sendall(bytes([octet]))
        assert len(Reply(packet, receive_framed(sock)).section("answer")) == 2


@probe(65, "tcp-half-close")
def half_close(target: Target) -> None:
    packets = [query("host", "A"), query("above4096", "TXT")]
    with target.connect() as sock:
        sock.sendall(b"".join(framed(packet) for packet in packets))
        sock.shutdown(socket.SHUT_WR)
        replies = {reply[:2]: reply for reply in (receive_framed(sock) for _ in packets)}
        assert sock.recv(1) == b"", "the server closes once it has answered"
    for packet in packets:
        Reply(packet, replies[packet[:2]])


@probe(65, "tcp-length-0")
def length_zero(target: Target) -> None:
    with target.connect() as sock, contextlib.suppress(ConnectionError):  # a server may close on nonsense ...
        sock.sendall(b"\0\0")
        sock.sendall(framed(query("host", "A")))
        assert receive_framed(sock)
    # ... but must not stop to serve others
    assert target.tcp(query("host", "A")).section("answer")


@probe(65, "tcp-garbage")
def garbage(target: Target) -> None:
    with target.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert target.tcp(query("host", "A")).section("answer")


@probe(65, "tcp-thirty-connections")
def thirty_connections(target: Target) -> None:
    with ExitStack() as stack:
        connections = [stack.enter_context(target.connect()) for _ in range(30)]
        packets = [query("host", "A") for _ in connections]
        for sock, packet in zip(connections, packets, strict=True):
            sock.sendall(framed(packet))
        for sock, packet in zip(connections, packets, strict=True):
            Reply(packet, receive_framed(sock))


@probe(65, "tcp-idle-neighbour")
def idle_neighbour(target: Target) -> None:
    with target.connect() as idle:
        idle.sendall(b"\x00\x40\x12")  # a message that never ends
        for _ in range(3):
            assert target.tcp(query("host", "A")).section("answer")
        assert target.ask("host", "A").section("answer")


@probe(65, "tcp-slow-reader")
def slow_reader(target: Target) -> None:
    with target.connect() as slow:
        slow.settimeout(0)
        batch = b"".join(framed(query("above4096", "TXT")) for _ in range(200))
        with contextlib.suppress(BlockingIOError):
            slow.send(batch)  # nobody reads the 1.6 million octets that are due
        for _ in range(3):
            assert target.tcp(query("host", "A")).section("answer")


@probe(65, "tcp-one-segment")
def length_and_message_together(target: Target) -> None:
    """RFC 7766 section 8: the length and the message should leave in one segment."""
    packet = query("host", "A")
    with target.connect() as sock:
        sock.sendall(framed(packet))
        first = sock.recv(65535)
    assert len(first) > 2, "the length came in a segment of its own"


@probe(65, "tcp-keepalive", "keepalive")
def keepalive(target: Target) -> None:
    reply = target.tcp(query("host", "A", edns=opt((KEEPALIVE, b""))))
    (option,) = [option for option in reply.options if int(option.otype) == KEEPALIVE]
    assert len(option.to_wire() or b"") == 2, "RFC 7828: an idle timeout of two octets"
    unasked = target.tcp(query("host", "A", edns=opt()))
    assert not [option for option in unasked.options if int(option.otype) == KEEPALIVE]


@probe(77, "tc-512")
def plain_512(target: Target) -> None:
    reply = target.ask("above512", "A")
    assert reply.tc, reply
    assert reply.aa
    assert reply.rcode == "NOERROR"


@probe(77, "fits-512")
def fits_plain(target: Target) -> None:
    reply = target.ask("fits512", "A")
    assert not reply.tc, reply
    assert len(reply.section("answer")) == 16


def _tc(target: Target, name: str, rtype: str, payload: int) -> None:
    reply = target.ask(name, rtype, payload=payload)
    assert reply.tc, reply
    assert reply.message.edns == 0, "OPT stays in a truncated reply (RFC 6891 section 7)"


probe.each(
    77, "tc-edns",
    {
        "512": partial(_tc, name="above512", rtype="A", payload=512),
        "1232": partial(_tc, name="above1232", rtype="TXT", payload=1232),
        "4096": partial(_tc, name="above4096", rtype="TXT", payload=4096),
        "65535": partial(_tc, name="above4096", rtype="TXT", payload=65535),
    },
)  # fmt: skip


@probe(77, "fits-1232")
def fits_1232(target: Target) -> None:
    reply = target.ask("above512", "A", payload=1232)
    assert not reply.tc, reply
    assert len(reply.section("answer")) == 60


@probe(77, "never-above-4096")
def never_above_4096(target: Target) -> None:
    reply = target.udp(query("above1232", "TXT", edns=opt(payload=65535)), allowed=4096)
    assert reply.tc or len(reply.section("answer")) == 9


def _whole(target: Target, name: str, rtype: str, count: int) -> None:
    for edns in (None, opt(payload=512), opt(payload=4096)):
        reply = target.tcp(query(name, rtype, edns=edns))
        assert not reply.tc
        assert len(reply.section("answer")) == count


probe.each(
    77, "tcp-whole",
    {
        "above512": partial(_whole, name="above512", rtype="A", count=60),
        "above1232": partial(_whole, name="above1232", rtype="TXT", count=9),
        "above4096": partial(_whole, name="above4096", rtype="TXT", count=30),
    },
)  # fmt: skip


@probe(77, "tc-referral")
def glue_or_truncated(target: Target) -> None:
    """RFC 9471: all glue of in-domain servers, or TC."""
    reply = target.ask("www.wide", "A")
    glue = [line for line in reply.section("additional") if line.startswith("ns-a-rather")]
    assert reply.tc or len(glue) == 16, reply
    whole = target.tcp(query("www.wide", "A"))
    assert len(whole.section("authority")) == 8
    assert len(whole.section("additional")) == 16


@probe(77, "tc-only-for-what-was-asked")
def additional_never_truncates(target: Target) -> None:
    """RFC 2181 section 9: TC is not set because additional data did not fit."""
    assert not target.ask("@", "MX").tc
    assert not target.ask("@", "NS").tc
