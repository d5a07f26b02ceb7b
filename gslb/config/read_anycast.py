"""Anycast prefixes, and the BGP speakers that announce them."""

from __future__ import annotations

import re
from enum import StrEnum

from gslb import units
from gslb.config.kinds import (
    ADDRESS,
    ASN,
    BOOLEAN,
    COMMUNITY,
    DURATION,
    ENVIRONMENT,
    LARGE_COMMUNITY,
    NAME,
    NAMED,
    PREFIX,
    ROUTER_ID,
    SECTION,
    TEXT,
    Kind,
    choice,
    integer,
    many,
    plain,
    raw,
    text_like,
)
from gslb.config.section import Key, Section
from gslb.config.source import Scalar, shown
from gslb.model.bgp import Announce, Bgp, Drain, Look, Neighbor, Router
from gslb.model.deployment import Anycast, PoolId

LEAST_LOSS_S, MOST_LOSS_S = 5, 3600  # seconds without a controller
MOST_ROUTES = 1000  # prefixes of one speaker
MOST_ALLOWED = 100  # networks
MOST_NEIGHBORS = 100
MOST_COMMUNITIES = 32  # of one route and kind
MOST_PREPENDED = 16


class AnnounceWhen(StrEnum):
    """What must be well on a node for it to announce a prefix."""

    DNS = "dns"
    POOLS = "pools"


class OnControllerLoss(StrEnum):
    """What becomes of a prefix when its node's controller is gone."""

    DRAIN = "drain"
    WITHDRAW = "withdraw"
    HOLD = "hold"


def _hold(scalar: Scalar) -> int:
    value = units.seconds(scalar.text)
    if not 3 <= value <= 65535 or value != int(value):  # RFC 4271 section 4.2: 16 bits, and not 1 or 2
        raise ValueError
    return int(value)


def _loss(scalar: Scalar) -> float:
    value = units.seconds(scalar.text)
    if not LEAST_LOSS_S <= value <= MOST_LOSS_S:
        raise ValueError
    return value


_HOLD: Kind[int] = plain("duration", _hold, "whole seconds from 3s to 65535s")
_LOSS: Kind[float] = plain("duration", _loss, "a duration such as 15s or 1m, from 5s to 1h")
_MED = integer(0, 0xFFFFFFFF)
_PREPEND = integer(0, MOST_PREPENDED)
_PATH = text_like("path", re.compile(r"/[ -~]{1,254}"), "a whole path, such as /run/bird/bird.ctl or /usr/bin/vtysh")

ANYCAST = Key("anycast", NAMED, "Prefixes that several sites announce.")
PREFIXES = Key("anycast.*.prefixes", many(PREFIX, least=1, most=MOST_ROUTES), "What is announced.", required=True)
ANYCAST_POOLS = Key(
    "anycast.*.pools",
    many(NAME),
    "The pools that serve it, for `announce_when: pools`; with pools, only their sites announce it.",
    "[]",
)
ANNOUNCE_WHEN = Key(
    "anycast.*.announce_when",
    many(choice(AnnounceWhen), least=1, lone=True),
    "What must be well on a node: DNS answers there, its site's pool serves.",
    required=True,
)
MIN_SITES = Key(
    "anycast.*.min_sites",
    integer(0, 1000),
    "Other sites that must announce it in full before one withdraws it; 0: each goes by itself.",
    "1",
)
ON_CONTROLLER_LOSS = Key(
    "anycast.*.on_controller_loss",
    choice(OnControllerLoss),
    "What becomes of it on a node whose controller is gone: de-preferred, withdrawn, or left as it is.",
    "drain",
)
RISE = Key("anycast.*.rise", DURATION, "All must have been well for so long before it is announced.", "30s")
STAY = Key("anycast.*.stay", DURATION, "Least time from its announcement to an automatic withdrawal.", "30s")
DRAIN_FOR = Key(
    "anycast.*.drain_for", DURATION, "Time that it is drained before an operator's `down` withdraws it.", "30s"
)
ANYCAST_HOLD = Key(
    "anycast.*.hold",
    DURATION,
    "It is held back for so long after a failure, twice as long after each further one.",
    "30s",
)
LONGEST_HOLD = Key("anycast.*.longest_hold", DURATION, "The longest that it is held back.", "30m")

BGP = Key("bgp", NAMED, "BGP speakers, by node, or by site where that has one node.")
LOCAL_AS = Key("bgp.*.local_as", ASN, "Our AS.", required=True)
ROUTER_ID_KEY = Key("bgp.*.router_id", ROUTER_ID, "Our router id.", required=True)
HOLD = Key(
    "bgp.*.hold",
    _HOLD,
    "A session is lost after so long without a word; the router's own counts if shorter.",
    "9s",
)
ALLOW = Key(
    "bgp.*.allow",
    many(PREFIX, most=MOST_ALLOWED),
    "Networks in which all that is announced must lie; without any, all of `anycast` may be announced.",
    "[]",
)
MAX_ROUTES = Key("bgp.*.max_routes", integer(1, MOST_ROUTES), "The most prefixes to announce.", "100")
CONTROLLER_LOSS = Key(
    "bgp.*.controller_loss",
    _LOSS,
    "The controller is gone when it has been silent for so long: then `on_controller_loss` holds; 5s to 1h.",
    "15s",
)
NEIGHBORS = Key("bgp.*.neighbors", many(raw("mapping"), least=1, most=MOST_NEIGHBORS), "The routers.", required=True)
NEIGHBOR_ADDRESS = Key("bgp.*.neighbors[].address", ADDRESS, "The router's address.", required=True)
NEIGHBOR_AS = Key("bgp.*.neighbors[].as", ASN, "Its AS.", required=True)
NEIGHBOR_PORT = Key("bgp.*.neighbors[].port", integer(1, 65535), "Its port; where the session is passive, ours.", "179")
NEIGHBOR_LOCAL = Key(
    "bgp.*.neighbors[].local", ADDRESS, "Our address on that session; without it, that of the route there."
)
PASSIVE = Key("bgp.*.neighbors[].passive", BOOLEAN, "Wait for the router to connect.", "false")
GTSM = Key(
    "bgp.*.neighbors[].gtsm",
    BOOLEAN,
    "Hear only a router on the same link (RFC 5082; it must do so too).",
    "false",
)
MD5_ENV = Key("bgp.*.neighbors[].md5_env", ENVIRONMENT, "Variable with the TCP MD5 password.")
MD5_FILE = Key("bgp.*.neighbors[].md5_file", TEXT, "File with the TCP MD5 password.")
ANNOUNCE = Key("bgp.*.neighbors[].announce", SECTION, "What a route carries, drained or not.")
COMMUNITIES = Key(
    "bgp.*.neighbors[].announce.communities", many(COMMUNITY, most=MOST_COMMUNITIES), "Communities (RFC 1997).", "[]"
)
LARGE = Key(
    "bgp.*.neighbors[].announce.large",
    many(LARGE_COMMUNITY, most=MOST_COMMUNITIES),
    "Large communities (RFC 8092).",
    "[]",
)
PREPEND = Key("bgp.*.neighbors[].announce.prepend", _PREPEND, "Times to prepend our AS; not towards our own AS.", "0")
MED = Key("bgp.*.neighbors[].announce.med", _MED, "MED to set.")
NEXT_HOP = Key("bgp.*.neighbors[].announce.next_hop", ADDRESS, "Next hop; without it our address on that session.")
DRAIN = Key("bgp.*.neighbors[].drain", SECTION, "How a route is made unattractive before it leaves.")
DRAIN_COMMUNITY = Key("bgp.*.neighbors[].drain.community", COMMUNITY, 'Community to add, such as "65535:0" (RFC 8326).')
DRAIN_PREPEND = Key(
    "bgp.*.neighbors[].drain.prepend", _PREPEND, "Times to prepend our AS beside; not towards our own AS.", "0"
)
DRAIN_MED = Key("bgp.*.neighbors[].drain.med", _MED, "MED to set instead.")
LOOK = Key("bgp.*.neighbors[].look", SECTION, "Where this machine can see whether the router has our routes; one of:")
LOOK_BIRD = Key("bgp.*.neighbors[].look.bird", _PATH, "BIRD's control socket; that of `birdc -r` is enough.")
LOOK_FRR = Key("bgp.*.neighbors[].look.frr", _PATH, "FRR's vtysh.")

KEYS = tuple(value for value in tuple(globals().values()) if isinstance(value, Key))

_ANYCAST = tuple(key for key in KEYS if key.path.startswith("anycast.*."))
_BGP = tuple(key for key in KEYS if key.path.startswith("bgp.*.") and key.path.count(".") == 2)
_NEIGHBOR = tuple(key for key in KEYS if key.path.startswith("bgp.*.neighbors[].") and key.path.count(".") == 3)
_ANNOUNCE = (COMMUNITIES, LARGE, PREPEND, MED, NEXT_HOP)
_DRAIN = (DRAIN_COMMUNITY, DRAIN_PREPEND, DRAIN_MED)
_LOOK = (LOOK_BIRD, LOOK_FRR)


def read_anycast(root: Section) -> tuple[Anycast, ...]:
    """What is announced; what cannot be read is left out."""
    return tuple(root.named(ANYCAST, _ANYCAST, _anycast).values())


def read_speakers(root: Section) -> tuple[Bgp, ...]:
    """The speakers; one that cannot be read is left out."""
    return tuple(root.named(BGP, _BGP, _bgp).values())


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
        rise_s=section.get(RISE),
        least_s=section.get(STAY),
        drain_s=section.get(DRAIN_FOR),
        hold_s=section.get(ANYCAST_HOLD),
        longest_hold_s=section.get(LONGEST_HOLD),
    )


def _bgp(name: str, section: Section) -> Bgp:
    neighbors = section.each(NEIGHBORS, _NEIGHBOR, _neighbor)
    return Bgp(
        name=name,
        local_as=section.get(LOCAL_AS),
        router_id=section.get(ROUTER_ID_KEY),
        neighbors=tuple(found for found in neighbors if found),
        hold_s=section.get(HOLD),
        allow=section.get(ALLOW),
        max_routes=section.get(MAX_ROUTES),
        controller_loss_s=section.get(CONTROLLER_LOSS),
    )


def _neighbor(section: Section) -> Neighbor:
    section.either(MD5_ENV, MD5_FILE)
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
        announce=section.defaulted(ANNOUNCE, _ANNOUNCE, _announce),
        look=section.below(LOOK, _LOOK, _look),
    )


def _announce(section: Section) -> Announce:
    return Announce(
        communities=section.get(COMMUNITIES),
        large=section.get(LARGE),
        prepend=section.get(PREPEND),
        med=section.maybe(MED),
        next_hop=section.maybe(NEXT_HOP),
    )


def _drain(section: Section) -> Drain:
    return Drain(section.maybe(DRAIN_COMMUNITY), section.get(DRAIN_PREPEND), section.maybe(DRAIN_MED))


def _look(section: Section) -> Look | None:
    if len(section.node.entries.keys() & {LOOK_BIRD.name, LOOK_FRR.name}) != 1:
        message = f"{shown(section.node)} - expected one of bird and frr"
        section.problems.error(section.node.where, section.path, message)
        return None
    socket, command = section.maybe(LOOK_BIRD), section.maybe(LOOK_FRR)
    if socket is not None:
        return Look(Router.BIRD, socket)
    return Look(Router.FRR, command) if command is not None else None
