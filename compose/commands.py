"""Topology -> a machine's settings, what prepares it, its daemons.  Pure; the same in containers and in namespaces.

A backend whose web server is gone refuses no client at a service's address: a client that hears nothing asks again after a second,
and the balancer sends it to another backend by then.  Checks go to the backend's own address, where they are refused at once.

`folder` is what `compose/render.py` wrote, `RUN` a folder of the machine's own for sockets and what is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

from compose.topology import ROUTERS, SERVICES, Machine, Runs

RUN = "/run/lab"
STATE = f"{RUN}/state"
_FRR = "/usr/lib/frr"
_FRR_FILE = "/run/frr/frr.conf"
_ZEBRA = "/run/frr/zserv.api"
# bgpd looks for a zebra that is not there yet only every 10 s, and tells the transit of ways meanwhile that no kernel has
_AFTER_ZEBRA = f'until test -S {_ZEBRA}; do sleep 0.1; done; exec "$@"'
_OUTPUT = "{ type filter hook output priority 0; }"
_REFUSAL = f"ip saddr {SERVICES} tcp flags & (rst | ack) == rst | ack tcp sequence 0 drop"
_ROUTER = ("ip_forward=1", "fib_multipath_hash_policy=1", "conf.all.rp_filter=0", "conf.default.rp_filter=0")
Argv = tuple[str, ...]


def here(machine: Machine, folder: str) -> Argv:
    """The options by which a node's commands find it."""
    return ("--config", f"{folder}/gslb/gslb.yaml", "--node", machine.name, "--state", STATE)


def settings(machine: Machine) -> tuple[str, ...]:
    """What of its kernel's settings is not as they come, as sysctl takes it: for who makes it, as a container may not write them.

    Of a backend it is what `gslb backend setup` would set for its interface: it finds that so for all.
    """
    of: dict[Runs, tuple[str, ...]] = {
        **dict.fromkeys(ROUTERS, _ROUTER),
        "gslb": ("ping_group_range=0 2147483647",),  # reference targets are pinged
        "backend": ("conf.all.arp_ignore=1", "conf.all.arp_announce=2"),
    }
    return tuple(f"net.ipv4.{setting}" for setting in of.get(machine.runs, ()))


def prepare(machine: Machine, folder: str, gslb: Sequence[str] = ("gslb",)) -> list[Argv]:
    """What is run once, in this order; its interfaces have their addresses by then."""
    lines: list[Argv] = [
        ("ethtool", "-K", f"eth{number}", "tx", "off", "gro", "on") for number in range(len(machine.interfaces))
    ]
    if machine.gateway is not None:
        lines.append(("ip", "route", "replace", "default", "via", machine.gateway))
    if machine.runs == "frr":  # bgpd reads its file as its own user, who need not be able to enter `folder`
        lines.append(("install", "-d", "-o", "frr", "-g", "frr", "/run/frr"))
        lines.append(("rm", "-f", _ZEBRA))  # of a container that ran before
        lines.append(("install", "-o", "frr", "-g", "frr", f"{folder}/{machine.name}/frr.conf", _FRR_FILE))
    if machine.runs == "backend":
        lines.append((*gslb, "backend", "setup", "--config", f"{folder}/gslb/gslb.yaml", "--interface", "eth0"))
        lines.append(
            ("nft", f"add table inet lab; add chain inet lab refusals {_OUTPUT}; add rule inet lab refusals {_REFUSAL}")
        )
    return lines


def serve(machine: Machine, folder: str, gslb: Sequence[str] = ("gslb",)) -> list[Argv]:
    """Its daemons, each of which stays in the foreground; none for clients."""
    own = f"{folder}/{machine.name}"
    nginx = ("nginx", "-c", f"{own}/nginx.conf")
    zebra = (f"{_FRR}/zebra", "-f", "/dev/null", "-P", "0", "--log", "stdout", "--v6-rr-semantics")
    bgpd = ("sh", "-c", _AFTER_ZEBRA, "sh", f"{_FRR}/bgpd", "-f", _FRR_FILE, "-P", "0", "--log", "stdout")
    daemons: dict[str, list[Argv]] = {
        "bird": [("bird", "-f", "-c", f"{own}/bird.conf", "-s", f"{RUN}/bird.ctl")],
        "frr": [zebra, bgpd],
        "gslb": [(*gslb, "run", *here(machine, folder))],
        "backend": [nginx],
        "server": [nginx],
        "nats": [("nats-server", "-c", f"{own}/nats.conf")],
        "unbound": [("unbound", "-d", "-c", f"{own}/unbound.conf")],
        "recursor": [("pdns_recursor", f"--config-dir={own}")],
        "client": [],
    }
    return daemons[machine.runs]
