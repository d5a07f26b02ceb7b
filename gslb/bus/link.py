"""One connection to one NATS server.  When it is lost it is over: `gslb.bus.nats` makes another.  IO.

nats-py would connect again by itself, and send then what it had kept; here nothing that was told before a loss may come out
after it.  And it sends passwords in clear where a server does not ask for TLS; here that is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from nats import errors
from nats.aio.client import Client

from gslb.bus.access import Access
from gslb.bus.nkeys import KeyPair, read_credentials, read_seed

CALL_S = (
    5.0  # within which a server answers: a slow way of 1 s is taken four times by a write that a majority must keep
)
_NEVER_S = 1 << 30  # nats-py's own pings: `alive` asks instead


class Link(Client):
    """A client of nats-py that never connects again, and never falls back to an open line."""

    def __init__(self, access: Access, name: str, trouble: Callable[[Exception], None]) -> None:
        super().__init__()
        self._access = access
        self._name = name
        self._trouble = trouble
        self._failed: list[Exception] = []
        self.lost = asyncio.Event()

    async def open(self, url: str) -> None:
        """Connect.  Raises OSError, nats.errors.Error, TimeoutError, and NoAccess where a file of credentials is wrong."""
        access = self._access
        signer = self._signer()
        try:
            async with asyncio.timeout(CALL_S):
                await self.connect(
                    url,
                    error_cb=self._error,
                    closed_cb=self._closed,
                    name=self._name,
                    allow_reconnect=False,
                    connect_timeout=int(CALL_S),
                    ping_interval=_NEVER_S,
                    no_echo=True,
                    tls=access.tls,
                    user=access.user,
                    password=access.password,
                    token=access.token,
                    signature_cb=signer.sign if signer is not None else None,
                    user_jwt_cb=signer.jwt if signer is not None and signer.token else None,
                )
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            if isinstance(error, OSError):  # of a certificate
                raise
            raise errors.Error("what answers there is no NATS server") from error
        except TimeoutError:
            raise self._failed[0] if self._failed else TimeoutError(f"no answer within {CALL_S:g} s") from None

    async def alive(self) -> None:
        """Return when the line is lost: it closed, or a ping had no answer within CALL_S."""
        while not self.lost.is_set():
            try:
                await self.flush(timeout=int(CALL_S))
            except (errors.Error, OSError, TimeoutError):
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.lost.wait(), 1)

    @property
    def why(self) -> str:
        """What ended it, for people."""
        return words(self._err) if self._err is not None else f"no answer to a ping within {CALL_S:g} s"

    async def abort(self) -> None:
        """Close the socket at once: what was not sent yet never is."""
        self._pending.clear()
        self._pending_data_size = 0
        for writer in (getattr(self._transport, "_io_writer", None), getattr(self._transport, "_bare_io_writer", None)):
            if writer is not None:
                writer.transport.abort()
        with contextlib.suppress(Exception):
            async with asyncio.timeout(1):
                await self.close()

    @property
    def is_in_cluster(self) -> bool:
        """Whether its server is one of several."""
        return bool(self._server_info.get("cluster"))

    def _signer(self) -> _Signer | None:
        access = self._access
        if access.credentials_file is not None:
            return _Signer(*read_credentials(access.credentials_file))
        if access.nkey_file is not None:
            signer = _Signer(read_seed(access.nkey_file), b"")
            self._public_nkey = signer.pair.public
            return signer
        return None

    def _connect_command(self) -> bytes:  # type: ignore[explicit-override]  # Python 3.11 has no typing.override
        """What is sent first.  Raises an error where the line is open and must not be."""
        writer = getattr(self._transport, "_io_writer", None)
        if self._access.tls_wanted and (writer is None or writer.get_extra_info("ssl_object") is None):
            raise errors.Error(
                "the server does not offer TLS, and the configuration asks for it: nothing was sent to it"
            )
        return super()._connect_command()

    async def _error(self, error: Exception) -> None:
        if not self.is_connected:
            self._failed.append(error)
            raise error  # ends `connect`, which would try the same server for ever
        self._trouble(error)

    async def _closed(self) -> None:
        self.lost.set()


class _Signer:
    def __init__(self, pair: KeyPair, token: bytes) -> None:
        self.pair = pair
        self.token = token

    def sign(self, nonce: str) -> bytes:
        return self.pair.sign(nonce)

    def jwt(self) -> bytes:
        return self.token


def words(error: BaseException) -> str:
    """An error of nats-py, of TLS or of the socket, for people."""
    text = str(error).removeprefix("nats: ").strip(" '") or type(error).__name__
    if "authorization" in text.lower():
        return "the server refuses the user, password, token or key (Authorization Violation)"
    return text
