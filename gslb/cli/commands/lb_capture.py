"""`gslb lb capture`: sampled packets of clients to a pcap file."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from gslb.cli.options import operator
from gslb.config.problem import one_of
from xdp.counters import totals
from xdp.pcap import MOST_PACKETS, Busy, Wish, capture
from xdp.pinned import NotInForce, Pinned, VipEntry

HELP = "write sampled packets of clients to a pcap file"
LONGEST_S = 3600.0
_PER_S = 1000  # packets, where --one-in is left out
_LOOK_S = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `gslb lb capture`."""
    parser.add_argument("file", metavar="FILE", type=Path, help="the pcap file; it must not be there yet")
    parser.add_argument("--vip", metavar="VIP", help='of one VIP ("192.0.2.10 tcp/80"), address or pool; else of all')
    most = f"one packet of N; else so many that about {_PER_S} a second are written"
    parser.add_argument("--one-in", metavar="N", type=_number, help=most)
    parser.add_argument("--seconds", metavar="S", type=_seconds, default=10.0, help="for how long (10)")


def run(arguments: argparse.Namespace, found: Pinned) -> int:
    """Capture, and say how much; 1 where it cannot be."""
    vips = [one for one in found.vips() if one.ring]
    meant = _meant(vips, arguments.vip) if arguments.vip is not None else vips
    one_in = arguments.one_in or _sampling(found, meant)
    ids = frozenset(one.id for one in meant) if arguments.vip is not None else frozenset[int]()
    what = arguments.vip or "all VIPs"
    try:
        with os.fdopen(os.open(arguments.file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            print(
                f"gslb: {operator()} captures packets of {what}, one in {one_in}, for {arguments.seconds:g} s, "
                f"to {arguments.file}",
                file=sys.stderr,
            )
            written = capture(found.maps, found.folder, Wish(ids, one_in, arguments.seconds), file)
    except FileExistsError:
        raise NotInForce(f"{arguments.file} is there already; name another file") from None
    except Busy as error:
        arguments.file.unlink()
        raise NotInForce(str(error)) from error
    full = f" (no more are written than {MOST_PACKETS})" if written == MOST_PACKETS else ""
    print(f"{written} packets{full}")
    return 0


def _meant(vips: Sequence[VipEntry], text: str) -> list[VipEntry]:
    """The VIPs that a name, an address or a pool stands for.  Raises NotInForce."""
    found = [one for one in vips if text in (one.name, one.name.split()[0], one.pool)]
    if not found:
        known = {word for one in vips for word in (one.name, one.pool) if word}
        raise NotInForce(f"no VIP {text!r} is in force - {one_of(sorted(known), text)}")
    return found


def _sampling(found: Pinned, vips: Sequence[VipEntry]) -> int:
    """One packet of how many, by what comes now."""
    names = found.names(list(vips), {})
    seen: list[int] = []
    for _ in range(2):
        if seen:
            time.sleep(_LOOK_S)
        pools = totals(found.maps, names, 0.0).vips.values()
        seen.append(sum(count.packets for pool in pools for count in pool.values()))
    return max(1, round((seen[1] - seen[0]) / _LOOK_S / _PER_S))


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) < 1 << 32:
        raise argparse.ArgumentTypeError(f"{text!r} - expected a number from 1 on")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text!r} - expected seconds, more than 0 and at most {LONGEST_S:g}")
    return seconds
