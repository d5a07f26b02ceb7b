"""Zones as the nameserver needs them: names and record data in wire form.  Pure.

A name is its uncompressed wire form (RFC 1035 section 3.1), with the case it was written in:
`b"\\x03www\\x07Example\\x03com\\x00"`.  Keys that compare names use `name.lower()`: length octets are
at most 63, below "A", so lowering a whole wire name changes letters only.
"""

from __future__ import annotations

from dataclasses import dataclass

from gslb.model.deployment import PolicyId


@dataclass(frozen=True, slots=True)
class RRset:
    """One static record set.  `rdatas` are uncompressed wire RDATA; one TTL a set (RFC 2181 section 5.2)."""

    owner: bytes
    rtype: int
    ttl: int
    rdatas: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class DynamicRecord:
    """A name whose `types` (A, AAAA) are answered by a policy.  `ttl` in seconds is an upper bound."""

    owner: bytes
    types: tuple[int, ...]
    policy: PolicyId
    ttl: int


@dataclass(frozen=True, slots=True)
class Zone:
    """One zone that this server is authoritative for: SOA and NS at the apex are among `rrsets`."""

    apex: bytes
    rrsets: tuple[RRset, ...]
    dynamic: tuple[DynamicRecord, ...] = ()
