"""`gslb lb capture`: sampled packets of clients to a pcap file."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from gslb.cli.options import operator
from gslb.config.problem import one_of
from xdp.counters import totals
from xdp.pcap import HEADER_OCTETS, MOST_PACKETS, Busy, Wish, capture
from xdp.pinned import NotInForce, Pinned, VipEntry

HELP = "write sampled packets of clients to a pcap file"
LONGEST_S = 3600.0
_PER_S = 1000  # packets written, where --one-in is left out
_HANDED_PER_S = 50_000  # packets from the program: its buffer holds 14 000, and is read 20 times a second
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
    one_in = arguments.one_in or _sampling(found, meant, vips)
    ids = frozenset(one.id for one in meant) if arguments.vip is not None else frozenset[int]()
    what = arguments.vip or "all VIPs"
    with _made(arguments.file) as file:
        print(
            f"gslb: {operator()} captures packets of {what}, one in {one_in}, for {arguments.seconds:g} s, "
            f"to {arguments.file}",
            file=sys.stderr,
        )
        try:
            written = capture(found.maps, found.folder, Wish(ids, one_in, arguments.seconds), file)
        except Busy as error:
            raise NotInForce(str(error)) from error
    full = f" (no more are written than {MOST_PACKETS})" if written == MOST_PACKETS else ""
    print(f"{written} packets{full}")
    return 0


@contextmanager
def _made(path: Path) -> Iterator[BinaryIO]:
    """A new file; where that fails without a packet in it, it is gone afterwards.  Raises NotInForce."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise NotInForce(f"{path} is there already; name another file") from None
    except OSError as error:
        raise NotInForce(f"{path} cannot be written: {error.strerror}; name another file") from error
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
    except BaseException:
        if path.stat().st_size <= HEADER_OCTETS:
            path.unlink()
        raise


def _meant(vips: Sequence[VipEntry], text: str) -> list[VipEntry]:
    """The VIPs that a name, an address or a pool stands for.  Raises NotInForce."""
    found = [one for one in vips if text in (one.name, one.name.split()[0], one.pool)]
    if not found:
        known = {word for one in vips for word in (one.name, one.pool) if word}
        raise NotInForce(f"no VIP {text!r} is in force - {one_of(sorted(known), text)}")
    return found


def _sampling(found: Pinned, meant: Sequence[VipEntry], vips: Sequence[VipEntry]) -> int:
    """One packet of how many, by what comes now.

    The program looks for one VIP or for all: where several of them are meant, it hands over the packets of all.
    """
    first = [_packets(found, of) for of in (meant, vips)]
    time.sleep(_LOOK_S)
    written, all_ = ((_packets(found, of) - before) / _LOOK_S for of, before in zip((meant, vips), first, strict=True))
    handed = written if len(meant) == 1 else all_
    return max(1, round(written / _PER_S), round(handed / _HANDED_PER_S))


def _packets(found: Pinned, vips: Sequence[VipEntry]) -> int:
    """How many packets these VIPs had until now."""
    pools = totals(found.maps, found.names(list(vips), {}), 0.0).vips.values()
    return sum(count.packets for pool in pools for count in pool.values())


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
