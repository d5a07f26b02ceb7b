"""One connection of a probe, over TCP or TLS: made, talked over, aborted.  IO.

Rule 1: a talk is sans-IO: it is given octets and says what to send, that it is done, or that the target has failed.
Rule 2: whatever a target does, the connection ends by the deadline, and a talk bounds what it keeps.
Rule 3: a failure is told in words: what was waited for, and what came instead.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from ipaddress import ip_address
from typing import Protocol

from gslb import units
from healthcheck.probes.marks import probing_socket
from healthcheck.probes.tls import Secured, refusal

GRACE_S = 0.05
GRACE_SHARE = 0.05
_REASON_SHOWN = 200  # characters
_REASONS = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
    errno.EPIPE: "connection reset",
    errno.EHOSTUNREACH: "no route to host",
    errno.ENETUNREACH: "network is unreachable",
    errno.ETIMEDOUT: "connection timed out",
    errno.EMFILE: "this node has too many files open to check",
    errno.ENFILE: "this node has too many files open to check",
    errno.EADDRNOTAVAIL: "this node has no free port or no such address to check from",
}


class Failed(Exception):
    """The check has failed; the text says why."""


class Talk(Protocol):
    """What is said over a connection.  Each method may raise Failed."""

    @property
    def done(self) -> bool:
        """Whether all that was wanted has come."""

    def begin(self) -> bytes:
        """What to send as soon as the connection stands."""

    def receive(self, data: bytes) -> bytes:
        """Take what came; what to send now."""

    def ended(self) -> None:
        """The target has closed; raises Failed unless that was all that was wanted."""


class _Line(asyncio.Protocol):
    """The transport's side of a talk: `finished` is done when the talk is, or has failed."""

    def __init__(self, talk: Talk, loop: asyncio.AbstractEventLoop) -> None:
        self.talk = talk
        self.finished: asyncio.Future[None] = loop.create_future()
        self.heard = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:  # type: ignore[explicit-override]  # of 3.12
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        try:
            transport.write(self.talk.begin())
            self._finish_if_done()
        except Failed as failed:
            self._finish(failed)

    def data_received(self, data: bytes) -> None:  # type: ignore[explicit-override]
        if self.finished.done():
            return
        self.heard = True
        try:
            reply = self.talk.receive(data)
            if reply and self._transport is not None:
                self._transport.write(reply)
            self._finish_if_done()
        except Failed as failed:
            self._finish(failed)

    def connection_lost(self, error: Exception | None) -> None:  # type: ignore[explicit-override]
        if self.finished.done():
            return
        try:
            if error is not None:
                raise Failed(reason(error))
            self.talk.ended()
            self._finish(None)
        except Failed as failed:
            self._finish(failed)

    def _finish_if_done(self) -> None:
        if self.talk.done:
            self._finish(None)

    def _finish(self, failed: Failed | None) -> None:
        if self.finished.done():
            return
        if failed is None:
            self.finished.set_result(None)
        else:
            self.finished.set_exception(failed)


async def converse(
    talk: Talk, host: str, port: int, timeout_s: float, secured: Secured | None = None, mark: int | None = None
) -> ssl.SSLObject | None:
    """Connect, and talk until the talk is done.  Gives the TLS session, of which the certificate may be asked.

    Packets bear `mark`, where there is one, and `host` is an address then.  Raises Failed, at the latest after `timeout_s`.
    """
    loop = asyncio.get_running_loop()
    line = _Line(talk, loop)
    waited_for = "connection" if secured is None else "TLS connection"
    try:
        async with asyncio.timeout(patience(timeout_s)):
            context, name = (secured.context, secured.name) if secured else (None, None)
            if mark is None:
                transport, _ = await loop.create_connection(lambda: line, host, port, ssl=context, server_hostname=name)
            else:
                channel = await _connected(host, port, mark)
                transport, _ = await loop.create_connection(
                    lambda: line, sock=channel, ssl=context, server_hostname=name
                )
            waited_for = "answer"
            try:
                await line.finished
                found = transport.get_extra_info("ssl_object")
                return found if isinstance(found, ssl.SSLObject) else None
            finally:
                transport.abort()
    except TimeoutError:
        whole = "whole " if line.heard else ""
        raise Failed(f"no {whole}{waited_for} within {units.seconds_text(timeout_s)}") from None
    except (OSError, ValueError) as error:  # ValueError: a host that is none
        raise Failed(reason(error)) from error
    finally:
        if not line.finished.done():
            line.finished.cancel()  # a connection that comes up after this tells nobody
        elif not line.finished.cancelled():
            line.finished.exception()  # heard here, where the connection was not even made: nobody else will ask


async def _connected(host: str, port: int, mark: int) -> socket.socket:
    """A connected socket whose packets bear `mark`.  Raises OSError and Failed."""
    channel = probing_socket(ip_version(host), socket.SOCK_STREAM, mark=mark)
    try:
        await asyncio.get_running_loop().sock_connect(channel, (host, port))
    except BaseException:
        channel.close()
        raise
    return channel


def patience(timeout_s: float) -> float:
    """How long a probe itself waits: a little less than its runner, so that it can still say what it waited for."""
    return timeout_s - min(GRACE_S, timeout_s * GRACE_SHARE)


def ip_version(address: str) -> int:
    """4 or 6.  Raises Failed for what is no address."""
    try:
        return ip_address(address).version
    except ValueError:
        raise Failed(f"{address[:63]!r} is no address") from None


def reason(error: Exception) -> str:
    """An error of the operating system or of TLS, in words."""
    if isinstance(error, ssl.SSLError):
        return refusal(error)
    if isinstance(error, socket.gaierror):
        return f"the host's name cannot be resolved ({error.strerror})"
    if isinstance(error, OSError) and error.errno is not None:
        return _REASONS.get(error.errno) or os.strerror(error.errno).lower()
    return str(error)[:_REASON_SHOWN] or type(error).__name__
