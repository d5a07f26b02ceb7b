"""Monitors: how a target is checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from gslb import units
from gslb.config.kinds import (
    DURATION,
    NAMED,
    SHARE,
    TEXT,
    Expected,
    Kind,
    Reported,
    choice,
    integer,
    many,
    plain,
    raw,
    text_like,
)
from gslb.config.section import Key, Section
from gslb.config.source import Scalar
from gslb.config.zonefile import name_wire, type_number
from gslb.model.deployment import Monitor, MonitorId, Via
from gslb.model.escape import octets


class MonitorKind(StrEnum):
    """What a monitor speaks."""

    HTTP = "http"
    HTTPS = "https"
    TCP = "tcp"
    ICMP = "icmp"
    DNS = "dns"
    GRPC = "grpc"
    EXEC = "exec"


MOST_PATHS = 16  # of one monitor
MOST_OCTETS = 1024  # sent to a target, or looked for in what it sends
_META_TYPES = frozenset({0, 41, *range(128, 256)})  # RFC 6895 section 3.1: in no answer section


def _interval(scalar: Scalar) -> float:
    value = units.seconds(scalar.text)
    if not 0.1 <= value <= 3600:
        raise ValueError
    return value


def _octets(scalar: Scalar) -> str:
    try:
        size = len(octets(scalar.text))
    except ValueError as error:
        raise Expected(str(error)) from error
    if not 1 <= size <= MOST_OCTETS:
        raise ValueError
    return scalar.text


def _query(scalar: Scalar) -> str:
    name_wire(scalar.text)
    return scalar.text


def _record(scalar: Scalar) -> str:
    if type_number(scalar.text) in _META_TYPES:
        raise ValueError
    return scalar.text.upper()


def _switch(scalar: Scalar) -> bool:
    if scalar.text not in ("on", "off"):
        raise ValueError
    return scalar.text == "on"


_SWITCH = plain("on | off", _switch, "on or off")
_INTERVAL = plain("duration", _interval, "a duration such as 500ms or 5s, from 100ms to 1h")
_OCTETS: Kind[str] = plain(
    "text", _octets, rf"a text of at most {MOST_OCTETS} octets, with \r \n \t \0 \\ \xHH as escapes"
)
_PATH = text_like("path", re.compile(r"/[!-~]{0,2047}"), "a path such as /healthz, in ASCII without spaces")
_HOST = text_like("host", re.compile(r"[A-Za-z0-9_.:\[\]-]{1,255}"), "a host name or an address")
_SERVICE = text_like("text", re.compile(r"[!-~]{1,255}"), "the name of a gRPC service, such as shop.v1.Cart")
_CODES = many(integer(100, 599), least=1, lone=True)
_QUERY = plain("domain name", _query, "a domain name such as www.example.com.")
_RECORD = plain("record type", _record, "a record type such as A or MX")

MONITORS = Key("monitors", NAMED, "How pools are checked.")
TYPE = Key("monitors.*.type", choice(MonitorKind), "What the check speaks.", required=True)
PORT = Key(
    "monitors.*.port",
    integer(1, 65535),
    "The port; http 80, https 443 and dns 53 where it is left out, required for tcp and grpc.",
)
INTERVAL = Key("monitors.*.interval", _INTERVAL, "Time from one check to the next.", "5s")
TIMEOUT = Key(
    "monitors.*.timeout", DURATION, "When a check has failed; at most the interval, and so its default.", "2s"
)
FALL = Key("monitors.*.fall", integer(1, 1000), "Failures until a target is down.", "3")
RISE = Key("monitors.*.rise", integer(1, 1000), "Successes in a row until it is up again.", "5")
QUORUM = Key("monitors.*.quorum", SHARE, "Share of the sites with an opinion that must agree.", "50%")
VIA = Key(
    "monitors.*.via",
    choice(Via),
    "How a backend is reached: at its own address, or as clients reach it: at the pool's answer, through the balancer's forwarding.",
    "address",
)
PATH = Key(
    "monitors.*.path",
    many(_PATH, least=1, most=MOST_PATHS, lone=True),
    "http, https: the path that is asked, or several, all of which must be well.",
    "[/]",
)
EXPECT = Key(
    "monitors.*.expect",
    raw("list of integer, or text"),
    "http, https: the status codes of a healthy target, 200 where they are left out; tcp: a text in what it sends.",
)
HOST = Key(
    "monitors.*.host", _HOST, "http, https, grpc: the host that is asked for, also in TLS; the target without it."
)
VERIFY = Key(
    "monitors.*.verify",
    _SWITCH,
    "https, grpc: whether the certificate must be valid; with `off` what is wrong with it is a warning.",
    "on",
)
EXPIRY_WARNING = Key(
    "monitors.*.expiry_warning", DURATION, "https, grpc: time before a certificate's end from which to warn.", "14d"
)
SEND = Key("monitors.*.send", _OCTETS, "tcp: what is sent first.")
QUERY = Key("monitors.*.query", _QUERY, "dns: the name that is asked.")
RECORD = Key("monitors.*.record", _RECORD, "dns: the record type that is asked, and must be in the answer.", "A")
SERVICE = Key("monitors.*.service", _SERVICE, "grpc: the service whose health is asked; the server's own without it.")
TLS = Key("monitors.*.tls", _SWITCH, "grpc: whether TLS is spoken.", "off")
COMMAND = Key(
    "monitors.*.command",
    many(TEXT, least=1, most=100),
    "exec: the program and its arguments; `{address}` and `{port}` stand for the target's.",
)

KEYS = tuple(value for value in tuple(globals().values()) if isinstance(value, Key))

_COMMON: tuple[Key[Any], ...] = (TYPE, PORT, INTERVAL, TIMEOUT, FALL, RISE, QUORUM, VIA)
_CERTIFICATE = (VERIFY, EXPIRY_WARNING)
SETTINGS: Mapping[MonitorKind, tuple[Key[Any], ...]] = {
    MonitorKind.HTTP: (PATH, EXPECT, HOST),
    MonitorKind.HTTPS: (PATH, EXPECT, HOST, *_CERTIFICATE),
    MonitorKind.TCP: (SEND, EXPECT),
    MonitorKind.ICMP: (),
    MonitorKind.DNS: (QUERY, RECORD),
    MonitorKind.GRPC: (SERVICE, HOST, TLS, *_CERTIFICATE),
    MonitorKind.EXEC: (COMMAND,),
}
EXPECTED: Mapping[MonitorKind, Kind[Any]] = {
    MonitorKind.HTTP: _CODES,
    MonitorKind.HTTPS: _CODES,
    MonitorKind.TCP: _OCTETS,
}
DEFAULT_CODES = (200,)
DEFAULT_PORTS = {MonitorKind.HTTP: 80, MonitorKind.HTTPS: 443, MonitorKind.DNS: 53}
NEEDED: Mapping[MonitorKind, tuple[Key[Any], ...]] = {
    MonitorKind.TCP: (PORT,),
    MonitorKind.GRPC: (PORT,),
    MonitorKind.DNS: (QUERY,),
    MonitorKind.EXEC: (COMMAND,),
}
_MONITOR: tuple[Key[Any], ...] = (*_COMMON, *dict.fromkeys(key for keys in SETTINGS.values() for key in keys))


def read_monitors(root: Section) -> dict[MonitorId, Monitor]:
    """The monitors, by name."""
    found = root.named(MONITORS, _MONITOR, _monitor)
    return {monitor.name: monitor for monitor in found.values()}


def _monitor(name: str, section: Section) -> Monitor:
    kind = section.get(TYPE)
    _judge_keys(kind, section)
    interval_s = section.get(INTERVAL)
    return Monitor(
        name=MonitorId(name),
        kind=kind,
        interval_s=interval_s,
        timeout_s=section.maybe(TIMEOUT) or min(section.get(TIMEOUT), interval_s),
        fall=section.get(FALL),
        rise=section.get(RISE),
        quorum=section.get(QUORUM),
        port=section.maybe(PORT) or DEFAULT_PORTS.get(kind),
        settings=_settings(kind, section),
        via=section.get(VIA),
    )


def _judge_keys(kind: MonitorKind, section: Section) -> None:
    """Report what this kind needs and lacks, and what means nothing to it."""
    for key in NEEDED.get(kind, ()):
        if key.name not in section.node.entries:
            path = (*section.path, key.name)
            section.problems.error(section.node.where, path, f"missing - a monitor of type {kind} needs it")
    known = {key.name for key in (*_COMMON, *SETTINGS[kind])}
    for key_name, entry in section.node.entries.items():
        if key_name not in known and any(key.name == key_name for key in _MONITOR):
            message = f"does not belong to a monitor of type {kind}"
            section.problems.error(entry.key.where, (*section.path, key_name), message)


def _settings(kind: MonitorKind, section: Section) -> dict[str, object]:
    """What only this kind knows, by the names of the keys; values that JSON can carry."""
    settings: dict[str, object] = {}
    for key in SETTINGS[kind]:
        value = _expect(kind, section) if key is EXPECT else section.maybe(key)
        if value is None and key.default is not None:
            value = section.get(key)
        if value is not None:
            settings[key.name] = value
    return settings


def _expect(kind: MonitorKind, section: Section) -> object:
    """Codes or a text, as the kind has it."""
    node = section.maybe(EXPECT)
    absent = None if kind is MonitorKind.TCP else DEFAULT_CODES
    if node is None:
        return absent
    try:
        return EXPECTED[kind].read(node, (*section.path, EXPECT.name), section.problems)
    except Reported:
        return absent
