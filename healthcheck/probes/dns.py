"""`dns`: a name server answers a question.  IO.

Over UDP, and again over TCP where the answer is truncated (RFC 1035 section 4.2, RFC 7766).  A datagram that is not the
answer to this question is passed over, since anyone could have sent it, and told of where no answer comes.
"""

from __future__ import annotations

import asyncio
import socket
import time

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

from gslb import units
from healthcheck.check import Check, Sample
from healthcheck.probes.connection import Failed, converse, ip_version, patience, reason
from healthcheck.probes.marks import mark_of, probing_socket

_DATAGRAM_OCTETS = 65535
_MOST_OTHERS = 64  # datagrams that are not the answer


async def probe(check: Check) -> tuple[Sample, ...]:
    """One sample."""
    began = time.perf_counter()
    why = ""
    try:
        question = Question(str(check.settings.get("query", ".")), str(check.settings.get("record", "A")))
        try:
            async with asyncio.timeout(patience(check.timeout_s)):
                await _ask(question, check)
        except TimeoutError:
            why = question.stray or f"no answer within {units.seconds_text(check.timeout_s)}"
    except OSError as error:
        why = reason(error)
    except Failed as error:
        why = str(error)
    return (Sample(not why, time.perf_counter() - began, why),)


async def _ask(question: Question, check: Check) -> None:
    loop = asyncio.get_running_loop()
    address, port, mark = check.address, check.port or 53, mark_of(check)
    with probing_socket(ip_version(address), socket.SOCK_DGRAM, mark=mark) as channel:
        channel.connect((address, port))  # of a datagram socket: nothing to wait for
        await loop.sock_sendall(channel, question.wire)
        for _ in range(_MOST_OTHERS):
            reply = question.reply(await loop.sock_recv(channel, _DATAGRAM_OCTETS))
            if reply is not None:
                break
        else:
            raise Failed(f"{_MOST_OTHERS} datagrams came, and no answer: {question.stray}")
    if reply.flags & dns.flags.TC:
        stream = Stream(question)
        await converse(stream, address, port, check.timeout_s, mark=mark)
        reply = stream.answer
    question.judge(reply)


class Question:
    """One question on the wire, and what its answers are worth.  Sans-IO.  Raises Failed for a name or type that is none."""

    def __init__(self, name: str, rtype: str) -> None:
        self.stray = ""
        try:
            self._rtype = dns.rdatatype.from_text(rtype)
            self._query = dns.message.make_query(name, self._rtype)
            self.wire = self._query.to_wire()
        except dns.exception.DNSException as error:
            raise Failed(f"{name} {rtype} cannot be asked ({error})") from error

    def reply(self, data: bytes) -> dns.message.Message | None:
        """The message, if it answers this question; else None, and `stray` says what it was."""
        try:
            message = dns.message.from_wire(data, ignore_trailing=True, raise_on_truncation=False)
        except (dns.exception.DNSException, ValueError) as error:
            self.stray = f"what came is no DNS message ({type(error).__name__})"
            return None
        if not self._query.is_response(message):
            self.stray = "what came answers another question"
            return None
        return message

    def judge(self, message: dns.message.Message) -> None:
        """Raises Failed unless the answer is NOERROR and holds a record of the type."""
        if message.rcode() != dns.rcode.NOERROR:
            raise Failed(f"{dns.rcode.to_text(message.rcode())}, expected NOERROR")
        if not any(rrset.rdtype == self._rtype for rrset in message.answer):
            raise Failed(f"no {dns.rdatatype.to_text(self._rtype)} record in the answer")


class Stream:
    """The talk of a question over TCP: one message with its length before it (RFC 1035 section 4.2.2).  Sans-IO."""

    def __init__(self, question: Question) -> None:
        self.done = False
        self._question = question
        self._data = b""

    def begin(self) -> bytes:
        """The question."""
        return len(self._question.wire).to_bytes(2, "big") + self._question.wire

    def receive(self, data: bytes) -> bytes:
        """Collect the message: at most 65 535 octets."""
        self._data = (self._data + data)[: 2 + _DATAGRAM_OCTETS]
        if len(self._data) >= 2:
            self.done = len(self._data) >= 2 + int.from_bytes(self._data[:2], "big")
        return b""

    def ended(self) -> None:
        """Raises Failed: the message is not whole."""
        raise Failed("closed TCP without a whole answer")

    @property
    def answer(self) -> dns.message.Message:
        """The message that came.  Raises Failed where it is not the answer."""
        reply = self._question.reply(self._data[2 : 2 + int.from_bytes(self._data[:2], "big")])
        if reply is None:
            raise Failed(f"{self._question.stray}, over TCP")
        return reply
