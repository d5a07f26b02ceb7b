"""`gslb lb flows`: to which backend the packets of one flow go, and why."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from ipaddress import IPv6Address, ip_address
from typing import Any

from xdp.flow import Choice, Flow, choose
from xdp.held import Held
from xdp.pinned import Names, NotInForce, Pinned

HELP = "say to which backend the packets of a flow go, and why"
_PROTOCOLS = {"tcp": 6, "udp": 17}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `gslb lb flows`."""
    parser.add_argument("source", metavar="SRC", type=_address, help="the client's address")
    parser.add_argument("source_port", metavar="SPORT", type=_port, help="the client's port")
    parser.add_argument("destination", metavar="DST", type=_address, help="the VIP")
    parser.add_argument("destination_port", metavar="DPORT", type=_port, help="the VIP's port")
    parser.add_argument(
        "protocol", nargs="?", choices=tuple(_PROTOCOLS), default="tcp", help="tcp where it is left out"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace, found: Pinned) -> int:
    """Print where the flow goes; 1 where no VIP takes it."""
    if ip_address(arguments.source).version != ip_address(arguments.destination).version:
        raise NotInForce(f"{arguments.source} and {arguments.destination} are of two address families - expected one")
    ports = arguments.source_port, arguments.destination_port
    flow = Flow(arguments.source, arguments.destination, *ports, _PROTOCOLS[arguments.protocol])
    held, now = Held(found.maps), time.monotonic()
    names = found.names(found.vips(), found.backends())
    told = {"packets": _told(choose(held, flow, now), names)}
    if arguments.protocol == "tcp":
        told["new"] = _told(choose(held, flow, now, syn=True), names)
    if arguments.json:
        print(json.dumps(told, indent=2))
    else:
        _print(told, arguments)
    return 0 if told["packets"]["vip"] else 1


def _told(choice: Choice, names: Names) -> dict[str, Any]:
    """A choice, with names beside its ids."""
    pool, vip = names.vips.get(choice.vip, ("", ""))
    return {
        **asdict(choice),
        "hash": f"{choice.hash:016x}",
        "pool": pool,
        "vip_name": vip,
        **{
            f"{which}_address": _address_of(getattr(choice, which), names)
            for which in ("current", "previous", "backend")
        },
    }


def _address_of(backend: int, names: Names) -> str:
    owners = names.backends.get(backend)
    return owners[0][1] if owners else ""


def _print(told: dict[str, dict[str, Any]], arguments: argparse.Namespace) -> None:
    packets = told["packets"]
    print(
        f"flow        {arguments.source} port {arguments.source_port} -> {arguments.destination} port "
        f"{arguments.destination_port} {arguments.protocol}"
    )
    if not packets["vip"]:
        print(f"VIP         none: {packets['why']}")
        return
    print(f"VIP         {packets['vip_name']}{' of ' + packets['pool'] if packets['pool'] else ''}")
    earlier = f", before {packets['previous_address'] or packets['previous']}" if packets["previous"] else ""
    print(f"hash        {packets['hash']}")
    print(f"slot        {packets['slot']} of ring {packets['ring']}: {packets['current_address'] or 'nobody'}{earlier}")
    print(f"packets     {_where(packets)}")
    if "new" in told and (told["new"]["backend"], told["new"]["why"]) != (packets["backend"], packets["why"]):
        print(f"a new one   {_where(told['new'])}")


def _where(told: dict[str, Any]) -> str:
    return f"{told['backend_address'] or 'to nobody'}: {told['why']}"


def _address(text: str) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no address") from None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        raise argparse.ArgumentTypeError(f"{text!r} is on no wire - expected {address.ipv4_mapped}")
    return str(address)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port - expected 0 to 65535")
    return int(text)
