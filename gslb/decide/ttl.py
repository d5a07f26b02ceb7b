"""How long an answer may be kept.  Pure; the one place that knows.

While everything is steady an answer may be kept for the policy's `ttl.max`.  A record's own `ttl` is an upper bound that
the executors apply, since records share policies.
"""

from __future__ import annotations

from gslb.model.deployment import Policy


def ttl_of(policy: Policy) -> int:
    """Seconds that answers of the policy may be cached."""
    return policy.ttl_max


def answered_ttl(record: int, policy: int) -> int:
    """Seconds in the answer for a record of TTL `record` bound to a policy that allows `policy`."""
    return min(record, policy)
