"""An image read as C reads it, place by place and without the builder's code: the judge of what is built."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gslb import dnslayout as d
from gslb.geo.table import LocationTable, normalise
from gslb.model.choice import sticky_slot
from gslb.nameserver.views import _apart  # the rule itself is the reference's

_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Found:
    """What an image says: the head's flags and counts, the records, and what is counted."""

    flags: int
    counts: tuple[int, int, int]
    body: bytes
    outcome: int
    mark: int
    cut: int
    scope: int = 0
    cell: int | None = None
    asked: int | None = None


class ImageReader:
    """Reads one image beside its location table."""

    def __init__(self, image: bytes | memoryview, geography: bytes | memoryview) -> None:
        self._image = bytes(image)
        self._geography = geography
        self._location = LocationTable.from_buffer(geography)
        self.head = d.DnsImage.from_buffer_copy(self._image)

    def find(self, name: bytes, rtype: int, address: bytes, query_id: int, *, subnet: bool) -> Found | None:
        """What (name as asked, type) is answered for a client of this address; None: it goes up."""
        name = name.lower()
        if d.DNS_META_TYPES <= rtype <= d.DNS_META_LAST or len(name) > d.DNS_NAME_MOST:
            return None
        suffix, node = name, self._node(name)
        while node is None and suffix != b"\0":
            suffix = suffix[1 + suffix[0] :]
            node = self._node(suffix)
        if node is None:
            return self._answer(self.head.refused, 0)
        grown = len(name) - node.apex_octets
        if suffix != name:
            up = node.flags & (d.DnsNodeFlags.DNS_NODE_UP | d.DnsNodeFlags.DNS_NODE_UP_BELOW)
            return None if up else self._answer(node.absent, grown)
        listed = [entry for entry in node.type[: node.types] if entry.type == rtype]
        if listed and listed[0].kind == d.DnsKind.DNS_KIND_VIEW:
            return self._view(listed[0].at, grown, address, query_id, subnet=subnet)
        if listed:
            return self._answer(listed[0].at, grown)
        up = node.flags & (d.DnsNodeFlags.DNS_NODE_UP | d.DnsNodeFlags.DNS_NODE_UP_TYPES)
        return None if up else self._answer(node.nodata, grown)

    def _at(self, octet: int, octets: int) -> bytes:
        assert octet // d.DNS_CHUNK == (octet + octets - 1) // d.DNS_CHUNK, "a record lies in two chunks"
        assert octet + octets <= self.head.octets
        return self._image[octet : octet + octets]

    def _number(self, octet: int, octets: int) -> int:
        assert octet % octets == 0
        return int.from_bytes(self._at(octet, octets), "little")

    def _node(self, name: bytes) -> d.DnsNode | None:
        hashed = self._hash(name)
        for probe in range(d.DNS_PROBES):
            bucket = self._at((self.head.buckets + ((hashed + probe) & self.head.buckets_mask)) * d.LINE, d.LINE)
            slots = [d.DnsSlot.from_buffer_copy(bucket, 8 * place) for place in range(d.DNS_BUCKET)]
            for slot in slots:
                if slot.node and slot.tag == hashed >> 32:
                    node = d.DnsNode.from_buffer_copy(self._at(slot.node * d.LINE, 256))
                    if node.hash == hashed and bytes(node.name)[: node.octets] == name:
                        return node
            if not slots[-1].node:
                return None
        return None

    def _hash(self, name: bytes) -> int:
        found = self.head.seed
        for at in range(0, len(name), 8):
            found = (found ^ int.from_bytes(name[at : at + 8].ljust(8, b"\0"), "little")) * 0x9E3779B97F4A7C15 & _MASK
            found ^= found >> 32
        found = (found ^ len(name)) * 0xFF51AFD7ED558CCD & _MASK
        return found ^ found >> 32

    def _answer(self, line: int, grown: int, scope: int = 0, cell: int | None = None) -> Found | None:
        if not line:
            return None
        octet = line * d.LINE
        assert octet % d.DNS_CHUNK <= d.DNS_CHUNK - d.DNS_ANSWER_MOST
        head = d.DnsAnswer.from_buffer_copy(self._at(octet, d.LINE))
        body = bytearray(self._at(octet + d.LINE, head.octets) if head.octets else b"")
        for at in head.relocation[: head.relocations]:
            body[at : at + 2] = (int.from_bytes(body[at : at + 2], "big") + grown).to_bytes(2, "big")
        counts = head.answers, head.authorities, head.additionals
        return Found(head.flags, counts, bytes(body), head.outcome, head.mark, head.cut, scope, cell)

    def _view(self, line: int, grown: int, address: bytes, query_id: int, *, subnet: bool) -> Found | None:
        view = d.DnsView.from_buffer_copy(self._at(line * d.LINE, d.LINE))
        if view.flags & d.DnsViewFlags.DNS_VIEW_UP:
            return None
        choices = view.choices * d.LINE
        if view.flags & d.DnsViewFlags.DNS_VIEW_FIXED:
            return self._answer(self._number(choices, 4), grown)
        location, scope = self._location.lookup(address)
        place = view.ranking_of + 2 * location
        ranking = int.from_bytes(self._geography[place : place + 2], "little")
        assert ranking < view.rankings
        choice = self._number(choices + 4 * ranking, 4)
        cell = view.cell + ranking
        if not choice >> d.DNS_SPREAD_BIT:
            return self._answer(choice, grown, scope, cell)
        spread = d.DnsSpread.from_buffer_copy(self._at((choice & ~(1 << d.DNS_SPREAD_BIT)) * d.LINE, d.LINE))
        if spread.parted and not subnet:
            return None
        slot, scope = _slot(view, address, scope, query_id)
        index = self._number(spread.slots * d.LINE + 2 * slot, 2)
        assert index < spread.count
        found = self._answer(self._number(spread.answers * d.LINE + 4 * index, 4), grown, scope, cell)
        return found if found is None or not spread.parted else replace(found, asked=spread.asked)


def _slot(view: d.DnsView, packed: bytes, scope: int, query_id: int) -> tuple[int, int]:
    """The slot, and the scope of what stands in it."""
    keys = view.key[0], view.key[1]
    address, offset = normalise(packed)
    sticky = view.sticky4 if len(address) == 4 else view.sticky6
    if sticky == d.DNS_UNSTICKY:
        return sticky_slot(query_id, keys), scope
    whole = int.from_bytes(address, "big")
    slot = sticky_slot(whole >> (8 * len(address) - sticky), keys)
    if len(address) == 16:
        return slot, max(scope, sticky, _apart(whole))
    return slot, offset + max(scope - offset, sticky)
