"""Sections -> the bytes of a location table (`gslb.geo.table` documents them).  Pure, without numpy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from gslb.geo.lines import V4_BITMAP, V6_LEAF, V4Sections, v6_leaves
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
    v4_packed: V4Sections
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
    sections: dict[str, Section] = {"of_class": of_class}
    v4 = V4Sections(b"", b"", b"", b"")
    if networks is not None:
        v4 = networks.v4_packed
        levels, leaves = v6_leaves(memoryview(networks.v6_starts).cast("Q"), memoryview(networks.v6_classes).cast("I"))
        sections |= {"v4_index": v4.index, "v4_entries": v4.entries, "v4_bitmaps": v4.bitmaps, "v4_runs": v4.runs}
        sections |= {"v6_levels": levels, "v6_leaves": leaves}
    sections |= {"rankings": rankings, "catchments": catchments}  # from here on none that C reads
    if networks is not None:
        sections |= {"v6_starts": networks.v6_starts, "v6_classes": networks.v6_classes}
        sections |= {"v4": networks.v4, "index": networks.index}
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
        v4_at=offsets.get("v4", 0),
        v6_starts_at=offsets.get("v6_starts", 0),
        v6_count=len(networks.v6_classes) // 4 if networks else 0,
        v6_classes_at=offsets.get("v6_classes", 0),
        index_at=offsets.get("index", 0),
        rankings_at=offsets["rankings"],
        rankings_bytes=len(rankings),
        ranking_of_at=offsets["of_class"],
        ranking_of_stride=stride,
        catchments_at=offsets["catchments"] if catchments else 0,
        catchments_bytes=len(catchments),
        v4_index_at=offsets.get("v4_index", 0),
        v4_bitmaps_at=offsets.get("v4_bitmaps", 0),
        v4_bitmap_count=len(v4.bitmaps) // V4_BITMAP.size,
        v4_runs_at=offsets.get("v4_runs", 0),
        v4_run_count=len(v4.runs) // 2,
        v4_entries_at=offsets.get("v4_entries", 0),
        v4_entry_count=len(v4.entries) // 4,
        v6_leaves_at=offsets.get("v6_leaves", 0),
        v6_leaf_count=len(sections.get("v6_leaves", b"")) // V6_LEAF.size,
        v6_levels_at=offsets.get("v6_levels", 0),
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


def _aligned(sections: Mapping[str, Section]) -> tuple[list[Section], dict[str, int]]:
    """The sections with padding between, and where each begins in the file."""
    parts: list[Section] = []
    offsets: dict[str, int] = {}
    at = HEADER_BYTES
    for name, section in sections.items():
        offsets[name] = at
        padding = -len(section) % ALIGN
        parts += [section, bytes(padding)]
        at += len(section) + padding
    return parts, offsets
