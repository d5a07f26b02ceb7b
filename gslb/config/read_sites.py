"""Datacenters, nodes, and the geography of clients."""

from __future__ import annotations

import re

from gslb.config.kinds import BOOLEAN, NAME, NAMED, SECTION, TEXT, Kind, Reported, integer, many, number, text_like
from gslb.config.problem import KeyPath, Problems
from gslb.config.section import Key, Section
from gslb.config.source import ListNode, Node, shown
from gslb.model import deployment as model
from gslb.model.deployment import Datacenter, Geo, NodeId, SiteId

_DEGREES = number("degrees", -180, 180)
_EXPECTED_AT = "[latitude, longitude] in degrees, such as [50.11, 8.68]"


def _read_coordinates(node: Node, path: KeyPath, problems: Problems) -> tuple[float, float]:
    if not isinstance(node, ListNode) or len(node.items) != 2:
        problems.error(node.where, path, f"{shown(node)} - expected {_EXPECTED_AT}")
        raise Reported
    latitude = _DEGREES.read(node.items[0], (*path, 0), problems)
    longitude = _DEGREES.read(node.items[1], (*path, 1), problems)
    if abs(latitude) > 90:
        problems.error(node.items[0].where, (*path, 0), f"{shown(node.items[0])} - expected a latitude from -90 to 90")
        raise Reported
    return latitude, longitude


_COORDINATES: Kind[tuple[float, float]] = Kind("[latitude, longitude]", _read_coordinates)
_INTERFACE = text_like(
    "interface", re.compile(r"(?!\.{1,2}$)[!-.0-9;-~]{1,15}"), "the name of an interface, such as eth0"
)
_CONTINENT = text_like("continent", re.compile("AF|AN|AS|EU|NA|OC|SA"), "one of AF, AN, AS, EU, NA, OC, SA")

DATACENTERS = Key("datacenters", NAMED, "The places (sites) that serve users.", required=True)
AT = Key("datacenters.*.at", _COORDINATES, "Where the site is, in degrees; `nearest` measures from here.")
CONTINENT = Key(
    "datacenters.*.continent",
    _CONTINENT,
    "The site's continent: for people, dashboards, and policies of `view: regional`.",
)
PROVIDER = Key("datacenters.*.provider", TEXT, "Who runs the place, for people and dashboards.")
BURST = Key("datacenters.*.burst", BOOLEAN, "Used only for what other sites shed.", "false")
HAS_NODE = Key(
    "datacenters.*.node",
    BOOLEAN,
    "`false`: gslb does not run at this site, though `nodes` does not name it.",
    "true",
)

NODES = Key(
    "nodes",
    NAMED,
    "The machines that run gslb. A site that is not named here has one, named after it, unless `node` denies it.",
)
NODE_SITE = Key("nodes.*.site", NAME, "The datacenter that the node stands in.", required=True)
INTERFACES = Key(
    "nodes.*.interfaces",
    many(_INTERFACE, least=1, most=16),
    "The interfaces on which clients' packets reach the balancer; without it that of the default route.",
)

GEO = Key("geo", SECTION, "How clients are placed.")
DATABASES = Key(
    "geo.databases",
    many(TEXT, most=16),
    "Geography databases (`.mmdb`); `~` is the home folder, other paths start at the configuration's folder. "
    "One that is missing is reported when gslb starts, and is no error.",
    "[]",
)
NEAREST_LIMIT = Key("geo.nearest_limit", integer(1, 16), "How many nearest pools a location class remembers.", "3")
SCOPE = Key("geo.scope", SECTION, "The prefix lengths to which geography is quantised.")
SCOPE4 = Key("geo.scope.v4", integer(8, 24), "For IPv4 clients.", "24")
SCOPE6 = Key("geo.scope.v6", integer(16, 56), "For IPv6 clients.", "56")

KEYS = tuple(value for value in tuple(globals().values()) if isinstance(value, Key))

_DATACENTER = (AT, CONTINENT, PROVIDER, BURST, HAS_NODE)
_NODE = (NODE_SITE, INTERFACES)
_GEO = (DATABASES, NEAREST_LIMIT, SCOPE)
_SCOPE = (SCOPE4, SCOPE6)


def read_datacenters(root: Section) -> dict[SiteId, Datacenter]:
    """The datacenters, by name."""
    found = root.named(DATACENTERS, _DATACENTER, _datacenter)
    return {datacenter.name: datacenter for datacenter in found.values()}


def read_nodes(root: Section, datacenters: dict[SiteId, Datacenter]) -> dict[NodeId, model.Node]:
    """The nodes, by name: those of the file, then one for each datacenter without any, unless it says that it has none."""
    written = root.named(NODES, _NODE, _node)
    nodes = {node.name: node for node in written.values()}
    served = {node.site for node in nodes.values()}
    for site, datacenter in datacenters.items():
        if site not in served and datacenter.node:
            nodes.setdefault(NodeId(site), model.Node(NodeId(site), site))
    return nodes


def read_geo(root: Section) -> Geo:
    """The geography of clients; database paths as written."""
    return root.defaulted(GEO, _GEO, _geo)


def _datacenter(name: str, section: Section) -> Datacenter:
    return Datacenter(
        name=SiteId(name),
        at=section.maybe(AT),
        continent=section.maybe(CONTINENT),
        provider=section.maybe(PROVIDER),
        burst=section.get(BURST),
        node=section.get(HAS_NODE),
    )


def _node(name: str, section: Section) -> model.Node:
    return model.Node(NodeId(name), SiteId(section.get(NODE_SITE)), section.maybe(INTERFACES) or ())


def _geo(section: Section) -> Geo:
    scope4, scope6 = section.defaulted(SCOPE, _SCOPE, lambda scope: (scope.get(SCOPE4), scope.get(SCOPE6)))
    return Geo(section.get(DATABASES), section.get(NEAREST_LIMIT), scope4, scope6)
