"""Refusals of anycast prefixes and of BGP speakers, and what is unwise about them.  Pure.

A speaker is to announce the prefixes of an anycast without pools, and of one that has a pool at its site; and each to
neighbors of the prefix's family only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address

from gslb.config.draft import Draft, Finding
from gslb.config.problem import KeyPath
from gslb.config.read_anycast import AnnounceWhen, OnControllerLoss
from gslb.config.source import ListNode, find
from gslb.model.bgp import Bgp, Neighbor
from gslb.model.deployment import Address, Anycast, Network, NodeId, Pool, SiteId
from gslb.units import seconds_text

_ALL: tuple[KeyPath, ...] = (("anycast",), ("bgp",), ("nodes",), ("datacenters",), ("pools",))


def session_of_two_families(draft: Draft) -> Iterator[Finding]:
    """A session from an address of one family cannot reach a router of the other."""
    for path, _, neighbor in _neighbors(draft):
        if neighbor.local is not None and neighbor.local.version != neighbor.address.version:
            yield draft.error((*path, "local"), f"expected an IPv{neighbor.address.version} address, as the router's")


def next_hop_of_another_family(draft: Draft) -> Iterator[Finding]:
    """A session carries the routes of its own family, and a route's next hop is of the route's family."""
    for path, _, neighbor in _neighbors(draft):
        hop = neighbor.announce.next_hop
        if hop is not None and hop.version != neighbor.address.version:
            where: KeyPath = (*path, "announce", "next_hop")
            yield draft.error(where, f"expected an IPv{neighbor.address.version} address, as the router's")


def link_local_neighbor(draft: Draft) -> Iterator[Finding]:
    """Which link it is on cannot be said, so there is no way to it, and no address of ours to wait at (RFC 4007 section 6)."""
    for path, _, neighbor in _neighbors(draft):
        for name, address in (("address", neighbor.address), ("local", neighbor.local)):
            if address is not None and address.version == 6 and address.is_link_local:
                yield draft.error((*path, name), "is of one link alone - expected an address that means one machine")


def neighbor_that_is_us(draft: Draft) -> Iterator[Finding]:
    """A session with ourselves; routers refuse one with their own router id (RFC 6286 section 2.2)."""
    for path, speaker, neighbor in _neighbors(draft):
        if neighbor.address == neighbor.local:
            yield draft.error(
                (*path, "address"), "is our own address (local) - expected the router's", (*path, "local")
            )
        elif neighbor.address == speaker.router_id:
            message = "is our own router id - expected the router's address"
            yield draft.warning((*path, "address"), message, ("bgp", speaker.name, "router_id"))


def neighbor_twice(draft: Draft) -> Iterator[Finding]:
    """One speaker has one session with an address."""
    seen: dict[tuple[str, Address], KeyPath] = {}
    for path, speaker, neighbor in _neighbors(draft):
        first = seen.setdefault((speaker.name, neighbor.address), path)
        if first != path:
            yield draft.error(
                (*path, "address"), f"is neighbors[{first[-1]}] already - expected one session with a router"
            )


def speaker_of_several_nodes(draft: Draft) -> Iterator[Finding]:
    """Two machines with one router id: routers would take them for one (RFC 6286 section 2.1)."""
    for speaker, nodes in _speakers(draft):
        if len(nodes) > 1:
            message = f"is that of {_and(nodes)}, which would have one router id - expected an entry for each node"
            yield draft.named(("bgp", speaker.name), message, ("nodes",), ("datacenters",))


def speaker_without_node(draft: Draft) -> Iterator[Finding]:
    """The speaker of a site where no gslb runs would never speak."""
    sites = {node.site for node in draft.deployment.nodes.values()}
    for speaker in draft.deployment.bgp:
        site = SiteId(speaker.name)
        unserved = site in draft.deployment.datacenters and site not in sites
        if unserved and NodeId(speaker.name) not in draft.deployment.nodes:
            message = f"expected a node at {site}, which says that it has none"
            yield draft.named(("bgp", speaker.name), message, ("datacenters", site, "node"), ("nodes",))


def withdraw_with_min_sites(draft: Draft) -> Iterator[Finding]:
    """A prefix that must stay at some sites cannot leave with every controller."""
    for anycast in draft.deployment.anycast:
        if anycast.on_controller_loss == OnControllerLoss.WITHDRAW and anycast.min_sites > 0:
            path: KeyPath = ("anycast", anycast.name)
            message = f"expected min_sites: 0 beside it (is {anycast.min_sites}), or drain"
            yield draft.error((*path, "on_controller_loss"), message, (*path, "min_sites"))


def longest_hold_below_hold(draft: Draft) -> Iterator[Finding]:
    """What doubles has no bound below its beginning."""
    for anycast in draft.deployment.anycast:
        if anycast.longest_hold_s < anycast.hold_s:
            path: KeyPath = ("anycast", anycast.name)
            message = f"expected at least hold ({seconds_text(anycast.hold_s)})"
            value = seconds_text(anycast.longest_hold_s)
            yield draft.error((*path, "longest_hold"), message, (*path, "hold"), value=value)


def anycast_prefix_twice(draft: Draft) -> Iterator[Finding]:
    """One prefix cannot be announced for two reasons."""
    seen: dict[Network, str] = {}
    for anycast in draft.deployment.anycast:
        for number, prefix in enumerate(anycast.prefixes):
            first = seen.setdefault(prefix, anycast.name)
            if first != anycast.name:
                path: KeyPath = ("anycast", anycast.name, "prefixes", number)
                yield draft.error(path, f"is in anycast.{first} already, with another meaning")


def announced_for_no_pool(draft: Draft) -> Iterator[Finding]:
    """`announce_when: pools` without pools would never be true."""
    for anycast in draft.deployment.anycast:
        if AnnounceWhen.POOLS in anycast.announce_when and not anycast.pools:
            path: KeyPath = ("anycast", anycast.name)
            yield draft.error((*path, "announce_when"), "expected pools beside it", (*path, "pools"))


def prefix_that_is_not_allowed(draft: Draft) -> Iterator[Finding]:
    """What a speaker may not announce."""
    for speaker, nodes in _speakers(draft):
        to_announce = _to_announce(draft, nodes)
        lengths = frozenset(network.prefixlen for network in speaker.allow)
        allowed = frozenset(speaker.allow)
        if not allowed or len(to_announce) > speaker.max_routes:  # too many: reported by themselves
            continue
        for path, prefix in to_announce:
            above = (prefix.supernet(new_prefix=length) for length in lengths if length <= prefix.prefixlen)
            if allowed.isdisjoint(above):
                message = f"bgp.{speaker.name} may not announce it - expected it within {_some(speaker.allow)}"
                yield draft.error(path, message, ("bgp", speaker.name), ("nodes",), ("datacenters",))


def more_prefixes_than_max_routes(draft: Draft) -> Iterator[Finding]:
    """Routers have such a limit too, and end the session over it."""
    for speaker, nodes in _speakers(draft):
        count = len(_to_announce(draft, nodes))
        if count > speaker.max_routes:
            message = f"expected at least {count}, the prefixes of anycast that it is to announce"
            path: KeyPath = ("bgp", speaker.name, "max_routes")
            yield draft.error(path, message, ("nodes",), ("datacenters",), value=str(speaker.max_routes))


def prefix_without_dns(draft: Draft) -> Iterator[Finding]:
    """`announce_when: dns` where DNS listens on no address of the prefix would never be true."""
    listening = [socket.address for socket in draft.deployment.dns.listen]
    for anycast in draft.deployment.anycast:
        for number, prefix in enumerate(anycast.prefixes if AnnounceWhen.DNS in anycast.announce_when else ()):
            if not any(_covers(address, prefix) for address in listening):
                path: KeyPath = ("anycast", anycast.name, "prefixes", number)
                message = f"nothing in dns.listen is in it - expected {prefix[0]} there too, for announce_when: dns"
                needs = (("anycast", anycast.name, "announce_when"), ("dns", "listen"))
                yield draft.error(path, message, *needs)


def network_of_a_wildcard(draft: Draft) -> Iterator[Finding]:
    """Of a whole network one address is put on `lo`, and with a wildcard nobody says which."""
    listening = [socket.address for socket in draft.deployment.dns.listen]
    for anycast in draft.deployment.anycast:
        for number, prefix in enumerate(anycast.prefixes if AnnounceWhen.DNS in anycast.announce_when else ()):
            if prefix.prefixlen < prefix.max_prefixlen and not any(address in prefix for address in listening):
                path: KeyPath = ("anycast", anycast.name, "prefixes", number)
                message = f"DNS answers on {prefix[0]} of it alone, unless an interface has others: expected those in dns.listen"
                yield draft.warning(path, message, ("anycast", anycast.name), ("dns", "listen"))


def pool_beside_its_prefix(draft: Draft) -> Iterator[Finding]:
    """A pool without a balancer is its answers; where none is in a prefix, its health says nothing of that."""
    for anycast in draft.deployment.anycast:
        for number, pool in _pools_that_count(draft, anycast):
            inside = any(answer.address in prefix for answer in pool.answers for prefix in anycast.prefixes)
            if pool.balance is None and not inside:
                path: KeyPath = ("anycast", anycast.name, "pools", number)
                message = f"none of its answers is in {_some(anycast.prefixes)}: it is announced for what is elsewhere"
                yield draft.warning(path, message, ("anycast", anycast.name), ("pools", pool.name), value=pool.name)


def two_pools_of_a_site(draft: Draft) -> Iterator[Finding]:
    """One pool of a site that fails takes the prefix from the others."""
    for anycast in draft.deployment.anycast:
        seen: dict[SiteId, Pool] = {}
        for number, pool in _pools_that_count(draft, anycast):
            first = seen.setdefault(pool.datacenter, pool)
            if first is not pool:
                path: KeyPath = ("anycast", anycast.name, "pools", number)
                message = f"{first.name} is at {pool.datacenter} too: there it is announced while both are well"
                yield draft.warning(path, message, ("anycast", anycast.name), value=pool.name)


def router_id_twice(draft: Draft) -> Iterator[Finding]:
    """Routers take two speakers with one id for one (RFC 6286 section 2.1)."""
    seen: dict[tuple[int, IPv4Address], str] = {}
    for speaker in draft.deployment.bgp:
        first = seen.setdefault((speaker.local_as, speaker.router_id), speaker.name)
        if first != speaker.name:
            path: KeyPath = ("bgp", speaker.name, "router_id")
            yield draft.warning(
                path, f"bgp.{first} has it too - expected one for each speaker of AS {speaker.local_as}"
            )


def drain_without_effect(draft: Draft) -> Iterator[Finding]:
    """A route that is drained and no worse than before: nobody would leave before it is withdrawn."""
    for path, speaker, neighbor in _neighbors(draft):
        drain, inside, carried = neighbor.drain, neighbor.peer_as == speaker.local_as, neighbor.announce.med
        if drain.med is not None and drain.med <= (carried or 0):
            than = "0, which routers take for none" if carried is None else f"{carried}, the MED of announce"
            message = f"expected more than {than}: the lowest is the best"
            yield draft.warning((*path, "drain", "med"), message, (*path, "announce"))
        elif not inside and drain.community is None and not drain.prepend and drain.med is None:
            message = (
                'a drained route is as good as any other there - expected drain: {community: "65535:0"}, prepend or med'
            )
            yield draft.warning((*path, "drain"), message, path, value=f"neighbor {neighbor.address}")


def prepended_inside(draft: Draft) -> Iterator[Finding]:
    """Towards our own AS nothing is prepended: routers would take it for a loop (RFC 4271 section 9.1.2)."""
    for path, speaker, neighbor in _neighbors(draft):
        for name, prepend in (("announce", neighbor.announce.prepend), ("drain", neighbor.drain.prepend)):
            if prepend and neighbor.peer_as == speaker.local_as:
                message = "towards our own AS nothing is prepended; there a drained route has local preference 0"
                yield draft.warning((*path, name, "prepend"), message)


def announced_by_nobody(draft: Draft) -> Iterator[Finding]:
    """Prefixes without a speaker, or a speaker without a session that could carry them."""
    for anycast in draft.deployment.anycast:
        speakers = [one for one, nodes in _speakers(draft) if _announces(draft, nodes, anycast)]
        if not speakers:
            whose = "a node of the sites of its pools" if anycast.pools else "any node"
            message = f"announced by nobody: expected a speaker in bgp for {whose}"
            yield draft.warning(("anycast", anycast.name, "prefixes"), message, *_ALL)
        for number, prefix in enumerate(anycast.prefixes):
            without = [one.name for one in speakers if not _carries(one, prefix.version)]
            if without:
                path: KeyPath = ("anycast", anycast.name, "prefixes", number)
                message = f"not announced by {_and(f'bgp.{name}' for name in without)}: no neighbor there has an IPv{prefix.version} address"
                yield draft.warning(path, message, *_ALL)


def nothing_can_leave(draft: Draft) -> Iterator[Finding]:
    """A withdrawal needs `min_sites` other sites, and a bus to know them by; without, the prefix can only be drained."""
    for anycast in draft.deployment.anycast:
        path: KeyPath = ("anycast", anycast.name, "min_sites")
        families = {prefix.version for prefix in anycast.prefixes}
        sites = min((len(_sites(draft, anycast, family)) for family in families), default=0)
        if 0 < sites <= anycast.min_sites:
            message = (
                f"announced at {sites} {'site' if sites == 1 else 'sites'}: a failure can only drain it, "
                "expected less than the number of sites that announce it"
            )
            yield draft.warning(path, message, *_ALL, value=str(anycast.min_sites))
        elif 0 < anycast.min_sites < sites and not draft.deployment.bus.nats:
            message = "without bus no other site is known: a failure can only drain it, expected bus, or min_sites: 0"
            yield draft.warning(path, message, *_ALL, ("bus",), value=str(anycast.min_sites))


RULES = (
    session_of_two_families,
    next_hop_of_another_family,
    link_local_neighbor,
    neighbor_that_is_us,
    neighbor_twice,
    speaker_of_several_nodes,
    speaker_without_node,
    withdraw_with_min_sites,
    longest_hold_below_hold,
    anycast_prefix_twice,
    announced_for_no_pool,
    prefix_that_is_not_allowed,
    more_prefixes_than_max_routes,
    prefix_without_dns,
    network_of_a_wildcard,
    pool_beside_its_prefix,
    two_pools_of_a_site,
    router_id_twice,
    drain_without_effect,
    prepended_inside,
    announced_by_nobody,
    nothing_can_leave,
)


def _neighbors(draft: Draft) -> Iterator[tuple[KeyPath, Bgp, Neighbor]]:
    """Each with its place; not of a speaker where one could not be read, since places are not known then."""
    for speaker in draft.deployment.bgp:
        path: KeyPath = ("bgp", speaker.name, "neighbors")
        written = find(draft.root, path)
        if isinstance(written, ListNode) and len(written.items) == len(speaker.neighbors):
            for number, neighbor in enumerate(speaker.neighbors):
                yield (*path, number), speaker, neighbor


def _speakers(draft: Draft) -> Iterator[tuple[Bgp, tuple[NodeId, ...]]]:
    """Each with the nodes that it is of."""
    nodes: dict[str, list[NodeId]] = {}
    for node in draft.deployment.nodes.values():
        if (speaker := draft.deployment.speaker(node)) is not None:
            nodes.setdefault(speaker.name, []).append(node.name)
    for speaker in draft.deployment.bgp:
        yield speaker, tuple(nodes.get(speaker.name, ()))


def _sites_of(draft: Draft, nodes: Iterable[NodeId]) -> frozenset[SiteId]:
    return frozenset(draft.deployment.nodes[node].site for node in nodes)


def _announces(draft: Draft, nodes: Iterable[NodeId], anycast: Anycast) -> bool:
    sites = _sites_of(draft, nodes)
    pools = draft.deployment.pools
    return bool(sites) and (
        not anycast.pools or any(pools[name].datacenter in sites for name in anycast.pools if name in pools)
    )


def _to_announce(draft: Draft, nodes: Iterable[NodeId]) -> list[tuple[KeyPath, Network]]:
    """The prefixes of these nodes, each with its place."""
    return [
        (("anycast", anycast.name, "prefixes", number), prefix)
        for anycast in draft.deployment.anycast
        if _announces(draft, nodes, anycast)
        for number, prefix in enumerate(anycast.prefixes)
    ]


def _sites(draft: Draft, anycast: Anycast, family: int) -> frozenset[SiteId]:
    """Those that announce its prefixes of a family."""
    return frozenset(
        site
        for speaker, nodes in _speakers(draft)
        if _announces(draft, nodes, anycast) and _carries(speaker, family)
        for site in _sites_of(draft, nodes)
    )


def _carries(speaker: Bgp, family: int) -> bool:
    return any(neighbor.address.version == family for neighbor in speaker.neighbors)


def _covers(address: Address, prefix: Network) -> bool:
    return address in prefix or (address.is_unspecified and address.version == prefix.version)


def _pools_that_count(draft: Draft, anycast: Anycast) -> Iterator[tuple[int, Pool]]:
    """Those whose health is asked for, each with its number."""
    for number, name in enumerate(anycast.pools if AnnounceWhen.POOLS in anycast.announce_when else ()):
        pool = draft.deployment.pools.get(name)
        if pool is not None:
            yield number, pool


def _and(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _some(networks: Iterable[Network]) -> str:
    first, *rest = networks
    return (
        f"{first}" if not rest else f"{first} and {len(rest)} more" if len(rest) > 2 else _and(map(str, (first, *rest)))
    )
