"""Pools: answers, capacity, load, and the balancer's backends."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import TypeVar

from gslb import units
from gslb.config.kinds import (
    ADDRESS,
    LISTEN,
    NAME,
    NAMED,
    PAGE,
    SECTION,
    SHARE,
    Expected,
    Kind,
    Reported,
    choice,
    integer,
    many,
    number,
    plain,
    raw,
)
from gslb.config.section import Key, Section
from gslb.config.source import MapNode, Node, Scalar, shown
from gslb.model import loadpage
from gslb.model.deployment import (
    Answer,
    Backend,
    Balance,
    Capacity,
    Forward,
    LoadSource,
    MonitorId,
    Pool,
    PoolId,
    Return,
    SiteId,
    WithoutBalancer,
)

T = TypeVar("T")


class Source(StrEnum):
    """A source of load that needs no more words."""

    BALANCER = "balancer"
    PUSH = "push"


def _soft(scalar: Scalar) -> float | None:
    return None if scalar.text == "auto" else units.share(scalar.text)


_SOFT: Kind[float | None] = plain("share | auto", _soft, "auto or a percentage from 0% to 100%")
_SOURCE = choice(Source)
_WEIGHT = integer(1, 1000)


def _json_path(scalar: Scalar) -> str:
    try:
        loadpage.json_path(scalar.text)
    except ValueError as error:
        raise Expected(f"expected {error}") from error
    return scalar.text


def _metric(scalar: Scalar) -> str:
    try:
        loadpage.series(scalar.text)
    except ValueError as error:
        raise Expected(f"expected {error}") from error
    return scalar.text


_JSON_PATH = plain("JSON path", _json_path, "a path such as $.rps")
_METRIC = plain("metric", _metric, "the name of a metric")

POOLS = Key("pools", NAMED, "The addresses of one service in one datacenter.")
DATACENTER = Key("pools.*.datacenter", NAME, "Where the pool stands.", required=True)
MONITOR = Key("pools.*.monitor", NAME, "How the pool is checked; without it the pool counts as healthy.")
ANSWERS = Key(
    "pools.*.answers",
    many(raw("address, or {value, weight}")),
    "The addresses that DNS may return.",
    required=True,
)
ANSWER_VALUE = Key("pools.*.answers[].value", ADDRESS, "The address.", required=True)
ANSWER_WEIGHT = Key("pools.*.answers[].weight", _WEIGHT, "Its share among the pool's addresses of its family.", "1")

CAPACITY = Key("pools.*.capacity", SECTION, "What the pool can carry; not known without it.")
CONNS_PER_S = Key("pools.*.capacity.conns_per_s", number("number", 0.001, 1e12), "New connections a second.")
SERVERS = Key(
    "pools.*.capacity.servers",
    integer(1, 10_000_000),
    "Requests served at a time: the capacity where conns_per_s is not given, and needed for `soft: auto`.",
)
SOFT = Key("pools.*.capacity.soft", _SOFT, "Load from which the pool sheds; auto: by Erlang C.", "80%")
HARD = Key("pools.*.capacity.hard", SHARE, "Load at which it sheds all it can.", "90%")

LOAD = Key("pools.*.load", SECTION, "How the pool's load is known.")
LOAD_FROM = Key(
    "pools.*.load.from",
    raw("balancer, push, or {url, json}, or {url, metric}"),
    "The load's source: the balancer's counters, reports to the API, or a page that is read every 5 s.",
    required=True,
)
LOAD_URL = Key("pools.*.load.from.url", PAGE, "The page, at most 1 MB.", required=True)
LOAD_JSON = Key("pools.*.load.from.json", _JSON_PATH, "The JSON path of the load in the page, such as `$.rps`.")
LOAD_METRIC = Key(
    "pools.*.load.from.metric",
    _METRIC,
    'The metric in the page (Prometheus text format), summed over its series: `rps` or `rps{zone="a"}`.',
)
RETURN = Key(
    "pools.*.return",
    choice(Return),
    "How the pool comes back after a failure: by `spill.recover`, by an operator's `gslb up`, or at once.",
    "gradual",
)

BALANCE = Key("pools.*.balance", SECTION, "The balancer before the pool; without it the answers are the servers.")
BALANCE_LISTEN = Key("pools.*.balance.listen", many(LISTEN, least=1), "Protocols and ports.", required=True)
FORWARD = Key("pools.*.balance.forward", choice(Forward), "How packets reach a backend.", "l2")
BACKENDS = Key(
    "pools.*.balance.backends",
    many(raw("address, or {address, weight, id, forward}"), least=1, most=4096),
    "The real servers.",
    required=True,
)
BACKEND_ADDRESS = Key("pools.*.balance.backends[].address", ADDRESS, "The server's address.", required=True)
BACKEND_WEIGHT = Key("pools.*.balance.backends[].weight", _WEIGHT, "Its share of the pool's flows.", "1")
BACKEND_ID = Key("pools.*.balance.backends[].id", integer(0, 65535), "Its number in QUIC connection ids.")
BACKEND_FORWARD = Key(
    "pools.*.balance.backends[].forward", choice(Forward), "As `balance.forward`, which is its default."
)
MIN_HEALTHY = Key("pools.*.balance.min_healthy", integer(1, 4096), "Backends below which the pool is down.", "1")
WITHOUT_BALANCER = Key(
    "pools.*.balance.without_balancer",
    choice(WithoutBalancer),
    "What the pool is on a node of its site that cannot balance: down, or served as if its answers were the servers.",
    "down",
)

KEYS = tuple(value for value in tuple(globals().values()) if isinstance(value, Key))

_POOL = (DATACENTER, MONITOR, ANSWERS, CAPACITY, LOAD, RETURN, BALANCE)
_ANSWER = (ANSWER_VALUE, ANSWER_WEIGHT)
_CAPACITY = (CONNS_PER_S, SERVERS, SOFT, HARD)
_PAGE = (LOAD_URL, LOAD_JSON, LOAD_METRIC)
_BALANCE = (BALANCE_LISTEN, FORWARD, BACKENDS, MIN_HEALTHY, WITHOUT_BALANCER)
_BACKEND = (BACKEND_ADDRESS, BACKEND_WEIGHT, BACKEND_ID, BACKEND_FORWARD)


def read_pools(root: Section) -> dict[PoolId, Pool]:
    """The pools, by name."""
    found = root.named(POOLS, _POOL, _pool)
    return {pool.name: pool for pool in found.values()}


def _pool(name: str, section: Section) -> Pool:
    monitor = section.maybe(MONITOR)
    balance = section.below(BALANCE, _BALANCE, _balance)
    capacity = section.below(CAPACITY, _CAPACITY, _capacity)
    load = section.below(LOAD, (LOAD_FROM,), _load)
    nodes = section.get(ANSWERS)
    answers = _complete(_answer(section, number, node) for number, node in enumerate(nodes))
    return Pool(
        name=PoolId(name),
        datacenter=SiteId(section.get(DATACENTER)),
        answers=answers,
        monitor=MonitorId(monitor) if monitor is not None else None,
        capacity=capacity,
        load=load,
        return_=section.get(RETURN),
        balance=balance,
    )


def _complete(found: Iterable[T | None]) -> tuple[T, ...]:
    """All that were read.  Raises Reported where one was not: the rest would look like the whole."""
    items = tuple(found)
    whole = tuple(item for item in items if item is not None)
    if len(whole) < len(items):
        raise Reported
    return whole


def _answer(pool: Section, number: int, node: Node) -> Answer | None:
    path = (*pool.path, ANSWERS.name, number)
    try:
        if isinstance(node, MapNode):
            section = Section(node, path, _ANSWER, pool.problems)
            return Answer(section.get(ANSWER_VALUE), section.get(ANSWER_WEIGHT))
        return Answer(ADDRESS.read(node, path, pool.problems))
    except Reported:
        return None


def _capacity(section: Section) -> Capacity:
    soft = None if section.says(SOFT, "auto") else section.get(SOFT)
    return Capacity(section.maybe(CONNS_PER_S), section.maybe(SERVERS), soft, section.get(HARD))


def _load(section: Section) -> LoadSource:
    node = section.get(LOAD_FROM)
    path = (*section.path, LOAD_FROM.name)
    if not isinstance(node, MapNode):
        return LoadSource(_SOURCE.read(node, path, section.problems))
    page = Section(node, path, _PAGE, section.problems)
    json, metric = page.maybe(LOAD_JSON), page.maybe(LOAD_METRIC)
    if len(node.entries.keys() & {LOAD_JSON.name, LOAD_METRIC.name}) != 1:
        section.problems.error(node.where, path, f"{shown(node)} - expected one of json and metric")
    return LoadSource("url", page.get(LOAD_URL), json, metric)


def _balance(section: Section) -> Balance:
    forward = section.get(FORWARD)
    nodes = section.get(BACKENDS)
    backends = _complete(_backend(section, number, node, forward) for number, node in enumerate(nodes))
    return Balance(
        listen=section.get(BALANCE_LISTEN),
        forward=forward,
        backends=backends,
        min_healthy=section.get(MIN_HEALTHY),
        without_balancer=section.get(WITHOUT_BALANCER),
    )


def _backend(balance: Section, number: int, node: Node, forward: Forward) -> Backend | None:
    path = (*balance.path, BACKENDS.name, number)
    try:
        if not isinstance(node, MapNode):
            return Backend(ADDRESS.read(node, path, balance.problems), forward=forward)
        section = Section(node, path, _BACKEND, balance.problems)
        return Backend(
            address=section.get(BACKEND_ADDRESS),
            weight=section.get(BACKEND_WEIGHT),
            id=section.maybe(BACKEND_ID),
            forward=section.maybe(BACKEND_FORWARD) or forward,
        )
    except Reported:
        return None
