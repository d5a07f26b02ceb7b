"""Which zone files there are, and dynamic records: beside master files, and in YAML zones."""

from __future__ import annotations

from enum import StrEnum

from gslb.config.kinds import NAME, TEXT, Reported, choice, integer, many, mapped
from gslb.config.problem import Problem, path_text
from gslb.config.section import Key, Section
from gslb.config.source import shown
from gslb.config.zonedraft import DynamicDraft
from gslb.config.zonefile import name_wire
from gslb.model.deployment import TYPE_A, TYPE_AAAA


class DynamicType(StrEnum):
    """What a policy can answer."""

    A = "A"
    AAAA = "AAAA"


_NUMBERS = {DynamicType.A: TYPE_A, DynamicType.AAAA: TYPE_AAAA}

ZONES = Key(
    "zones", many(TEXT, most=1000), "Zone files: `.zone` master files, `.yaml` octoDNS layout; `*` and `?`.", "[]"
)
RECORDS = Key("records", mapped("mapping of full names"), "Dynamic records beside master files, by full name.")
POLICY = Key("records.*.policy", NAME, "The policy that answers.", required=True)
TTL = Key("records.*.ttl", integer(1, 86400), "Upper bound of the TTL, in seconds; the policy's `ttl.max` without it.")
TYPES = Key("records.*.types", many(choice(DynamicType), least=1), "What it answers.", "[A, AAAA]")

KEYS = tuple(value for value in tuple(globals().values()) if isinstance(value, Key))

RECORD = (POLICY, TTL, TYPES)


def read_dynamic(section: Section, owner: bytes) -> DynamicDraft:
    """The dynamic record of one mapping.  Raises Reported."""
    types = section.get(TYPES)
    return DynamicDraft(
        owner=owner,
        types=tuple(_NUMBERS[each] for each in types),
        policy=section.get(POLICY),
        ttl=section.maybe(TTL),
        where=section.node.where,
        path=section.path,
    )


def read_records(root: Section) -> list[DynamicDraft]:
    """The dynamic records of `records:`."""
    node = root.maybe(RECORDS)
    found: list[DynamicDraft] = []
    for name, entry in node.entries.items() if node else ():
        path = (RECORDS.name, name)
        try:
            if not name.endswith("."):
                raise ValueError("expected a full name with a final dot")
            owner = name_wire(name)
        except ValueError as error:
            problem = Problem(entry.key.where, path_text((RECORDS.name,)), f"{shown(entry.key)} - {error}")
            root.problems.add(problem, path)
            continue
        try:
            found.append(read_dynamic(Section(entry.value, path, RECORD, root.problems), owner))
        except Reported:
            continue
    return found
