"""Reference targets, limits, the nameserver, API, secrets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from gslb.config.kinds import (
    BOOLEAN,
    ENVIRONMENT,
    NAME,
    PREFIX,
    REFERENCE,
    SECTION,
    SOCKET,
    TEXT,
    Kind,
    choice,
    integer,
    many,
    number,
    plain,
    text_like,
)
from gslb.config.read_bus import read_bus
from gslb.config.section import Key, Section
from gslb.config.source import Scalar
from gslb.model.deployment import Api, Bus, Dns, Limits


class Xdp(StrEnum):
    """Where the nameserver's XDP program runs."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"
    NATIVE = "native"
    GENERIC = "generic"


def _workers(scalar: Scalar) -> int:
    if scalar.text == "auto":
        return AUTO
    if type(scalar.value) is not int or not 1 <= scalar.value <= 1024:
        raise ValueError
    return scalar.value


AUTO = 0  # workers: one per core
_WORKERS: Kind[int] = plain("integer | auto", _workers, "auto, or a whole number from 1 to 1024")
_NSID = text_like(
    "site | node | text", re.compile(r"[!-~][ -~]{0,63}"), "site, node, or a text of at most 64 ASCII characters"
)

DEPLOYMENT = Key("deployment", NAME, "The deployment's name, in every plan.", required=True)
SECRET_ENV = Key(
    "secret_env", ENVIRONMENT, "Variable with the secret that keys hashes and cookies, the same on every node."
)
SECRET_FILE = Key(
    "secret_file", TEXT, "File with that secret. Without either, a single node makes its own and keeps it."
)

HEALTHCHECK = Key("healthcheck", SECTION, "How a site knows that it can judge others.")
REFERENCES = Key(
    "healthcheck.reference",
    many(REFERENCE, most=16),
    "Targets: an address is pinged, host:port is connected to, a URL is asked; a site that reaches none has no opinion.",
    "[]",
)

LIMITS = Key("limits", SECTION, "What clients can make the nameserver do.")
RESPONSES_PER_S = Key(
    "limits.responses_per_s",
    number("number", 1, 1e9),
    "Like responses to one network (IPv4 /24, IPv6 /56) a second, by UDP and without a good cookie.",
    "200",
)
SLIP = Key(
    "limits.slip",
    integer(0, 10),
    "Every how manieth response over the limit says that the client must show itself, and is not dropped; 0: none.",
    "2",
)
EXEMPT = Key("limits.exempt", many(PREFIX, most=32), "Networks without that limit.", '["127.0.0.0/8", "::1/128"]')
DRY_RUN = Key("limits.dry_run", BOOLEAN, "Only count what is over that limit.", "false")
TCP_CLIENTS = Key("limits.tcp_clients", integer(1, 1_000_000), "TCP connections at a time.", "1000")

DNS = Key("dns", SECTION, "The nameserver.")
LISTEN = Key(
    "dns.listen", many(SOCKET, least=1, most=256), "Addresses and ports, UDP and TCP.", '["127.0.0.1:53", "[::1]:53"]'
)
WORKERS = Key("dns.workers", _WORKERS, "Processes; auto: one per core.", "auto")
XDP = Key(
    "dns.xdp",
    choice(Xdp),
    "Answering in the driver (XDP): auto where that can be, natively first; on, native or generic, and a problem where not.",
    "auto",
)
NSID = Key(
    "dns.nsid",
    _NSID,
    "What NSID (RFC 5001) says: the site's or the node's name, each with our version, or a text.",
    "site",
)

API = Key("api", SECTION, "The HTTP API and page.")
API_LISTEN = Key("api.listen", SOCKET, "Address and port.", "127.0.0.1:8053")
TOKEN_ENV = Key("api.token_env", ENVIRONMENT, "Variable with the token that writes need.")
TOKEN_FILE = Key("api.token_file", TEXT, "File with that token.")

KEYS = tuple(value for value in tuple(globals().values()) if isinstance(value, Key))

_LIMITS = (RESPONSES_PER_S, SLIP, EXEMPT, DRY_RUN, TCP_CLIENTS)
_DNS = (LISTEN, WORKERS, XDP, NSID)
_API = (API_LISTEN, TOKEN_ENV, TOKEN_FILE)


@dataclass(frozen=True, slots=True)
class Services:
    """The sections of this module."""

    reference: tuple[str, ...]
    limits: Limits
    dns: Dns
    bus: Bus
    api: Api


def read_services(root: Section) -> Services:
    """The sections of this module; one that cannot be read has its defaults."""
    return Services(
        reference=root.defaulted(HEALTHCHECK, (REFERENCES,), lambda section: section.get(REFERENCES)),
        limits=root.defaulted(LIMITS, _LIMITS, _limits),
        dns=root.defaulted(DNS, _DNS, _dns),
        bus=read_bus(root),
        api=root.defaulted(API, _API, _api),
    )


def _limits(section: Section) -> Limits:
    return Limits(
        responses_per_s=section.get(RESPONSES_PER_S),
        slip=section.get(SLIP),
        exempt=section.get(EXEMPT),
        dry_run=section.get(DRY_RUN),
        tcp_clients=section.get(TCP_CLIENTS),
    )


def _dns(section: Section) -> Dns:
    workers = section.get(WORKERS)
    return Dns(section.get(LISTEN), workers if workers != AUTO else None, section.get(XDP), section.get(NSID))


def _api(section: Section) -> Api:
    section.either(TOKEN_ENV, TOKEN_FILE)
    return Api(section.get(API_LISTEN), section.maybe(TOKEN_ENV), section.maybe(TOKEN_FILE))


def read_secret(root: Section) -> tuple[str | None, str | None]:
    """Where the deployment's secret is: (variable, file)."""
    root.either(SECRET_ENV, SECRET_FILE)
    return root.maybe(SECRET_ENV), root.maybe(SECRET_FILE)
