"""What is counted in the driver -> a scoreboard and a demand page, as if a worker had answered there.  IO.

Rule 1: the kernel counts on with every process dead.  What was taken is kept beside the pages (`xdp.taken`), so that whoever comes
next takes the rest and nothing twice.
Rule 2: what was counted while nobody looked tells how much was answered, and not what the demand is now.
Rule 3: what counters mean is read when their image is published: where plans follow quickly its file is gone before they are taken.
"""

from __future__ import annotations

import logging
import os
from array import array
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgpack

from gslb.dnslayout import DnsImage
from gslb.geo.table import UnreadableTable
from gslb.nameserver import demand, scoreboard
from gslb.nameserver.blocks import Counted
from gslb.nameserver.counters import Counter
from gslb.nameserver.demand import DemandPage
from gslb.nameserver.generation import File, UnusableGeneration, map_file
from gslb.nameserver.given import Given
from gslb.nameserver.image import split
from gslb.nameserver.legend import Legend
from gslb.nameserver.overlimit import OverLimit
from gslb.nameserver.scoreboard import Kind, Scoreboard
from xdp.messages import Block

TAKEN = "xdp.taken"
IMAGES_KEPT = 4  # of which it is known what was taken
LEGENDS_KEPT = 32  # plans that may come and go between two looks at the counts
_NAME = "xdp-"

Numbers = dict[int, int]

log = logging.getLogger("gslb.node")


@dataclass(frozen=True, slots=True)
class _Image:
    digest: str
    version: int  # of the plan
    counted: Counted
    given: Given


class KernelCounts:
    """The counts of the driver of one node, from folder `run`; images are found in `serving`."""

    def __init__(self, run: Path, serving: Path) -> None:
        """Pages of an earlier controller are added to those of the retired."""
        self._run = run
        self._serving = serving
        self._counts = [0] * len(Counter)
        self._over_limit = OverLimit(log)
        self._image: _Image | None = None
        self._legends: dict[str, tuple[Legend, int]] = {}  # by digest, with the version of the plan; the newest last
        self._board: Scoreboard | None = None
        self._page = DemandPage(run / f"{_NAME}{os.getpid()}{demand.SUFFIX}")
        self._taken = _read_taken(run / TAKEN)
        for path in sorted(run.glob(f"{_NAME}*{scoreboard.SUFFIX}")):
            scoreboard.retire(run, path)
        for path in sorted(run.glob(f"{_NAME}*{demand.SUFFIX}")):
            demand.retire(run, path)

    def expect(self, file: File | None) -> None:
        """This image is published: blocks of it may come, also when its file is gone."""
        if file is None or file.digest in self._legends:
            return
        found = self._read(file.digest)
        if found is not None:
            last = next(reversed(self._legends.values()), found)[0]
            self._legends[file.digest] = (last if last == found[0] else found[0]), found[1]  # most plans change none
        for old in list(self._legends)[:-LEGENDS_KEPT]:
            del self._legends[old]

    def take(self, blocks: Iterable[Block], now: float) -> None:
        """Add what is new, and show all; `now` is monotonic.  Blocks of images that are no longer there are left."""
        taken = False
        for block in blocks:
            numbers = dict(zip(array("I", block.indexes), array("Q", block.counts), strict=True))
            taken = self._take(block.image, numbers) or taken
        if not taken or self._image is None:
            return
        counted = self._image.counted
        if self._board is None:
            self._board = Scoreboard(self._run / f"{_NAME}{os.getpid()}{scoreboard.SUFFIX}", Kind.XDP, 0)
        self._board.serving(0, self._image.version)
        self._board.show(self._counts, counted.ups, counted.qtypes)
        self._page.show(self._image.given, now)
        self._over_limit.look(self._counts, "", now)
        _write_taken(self._run / TAKEN, self._taken)

    def close(self) -> None:
        """Let go of the pages; they stay."""
        self._page.close(self._image.given if self._image is not None else None)
        if self._board is not None:
            self._board.close()

    def _take(self, digest: str, numbers: Numbers) -> bool:
        first = self._image is None
        image = self._image_of(digest, numbers)
        if image is None:
            return False
        image.counted.add_some(numbers)
        if first:
            for cells in image.given.cells.values():
                cells[:] = [0] * len(cells)  # rule 2
        self._taken.pop(digest, None)
        self._taken[digest] = numbers
        for old in list(self._taken)[:-IMAGES_KEPT]:
            del self._taken[old]
        return True

    def _image_of(self, digest: str, numbers: Numbers) -> _Image | None:
        before = self._image
        if before is not None and before.digest == digest:
            return before
        found = self._legends.get(digest) or self._read(digest)
        if found is None:
            return None
        legend, version = found
        given = Given(legend.geography, {cells.policy for cells in legend.cells})
        if before is not None:
            given.go_on(before.given)
            self._taken.pop(before.digest, None)  # should it come again, it begins anew
        more = (before.counted.ups, before.counted.qtypes) if before is not None else (None, None)
        counted = Counted(legend, self._counts, given, Counter.XDP, *more)
        known = self._taken.get(digest, {})
        if all(numbers.get(place, 0) >= count for place, count in known.items()):  # else it has begun anew
            counted.known(known)
        self._image = _Image(digest, version, counted, given)
        return self._image

    def _read(self, digest: str) -> tuple[Legend, int] | None:
        """The legend of an image, and the version of its plan."""
        for path in self._serving.glob(f"image-*-{digest}"):
            with suppress(OSError, UnusableGeneration, UnreadableTable):
                image, legend = split(memoryview(map_file(self._serving, File(path.name, path.stat().st_size, digest))))
                return legend, DnsImage.from_buffer_copy(image).version
        return None


def _read_taken(path: Path) -> dict[str, Numbers]:
    try:
        found = msgpack.unpackb(path.read_bytes(), strict_map_key=False)
        return {str(digest): {int(at): int(count) for at, count in numbers} for digest, numbers in found}
    except (OSError, ValueError, TypeError):
        return {}


def _write_taken(path: Path, taken: Mapping[str, Numbers]) -> None:
    """On a full disk it stays as it was: then the next controller counts some twice."""
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.write_bytes(msgpack.packb([[digest, list(numbers.items())] for digest, numbers in taken.items()]))
        beside.replace(path)
    except OSError:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
