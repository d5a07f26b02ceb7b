"""Refusals of anycast prefixes and BGP sessions, and what is odd about limits.  Pure."""

from __future__ import annotations

from collections.abc import Iterator

from gslb.config.draft import Draft, Finding
from gslb.config.problem import KeyPath
from gslb.config.read_services import AnnounceWhen, OnControllerLoss
from gslb.model.deployment import Network


def withdraw_with_min_sites(draft: Draft) -> Iterator[Finding]:
    """A prefix that must stay at some sites cannot leave with every controller."""
    for anycast in draft.deployment.anycast:
        if anycast.on_controller_loss == OnControllerLoss.WITHDRAW and anycast.min_sites > 0:
            path: KeyPath = ("anycast", anycast.name)
            message = f"expected min_sites: 0 beside it (is {anycast.min_sites}), or drain"
            yield draft.error((*path, "on_controller_loss"), message, (*path, "min_sites"))


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


def session_of_two_families(draft: Draft) -> Iterator[Finding]:
    """A session from an address of one family cannot reach a router of the other."""
    for speaker in draft.deployment.bgp:
        for number, neighbor in enumerate(speaker.neighbors):
            if neighbor.local is not None and neighbor.local.version != neighbor.address.version:
                path: KeyPath = ("bgp", speaker.name, "neighbors", number, "local")
                yield draft.error(path, f"expected an IPv{neighbor.address.version} address, as the router's")


def everybody_exempt(draft: Draft) -> Iterator[Finding]:
    """Without a limit a nameserver sends its answers to whomever an attacker names."""
    for number, network in enumerate(draft.deployment.limits.exempt):
        if network.prefixlen == 0:
            message = f"exempts all of IPv{network.version} from the limit: this server is then a reflector for attacks on others"
            yield draft.warning(("limits", "exempt", number), message)


RULES = (
    session_of_two_families,
    withdraw_with_min_sites,
    anycast_prefix_twice,
    announced_for_no_pool,
    everybody_exempt,
)
