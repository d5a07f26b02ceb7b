"""What a nameserver holds against those who ask in other people's names: keys of cookies, and the limit.  Pure.

It travels in the compiled plan: made from the deployment's secret, which stays with the controller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gslb.nameserver.cookies import KEY_OCTETS, Keys
from gslb.nameserver.limit import Limit


@dataclass(frozen=True, slots=True)
class Protection:
    """Keys of DNS cookies and the limit of responses."""

    cookie_keys: Keys
    limit: Limit


def dump(protection: Protection | None) -> list[object] | None:
    """As plain values."""
    if protection is None:
        return None
    limit = protection.limit
    exempt = [list(one) for one in limit.exempt]
    return [list(protection.cookie_keys), [limit.key, limit.interval_ns, limit.slip, limit.dry_run, exempt]]


def load(raw: Sequence[Any] | None) -> Protection | None:
    """What `dump` gave.  Raises ValueError, TypeError for another shape."""
    if raw is None:
        return None
    (even, odd), (key, interval_ns, slip, dry_run, exempt) = raw
    if any(not isinstance(one, bytes) or len(one) != KEY_OCTETS for one in (even, odd, key)):
        raise ValueError(f"keys of other than {KEY_OCTETS} octets")
    prefixes = tuple((bytes(packed), int(bits)) for packed, bits in exempt)
    return Protection((even, odd), Limit(key, int(interval_ns), int(slip), bool(dry_run), prefixes))
