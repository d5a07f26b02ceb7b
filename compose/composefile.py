"""Topology -> the compose file: `python -m compose.composefile > compose/docker-compose.yaml`.  Pure but for that.

Taken by `docker compose` v2 and docker-compose 1.29 alike: no `version`, no `name`, health checks without a start interval.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

from compose import pages
from compose.commands import STATE, settings
from compose.start import FILES
from compose.topology import ZONE, Machine, Runs, Topology, lab
from compose.wiring import DONE

IMAGE = "gslb-lab"
_HEAD = """\
# The lab in containers.  Made by compose/composefile.py from compose/topology.py; `make lab` brings it up.
"""
# `build` (setup/lab.sh hands in mirrors and proxies) belongs to the one service on which all others depend: so the image is made once.
_WIRING = f"""\
  wiring:
    image: {IMAGE}
    build:
      context: ..
      dockerfile: compose/Dockerfile
    container_name: gslb-wiring
    command: [python, -m, compose.wiring]
    init: true
    network_mode: host
    cap_drop: [ALL]
    cap_add: [NET_ADMIN]
    security_opt: ["no-new-privileges:true"]
    healthcheck: {{test: [CMD, test, -e, {DONE}], interval: 2s, timeout: 2s, retries: 5, start_period: 60s}}
"""
_ADMIN: tuple[Runs, ...] = (
    "gslb",
    "frr",
)  # a node for BPF programs and their mount, FRR as its daemons start only with it
_HEALTH: Mapping[Runs, str] = {
    "gslb": "curl -fs -m 2 -o /dev/null http://127.0.0.1:8053/readyz",
    "bird": "birdc -s /run/lab/bird.ctl show status",
    "frr": "ss -Hltn sport = :179 | grep -q 179",
    "backend": "curl -fs -m 2 -o /dev/null http://127.0.0.1/healthz",
    "server": "curl -fs -m 2 -o /dev/null http://127.0.0.1/healthz",
    "nats": "ss -Hltn sport = :4222 | grep -q 4222",
    "unbound": "ss -Hlun sport = :53 | grep -q 53",
    "recursor": "ss -Hlun sport = :53 | grep -q 53",
    "client": f"curl -fs -m 2 -o /dev/null http://www.{ZONE}/",
}


def compose(topology: Topology) -> str:
    """docker-compose.yaml."""
    services = "\n".join(_service(topology, machine) for machine in topology.machines)
    networks = "\n".join(
        f"  {network.name}:\n"
        f"    driver_opts: {{com.docker.network.bridge.name: gslb-{network.name}}}\n"
        f"    ipam: {{config: [{{subnet: {network.subnet}}}]}}"
        for network in topology.networks
    )
    return f"{_HEAD}\nservices:\n{_WIRING}\n{_pages(topology)}\n{services}\nnetworks:\n{networks}\n"


def _pages(topology: Topology) -> str:
    lines = "".join(  # an address of its own, or the engine gives it one that a machine has
        f"      {site.network.name}: {{ipv4_address: {site.network.address(9)}}}\n"
        for site in topology.sites
        if topology.at(site.name, "gslb")
    )
    published = ", ".join(f'"127.0.0.1:{port}:{port}"' for port in pages.ports(topology).values())
    return f"""\
  pages:
    image: {IMAGE}
    container_name: gslb-pages
    command: [python, -m, compose.pages]
    init: true
    user: nobody
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    read_only: true
    tmpfs: [/tmp]
    depends_on: [wiring]
    networks:
{lines.rstrip()}
    ports: [{published}]
    healthcheck: {{test: [CMD, test, -s, {pages.PID}], interval: 5s, timeout: 2s, retries: 3}}
"""


def _service(topology: Topology, machine: Machine) -> str:
    lines = [
        f"  {machine.name}:",
        f"    image: {IMAGE}",
        f"    container_name: gslb-{machine.name}",
        f"    hostname: {machine.name}",
        f"    command: [python, -m, compose.start, {machine.name}]",
        "    init: true",
        "    depends_on: [wiring]",
        f"    cap_add: [NET_ADMIN{', SYS_ADMIN' if machine.runs in _ADMIN else ''}]",
    ]
    if machine.runs == "gslb":
        lines.append("    security_opt: [apparmor:unconfined]")  # its usual profile forbids mounts
    if given := settings(machine):
        lines.append(f"    sysctls: {json.dumps(given)}")
    lines.append("    networks:")
    for number, line in enumerate(machine.interfaces):
        lines.append(f"      {line.network}: {{ipv4_address: {line.address}, priority: {100 - number}}}")
    if machine.runs == "gslb":  # so that `gslb status` needs no options
        known = {"GSLB_CONFIG": f"{FILES}/gslb/gslb.yaml", "GSLB_NODE": machine.name, "GSLB_STATE": STATE}
        lines.append(f"    environment: {{{', '.join(f'{name}: {value}' for name, value in known.items())}}}")
    if machine.runs == "client":
        resolver = topology.at(machine.place, "unbound", "recursor")[0]
        lines.append(f"    dns: [{resolver.address}]")
    test = json.dumps(["CMD-SHELL", _HEALTH[machine.runs]])
    lines.append(f"    healthcheck: {{test: {test}, interval: 5s, timeout: 3s, retries: 3, start_period: 20s}}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(compose(lab()))
