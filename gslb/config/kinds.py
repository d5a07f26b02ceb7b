"""Kinds of values: how one node becomes a typed value, and the words for what was expected.  Pure.

Rule 1: a kind reports everything that is wrong inside its node, then raises `Reported` once.
Rule 2: a kind looks at one node only; what depends on other keys is in `gslb.config.rules`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from gslb import units
from gslb.config.problem import KeyPath, Problems, one_of
from gslb.config.source import ListNode, MapNode, Node, Scalar, shown
from gslb.model.continents import CONTINENT_OF, CONTINENTS
from gslb.model.deployment import Address, Listen, Network, Socket

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

NAME_PATTERN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}")
_ENVIRONMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_GEO = re.compile(r"(AF|AN|AS|EU|NA|OC|SA)(-[A-Z]{2}(-[A-Z0-9]{1,3})?)?")
_COMMUNITY = re.compile(r"(\d{1,5}):(\d{1,5})")
_LARGE = re.compile(r"(\d{1,10}):(\d{1,10}):(\d{1,10})")
_URL = re.compile(r"https?://[^\s/?#]+\S*")
_HOST = re.compile(r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]{1,253}")
_LISTEN = re.compile(r"(tcp|udp)/(\d{1,5})")


class Reported(Exception):
    """What is wrong was reported already; there is no value."""


@dataclass(frozen=True, slots=True, eq=False)
class Kind(Generic[T]):
    """A kind of value.  `name` is its word in the documentation; `read` gives the value, or reports and raises Reported."""

    name: str
    read: Callable[[Node, KeyPath, Problems], T]


class Expected(ValueError):
    """A value does not fit; the text says more about it than the kind's own words."""


def plain(name: str, convert: Callable[[Scalar], T], expected: str) -> Kind[T]:
    """A scalar.  `convert` raises ValueError, or Expected where it can say more than `expected` does."""

    def read(node: Node, path: KeyPath, problems: Problems) -> T:
        wanted = f"expected {expected}"
        if isinstance(node, Scalar):
            try:
                return convert(node)
            except Expected as other:
                wanted = str(other)
            except (ValueError, OverflowError):
                pass
        problems.error(node.where, path, f"{shown(node)} - {wanted}")
        raise Reported

    return Kind(name, read)


def many(item: Kind[T], *, least: int = 0, most: int = 10_000, lone: bool = False) -> Kind[tuple[T, ...]]:
    """A list of `least` to `most` different items.  With `lone` a single value may stand without brackets."""
    name = f"list of {item.name}"

    def read(node: Node, path: KeyPath, problems: Problems) -> tuple[T, ...]:
        if isinstance(node, ListNode):
            if least <= len(node.items) <= most:
                return _items(item, node.items, path, problems)
            bound = f"at least {least}" if len(node.items) < least else f"at most {most}"
            problems.error(node.where, path, f"{len(node.items)} items - expected {bound}")
        elif lone and isinstance(node, Scalar) and node.value is not None:
            return (item.read(node, path, problems),)
        else:
            problems.error(node.where, path, f"{shown(node)} - expected a {name}")
        raise Reported

    return Kind(name, read)


def _items(item: Kind[T], nodes: Sequence[Node], path: KeyPath, problems: Problems) -> tuple[T, ...]:
    values: list[T] = []
    seen: set[str] = set()
    failed = False
    for index, node in enumerate(nodes):
        try:
            value = item.read(node, (*path, index), problems)
        except Reported:
            failed = True
            continue
        if isinstance(node, Scalar) and str(value) in seen:
            problems.error(node.where, (*path, index), f"{shown(node)} - given twice in this list")
            failed = True
        seen.add(str(value))
        values.append(value)
    if failed:
        raise Reported
    return tuple(values)


def raw(name: str) -> Kind[Node]:
    """A node of several shapes, which the section's own reader takes apart."""
    return Kind(name, lambda node, _path, _problems: node)


def mapped(name: str) -> Kind[MapNode]:
    """A mapping, whose keys the section's own reader knows; an empty value is an empty mapping."""

    def read(node: Node, path: KeyPath, problems: Problems) -> MapNode:
        if isinstance(node, MapNode):
            return node
        if isinstance(node, Scalar) and node.value is None:
            return MapNode({}, node.where)
        problems.error(node.where, path, f"{shown(node)} - expected a {name}")
        raise Reported

    return Kind(name, read)


def integer(least: int, most: int) -> Kind[int]:
    """A whole number in the range."""

    def convert(scalar: Scalar) -> int:
        if type(scalar.value) is not int or not least <= scalar.value <= most:
            raise ValueError
        return scalar.value

    return plain("integer", convert, f"a whole number from {least} to {most}")


def number(name: str, least: float, most: float) -> Kind[float]:
    """A number in the range, in the unit that `name` says."""

    def convert(scalar: Scalar) -> float:
        if type(scalar.value) not in (int, float):
            raise ValueError
        value = float(scalar.text)
        if not least <= value <= most:
            raise ValueError
        return value

    return plain(name, convert, f"a number from {least:g} to {most:g}")


def choice(words: type[E]) -> Kind[E]:
    """One of an enum's words."""

    def convert(scalar: Scalar) -> E:
        known = [word.value for word in words]
        if scalar.text not in known:
            raise Expected(one_of(known, scalar.text))
        return words(scalar.text)

    return plain(" | ".join(word.value for word in words), convert, "one of " + ", ".join(words))


def text_like(name: str, pattern: re.Pattern[str], expected: str) -> Kind[str]:
    """A text that matches a pattern as a whole."""

    def convert(scalar: Scalar) -> str:
        if not pattern.fullmatch(scalar.text):
            raise ValueError
        return scalar.text

    return plain(name, convert, expected)


def _geo(scalar: Scalar) -> str:
    """An octoDNS code; a country that is unknown, or in another continent, would never match a client."""
    written = scalar.text
    if written in CONTINENT_OF and written not in CONTINENTS:  # AS, AF, NA and SA are both
        raise Expected(f"expected {CONTINENT_OF[written]}-{written}")
    if not _GEO.fullmatch(written):
        raise ValueError
    continent, _, place = written.partition("-")
    country, _, part = place.partition("-")
    if country and country not in CONTINENT_OF:
        raise Expected(f"no such country: {country} (ISO 3166-1)")
    if country and CONTINENT_OF[country] != continent:
        raise Expected("expected " + "-".join(filter(None, (CONTINENT_OF[country], country, part))))
    return written


def _boolean(scalar: Scalar) -> bool:
    if not isinstance(scalar.value, bool):
        raise ValueError
    return scalar.value


def _text(scalar: Scalar) -> str:
    if scalar.value is None or not scalar.text.isprintable() or len(scalar.text) > 4096:
        raise ValueError
    return scalar.text


def _share(scalar: Scalar) -> float:
    return units.share(scalar.text)


def _duration(scalar: Scalar) -> float:
    value = units.seconds(scalar.text)
    if not 0 < value <= 30 * 86400:
        raise ValueError
    return value


def _share_rate(scalar: Scalar) -> float:
    return units.share_rate(scalar.text)


def _address(scalar: Scalar) -> Address:
    if "%" in scalar.text:
        raise ValueError("a zone index means nothing to other machines")
    return ip_address(scalar.text)


def _router_id(scalar: Scalar) -> IPv4Address:
    found = IPv4Address(scalar.text)
    if not int(found):
        raise Expected("expected an IPv4 address that is not 0.0.0.0 (RFC 6286)")
    return found


def _prefix(scalar: Scalar) -> Network:
    network = ip_network(scalar.text, strict=False)
    address = ip_address(scalar.text.partition("/")[0])
    if "/" in scalar.text and address != network.network_address:
        raise Expected(f"expected {network} (host bits are set)")
    return network


def _socket(scalar: Scalar) -> Socket:
    host, colon, port = scalar.text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        address: Address = IPv6Address(host[1:-1])
    else:
        address = IPv4Address(host)
    if not colon or not port.isascii() or not port.isdigit() or not 1 <= int(port[:6]) <= 65535 or "%" in host:
        raise ValueError
    return Socket(address, int(port))


def _listen(scalar: Scalar) -> Listen:
    match = _LISTEN.fullmatch(scalar.text)
    if not match or int(match[2]) > 65535:
        raise ValueError
    return Listen(match[1], int(match[2]))


def _asn(scalar: Scalar) -> int:
    digits = scalar.text.upper().removeprefix("AS")
    if not digits.isascii() or not digits.isdigit() or not 1 <= int(digits[:11]) <= 0xFFFFFFFF:
        raise ValueError
    return int(digits)


def _community(scalar: Scalar) -> str:
    match = _COMMUNITY.fullmatch(scalar.text)
    if not match or int(match[1]) > 65535 or int(match[2]) > 65535:
        raise ValueError
    return scalar.text


def _large_community(scalar: Scalar) -> str:
    match = _LARGE.fullmatch(scalar.text)
    if not match or any(int(part) > 0xFFFFFFFF for part in match.groups()):
        raise ValueError
    return scalar.text


def _page(scalar: Scalar) -> str:
    if not _URL.fullmatch(scalar.text) or not scalar.text.isascii():
        raise ValueError
    url = urlsplit(scalar.text)  # ValueError where brackets do not match
    if url.hostname is None or url.port == 0:  # ValueError where the port is no number
        raise ValueError
    if "@" in url.netloc:
        raise Expected("expected no user or password in it")
    return scalar.text


def _reference(scalar: Scalar) -> str:
    if "://" in scalar.text:
        return _page(scalar)
    host, colon, port = scalar.text.rpartition(":")
    if colon and _HOST.fullmatch(host) and port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65535:
        return scalar.text
    return str(_address(scalar))


def _name(scalar: Scalar) -> str:
    if scalar.value is None or not NAME_PATTERN.fullmatch(scalar.text):
        raise ValueError
    return scalar.text


NAME = plain("name", _name, "a name of letters, digits, - and _, at most 63")
TEXT = plain("text", _text, "a text")
BOOLEAN = plain("true | false", _boolean, "true or false")
SHARE = plain("share", _share, "a percentage from 0% to 100%, such as 80%")
DURATION = plain("duration", _duration, "a duration such as 500ms, 5s or 2h, at most 30d")
SHARE_RATE = plain("share per time", _share_rate, "a share per time such as 5%/min")
ADDRESS = plain("address", _address, "an IPv4 or IPv6 address")
ROUTER_ID = plain("IPv4 address", _router_id, "an IPv4 address")
PREFIX = plain("prefix", _prefix, "a prefix such as 192.0.2.0/24 or 2001:db8::/32")
SOCKET = plain("address:port", _socket, "an address and a port such as 127.0.0.1:53 or [::1]:53")
LISTEN = plain("protocol/port", _listen, "tcp or udp and a port such as tcp/443 (0 for any)")
ASN = plain("AS number", _asn, "an AS number from 1 to 4294967295")
COMMUNITY = plain("community", _community, 'a BGP community such as "65535:0"')
LARGE_COMMUNITY = plain("large community", _large_community, 'a large BGP community such as "65010:1:2"')
REFERENCE = plain("address, host:port or URL", _reference, "an address, host:port, or a URL with http or https")
PAGE = plain("URL", _page, "a URL with http or https")
ENVIRONMENT = text_like("variable", _ENVIRONMENT, "the name of an environment variable")
GEO = plain("geo code", _geo, "an octoDNS code such as EU, EU-NO or NA-US-CA")
SECTION = mapped("mapping")
NAMED = mapped("mapping of names")
