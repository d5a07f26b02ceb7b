"""Who may do what: reads are open on loopback; every write, and any read from another address, needs the bearer token.

Rule: a page of a browser that was led here by DNS rebinding comes from loopback without a token, but names its own host:
so such a request must name a host of ours.
Standards: RFC 6750 section 2.1 (bearer token), RFC 9110 section 15.5.20 (421).
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address

from gslb.api.problem import Problem
from gslb.model.deployment import Address, Socket

_SCHEME = "bearer "
_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
_HOW = "set api.token_env or api.token_file in the configuration"


@dataclass(frozen=True, slots=True)
class Asking:
    """What of a request decides: the peer's address, two headers, and whether it changes something."""

    peer: Address
    host: str | None
    authorization: str | None
    writes: bool


class Doorman:
    """Lets requests in by one configuration."""

    def __init__(self, listen: Socket, token: bytes | None) -> None:
        self._token = token
        address = listen.address
        named = f"[{address}]" if address.version == 6 else str(address)
        self._hosts = _HOSTS | {named} - {"0.0.0.0", "[::]"}  # compared, not bound

    def admit(self, asking: Asking) -> None:
        """Raises Problem where the request may not be answered."""
        if asking.authorization is not None:
            self._check(asking.authorization)
            return
        if asking.writes or not asking.peer.is_loopback:
            raise self._unauthorized("changes" if asking.writes else "requests from another address than loopback")
        if _host(asking.host) not in self._hosts:
            expected = ", ".join(sorted(self._hosts))
            raise Problem(
                HTTPStatus.MISDIRECTED_REQUEST,
                f"the Host header is {asking.host!r}; without a token it must be one of {expected}",
            )

    def _check(self, authorization: str) -> None:
        scheme, given = authorization[: len(_SCHEME)], authorization[len(_SCHEME) :]
        if self._token is None:
            raise self._unauthorized("requests with a token")
        right = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), self._token)
        if scheme.lower() != _SCHEME or not right:
            detail = "the token is not the one that is configured; expected `Authorization: Bearer TOKEN`"
            raise Problem(HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": 'Bearer error="invalid_token"'})

    def _unauthorized(self, what: str) -> Problem:
        if self._token is None:
            return Problem(HTTPStatus.FORBIDDEN, f"{what} need a token, and none is configured: {_HOW}")
        detail = f"{what} need the token: send `Authorization: Bearer TOKEN`"
        return Problem(HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": "Bearer"})


def peer_address(text: str | None) -> Address:
    """The peer's address; an IPv4 peer of an IPv6 socket as IPv4."""
    address = ip_address((text or "").partition("%")[0] or "0.0.0.0")  # of nobody: not loopback
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _host(header: str | None) -> str:
    """The host without its port, in small letters."""
    host = (header or "").strip().lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]
