"""What was read of a deployment before it is known to be right, and what a rule finds in it.  Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from gslb.config.problem import KeyPath, Problem, Problems, Severity, path_text
from gslb.config.source import Entry, MapNode, Node, find, shown
from gslb.config.zonedraft import DynamicDraft, ZoneDraft, closest
from gslb.model.deployment import Deployment, PolicyId


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem that a rule found.  It is dropped where a key of `needs` is damaged: it would only follow from that."""

    problem: Problem
    path: KeyPath | None = None
    needs: tuple[KeyPath, ...] = ()


@dataclass(eq=False)
class Draft:
    """Everything that was read.  What could not be read is absent, and its name is still known (`names`).

    `whole`: every zone was read without an error, so that absence in zones means something.
    """

    root: MapNode
    deployment: Deployment
    records: list[DynamicDraft]
    problems: Problems
    zones: list[ZoneDraft] = field(default_factory=list)
    whole: bool = True

    def names(self, section: str) -> Mapping[str, Entry]:
        """The names under a key of the top level, also of what could not be read."""
        entry = self.root.entries.get(section)
        return entry.value.entries if entry is not None and isinstance(entry.value, MapNode) else {}

    def error(self, path: KeyPath, message: str, *needs: KeyPath, value: str | None = None) -> Finding:
        """An error at a key: its place, its value (or `value`), and `message`, which says what was expected."""
        return self._finding(path, message, needs, value, Severity.ERROR)

    def warning(self, path: KeyPath, message: str, *needs: KeyPath, value: str | None = None) -> Finding:
        """As `error`, for what is only unwise."""
        return self._finding(path, message, needs, value, Severity.WARNING)

    def named(self, path: KeyPath, message: str, *needs: KeyPath) -> Finding:
        """An error at a name: the place of the key itself."""
        holder = find(self.root, path[:-1])
        name = str(path[-1])
        where = (
            holder.entries[name].key.where if isinstance(holder, MapNode) and name in holder.entries else holder.where
        )
        return Finding(Problem(where, path_text(path), message), path, needs)

    def _finding(
        self, path: KeyPath, message: str, needs: tuple[KeyPath, ...], value: str | None, severity: Severity
    ) -> Finding:
        node: Node = find(self.root, path)
        text = f"{value or shown(node)} - {message}"
        return Finding(Problem(node.where, path_text(path), text, severity), path, (path, *needs))

    def attach_records(self) -> None:
        """Give each record of `records:` to the zone that it is in, if there is one."""
        by_apex = {zone.apex.lower(): zone for zone in self.zones}
        for record in self.records:
            apex = closest(record.owner.lower(), by_apex)
            if apex is not None:
                by_apex[apex].dynamic.append(record)

    def least_ttl(self, zone: ZoneDraft) -> int | None:
        """The least TTL of the zone's dynamic records, in seconds; None where there is none that is known."""
        return min((ttl for record in zone.dynamic if (ttl := self._ttl(record)) is not None), default=None)

    def _ttl(self, record: DynamicDraft) -> int | None:
        policy = self.deployment.policies.get(PolicyId(record.policy))
        if policy is None:
            return record.ttl
        return policy.ttl_max if record.ttl is None else min(record.ttl, policy.ttl_max)

    def bound_given_soas(self) -> None:
        """No negative answer by an SOA that we made outlives a dynamic record (RFC 2308 section 4)."""
        for zone in self.zones:
            least = self.least_ttl(zone)
            if zone.given_soa is not None and least is not None:
                soa = zone.records[zone.given_soa]
                minimum = min(int.from_bytes(soa.rdata[-4:], "big"), least)
                zone.records[zone.given_soa] = replace(soa, rdata=soa.rdata[:-4] + minimum.to_bytes(4, "big"))

    def judge(self, findings: Iterator[Finding]) -> None:
        """Report the findings that do not merely follow from other problems."""
        for finding in findings:
            if not any(self.problems.damaged(key) for key in finding.needs):
                self.problems.add(finding.problem, finding.path)
