"""What an override may name: `site/fra`, `pool/web-fra`, `answer/web-fra/192.0.2.10`.  Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from ipaddress import ip_address

from gslb.config.problem import one_of
from gslb.decide.candidates import answer_target, pool_target, site_target
from gslb.model.deployment import Deployment, Pool, PoolId, SiteId


class UnknownTarget(ValueError):
    """What was written names nothing that can be overridden; the message says what was expected."""


def target_of(model: Deployment, written: str) -> str:
    """The override target that `written` names, as `decide` writes it.  Raises UnknownTarget."""
    kind, _, name = written.partition("/")
    if kind == "site":
        return site_target(SiteId(_known(model.datacenters, name, written)))
    if kind == "pool":
        return pool_target(PoolId(_known(model.pools, name, written)))
    if kind == "answer":
        return _answer(model, name, written)
    if kind == "backend":
        raise UnknownTarget(f"{written}: backends cannot be overridden before there is a balancer; drain their pool")
    raise UnknownTarget(f"{written}: {_hint(model, written)}")


def _answer(model: Deployment, name: str, written: str) -> str:
    pool_name, _, address = name.partition("/")
    pool = model.pools[PoolId(_known(model.pools, pool_name, written))]
    try:
        wanted = ip_address(address)
    except ValueError:
        raise UnknownTarget(f"{written}: {address!r} is no address; {_addresses(pool, address)}") from None
    if all(answer.address != wanted for answer in pool.answers):
        raise UnknownTarget(f"{written}: pool {pool.name} has no such address; {_addresses(pool, address)}")
    return answer_target(pool.name, wanted)


def _known(names: Iterable[str], name: str, written: str) -> str:
    known = list(names)
    if name not in known:
        raise UnknownTarget(f"{written}: {one_of(known, name)}")
    return name


def _addresses(pool: Pool, written: str) -> str:
    known: Collection[str] = [str(answer.address) for answer in pool.answers]
    return one_of(known, written)


def _hint(model: Deployment, written: str) -> str:
    """What the writer of a bare name or an unknown kind may have meant."""
    meant = [pool_target(name) for name in model.pools if name == written]
    meant += [site_target(name) for name in model.datacenters if name == written]
    if meant:
        return f"did you mean {' or '.join(meant)}?"
    return "expected site/NAME, pool/NAME or answer/POOL/ADDRESS"
