"""`gslb geo ADDR|SUBNET`: database rows, location class, scope, and each policy's order of pools."""

from __future__ import annotations

import argparse
import json
import mmap
import sys
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

from rich.console import Console
from rich.progress import Progress as Bar

from gslb.cli.options import add_config, add_state
from gslb.config.load import load
from gslb.config.problem import Refused
from gslb.geo.describe import PolicyView, Ranked, View, view
from gslb.geo.load import Located, location_table
from gslb.geo.rows import Row, known, rows
from gslb.geo.schema import Location
from gslb.geo.table import LocationTable
from gslb.model.deployment import TYPE_A, TYPE_AAAA, Address, Deployment, Network

_TYPES = {TYPE_A: "A", TYPE_AAAA: "AAAA"}


@dataclass(frozen=True, slots=True)
class _Found:
    """Everything that is printed: what the databases say, what the table says, and remarks."""

    asked: Network
    rows: list[Row]
    location: Location | None
    table: View
    notes: tuple[str, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `gslb geo`."""
    parser.add_argument("client", metavar="ADDR|SUBNET", type=_network, help="a client's address or network")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_config(parser)
    add_state(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print what is known of a client's place."""
    try:
        deployment = load(arguments.config).deployment
        located = _located(deployment, arguments.state / "geography")
        found = _look_up(deployment, located, arguments.client)
    except (Refused, ValueError, OSError) as error:
        print(f"gslb: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps(_as_json(found), indent=2))
    else:
        _print(found)
    return 0


def _network(text: str) -> Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no address and no subnet") from None


def _located(deployment: Deployment, cache: Path) -> Located:
    """The location table, with a progress bar on a terminal where it must be made."""
    console = Console(stderr=True)
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=1.0, visible=False)
        return location_table(
            deployment, cache, lambda step, share: bar.update(task, description=step, completed=share, visible=True)
        )


def _look_up(deployment: Deployment, located: Located, asked: Network) -> _Found:
    address: Address = asked.network_address
    databases = [Path(name).expanduser() for name in deployment.geo.databases]
    present = [path for path in databases if path.exists()]
    # The table takes the base address of each /24 or /56 for all of it, so distances are shown from there.
    bits = deployment.geo.scope4 if address.version == 4 else deployment.geo.scope6
    base = ip_network((address, bits), strict=False).network_address
    place = known(rows(present, base))
    with located.path.open("rb") as file:
        table = LocationTable.from_buffer(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
    notes = located.notes
    if not present:
        notes = (*notes, "no geo database: every client has the configured order, except where a subnet rule matches")
    shown = view(deployment, table, address, place.coordinates if place else None)
    if shown.scope > asked.prefixlen:
        notes = (*notes, f"addresses of {asked} are not all treated alike: this is {shown.network}")
    return _Found(asked, rows(present, address), place, shown, notes)


def _as_json(found: _Found) -> dict[str, object]:
    return {
        "asked": str(found.asked),
        "databases": [
            {
                "file": str(row.database),
                "network": str(row.network),
                **row.location._asdict(),
                "asn": row.location.asn or None,
                "city": row.city,
            }
            for row in found.rows
        ],
        "class": found.table.location_class,
        "classes": found.table.classes,
        "scope": found.table.scope,
        "network": str(found.table.network),
        "looked_up_as_ipv4": found.table.embedded,
        "policies": [
            {
                "policy": policy.policy,
                "rule": policy.rule,
                "condition": policy.condition,
                "continent": policy.continent or None,
                **{
                    _TYPES[rtype]: [{"pool": each.pool, "datacenter": each.datacenter, "km": each.km} for each in order]
                    for rtype, order in policy.orders.items()
                },
            }
            for policy in found.table.policies
        ],
        "notes": list(found.notes),
    }


def _print(found: _Found) -> None:
    print(found.asked)
    for row in found.rows:
        print(f"  {row.database.name}: {row.network} is {_place(row)}")
    if not found.rows:
        print("  no database row")
    shown = found.table
    embedded = ", looked up by the IPv4 address inside" if shown.embedded else ""
    print(
        f"  location class {shown.location_class} of {shown.classes}, scope /{shown.scope} ({shown.network}){embedded}"
    )
    for policy in shown.policies:
        _print_policy(policy)
    for note in found.notes:
        print(f"  note: {note}")


def _print_policy(policy: PolicyView) -> None:
    seen = f", health as seen from {policy.continent}" if policy.continent else ""
    print(f"  policy {policy.policy}: rule {policy.rule + 1} ({policy.condition}){seen}")
    for rtype, order in policy.orders.items():
        print(f"    {_TYPES[rtype]:4}  {', '.join(map(_distance, order)) or 'no pool'}")


def _distance(each: Ranked) -> str:
    return each.pool if each.km is None else f"{each.pool} ({each.km:,.0f} km)"


def _place(row: Row) -> str:
    place = row.location
    parts = [row.city, "-".join(filter(None, (place.continent, place.country, place.subdivision)))]
    if place.coordinates is not None:
        parts.append("({:.4f}, {:.4f})".format(*place.coordinates))
    if place.asn:
        parts.append(f"AS{place.asn}")
    return " ".join(filter(None, parts)) or "of no known place"
