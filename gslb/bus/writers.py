"""Which node steers which pool: one for each, chosen by all nodes alike from who lives.  Pure.

Rule 1: a node of the pool's own site, as long as one of them lives: it knows the load first, and from nearest.  Else, as for a
pool of a cloud provider where no node is, any live node.
Rule 2: rendezvous hashing: when a node goes, its pools alone get another writer; when it comes back, they alone return to it.
"""

from __future__ import annotations

from collections.abc import Collection
from hashlib import blake2b

from gslb.model.deployment import PoolId, SiteId

Place = tuple[str, str]  # site and node


def writer_of(pool: PoolId, site: SiteId, live: Collection[Place]) -> str | None:
    """The node that steers a pool of `site` while these nodes live; None where none does."""
    own = [node for at, node in live if at == site]
    among = own or [node for _, node in live]
    return max(among, key=lambda node: (_weight(pool, node), node), default=None)


def _weight(pool: PoolId, node: str) -> bytes:
    return blake2b(f"{pool}\0{node}".encode(), digest_size=8, person=b"gslb-writer").digest()
