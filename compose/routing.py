"""Topology -> what its routers read: bird.conf and frr.conf.  Pure.

A site's router takes the services' addresses from its nodes and tells the transit; what a node drains stays less liked at every
router.  Networks of sites and regions are told by whoever is on them.  Flows are spread over equal paths.
"""

from __future__ import annotations

import re

from compose.topology import ANYCAST, DNS, HOLD_S, OUR_AS, Machine, Topology

_BIRD = """\
router id {id};
log stderr all;
filter services {{
  if !(net ~ [ {vips} ]) then reject;
  if (65535, 0) ~ bgp_community then bgp_local_pref = 0;
  accept;
}}
filter told {{
  if source = RTS_BGP || net ~ [ {networks} ] then accept;
  reject;
}}
filter heard {{
  if (65535, 0) ~ bgp_community then bgp_local_pref = 0;
  accept;
}}
protocol device {{ scan time 1; }}
protocol direct {{ ipv4; }}
protocol kernel {{ merge paths yes; ipv4 {{ import none; export where source = RTS_BGP; }}; }}
template bgp session {{
  local as {number};
  hold time {hold};
  connect delay time 1;
  connect retry time 2;
  error wait time 1, 5;
  graceful restart off;
}}
template bgp node from session {{
  ttl security on;
  ipv4 {{ import filter services; import limit 10 action block; export none; }};
}}
template bgp transit from session {{
  ipv4 {{ import filter heard; export filter told; }};
}}
"""
_FRR = """\
hostname router
ip prefix-list services permit {vips}
ip prefix-list networks permit {networks}
route-map services permit 10
 match ip address prefix-list services
exit
route-map networks permit 10
 match ip address prefix-list networks
exit
route-map all permit 10
exit
route-map nothing deny 10
exit
router bgp {number}
 bgp router-id {id}
 no bgp default ipv4-unicast
 bgp graceful-restart-disable
 bgp bestpath as-path multipath-relax
 neighbor nodes peer-group
 neighbor nodes remote-as {ours}
 neighbor nodes timers {alive} {hold}
 neighbor nodes timers connect 2
 neighbor nodes ttl-security hops 1
 neighbor transit peer-group
 neighbor transit timers {alive} {hold}
 neighbor transit timers connect 2
{neighbors} address-family ipv4 unicast
  maximum-paths 16
  redistribute connected route-map networks
  neighbor nodes route-map services in
  neighbor nodes route-map nothing out
  neighbor nodes maximum-prefix 10 warning-only
  neighbor transit route-map all in
  neighbor transit route-map all out
{active} exit-address-family
exit
"""


def vips(topology: Topology) -> tuple[str, ...]:
    """The prefixes that nodes announce."""
    return tuple(f"{address}/32" for address in (DNS, ANYCAST, *(site.vip for site in topology.sites if site.vip)))


def bird(topology: Topology, router: Machine) -> str:
    """bird.conf of a router."""
    text = _BIRD.format(
        id=router.address,
        number=router.number,
        hold=HOLD_S,
        vips=", ".join(vips(topology)),
        networks=", ".join(_own(topology, router)),
    )
    for peer, address in topology.peers(router):
        kind, number = ("node", OUR_AS) if peer.runs == "gslb" else ("transit", peer.number)
        name = re.sub(r"\W", "_", peer.name)
        text += f"protocol bgp {name} from {kind} {{ neighbor {address} as {number}; }}\n"
    return text


def frr(topology: Topology, router: Machine) -> str:
    """frr.conf of a router, for all its daemons."""
    neighbors, active = "", ""
    for peer, address in topology.peers(router):
        if peer.runs == "gslb":
            neighbors += f" neighbor {address} peer-group nodes\n"
        else:
            neighbors += f" neighbor {address} remote-as {peer.number}\n neighbor {address} peer-group transit\n"
        active += f"  neighbor {address} activate\n"
    return _FRR.format(
        id=router.address,
        number=router.number,
        ours=OUR_AS,
        alive=HOLD_S // 3,
        hold=HOLD_S,
        vips="\nip prefix-list services permit ".join(vips(topology)),
        networks="\nip prefix-list networks permit ".join(_own(topology, router)),
        neighbors=neighbors,
        active=active,
    )


def _own(topology: Topology, router: Machine) -> tuple[str, ...]:
    on = {line.network for line in router.interfaces}
    return tuple(network.subnet for network in topology.networks if network.name in on)
