"""Tables -> the image that every executor answers DNS from; its layout is that of xdp/c/dns_layout.h.  Pure.

Rule 1: an image holds replies that the reference has made, octet by octet; what it does not hold goes up to the reference.
Rule 2: it is a function of the tables: every node makes the same one, and makes it again where it is lost.
Rule 3: what no plan changes is made once for each set of zones.

The file: the image (struct dns_image, views, nodes, answers, buckets; then what changes with the plan), and behind it the legend
(`gslb.nameserver.legend`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from struct import Struct

from gslb.dnslayout import DNS_CHUNK, DNS_MAGIC, DNS_VIEWS_AT, LAYOUT_HASH, DnsImage
from gslb.geo.table import UnreadableTable
from gslb.nameserver.imagenames import NAMES_MOST, Names, place_names
from gslb.nameserver.imageviews import SlotTables, Views, place_views
from gslb.nameserver.legend import Legend
from gslb.nameserver.protection import Protection
from gslb.nameserver.table import Tables
from gslb.nameserver.tree import Forest

_LAYOUT = bytes.fromhex(LAYOUT_HASH)
_WORDS = Struct("<2Q")  # 16 octets as two numbers that lie in memory as they do


@dataclass(frozen=True, slots=True)
class Image:
    """What is written into one file, and what it does not hold (what -> how many)."""

    octets: bytes
    left_out: Mapping[str, int]


class ImageBuilder:
    """Makes images of one node after the other; what did not change is not made again."""

    def __init__(self, names_most: int = NAMES_MOST) -> None:
        """Of more names than `names_most` some are left out."""
        self._names_most = names_most
        self._names: tuple[Forest, Names] | None = None
        self._slots = SlotTables()

    def build(self, tables: Tables) -> Image:
        """The image of these tables."""
        if self._names is None or self._names[0] is not tables.forest:
            self._names = tables.forest, place_names(tables.forest, self._names_most)
        names = self._names[1]
        views = place_views(tables, names, self._slots)
        octets = b"".join((views.records, bytes(names.start - DNS_VIEWS_AT - len(views.records)), names.octets))
        left_out = dict(names.left_out)
        for what, count in views.left_out.items():
            left_out[what] = left_out.get(what, 0) + count
        head = _head(tables, names, views, DNS_VIEWS_AT + len(octets) + len(views.octets))
        legend = Legend(tables.location.digest, views.cells, views.given.meanings(), views.asked, left_out)
        return Image(b"".join((head, octets, views.octets, legend.to_bytes())), left_out)


def split(file: bytes | memoryview) -> tuple[memoryview, Legend]:
    """The image and the legend of a file.  Raises UnreadableTable for one of another layout, or damaged."""
    view = memoryview(file).toreadonly().cast("B")
    if len(view) < DNS_VIEWS_AT:
        raise UnreadableTable(f"{len(view)} octets are too few for an image")
    head = DnsImage.from_buffer_copy(view[:DNS_VIEWS_AT])
    if head.magic != DNS_MAGIC:
        raise UnreadableTable("not an image")
    if bytes(head.layout) != _LAYOUT:
        raise UnreadableTable(f"an image of layout {bytes(head.layout).hex()}, expected {LAYOUT_HASH}")
    if not DNS_VIEWS_AT <= head.octets <= len(view):
        raise UnreadableTable(f"an image of {head.octets} octets in a file of {len(view)}")
    return view[: head.octets], Legend.from_bytes(view[head.octets :])


def _head(tables: Tables, names: Names, views: Views, octets: int) -> bytes:
    place = tables.location.header
    levels = tables.location.v6_levels()
    head = DnsImage(
        magic=DNS_MAGIC,
        layout=tuple(_LAYOUT),
        octets=octets,
        version=tables.version,
        seed=names.seed,
        geography=tuple(bytes.fromhex(tables.location.digest)),
        buckets=names.buckets,
        buckets_mask=names.buckets_mask,
        refused=names.refused,
        geography_octets=place.executed_bytes,
        v4_index=place.v4_index_at,
        v4_bitmaps=place.v4_bitmaps_at,
        v4_runs=place.v4_runs_at,
        v4_entries=place.v4_entries_at,
        v6_leaves=place.v6_leaves_at,
        v6_levels=len(levels),
        cells=views.counters,
        marks=len(views.given.marks),
    )
    head.v6_level[: len(levels)] = list(levels)
    if tables.nsid:
        head.nsid_octets = len(tables.nsid)
        head.nsid[: len(tables.nsid)] = list(tables.nsid)
    if tables.protection is not None:
        _protect(head, tables.protection)
    return bytes(head).ljust(DNS_VIEWS_AT, b"\0")


def _protect(head: DnsImage, protection: Protection) -> None:
    """Keys of cookies and the limit of responses, as they stand in the head."""
    head.cookie_keys[:] = list(b"".join(protection.cookie_keys))
    head.cookies = 1
    limit, told = protection.limit, head.limit
    told.key[:] = list(_WORDS.unpack(limit.key))
    told.interval_ns = limit.interval_ns
    told.slip = limit.slip
    told.dry_run = limit.dry_run
    told.exempts = len(limit.exempt)
    for place, (packed, bits) in enumerate(limit.exempt):
        mask = (1 << 128) - (1 << 128 - bits)
        told.exempt[place].address[:] = list(_WORDS.unpack(packed))
        told.exempt[place].mask[:] = list(_WORDS.unpack(mask.to_bytes(16, "big")))


assert DNS_VIEWS_AT < DNS_CHUNK
