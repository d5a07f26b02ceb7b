"""Anycast, BGP, reference targets, limits, the nameserver, API, secrets: everything beside pools and policies."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from gslb import units
from gslb.config.kinds import (
    ADDRESS,
    ASN,
    BOOLEAN,
    COMMUNITY,
    ENVIRONMENT,
    NAME,
    NAMED,
    PREFIX,
    REFERENCE,
    ROUTER_ID,
    SECTION,
    SOCKET,
    TEXT,
    Kind,
    choice,
    integer,
    many,
    number,
    plain,
    raw,
    text_like,
)
from gslb.config.read_bus import read_bus
from gslb.config.section import Key, Section
from gslb.config.source import Scalar
from gslb.model.bgp import Bgp, Drain, Neighbor
from gslb.model.deployment import Anycast, Api, Bus, Dns, Limits, PoolId


class AnnounceWhen(StrEnum):
    """What must be well on a node for it to announce a prefix."""

    DNS = "dns"
    POOLS = "pools"


class OnControllerLoss(StrEnum):
    """What becomes of a prefix when its node's controller is gone."""

    DRAIN = "drain"
    KEEP = "keep"
    WITHDRAW = "withdraw"


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


def _hold(scalar: Scalar) -> int:
    value = units.seconds(scalar.text)
    if not 3 <= value <= 65535 or value != int(value):  # RFC 4271 section 4.2: 16 bits, and not 1 or 2
        raise ValueError
    return int(value)


AUTO = 0  # workers: one per core
_HOLD: Kind[int] = plain("duration", _hold, "whole seconds from 3s to 65535s")
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

ANYCAST = Key("anycast", NAMED, "Prefixes that several sites announce.", later=True)
PREFIXES = Key("anycast.*.prefixes", many(PREFIX, least=1), "What is announced.", required=True, later=True)
ANYCAST_POOLS = Key(
    "anycast.*.pools", many(NAME), "The pools that serve it, for `announce_when: pools`.", "[]", later=True
)
ANNOUNCE_WHEN = Key(
    "anycast.*.announce_when",
    many(choice(AnnounceWhen), least=1, lone=True),
    "What must be well.",
    required=True,
    later=True,
)
MIN_SITES = Key("anycast.*.min_sites", integer(0, 1000), "Sites that must keep announcing it.", "1", later=True)
ON_CONTROLLER_LOSS = Key(
    "anycast.*.on_controller_loss",
    choice(OnControllerLoss),
    "What becomes of it without a controller.",
    "drain",
    later=True,
)

BGP = Key("bgp", NAMED, "BGP speakers, by site or node.", later=True)
LOCAL_AS = Key("bgp.*.local_as", ASN, "Our AS.", required=True, later=True)
ROUTER_ID_KEY = Key("bgp.*.router_id", ROUTER_ID, "Our router id.", required=True, later=True)
HOLD = Key(
    "bgp.*.hold",
    _HOLD,
    "A session is lost after so long without a word; the router's own counts if shorter.",
    "9s",
    later=True,
)
NEIGHBORS = Key("bgp.*.neighbors", many(raw("mapping"), least=1), "The routers.", required=True, later=True)
NEIGHBOR_ADDRESS = Key("bgp.*.neighbors[].address", ADDRESS, "The router's address.", required=True, later=True)
NEIGHBOR_AS = Key("bgp.*.neighbors[].as", ASN, "Its AS.", required=True, later=True)
NEIGHBOR_PORT = Key(
    "bgp.*.neighbors[].port", integer(1, 65535), "Its port; where the session is passive, ours.", "179", later=True
)
NEIGHBOR_LOCAL = Key(
    "bgp.*.neighbors[].local", ADDRESS, "Our address on that session; without it, that of the route there.", later=True
)
PASSIVE = Key("bgp.*.neighbors[].passive", BOOLEAN, "Wait for the router to connect.", "false", later=True)
GTSM = Key(
    "bgp.*.neighbors[].gtsm",
    BOOLEAN,
    "Hear only a router on the same link (RFC 5082; it must do so too).",
    "false",
    later=True,
)
MD5_ENV = Key("bgp.*.neighbors[].md5_env", ENVIRONMENT, "Variable with the TCP MD5 password.", later=True)
MD5_FILE = Key("bgp.*.neighbors[].md5_file", TEXT, "File with the TCP MD5 password.", later=True)
DRAIN = Key("bgp.*.neighbors[].drain", SECTION, "How a route is made unattractive before it leaves.", later=True)
DRAIN_COMMUNITY = Key("bgp.*.neighbors[].drain.community", COMMUNITY, "Community to add (RFC 8326).", later=True)
DRAIN_PREPEND = Key("bgp.*.neighbors[].drain.prepend", integer(0, 16), "Times to prepend our AS.", "0", later=True)
DRAIN_MED = Key("bgp.*.neighbors[].drain.med", integer(0, 0xFFFFFFFF), "MED to set.", later=True)

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

_ANYCAST = (PREFIXES, ANYCAST_POOLS, ANNOUNCE_WHEN, MIN_SITES, ON_CONTROLLER_LOSS)
_BGP = (LOCAL_AS, ROUTER_ID_KEY, HOLD, NEIGHBORS)
_NEIGHBOR = (NEIGHBOR_ADDRESS, NEIGHBOR_AS, NEIGHBOR_PORT, NEIGHBOR_LOCAL, PASSIVE, GTSM, MD5_ENV, MD5_FILE, DRAIN)
_DRAIN = (DRAIN_COMMUNITY, DRAIN_PREPEND, DRAIN_MED)
_LIMITS = (RESPONSES_PER_S, SLIP, EXEMPT, DRY_RUN, TCP_CLIENTS)
_DNS = (LISTEN, WORKERS, XDP, NSID)
_API = (API_LISTEN, TOKEN_ENV, TOKEN_FILE)


@dataclass(frozen=True, slots=True)
class Services:
    """The sections of this module."""

    anycast: tuple[Anycast, ...]
    bgp: tuple[Bgp, ...]
    reference: tuple[str, ...]
    limits: Limits
    dns: Dns
    bus: Bus
    api: Api


def read_services(root: Section) -> Services:
    """The sections of this module; one that cannot be read has its defaults."""
    return Services(
        anycast=tuple(root.named(ANYCAST, _ANYCAST, _anycast).values()),
        bgp=tuple(root.named(BGP, _BGP, _bgp).values()),
        reference=root.defaulted(HEALTHCHECK, (REFERENCES,), lambda section: section.get(REFERENCES)),
        limits=root.defaulted(LIMITS, _LIMITS, _limits),
        dns=root.defaulted(DNS, _DNS, _dns),
        bus=read_bus(root),
        api=root.defaulted(API, _API, _api),
    )


def _anycast(name: str, section: Section) -> Anycast:
    announce_when = section.get(ANNOUNCE_WHEN)
    pools = section.get(ANYCAST_POOLS)
    return Anycast(
        name=name,
        prefixes=section.get(PREFIXES),
        announce_when=announce_when,
        pools=tuple(map(PoolId, pools)),
        min_sites=section.get(MIN_SITES),
        on_controller_loss=section.get(ON_CONTROLLER_LOSS),
    )


def _bgp(name: str, section: Section) -> Bgp:
    neighbors = section.each(NEIGHBORS, _NEIGHBOR, _neighbor)
    known = tuple(found for found in neighbors if found)
    return Bgp(name, section.get(LOCAL_AS), section.get(ROUTER_ID_KEY), known, section.get(HOLD))


def _neighbor(section: Section) -> Neighbor:
    _one_secret(section, MD5_ENV, MD5_FILE)
    return Neighbor(
        address=section.get(NEIGHBOR_ADDRESS),
        peer_as=section.get(NEIGHBOR_AS),
        md5_env=section.maybe(MD5_ENV),
        md5_file=section.maybe(MD5_FILE),
        port=section.get(NEIGHBOR_PORT),
        drain=section.defaulted(DRAIN, _DRAIN, _drain),
        local=section.maybe(NEIGHBOR_LOCAL),
        passive=section.get(PASSIVE),
        gtsm=section.get(GTSM),
    )


def _drain(section: Section) -> Drain:
    return Drain(section.maybe(DRAIN_COMMUNITY), section.get(DRAIN_PREPEND), section.maybe(DRAIN_MED))


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
    _one_secret(section, TOKEN_ENV, TOKEN_FILE)
    return Api(section.get(API_LISTEN), section.maybe(TOKEN_ENV), section.maybe(TOKEN_FILE))


def _one_secret(section: Section, env: Key[str], file: Key[str]) -> None:
    """Report a secret that is said to stand in two places."""
    entries = section.node.entries
    if env.name in entries and file.name in entries:
        where = entries[file.name].key.where
        section.problems.error(where, (*section.path, file.name), f"given beside {env.name} - expected one of them")


def read_secret(root: Section) -> tuple[str | None, str | None]:
    """Where the deployment's secret is: (variable, file)."""
    _one_secret(root, SECRET_ENV, SECRET_FILE)
    return root.maybe(SECRET_ENV), root.maybe(SECRET_FILE)
