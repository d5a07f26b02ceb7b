"""Zones in the octoDNS YAML layout: names as keys, below them one record or a list of records.  Pure.

A record is `{type, ttl, value or values}` with octoDNS's field names, or `{policy, ttl, types}` for a dynamic one.
`octodns:` beside them (settings of that program) is passed over.  A zone without an SOA record is given one.

Source: octoDNS, docs/records.md.
"""

from __future__ import annotations

from gslb.config.kinds import Reported, integer
from gslb.config.problem import KeyPath, Problem, Problems, Where, one_of, path_text
from gslb.config.rdatayaml import ADDRESSES, SINGLE, TYPES, Unfit, address, presentation
from gslb.config.read_records import RECORD, read_dynamic
from gslb.config.section import Section
from gslb.config.source import Entry, ListNode, MapNode, Node, Scalar, shown
from gslb.config.zonedraft import NS, SOA, StaticRecord, ZoneDraft
from gslb.config.zonefile import name_wire, owner_text, rdata_wire, type_number

DEFAULT_TTL = 3600  # octoDNS's own
_TTL = integer(0, 2**31 - 1)  # RFC 2181 section 8
_STATIC = ("type", "ttl", "value", "values", "octodns")
_SOA_TIMES = "1 7200 900 1209600 30"  # serial, refresh, retry, expire; a negative answer lives half a minute at most


def read_yaml(root: Node, file: str, name: str, problems: Problems) -> ZoneDraft | None:
    """The zone `name` of a document.  None where not even the name can be read."""
    try:
        apex = name_wire(name)
    except ValueError:
        message = f"{name} - expected the file to be named after the zone: example.com.yaml"
        problems.add(Problem(Where(file), "", message))
        return None
    reader = _Reader(ZoneDraft(apex, Where(file), []), problems)
    if isinstance(root, MapNode):
        for owner, entry in root.entries.items():
            reader.read_name(owner, entry)
    else:
        reader.error(root.where, (), f"{shown(root)} - expected names as keys, with their records below")
    return reader.finish()


class _Reader:
    """Fills one draft."""

    def __init__(self, draft: ZoneDraft, problems: Problems) -> None:
        self._draft = draft
        self._problems = problems
        self._soa_written = False

    def error(self, where: Where, path: KeyPath, message: str) -> None:
        """Report that something could not be read."""
        self._problems.add(Problem(where, path_text(path), message))
        self._draft.broken = True

    def read_name(self, name: str, entry: Entry) -> None:
        """All records of one name."""
        try:
            if name.startswith("@"):
                raise ValueError("expected '' for the zone's own name")
            owner = name_wire(name, self._draft.apex) if name else self._draft.apex
        except ValueError as error:
            self.error(entry.key.where, (), f"{shown(entry.key)} - {error}")
            return
        nodes = entry.value.items if isinstance(entry.value, ListNode) else (entry.value,)
        for number, node in enumerate(nodes):
            path: KeyPath = (name or "''", number) if isinstance(entry.value, ListNode) else (name or "''",)
            self._read_record(owner, path, node)

    def finish(self) -> ZoneDraft:
        """The draft, with an SOA of our own where none is written."""
        draft = self._draft
        if self._soa_written:
            return draft
        apex = draft.apex.lower()
        primary = next((r.rdata for r in draft.records if r.rtype == NS and r.owner.lower() == apex), draft.apex)
        try:
            rdata = rdata_wire(SOA, f"{owner_text(primary)} hostmaster {_SOA_TIMES}", draft.apex)
        except ValueError as error:
            self.error(draft.where, (), f"expected an SOA record, since none can be made for this zone ({error})")
        else:
            draft.given_soa = len(draft.records)
            draft.records.append(StaticRecord(draft.apex, SOA, DEFAULT_TTL, rdata, draft.where))
        return draft

    def _read_record(self, owner: bytes, path: KeyPath, node: Node) -> None:
        if not isinstance(node, MapNode):
            self.error(node.where, path, f"{shown(node)} - expected a record: {{type, ttl, value}} or {{policy}}")
        elif "policy" in node.entries:
            try:
                self._draft.dynamic.append(read_dynamic(Section(node, path, RECORD, self._problems), owner))
            except Reported:
                self._draft.broken = True
        else:
            self._read_static(owner, path, node)

    def _read_static(self, owner: bytes, path: KeyPath, node: MapNode) -> None:
        for name, entry in node.entries.items():
            if name not in _STATIC:
                self.error(entry.key.where, (*path, name), f"unknown key - {one_of(_STATIC, name)}")
        ttl = self._ttl(path, node)
        rtype = self._type(path, node)
        if rtype is None:
            return
        if rtype == "SOA":
            self._soa_written = True
        number = type_number(rtype)
        for value_path, value in self._values(rtype, path, node):
            try:
                rdata = self._rdata(rtype, number, value)
            except Unfit as unfit:
                self.error(unfit.node.where, value_path, unfit.message)
                continue
            if ttl is not None:
                self._draft.records.append(StaticRecord(owner, number, ttl, rdata, value.where))

    def _ttl(self, path: KeyPath, node: MapNode) -> int | None:
        entry = node.entries.get("ttl")
        if entry is None:
            return DEFAULT_TTL
        try:
            return _TTL.read(entry.value, (*path, "ttl"), self._problems)
        except Reported:
            self._draft.broken = True
            return None

    def _type(self, path: KeyPath, node: MapNode) -> str | None:
        entry = node.entries.get("type")
        if entry is None:
            self.error(node.where, path, "missing type - expected {type, ttl, value}, or {policy} for a dynamic record")
            return None
        rtype = entry.value.text if isinstance(entry.value, Scalar) else ""
        if rtype in TYPES:
            return rtype
        self.error(entry.value.where, (*path, "type"), f"{shown(entry.value)} - {one_of(TYPES, rtype)}")
        return None

    def _values(self, rtype: str, path: KeyPath, node: MapNode) -> list[tuple[KeyPath, Node]]:
        given = [name for name in ("value", "values") if name in node.entries]
        if len(given) != 1:
            message = "value and values - expected one of them" if given else "missing value or values"
            self.error(node.where, path, message)
            return []
        name = given[0]
        value = node.entries[name].value
        if not isinstance(value, ListNode):
            return [((*path, name), value)]
        if rtype in SINGLE or not value.items:
            wanted = "one value" if rtype in SINGLE else "at least one value"
            self.error(value.where, (*path, name), f"{shown(value)} - expected {wanted}")
            return []
        return [((*path, name, number), item) for number, item in enumerate(value.items)]

    def _rdata(self, rtype: str, number: int, value: Node) -> bytes:
        if rtype in ADDRESSES:
            return address(rtype, value)
        try:
            return rdata_wire(number, presentation(rtype, value), self._draft.apex)
        except Unfit:
            raise
        except ValueError as error:
            raise Unfit(value, f"{shown(value)} - expected {rtype} data ({error})") from error
