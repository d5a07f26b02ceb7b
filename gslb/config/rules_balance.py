"""Refusals of balanced pools and of monitors of their backends.  Pure.

A VIP is an answer, or an anycast prefix that names the pool, with a protocol and a port; what holds for VIPs holds site by site,
since a balancer knows the pools of its own site only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv6Network, ip_network

from gslb.config.draft import Draft, Finding
from gslb.config.problem import KeyPath
from gslb.config.read_monitors import MonitorKind
from gslb.config.read_pools import Source
from gslb.model.deployment import Address, Backend, Balance, Forward, Listen, Network, Pool, PoolId, SiteId, Via

MOST_VIPS = 4095  # of a site, as are the others; xdp/c/layout.h, where 0 is none
MOST_RINGS = 1023
MOST_BACKENDS = 16383
MOST_QUIC_IDS = 65536

_MAPPED = IPv6Network("::ffff:0:0/96")
_Claim = tuple[SiteId, Network, Listen]


def backend_without_mode(draft: Draft) -> Iterator[Finding]:
    """A backend of a family that no VIP of its pool has, on the same network: it would have nothing to answer with."""
    for pool, balance in _balanced(draft):
        families = {prefix.version for prefix, _ in _prefixes(draft, pool)}
        for number, backend in enumerate(balance.backends):
            if backend.forward is Forward.L2 and families and backend.address.version not in families:
                message = (
                    f"forwarding l2 carries no IPv{families.pop()} answer to an IPv{backend.address.version} backend, "
                    "expected forward: ipip or gue"
                )
                path: KeyPath = (*_path(pool), "backends", number)
                yield draft.error(path, message, ("pools", pool.name, "answers"), value=str(backend.address))


def backend_is_answer(draft: Draft) -> Iterator[Finding]:
    """A backend that is an answer too: what is sent to it would come back to the balancer."""
    for pool, balance in _balanced(draft):
        answers = {answer.address for answer in pool.answers}
        for number, backend in enumerate(balance.backends):
            if backend.address in answers:
                path: KeyPath = (*_path(pool), "backends", number)
                message = "is an answer of this pool too - expected the server's own address"
                yield draft.error(path, message, ("pools", pool.name, "answers"), value=str(backend.address))


def backend_id_twice(draft: Draft) -> Iterator[Finding]:
    """Two backends that a QUIC connection id cannot tell apart."""
    for pool, balance in _balanced(draft):
        seen: dict[int, Backend] = {}
        for number, backend in enumerate(balance.backends):
            first = backend if backend.id is None else seen.setdefault(backend.id, backend)
            if first is not backend:
                path: KeyPath = (*_path(pool), "backends", number, "id")
                yield draft.error(path, f"{first.address} of this pool has it too")


def backend_id_without_udp(draft: Draft) -> Iterator[Finding]:
    """A number in QUIC connection ids where no QUIC comes."""
    for pool, balance in _balanced(draft):
        numbered = [number for number, backend in enumerate(balance.backends) if backend.id is not None]
        if numbered and all(listen.protocol != "udp" for listen in balance.listen):
            path: KeyPath = _path(pool)
            message = "has no meaning without udp: expected a listen such as udp/443 beside it"
            yield draft.warning((*path, "backends", numbered[0], "id"), message, (*path, "listen"))


def min_healthy_beyond_backends(draft: Draft) -> Iterator[Finding]:
    """A pool that could never be up."""
    for pool, balance in _balanced(draft):
        if balance.min_healthy > len(balance.backends):
            path: KeyPath = _path(pool)
            message = f"expected at most the number of backends ({len(balance.backends)})"
            yield draft.error((*path, "min_healthy"), message, (*path, "backends"), value=str(balance.min_healthy))


def balanced_without_node(draft: Draft) -> Iterator[Finding]:
    """A balanced pool where no gslb runs: nothing would balance it."""
    sites = {node.site for node in draft.deployment.nodes.values()}
    for pool, _ in _balanced(draft):
        if pool.datacenter in draft.deployment.datacenters and pool.datacenter not in sites:
            path: KeyPath = ("datacenters", pool.datacenter, "node")
            message = f"expected a node at {pool.datacenter}, which says that it has none"
            yield draft.error(_path(pool), message, path, ("nodes",))


def vip_twice(draft: Draft) -> Iterator[Finding]:
    """Two pools of one site that would both take the same packets; port 0 is what no other pool has, and so no second claim."""
    seen: dict[_Claim, Pool] = {}
    for pool, balance in _balanced(draft):
        reported: set[PoolId] = set()
        for prefix, path in _prefixes(draft, pool):
            for listen in balance.listen:
                first = seen.setdefault((pool.datacenter, prefix, listen), pool)
                if first is not pool and first.name not in reported:
                    reported.add(first.name)
                    message = (
                        f"pool {first.name} balances {_word(prefix, listen)} at {pool.datacenter} already - "
                        "expected another address, protocol or port"
                    )
                    needs = ((*_path(pool), "listen"), (*_path(first), "listen"))
                    yield draft.error(
                        path, message, *needs, value=pool.name if path[0] == "anycast" else str(prefix[0])
                    )


def vip_in_mapped_space(draft: Draft) -> Iterator[Finding]:
    """An IPv6 VIP that meets ::ffff:0:0/96: for the balancer, all IPv4 addresses are in there (RFC 4291 section 2.5.5.2)."""
    for pool, _ in _balanced(draft):
        for prefix, path in _prefixes(draft, pool):
            if prefix.version == 6 and prefix.overlaps(_MAPPED):
                named, wanted = f"VIP {prefix}: ", "a prefix without them"
                if path[0] != "anycast":
                    named, wanted = "", str(prefix[0].ipv4_mapped)
                message = f"{named}in {_MAPPED} the balancer has all IPv4 addresses - expected {wanted}"
                yield draft.error(path, message, (*_path(pool), "listen"), value=pool.name if named else str(prefix[0]))


def vip_is_nameserver(draft: Draft) -> Iterator[Finding]:
    """An address of the nameserver: a VIP is never an address of the balancer's own machine."""
    listening = {socket.address for socket in draft.deployment.dns.listen}
    for pool, _ in _balanced(draft):
        for number, answer in enumerate(pool.answers):
            if answer.address in listening:
                path: KeyPath = ("pools", pool.name, "answers", number)
                message = "is in dns.listen too, so the node would have it itself - expected an address that only backends have"
                yield draft.error(path, message, ("dns", "listen"), value=str(answer.address))


def too_much_for_a_site(draft: Draft) -> Iterator[Finding]:
    """More than the balancer of one site has room for."""
    sites: dict[SiteId, list[tuple[Pool, Balance]]] = {}
    for pool, balance in _balanced(draft):
        sites.setdefault(pool.datacenter, []).append((pool, balance))
    for site, found in sites.items():
        for what, (count, most) in _counts(draft, found).items():
            if count > most:
                yield draft.named(("datacenters", site), f"{count} {what} - expected at most {most} at one site")


def balancer_load_without_conns(draft: Draft) -> Iterator[Finding]:
    """With direct return the balancer sees connections begin, and not how many are open."""
    for pool, _ in _balanced(draft):
        capacity = pool.capacity
        if pool.load and pool.load.kind == Source.BALANCER and capacity and capacity.conns_per_s is None:
            path: KeyPath = ("pools", pool.name)
            message = "counts new connections a second: expected capacity with conns_per_s beside it, or another source"
            yield draft.error((*path, "load", "from"), message, (*path, "capacity"))


def via_vip_without_balance(draft: Draft) -> Iterator[Finding]:
    """There is no backend to be reached, and no balancer to reach it."""
    for pool in draft.deployment.pools.values():
        monitor = (draft.deployment.monitors or {}).get(pool.monitor) if pool.monitor is not None else None
        if monitor is not None and monitor.via is Via.VIP and pool.balance is None:
            path: KeyPath = ("pools", pool.name, "monitor")
            message = "it checks via: vip - expected balance beside it, or another monitor"
            yield draft.error(path, message, ("pools", pool.name, "balance"))


def via_vip_of_exec(draft: Draft) -> Iterator[Finding]:
    """A program opens its own connections, which cannot be led to one backend."""
    for monitor in (draft.deployment.monitors or {}).values():
        if monitor.via is Via.VIP and monitor.kind == MonitorKind.EXEC:
            path: KeyPath = ("monitors", monitor.name)
            message = "a program's own connections cannot be led to one backend: expected via: address, or another type"
            yield draft.error((*path, "via"), message, (*path, "type"))


RULES = (
    backend_without_mode,
    backend_is_answer,
    backend_id_twice,
    backend_id_without_udp,
    min_healthy_beyond_backends,
    balanced_without_node,
    vip_twice,
    vip_in_mapped_space,
    vip_is_nameserver,
    too_much_for_a_site,
    balancer_load_without_conns,
    via_vip_without_balance,
    via_vip_of_exec,
)


def _balanced(draft: Draft) -> Iterator[tuple[Pool, Balance]]:
    for pool in draft.deployment.pools.values():
        if pool.balance is not None:
            yield pool, pool.balance


def _path(pool: Pool) -> KeyPath:
    return ("pools", pool.name, "balance")


def _prefixes(draft: Draft, pool: Pool) -> Iterator[tuple[Network, KeyPath]]:
    """What the pool's balancer takes, each with its place: answers first."""
    for number, answer in enumerate(pool.answers):
        yield _alone(answer.address), ("pools", pool.name, "answers", number)
    for anycast in draft.deployment.anycast:
        if pool.name in anycast.pools:
            for prefix in anycast.prefixes:
                yield prefix, ("anycast", anycast.name, "pools", anycast.pools.index(pool.name))


def _alone(address: Address) -> Network:
    return ip_network(address)


def _word(prefix: Network, listen: Listen) -> str:
    what = prefix[0] if prefix.prefixlen == prefix.max_prefixlen else prefix
    return f"{what} {listen.protocol}/{listen.port}"


def _counts(draft: Draft, found: Iterable[tuple[Pool, Balance]]) -> Mapping[str, tuple[int, int]]:
    """How much of each there is at a site, and how much there may be."""
    pools = list(found)
    vips = {(prefix, listen) for pool, one in pools for prefix, _ in _prefixes(draft, pool) for listen in one.listen}
    backends = {(backend.address, backend.forward) for _, one in pools for backend in one.backends}
    numbered = sum(backend.id is not None for _, one in pools for backend in one.backends)
    return {
        "VIPs (addresses with protocol and port)": (len(vips), MOST_VIPS),
        "balanced pools": (len(pools), MOST_RINGS),
        "different backends": (len(backends), MOST_BACKENDS),
        "backends with an id": (numbered, MOST_QUIC_IDS),
    }
