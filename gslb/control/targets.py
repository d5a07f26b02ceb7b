"""What an override may name: `site/fra`, `pool/web-fra`, `answer/web-fra/192.0.2.10`, `backend/web-fra/10.1.0.11`.  Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress
from ipaddress import ip_address

from gslb.config.problem import one_of
from gslb.decide.candidates import answer_target, backend_target, pool_target, site_target
from gslb.model.deployment import Address, Deployment, Pool, PoolId, SiteId

_MEANT = 3  # that are told at once


class UnknownTarget(ValueError):
    """What was written names nothing that can be overridden; the message says what was expected."""


def target_of(model: Deployment, written: str) -> str:
    """The override target that `written` names, as `decide` writes it.  Raises UnknownTarget."""
    kind, _, name = written.partition("/")
    if kind == "site":
        return site_target(SiteId(_known(model, model.datacenters, name, written)))
    if kind == "pool":
        return pool_target(PoolId(_known(model, model.pools, name, written)))
    if kind == "answer":
        return _answer(model, name, written)
    if kind == "backend":
        return _backend(model, name, written)
    expected = "expected site/NAME, pool/NAME, answer/POOL/ADDRESS or backend/POOL/ADDRESS"
    raise UnknownTarget(f"{written}: {_meant(model, written) or expected}")


def targets(model: Deployment) -> frozenset[str]:
    """Everything that an override may name."""
    names = [site_target(name) for name in model.datacenters]
    for pool in model.pools.values():
        names.append(pool_target(pool.name))
        names += [answer_target(pool.name, answer.address) for answer in pool.answers]
        if pool.balance is not None:
            names += [backend_target(pool.name, backend.address) for backend in pool.balance.backends]
    return frozenset(names)


def _answer(model: Deployment, name: str, written: str) -> str:
    pool, address = _pool_and_address(model, name, written)
    return answer_target(pool.name, _member(model, pool, [one.address for one in pool.answers], address, written))


def _backend(model: Deployment, name: str, written: str) -> str:
    pool, address = _pool_and_address(model, name, written)
    if pool.balance is None:
        expected = _meant(model, written) or f"expected answer/{pool.name}/ADDRESS"
        raise UnknownTarget(f"{written}: pool {pool.name} has no backends; {expected}")
    known = [backend.address for backend in pool.balance.backends]
    return backend_target(pool.name, _member(model, pool, known, address, written))


def _pool_and_address(model: Deployment, name: str, written: str) -> tuple[Pool, str]:
    pool, _, address = name.partition("/")
    return model.pools[PoolId(_known(model, model.pools, pool, written))], address


def _member(model: Deployment, pool: Pool, known: Collection[Address], address: str, written: str) -> Address:
    meant = one_of([str(one) for one in known], address)
    try:
        wanted = ip_address(address)
    except ValueError:
        raise UnknownTarget(f"{written}: {address!r} is no address; {meant}") from None
    if wanted not in known:
        raise UnknownTarget(f"{written}: pool {pool.name} has no such address; {_meant(model, written) or meant}")
    return wanted


def _known(model: Deployment, names: Iterable[str], name: str, written: str) -> str:
    known = list(names)
    if name not in known:
        raise UnknownTarget(f"{written}: {_meant(model, written) or one_of(known, name)}")
    return name


def _meant(model: Deployment, written: str) -> str:
    """What the writer of a bare name, of another kind or of another pool may have meant; empty where nothing is called so."""
    last = written.rpartition("/")[2]
    with suppress(ValueError):
        last = str(ip_address(last))
    found = sorted(one for one in targets(model) if one.endswith(f"/{last}")) if last else []
    return f"did you mean {' or '.join(found[:_MEANT])}?" if found else ""
