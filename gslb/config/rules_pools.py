"""Refusals of pools.  Pure."""

from __future__ import annotations

from collections.abc import Iterator

from gslb import units
from gslb.config.draft import Draft, Finding
from gslb.config.problem import KeyPath
from gslb.model.deployment import Address


def pool_without_answers(draft: Draft) -> Iterator[Finding]:
    """A pool that could answer nothing."""
    for pool in draft.deployment.pools.values():
        if not pool.answers:
            yield draft.error(("pools", pool.name, "answers"), "expected at least one address")


def address_twice_in_pool(draft: Draft) -> Iterator[Finding]:
    """The same answer, or the same backend, twice in one pool."""
    for pool in draft.deployment.pools.values():
        path: KeyPath = ("pools", pool.name)
        yield from _twice(draft, (*path, "answers"), [answer.address for answer in pool.answers])
        if pool.balance:
            addresses = [backend.address for backend in pool.balance.backends]
            yield from _twice(draft, (*path, "balance", "backends"), addresses)


def soft_not_below_hard(draft: Draft) -> Iterator[Finding]:
    """A pool that would shed all before it sheds some."""
    for pool in draft.deployment.pools.values():
        capacity = pool.capacity
        if capacity and capacity.soft is not None and capacity.soft >= capacity.hard:
            path: KeyPath = ("pools", pool.name, "capacity")
            message = f"expected less than hard ({units.share_text(capacity.hard)})"
            yield draft.error((*path, "soft"), message, (*path, "hard"), value=units.share_text(capacity.soft))


def soft_auto_without_servers(draft: Draft) -> Iterator[Finding]:
    """Erlang C needs to know how many requests are served at a time."""
    for pool in draft.deployment.pools.values():
        if pool.capacity and pool.capacity.soft is None and pool.capacity.servers is None:
            path: KeyPath = ("pools", pool.name, "capacity")
            yield draft.error((*path, "soft"), "expected servers beside it", (*path, "servers"))


RULES = (
    pool_without_answers,
    address_twice_in_pool,
    soft_not_below_hard,
    soft_auto_without_servers,
)


def _twice(draft: Draft, path: KeyPath, addresses: list[Address]) -> Iterator[Finding]:
    for number, address in enumerate(addresses):
        if address in addresses[:number]:
            yield draft.error((*path, number), "given twice in this list", value=str(address))
