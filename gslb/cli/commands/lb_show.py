"""`gslb lb show`: interfaces, VIPs, rings and backends that are in force."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from gslb.cli.console import console as stdout
from gslb.layout import RING_SLOTS
from gslb.model.plan import Serving
from xdp.pinned import BackendEntry, Pinned, RingEntry

HELP = "show interfaces, VIPs, and the backends that each is spread over"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `gslb lb show`."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace, found: Pinned) -> int:
    """Print what is in force."""
    shown = _look(found)
    if arguments.json:
        print(json.dumps(shown, indent=2))
    else:
        _print(shown, stdout())
    return 0


def _look(found: Pinned) -> dict[str, Any]:
    vips, backends = found.vips(), found.backends()
    rings = {one.ring: found.ring(one.ring, backends) for one in vips}
    known = {number: ring for number, ring in rings.items() if ring is not None}
    pools = {number: sorted({one.pool for one in vips if one.ring == number and one.pool}) for number in known}
    return {
        "plan_version": found.version,
        "interfaces": [asdict(one) for one in found.interfaces()],
        "vips": [asdict(one) for one in vips],
        "rings": [_ring(ring, backends, pools[number], found) for number, ring in sorted(known.items())],
    }


def _ring(ring: RingEntry, backends: Mapping[int, BackendEntry], pools: Sequence[str], found: Pinned) -> dict[str, Any]:
    mine = (number for number, one in backends.items() if not set(pools).isdisjoint(one.pools))
    ids = {*ring.slots, *ring.keeping, *mine}
    return {
        "ring": ring.id,
        "pools": list(pools),
        "digest": ring.digest,
        "moving": ring.moving,
        "backends": [
            {
                **(asdict(backends[number]) if number in backends else {"id": number, "address": ""}),
                "state": _state(backends.get(number), pools, found),
                "slots": ring.slots.get(number, 0),
                "keeping": ring.keeping.get(number, 0),
            }
            for number in sorted(ids, key=lambda number: (number not in backends, number))
        ],
    }


def _state(backend: BackendEntry | None, pools: Sequence[str], found: Pinned) -> str:
    """up, drain, down, unreachable; gone for one that is no more; by pool where the plan says more than one thing."""
    if backend is None:
        return "gone"
    if backend.down:
        return "down"
    if backend.unreachable:
        return "unreachable"
    told = {pool: found.serving(pool, backend.address) or Serving.UP for pool in pools}
    if len(set(told.values())) > 1:
        return ", ".join(f"{serving} in {pool}" for pool, serving in told.items())
    return next(iter(told.values()), Serving.UP).value


def _print(shown: Mapping[str, Any], console: Console) -> None:
    for one in shown["interfaces"]:
        why = "".join(f": {text}" for text in (one["why"], one["mend"]) if text)
        console.print(f"interface   {one['name']} {one['attached']}{why}", highlight=False, markup=False)
    if not shown["interfaces"]:
        console.print("interface   none: no packet comes to the balancer")
    console.print(f"plan        version {shown['plan_version']}", highlight=False)
    table = Table("pool", "VIP", "ring", "QUIC ids", box=None, pad_edge=False)
    for one in shown["vips"]:
        table.add_row(one["pool"] or "-", one["name"], str(one["ring"]), "yes" if one["quic"] else "-")
    console.print(table)
    for ring in shown["rings"]:
        moving = f"; {ring['moving']} slots with flows of an earlier backend" if ring["moving"] else ""
        console.print(f"\nring {ring['ring']}  {ring['digest']}{moving}", highlight=False)
        console.print(_backends(ring["backends"]))


def _backends(backends: list[dict[str, Any]]) -> Table:
    table = Table("backend", "state", "mode", "next hop", "slots", "", "keeps", box=None, pad_edge=False)
    for one in backends:
        hop = f"{one['next_hop'] or 'unknown'} on {one['interface'] or 'no interface'}" if "mode" in one else "-"
        cells = (
            one.get("mode", "-"),
            hop,
            str(one["slots"]),
            f"{one['slots'] / RING_SLOTS:.2%}",
            str(one["keeping"] or "-"),
        )
        table.add_row(one["address"] or f"id {one['id']}", one["state"], *cells)
    return table
