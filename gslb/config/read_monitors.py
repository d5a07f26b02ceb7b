"""Monitors: how a target is checked."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from gslb.config.kinds import DURATION, NAME, NAMED, SHARE, TEXT, choice, integer, many
from gslb.config.section import Key, Section
from gslb.model.deployment import Monitor, MonitorId


class MonitorKind(StrEnum):
    """What a monitor speaks."""

    HTTP = "http"
    HTTPS = "https"
    TCP = "tcp"
    ICMP = "icmp"
    DNS = "dns"
    GRPC = "grpc"
    EXEC = "exec"


MONITORS = Key("monitors", NAMED, "How pools are checked.", later=True)
TYPE = Key("monitors.*.type", choice(MonitorKind), "What the check speaks.", required=True, later=True)
PORT = Key(
    "monitors.*.port",
    integer(1, 65535),
    "The port; http 80, https 443 and dns 53 where it is left out, required for tcp and grpc.",
    later=True,
)
INTERVAL = Key("monitors.*.interval", DURATION, "Time from one check to the next.", "5s", later=True)
TIMEOUT = Key("monitors.*.timeout", DURATION, "When a check has failed.", "2s", later=True)
FALL = Key("monitors.*.fall", integer(1, 1000), "Failures until a target is down.", "3", later=True)
RISE = Key("monitors.*.rise", integer(1, 1000), "Successes in a row until it is up again.", "5", later=True)
QUORUM = Key("monitors.*.quorum", SHARE, "Share of the sites with an opinion that must agree.", "50%", later=True)
PATH = Key("monitors.*.path", TEXT, "http, https: the path that is asked.", "/", later=True)
EXPECT = Key(
    "monitors.*.expect",
    many(integer(100, 599), least=1, lone=True),
    "http, https: the status codes of a healthy target.",
    "[200]",
    later=True,
)
HOST = Key("monitors.*.host", TEXT, "http, https: the Host header and the name in TLS.", later=True)
QUERY = Key("monitors.*.query", TEXT, "dns: the name that is asked.", later=True)
RECORD = Key("monitors.*.record", NAME, "dns: the record type that is asked.", "A", later=True)
SERVICE = Key(
    "monitors.*.service", TEXT, "grpc: the service whose health is asked; the server's own without it.", later=True
)
COMMAND = Key("monitors.*.command", many(TEXT, least=1, most=100), "exec: the program and its arguments.", later=True)

KEYS = tuple(value for value in tuple(globals().values()) if isinstance(value, Key))

_COMMON: tuple[Key[Any], ...] = (TYPE, PORT, INTERVAL, TIMEOUT, FALL, RISE, QUORUM)
_HTTP = (PATH, EXPECT, HOST)
SETTINGS: Mapping[MonitorKind, tuple[Key[Any], ...]] = {
    MonitorKind.HTTP: _HTTP,
    MonitorKind.HTTPS: _HTTP,
    MonitorKind.TCP: (),
    MonitorKind.ICMP: (),
    MonitorKind.DNS: (QUERY, RECORD),
    MonitorKind.GRPC: (SERVICE,),
    MonitorKind.EXEC: (COMMAND,),
}
DEFAULT_PORTS = {MonitorKind.HTTP: 80, MonitorKind.HTTPS: 443, MonitorKind.DNS: 53}
NEEDED: Mapping[MonitorKind, tuple[Key[Any], ...]] = {
    MonitorKind.TCP: (PORT,),
    MonitorKind.GRPC: (PORT,),
    MonitorKind.DNS: (QUERY,),
    MonitorKind.EXEC: (COMMAND,),
}
_MONITOR: tuple[Key[Any], ...] = (*_COMMON, *_HTTP, QUERY, RECORD, SERVICE, COMMAND)


def read_monitors(root: Section) -> dict[MonitorId, Monitor]:
    """The monitors, by name."""
    found = root.named(MONITORS, _MONITOR, _monitor)
    return {monitor.name: monitor for monitor in found.values()}


def _monitor(name: str, section: Section) -> Monitor:
    kind = section.get(TYPE)
    for key in NEEDED.get(kind, ()):
        if key.name not in section.node.entries:
            path = (*section.path, key.name)
            section.problems.error(section.node.where, path, f"missing - a monitor of type {kind} needs it")
    known = {key.name for key in (*_COMMON, *SETTINGS[kind])}
    for key_name, entry in section.node.entries.items():
        if key_name not in known and any(key.name == key_name for key in _MONITOR):
            message = f"does not belong to a monitor of type {kind}"
            section.problems.error(entry.key.where, (*section.path, key_name), message)
    settings = {key.name: section.maybe(key) if key.default is None else section.get(key) for key in SETTINGS[kind]}
    return Monitor(
        name=MonitorId(name),
        kind=kind,
        interval_s=section.get(INTERVAL),
        timeout_s=section.get(TIMEOUT),
        fall=section.get(FALL),
        rise=section.get(RISE),
        quorum=section.get(QUORUM),
        port=section.maybe(PORT) or DEFAULT_PORTS.get(kind),
        settings={name: value for name, value in settings.items() if value is not None},
    )
