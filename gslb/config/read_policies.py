"""Policies: ordered rules, spill, stickiness, all-down mode, TTL."""

from __future__ import annotations

from typing import Any

from gslb.config.kinds import (
    ADDRESS,
    ASN,
    GEO,
    NAME,
    NAMED,
    PREFIX,
    SECTION,
    SHARE,
    SHARE_RATE,
    Reported,
    choice,
    integer,
    many,
    raw,
)
from gslb.config.section import Key, Section
from gslb.config.source import MapNode, Scalar, shown
from gslb.model.deployment import Address, AllDown, Policy, PolicyId, PoolId, Rule, Spill, Sticky, View

NEAREST = "nearest"
_NAMES = many(NAME, least=1, most=1000)
_ALL_DOWN = choice(AllDown)

POLICIES = Key("policies", NAMED, "Which clients are given which pools.")
RULES = Key(
    "policies.*.rules",
    many(raw("mapping"), least=1, most=1000),
    "Ordered; the first that matches a client decides. A rule matches when any of its subnets, ASNs or geos does.",
    required=True,
)
SUBNETS = Key("policies.*.rules[].subnets", many(PREFIX, least=1, most=100_000), "Client networks.")
ASNS = Key("policies.*.rules[].asns", many(ASN, least=1), "Client AS numbers; needs a database with ASNs.")
GEOS = Key("policies.*.rules[].geos", many(GEO, least=1), "Client places, octoDNS codes: EU, EU-NO, NA-US-CA.")
RULE_POOLS = Key(
    "policies.*.rules[].pools",
    raw("list of name, or nearest"),
    "The pools in order of preference, or `nearest`: by distance from the client.",
    required=True,
)
OF = Key(
    "policies.*.rules[].of",
    _NAMES,
    "The pools that `nearest` measures; without it those that the policy's other rules name, burst sites left out. "
    "Where the client's place is not known, this is their order.",
)
SPILL = Key("policies.*.spill", SECTION, "Where users go that a rule's own pools cannot take.")
SPILL_TO = Key(
    "policies.*.spill.to", _NAMES, "Pools that take what the pools of a rule shed, and over when none of them is left."
)
STEP = Key("policies.*.spill.step", SHARE_RATE, "How fast a pool sheds, in share of its answers.", "5%/min")
RECOVER = Key("policies.*.spill.recover", SHARE_RATE, "How fast users come back, also after a failure.", "2%/min")
ANSWERS = Key("policies.*.answers", integer(1, 20), "Addresses in a reply.", "1")
STICKY = Key("policies.*.sticky", raw("on | off | {v4, v6}"), "The same client network, the same pool member.", "on")
STICKY4 = Key("policies.*.sticky.v4", integer(1, 32), "Length of an IPv4 client network.", "24")
STICKY6 = Key("policies.*.sticky.v6", integer(1, 64), "Length of an IPv6 client network.", "56")
ON_ALL_DOWN = Key(
    "policies.*.on_all_down",
    raw("serve_all | last_good | {last_resort} | nodata | servfail"),
    "What is answered when no pool is usable.",
    "serve_all",
)
LAST_RESORT = Key(
    "policies.*.on_all_down.last_resort", many(ADDRESS, least=1, most=20), "Addresses to answer then.", required=True
)
PANIC = Key("policies.*.panic", SHARE, "Healthy share of a pool's servers below which the pool is left.", "50%")
VELOCITY = Key("policies.*.velocity", SHARE, "Most of the capacity that may leave in 60 s on thin evidence.", "50%")
TTL = Key("policies.*.ttl", SECTION, "TTLs of the answers, in seconds.")
TTL_MAX = Key("policies.*.ttl.max", integer(1, 86400), "While all is steady.", "60")
TTL_MIN = Key("policies.*.ttl.min", integer(1, 86400), "Least, when a change is near.", "5")
VIEW = Key(
    "policies.*.view",
    choice(View),
    "Whose word on health counts: that of all sites, or (`regional`) of those on the client's continent where it is another. "
    "Clients whom a rule knows by subnet or ASN, and those of continents without a site, go by all.",
    "global",
)

KEYS = tuple(value for value in tuple(globals().values()) if isinstance(value, Key))

_POLICY = (RULES, SPILL, ANSWERS, STICKY, ON_ALL_DOWN, PANIC, VELOCITY, TTL, VIEW)
_RULE = (SUBNETS, ASNS, GEOS, RULE_POOLS, OF)
_SPILL = (SPILL_TO, STEP, RECOVER)
_STICKY = (STICKY4, STICKY6)
_TTL = (TTL_MAX, TTL_MIN)


def read_policies(root: Section, burst: frozenset[PoolId]) -> dict[PolicyId, Policy]:
    """The policies, by name.  `burst` are the pools that `nearest` uses only where `of` names them."""
    found = root.named(POLICIES, _POLICY, lambda name, section: _policy(name, section, burst))
    return {policy.name: policy for policy in found.values()}


def _policy(name: str, section: Section, burst: frozenset[PoolId]) -> Policy:
    spill = section.defaulted(SPILL, _SPILL, _spill)
    sticky = _sticky(section)
    on_all_down, last_resort = _on_all_down(section)
    ttl_max, ttl_min = section.defaulted(TTL, _TTL, lambda ttl: (ttl.get(TTL_MAX), ttl.get(TTL_MIN)))
    return Policy(
        name=PolicyId(name),
        rules=_rules(section, burst),
        spill=spill,
        answers=section.get(ANSWERS),
        sticky=sticky,
        on_all_down=on_all_down,
        last_resort=last_resort,
        panic=section.get(PANIC),
        velocity=section.get(VELOCITY),
        ttl_max=ttl_max,
        ttl_min=ttl_min,
        view=section.get(VIEW),
    )


def _rules(policy: Section, burst: frozenset[PoolId]) -> tuple[Rule, ...]:
    """All rules.  Raises Reported where one cannot be read: without it the others would mean something else."""
    read = policy.each(RULES, _RULE, _rule)
    rules = [rule for rule in read if rule is not None]
    if len(rules) < len(read):
        raise Reported
    named = tuple(dict.fromkeys(pool for rule in rules for pool in rule.pools if pool not in burst))
    for number, rule in enumerate(rules):
        if rule.nearest and not rule.pools:
            if not named:
                path = (*policy.path, RULES.name, number, OF.name)
                node = policy.get(RULES)[number]
                policy.problems.error(node.where, path, "missing - expected the pools that nearest chooses from")
                raise Reported
            rules[number] = Rule(named, nearest=True, subnets=rule.subnets, asns=rule.asns, geos=rule.geos)
    return tuple(rules)


def _rule(section: Section) -> Rule:
    written = section.get(RULE_POOLS)
    path = (*section.path, RULE_POOLS.name)
    nearest = isinstance(written, Scalar) and written.text == NEAREST
    if nearest:
        of = section.maybe(OF)
        names = of or ()
    elif isinstance(written, Scalar):
        section.problems.error(written.where, path, f"{shown(written)} - expected a list of pool names, or {NEAREST}")
        raise Reported
    else:
        names = _NAMES.read(written, path, section.problems)
        if OF.name in section.node.entries:
            where = section.node.entries[OF.name].key.where
            section.problems.error(where, (*section.path, OF.name), f"belongs to pools: {NEAREST} only")
    conditions: tuple[Key[Any], ...] = (SUBNETS, ASNS, GEOS, OF)
    if any(section.wrong(key) for key in conditions):
        raise Reported  # without its condition the rule would catch all
    return Rule(
        pools=tuple(map(PoolId, names)),
        nearest=nearest,
        subnets=section.maybe(SUBNETS) or (),
        asns=section.maybe(ASNS) or (),
        geos=section.maybe(GEOS) or (),
    )


def _spill(section: Section) -> Spill:
    to = section.maybe(SPILL_TO)
    return Spill(tuple(map(PoolId, to or ())), section.get(STEP), section.get(RECOVER))


def _sticky(policy: Section) -> Sticky | None:
    node = policy.get(STICKY)
    path = (*policy.path, STICKY.name)
    if isinstance(node, MapNode):
        section = Section(node, path, _STICKY, policy.problems)
        return Sticky(section.get(STICKY4), section.get(STICKY6))
    if isinstance(node, Scalar) and node.text in ("on", "off"):
        return Sticky() if node.text == "on" else None
    policy.problems.error(node.where, path, f"{shown(node)} - expected on, off, or {{v4: 24, v6: 56}}")
    return None


def _on_all_down(policy: Section) -> tuple[AllDown, tuple[Address, ...]]:
    node = policy.get(ON_ALL_DOWN)
    path = (*policy.path, ON_ALL_DOWN.name)
    try:
        if isinstance(node, MapNode):
            section = Section(node, path, (LAST_RESORT,), policy.problems)
            return AllDown.LAST_RESORT, section.get(LAST_RESORT)
        if isinstance(node, Scalar) and node.text == AllDown.LAST_RESORT:
            policy.problems.error(node.where, path, "last_resort - expected its addresses: {last_resort: [192.0.2.1]}")
        else:
            return _ALL_DOWN.read(node, path, policy.problems), ()
    except Reported:
        pass
    return AllDown.SERVE_ALL, ()
