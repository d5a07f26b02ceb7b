"""Sections -> the bytes of a location table (`gslb.geo.table` documents them).  Pure, without numpy."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from gslb.geo.lines import v6_tree
from gslb.geo.table import (
    ALIGN,
    CHECK_BYTES,
    FORMAT,
    HEADER_BYTES,
    MAGIC,
    Header,
    check_of,
    digest_of,
)
from gslb.model.deployment import PolicyId
from gslb.model.location import Ranking

INDEX_BITS = 20  # of the IPv6 index: 4 MB; at most 18 search steps in a full database, 13 to 15 as a rule
Section = bytes | memoryview  # of single bytes


@dataclass(frozen=True, slots=True)
class Ranked:
    """One policy: its distinct rankings, and the ranking of each class (16 bits each)."""

    rankings: tuple[Ranking, ...]
    of_class: Section


@dataclass(frozen=True, slots=True)
class Networks:
    """Which class each address has, as sections of the file; `v6_starts` holds the end as well."""

    v4: Section
    v4_lines: Section
    v4_runs: Section
    v6_starts: Section
    v6_classes: Section
    index: Section
    index_bits: int
    search_steps: int


def encode(
    classes: int, policies: Mapping[PolicyId, Ranked], networks: Networks | None, catchments: bytes = b""
) -> bytes:
    """The whole file.  Without `networks` every address has class 0; without `catchments` no size is known."""
    rankings = _rankings_json(policies)
    stride = -(-2 * classes // ALIGN) * ALIGN
    of_class = b"".join(bytes(policy.of_class).ljust(stride, b"\0") for policy in policies.values())
    sections: list[Section] = [rankings, of_class, catchments]
    if networks is not None:
        starts, tree = v6_tree(networks.v6_starts)
        sections += [starts, networks.v6_classes, tree, networks.v4_lines, networks.v4_runs]
        sections += [networks.v4, networks.index]  # last, as `gslb.geo.table` says why
    body, offsets = _aligned(sections)
    header = Header(
        magic=MAGIC,
        format=FORMAT,
        header_bytes=HEADER_BYTES,
        file_bytes=HEADER_BYTES + sum(map(len, body)),
        digest=digest_of(body),
        check=bytes(CHECK_BYTES),
        classes=classes,
        policies=len(policies),
        index_bits=networks.index_bits if networks else 0,
        search_steps=networks.search_steps if networks else 0,
        v4_at=offsets[8] if networks else 0,
        v6_starts_at=offsets[3] if networks else 0,
        v6_count=len(networks.v6_classes) // 4 if networks else 0,
        v6_classes_at=offsets[4] if networks else 0,
        index_at=offsets[9] if networks else 0,
        rankings_at=offsets[0],
        rankings_bytes=len(rankings),
        ranking_of_at=offsets[1],
        ranking_of_stride=stride,
        catchments_at=offsets[2] if catchments else 0,
        catchments_bytes=len(catchments),
        v4_lines_at=offsets[6] if networks else 0,
        v4_runs_at=offsets[7] if networks else 0,
        v4_run_count=len(networks.v4_runs) // 4 if networks else 0,
        v6_tree_at=offsets[5] if networks else 0,
    )
    return b"".join([replace(header, check=check_of(header.pack(), rankings)).pack(), *body])


def _rankings_json(policies: Mapping[PolicyId, Ranked]) -> bytes:
    """A continent stands only where there is one, so that what other policies have is what it always was."""
    rows = [
        (
            name,
            [
                (ranking.rule, ranking.pools4, ranking.pools6, *([ranking.continent] if ranking.continent else []))
                for ranking in policy.rankings
            ],
        )
        for name, policy in policies.items()
    ]
    return json.dumps(rows, separators=(",", ":"), ensure_ascii=True).encode()


def _aligned(sections: Iterable[Section]) -> tuple[list[Section], list[int]]:
    """The sections with padding between, and where each begins in the file."""
    parts: list[Section] = []
    offsets: list[int] = []
    at = HEADER_BYTES
    for section in sections:
        offsets.append(at)
        padding = -len(section) % ALIGN
        parts += [section, bytes(padding)]
        at += len(section) + padding
    return parts, offsets
