"""How many responses one client network is given: what keeps this server from being a reflector.  Pure; time is an argument.

Responses to one network (an IPv4 /24, an IPv6 /56) of one kind (positive, negative of one zone, errors) are let through at
`responses_per_s`; a second's worth may come at once.  Of those over the limit, each `slip`-th is told to come again in a way
that a spoofed source cannot (`gslb.nameserver.guard`); the others are not sent.

Rule 1: memory is fixed: an array of buckets (struct dns_limit_bucket of xdp/c/dns_layout.h), which the processes of a node
share.  Whoever writes last wins: a count may be lost now and then, and nothing else.
Rule 2: places in the array are hashes under a key made from the deployment's secret, so nobody can aim at another's bucket.
Of a full set the bucket that is nearest to unused gives way: one over its limit never does before one that is not.
Rule 3: nothing in the array is trusted: what no clock could have written counts as unused.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from ipaddress import IPv4Network, IPv6Network, ip_address
from struct import Struct

from gslb.dnslayout import DNS_LIMIT_BURST_NS, DNS_LIMIT_SETS, DNS_LIMIT_WAYS
from gslb.nameserver.counters import Counter

BUCKETS_OCTETS = 16 * DNS_LIMIT_WAYS * DNS_LIMIT_SETS
NETWORK4, NETWORK6 = 24, 56  # bits of an address whose responses are limited together
POSITIVE, ERROR, NEGATIVE = 0, 1, 2  # accounts; negative ones have NEGATIVE + the number of the zone
STALE_NS = 2 * DNS_LIMIT_BURST_NS  # further ahead than any clock of this machine writes
PLACES_MAX = 20_000  # sources whose places are remembered
KEY_OCTETS = 16
_SET_WORDS = 2 * DNS_LIMIT_WAYS
_LOW = 0xFFFF_FFFF
_WORD = 0xFFFF_FFFF_FFFF_FFFF
_KEY = Struct("<2Q")
_MAPPED = 0xFFFF << 32  # IPv4 inside IPv6
_MAPPED_NETWORK = IPv6Network("::ffff:0:0/96")
_KINDS = {
    Counter.ANSWERED: POSITIVE,
    Counter.REFERRAL: POSITIVE,
    Counter.YXDOMAIN: POSITIVE,
    Counter.NODATA: NEGATIVE,
    Counter.NXDOMAIN: NEGATIVE,
}

PASS, DROP, SLIP = 0, 1, 2  # what becomes of a response
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Limit:
    """The limit as executors have it.  `exempt` are addresses of 16 octets with their prefix lengths; one of IPv6 exempts none of IPv4,
    though ::/0 has their mapped addresses in it.
    """

    key: bytes
    interval_ns: int  # between two responses
    slip: int  # 0: all over the limit are dropped
    dry_run: bool = False  # only counted
    exempt: tuple[tuple[bytes, int], ...] = ()


def limit_of(
    secret: bytes, responses_per_s: float, slip: int, exempt: Iterable[Network] = (), *, dry_run: bool = False
) -> Limit:
    """The limit that the configuration asks for, keyed by `secret`."""
    key = blake2b(key=secret[:64], digest_size=KEY_OCTETS, person=b"gslb limit").digest()
    interval_ns = max(1, round(DNS_LIMIT_BURST_NS / responses_per_s))
    return Limit(key, interval_ns, slip, dry_run, tuple(_sixteen(one) for one in exempt if not _mapped(one)))


def account(outcome: int, zone: int | None) -> int:
    """Which responses are limited together.  `outcome` is a `Counter`, `zone` the number of the zone that holds the name."""
    kind = _KINDS.get(Counter(outcome), ERROR)
    if kind == NEGATIVE:
        return ERROR if zone is None else NEGATIVE + zone
    return kind


class Limiter:
    """The buckets of one node under one limit.  `words` is an array of BUCKETS_OCTETS as 64-bit numbers.

    `last` is the source that was over the limit last.
    """

    def __init__(self, limit: Limit, words: memoryview) -> None:
        self.last = ""
        self._limit = limit
        self._words = words
        self._places: dict[tuple[str, int], tuple[int, int]] = {}
        prefixes = [(int.from_bytes(packed, "big"), bits) for packed, bits in limit.exempt]
        self._exempt = {
            of4: [
                (prefix >> 128 - bits, 128 - bits)
                for prefix, bits in prefixes
                if (prefix >> 32 == _MAPPED >> 32) is of4
            ]
            for of4 in (True, False)
        }

    def verdict(self, source: str, account: int, now_ns: int) -> int:
        """Charge a response to `source`: PASS, DROP or SLIP.  `now_ns` is monotonic."""
        place = self._places.get((source, account))
        if place is None:
            place = self._remember(source, account)
        at, tag = place
        if at < 0:
            return PASS
        words = self._words
        if words[at + 1] & _LOW != tag:
            at = self._way(at, tag, now_ns)
        free_at: int = words[at]
        if not now_ns < free_at <= now_ns + STALE_NS:
            free_at = now_ns
        free_at += self._limit.interval_ns
        if free_at <= now_ns + DNS_LIMIT_BURST_NS:
            words[at] = free_at
            return PASS
        over = (words[at + 1] >> 32) + 1 & _LOW
        words[at + 1] = over << 32 | tag
        self.last = source
        slip = self._limit.slip
        return SLIP if slip and over % slip == 0 else DROP

    def _remember(self, source: str, account: int) -> tuple[int, int]:
        """The first word of the set of a source and the tag of its bucket; -1 where it is exempt."""
        if len(self._places) >= PLACES_MAX:
            self._places.clear()
        address = _number(source)
        if any(address >> shift == prefix for prefix, shift in self._exempt[address >> 32 == _MAPPED >> 32]):
            found = -1, 0
        else:
            hashed = _hash(address, account, self._limit.key)
            found = (hashed & DNS_LIMIT_SETS - 1) * _SET_WORDS, hashed >> 32
        self._places[source, account] = found
        return found

    def _way(self, first: int, tag: int, now_ns: int) -> int:
        """Where in its set the bucket of this tag is; one that is free or nearest to it becomes its."""
        words = self._words
        least, chosen = now_ns + STALE_NS + 1, first
        for at in range(first, first + _SET_WORDS, 2):
            if words[at + 1] & _LOW == tag:
                return at
            free_at: int = words[at]
            if free_at > now_ns + STALE_NS:
                free_at = 0
            if free_at < least:
                least, chosen = free_at, at
        words[chosen] = 0
        words[chosen + 1] = tag
        return chosen


def _hash(address: int, account: int, key: bytes) -> int:
    """Of the network's octets, zeros behind them and the family as the eighth, and the account: two keyed multiplications."""
    if address >> 32 == _MAPPED >> 32:
        family, network = 4, (address & _LOW) >> 32 - NETWORK4 << 64 - NETWORK4
    else:
        family, network = 6, address >> 128 - NETWORK6 << 64 - NETWORK6
    first, second = _KEY.unpack(key)
    hashed: int = (int.from_bytes(network.to_bytes(8, "big"), "little") | family << 56) ^ first
    hashed = hashed * 0xFF51AFD7ED558CCD & _WORD
    hashed = (hashed ^ hashed >> 32 ^ account) * (second | 1) & _WORD
    return hashed ^ hashed >> 32


def _number(source: str) -> int:
    """An address as the system writes it as a number of 128 bits, IPv4 inside IPv6."""
    address = ip_address(source.partition("%")[0])
    return int(address) if address.version == 6 else int(address) | _MAPPED


def _mapped(network: Network) -> bool:
    """Whether a network is inside ::ffff:0:0/96, from which nobody asks."""
    return isinstance(network, IPv6Network) and network.subnet_of(_MAPPED_NETWORK)


def _sixteen(network: Network) -> tuple[bytes, int]:
    if isinstance(network, IPv6Network):
        return network.network_address.packed, network.prefixlen
    return (int(network.network_address) | _MAPPED).to_bytes(16, "big"), network.prefixlen + 96
