"""Looks at a machine that is, or is to be, a backend.  IO: netlink, /proc, nft, the kernel's maps; nothing is changed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface, ip_network
from pathlib import Path
from typing import Any

import psutil
from pyroute2 import IPRoute

from gslb.inspect.backend_facts import Device, Facts, sysctl_name
from gslb.model.deployment import Address, Network
from xdp import decap
from xdp.decap import Decapsulation
from xdp.machine import nic

CONF = Path("/proc/sys/net/ipv4/conf")
MODULES = ("sit", "ip6_tunnel", "fou", "fou6")
_KEYS = ("arp_ignore", "arp_announce", "rp_filter")
_UP, _LOOPBACK, _NOARP = 0x1, 0x8, 0x80  # IFF_* of if.h
_MAIN, _LOCAL = 254, 255  # routing tables
_TYPE_LOCAL = 2  # RTN_LOCAL
_FAMILIES = {socket.AF_INET: 4, socket.AF_INET6: 6}
_WIDTH = {4: 32, 6: 128}


def gather() -> Facts:
    """Look at this machine, or at this network namespace."""
    devices, local, routes = _network()
    ruleset = _nft()
    known, in_force = _decapsulation()
    return Facts(
        devices=devices,
        local=local,
        default_devices=routes,
        sysctls=_sysctls(),
        listening=_listening(),
        nft=ruleset is not None,
        mss=None if not ruleset else _mss(ruleset),
        dropping=None if not ruleset else _dropping(ruleset),
        gue=_gue(),
        modules=_modules(),
        decap=in_force,
        decap_known=known,
        refusal=decap.refusal(),
    )


def _network() -> tuple[dict[str, Device], frozenset[Network], dict[int, str]]:
    with IPRoute() as netlink:
        addresses: dict[int, list[IPv4Interface | IPv6Interface]] = {}
        for one in netlink.get_addr():
            text = one.get("local") or one.get("address")
            addresses.setdefault(one["index"], []).append(ip_interface(f"{text}/{one['prefixlen']}"))
        names = {one["index"]: one.get("ifname") for one in netlink.get_links()}
        devices = {
            one.get("ifname"): Device(
                name=one.get("ifname"),
                mtu=one.get("mtu"),
                up=bool(one["flags"] & _UP),
                arp=not one["flags"] & (_LOOPBACK | _NOARP),
                lro=nic(one.get("ifname")).lro,
                addresses=tuple(addresses.get(one["index"], ())),
            )
            for one in netlink.get_links()
        }
        defaults: dict[int, str] = {}
        local: set[Network] = set()
        for family, version in _FAMILIES.items():
            for route in netlink.get_routes(family=family, table=_MAIN):
                if route["dst_len"] == 0 and version not in defaults:
                    defaults[version] = names.get(route.get("oif"), "")
            for route in netlink.get_routes(family=family):
                if route["type"] == _TYPE_LOCAL and 0 < route["dst_len"] < _WIDTH[version]:
                    local.add(ip_network(f"{route.get('dst')}/{route['dst_len']}"))
    return devices, frozenset(local), defaults


def _sysctls() -> dict[str, int]:
    found = {}
    for folder in CONF.iterdir():
        for key in _KEYS:
            found[sysctl_name(folder.name, key)] = int((folder / key).read_text())
    return found


def _listening() -> frozenset[tuple[str, Address, int]]:
    found = set()
    for one in psutil.net_connections(kind="inet"):
        if one.laddr and (one.status == psutil.CONN_LISTEN or (one.type == socket.SOCK_DGRAM and not one.raddr)):
            protocol = "udp" if one.type == socket.SOCK_DGRAM else "tcp"
            found.add((protocol, ip_address(one.laddr.ip.partition("%")[0]), one.laddr.port))
    return frozenset(found)


def _nft() -> list[dict[str, Any]] | None:
    """Every object of the rules; an empty list where they may not be read, None where nft is not installed."""
    said = _said("nft", "-j", "list", "ruleset")
    if not said:
        return None if said is None else []
    found = json.loads(said)["nftables"]
    return [one for one in found if isinstance(one, dict)]


def _mss(ruleset: list[dict[str, Any]]) -> dict[Network, int]:
    found: dict[Network, int] = {}
    for rule in (one["rule"] for one in ruleset if one.get("rule", {}).get("table") == "gslb_backend"):
        match = next((part["match"]["right"] for part in rule["expr"] if "match" in part), None)
        told = next((part["mangle"]["value"] for part in rule["expr"] if "mangle" in part), None)
        if match is not None and isinstance(told, int):
            prefix = match["prefix"] if isinstance(match, dict) and "prefix" in match else None
            found[ip_network(f"{prefix['addr']}/{prefix['len']}" if prefix else str(match))] = told
    return found


def _dropping(ruleset: list[dict[str, Any]]) -> tuple[str, ...]:
    chains = (one["chain"] for one in ruleset if "chain" in one)
    return tuple(
        f"{one['family']} {one['table']} {one['name']}"
        for one in chains
        if one.get("hook") == "input" and one.get("policy") == "drop"
    )


def _gue() -> frozenset[tuple[int, int]]:
    words = [line.split() for line in (_said("ip", "fou", "show") or "").splitlines() if " gue" in line]
    return frozenset((6 if "-6" in line else 4, int(line[1])) for line in words if line[1:2] and line[1].isdigit())


def _modules() -> frozenset[str]:
    """Which tunnel devices this kernel can make, as far as its lists of modules tell."""
    folder = Path("/lib/modules") / os.uname().release
    lists = [path.read_text() for name in ("modules.builtin", "modules.dep") if (path := folder / name).exists()]
    return frozenset(
        name
        for name in MODULES
        if (Path("/sys/module") / name).exists() or any(f"/{name}.ko" in text for text in lists)
    )


def _decapsulation() -> tuple[bool, Decapsulation | None]:
    """Whether it may be known, and what is in force."""
    try:
        return True, decap.read()
    except OSError:
        return False, None


def program(name: str) -> str | None:
    """The path of a program that administrators have."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _said(name: str, *words: str) -> str | None:
    """What a program says; nothing where it fails, None where it is not installed."""
    path = program(name)
    if path is None:
        return None
    done = subprocess.run([path, *words], capture_output=True, text=True, timeout=10, check=False)
    return "" if done.returncode else done.stdout
