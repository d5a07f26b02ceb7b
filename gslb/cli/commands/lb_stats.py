"""`gslb lb stats`: what each VIP and backend does in a second, and what becomes of packets that reach none."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from rich.console import Console
from rich.table import Table

from gslb.cli.balancer_text import active_text
from gslb.cli.console import console as stdout
from gslb.control.passive import Active
from gslb.control.rates import Counts, Rates, active_state
from xdp.counters import totals
from xdp.messages import Count, Pulse
from xdp.pinned import Pinned

HELP = "show packets, bits and connections a second, by VIP and backend, and events such as drops"
PERIOD_S = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `gslb lb stats`."""
    parser.add_argument("--json", action="store_true", help="print JSON; with --watch a line each second")
    parser.add_argument("--watch", action="store_true", help="show it anew every second, until Ctrl-C")


def run(arguments: argparse.Namespace, found: Pinned) -> int:
    """Count for a second and print."""
    console = stdout()
    rates, last = Rates(), _read(found)
    rates.take(last)
    while True:
        time.sleep(PERIOD_S)
        now = _read(found)
        rates.take(now)
        shown = _rates(rates, last, now)
        if arguments.json:
            print(json.dumps(shown, indent=None if arguments.watch else 2), flush=True)
        else:
            if arguments.watch and sys.stdout.isatty():
                console.clear()
            _print(shown, console)
        if not arguments.watch:
            return 0
        last = now


def _read(found: Pinned) -> Pulse:
    """What was counted until now; VIPs and backends may change from one time to the next.

    A backend of several pools is counted for all of them together.
    """
    names = found.names(found.vips(), found.backends())
    once = {
        number: ((", ".join(pool for pool, _ in owners), owners[0][1]),) for number, owners in names.backends.items()
    }
    names, now = replace(names, backends=once), time.monotonic()
    vips, backends = found.active(names, now)
    return replace(totals(found.maps, names, now), active_vips=vips, active_backends=backends)


def _rates(rates: Rates, last: Pulse, now: Pulse) -> dict[str, Any]:
    events = {name: number - last.events.get(name, 0) for name, number in now.events.items()}
    return {
        "seconds": round(rates.seconds, 3),
        "vips": _rows(rates, rates.vips, now.active_vips),
        "backends": _rows(rates, rates.backends, now.active_backends),
        "events": {
            name: {"per_s": round(events[name] / rates.seconds, 1), "total": now.events[name]} for name in events
        },
    }


def _rows(rates: Rates, counts: Counts, active: Active) -> list[dict[str, Any]]:
    return [
        {"pool": pool, "name": name, **_figures(rates, count), **active_state(active[pool][name])}
        for pool, found in counts.items()
        for name, count in found.items()
    ]


def _figures(rates: Rates, count: Count) -> dict[str, Any]:
    seen = count.resent_syns + count.handshakes
    figures = {f"{key}_per_s": round(value, 1) for key, value in asdict(rates.rate(count)).items()}
    return {**figures, "resent": round(count.resent_syns / seen, 4) if seen else None}


def _print(shown: Mapping[str, Any], console: Console) -> None:
    for kind in ("vips", "backends"):
        table = Table("pool", kind[:-1].replace("vip", "VIP"), box=None, pad_edge=False)
        for column in ("packets/s", "Mbit/s", "SYNs/s", "connections/s", "active", "SYNs again"):
            table.add_column(column, justify="right")
        for one in shown[kind]:
            bits = f"{one['octets_per_s'] * 8 / 1e6:,.2f}"
            again = "-" if one["resent"] is None else f"{one['resent']:.1%}"
            rates = (f"{one[name]:,.0f}" for name in ("syns_per_s", "connections_per_s"))
            figures = (
                f"{one['packets_per_s']:,.0f}",
                bits,
                *rates,
                active_text(one["active"], one["active_error"]),
                again,
            )
            table.add_row(one["pool"] or "-", one["name"], *figures)
        console.print(table)
        console.print()
    table = Table("event", box=None, pad_edge=False)
    for column in ("a second", "in all"):
        table.add_column(column, justify="right")
    for name, one in shown["events"].items():
        if one["total"]:
            table.add_row(name, f"{one['per_s']:,.0f}", f"{one['total']:,}")
    console.print(table)
