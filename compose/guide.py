"""What is where in the lab, and what to try: `python -m compose.guide`.  Pure but for its printing."""

from __future__ import annotations

from compose import pages
from compose.topology import ANYCAST, DNS, ROUTERS, ZONE, Topology, lab


def guide(topology: Topology) -> str:
    """For whoever brought the lab up."""
    found = pages.ports(topology)
    lines = ["The lab is up.  Every machine is a container: docker exec -it gslb-NAME bash", ""]
    for site in topology.sites:
        nodes = [f"{node.name} http://localhost:{found[node.name]}" for node in topology.at(site.name, "gslb")]
        router = topology.at(site.name, *ROUTERS)[0]
        others = [one.name for one in topology.at(site.name, "backend", "server", "nats")]
        lines.append(f"  {site.name:8} {', '.join([f'{router.name} ({router.runs})', *others])}")
        lines += [f"  {'':8} {node}" for node in nodes]
    for region in topology.regions:
        resolver = topology.at(region.name, "unbound", "recursor")[0]
        lines.append(
            f"  {region.name:8} client-{region.name}, {resolver.name} ({resolver.runs}), near {region.nearest}"
        )
    transits = ", ".join(machine.name for machine in topology.at("transit", "bird"))
    lines += [
        f"  {'transit':8} {transits}",
        "",
        f"  www.{ZONE} is answered with the nearest site; any.{ZONE} is {ANYCAST}, at every site by anycast;",
        f"  {DNS} is the nameserver, at every site by anycast.",
        "",
        "To try:",
        *_tries(topology),
    ]
    return "\n".join(lines)


def _tries(topology: Topology) -> list[str]:
    region = topology.regions[0]
    client, near = f"docker exec gslb-client-{region.name}", region.nearest
    resolver = topology.at(region.name, "unbound", "recursor")[0]
    words = {
        f"{client} curl -s http://www.{ZONE}/": f"which site and server {region.name} is served by",
        f"{client} dig +short www.{ZONE}": "what its resolver is told",
        f"{client} timeout 10 python -m compose.clients {resolver.address} www.{ZONE}": "each request of a client, as a line",
        f"docker exec gslb-{near}1 gslb status": "all that a node knows",
        f"docker stop gslb-web-{near}1": "a backend dies; docker start brings it back",
        f"docker exec gslb-{near}1 gslb drain site/{near} --why trying": f"a site for maintenance; gslb auto site/{near} ends it",
        f"docker exec gslb-router-{near} birdc -s /run/lab/bird.ctl show route": "the routes of a router",
        "make lab-down": "leaves nothing behind; with KEEP_IMAGE=1 the image",
    }
    width = max(map(len, words))
    return [f"  {command:{width}}  {meaning}" for command, meaning in words.items()]


if __name__ == "__main__":
    print(guide(lab()))
