"""The image of each generation: made from the files that are published beside it.  IO.

Rule 1: a generation without an image is served as well, by the workers' reference: whatever keeps an image from being made keeps no
plan from the workers.
Rule 2: what an image leaves out is said once, until it changes.
"""

from __future__ import annotations

import logging
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gslb.geo.table import LocationTable
from gslb.nameserver.generation import File, Publisher, UnusableGeneration, map_file, read_file
from gslb.nameserver.image import ImageBuilder, split
from gslb.nameserver.table import Tables

log = logging.getLogger("gslb.node")


def told(serving: Path, file: File | None) -> dict[str, Any] | None:
    """What an image holds, for `gslb status`: its octets, and what is left out of it.  None where there is no readable one.

    It is not compared with its digest: whoever answers from it does that.
    """
    if file is None:
        return None
    try:
        with (serving / file.name).open("rb") as stream:
            image, legend = split(memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)))
    except (OSError, ValueError):
        return None
    return {"octets": len(image), "left_out": dict(legend.left_out)}


class Images:
    """Images in the serving folder `folder`, stored by its publisher."""

    def __init__(self, folder: Path, publisher: Publisher) -> None:
        self._folder = folder
        self._publisher = publisher
        self._builder = ImageBuilder()
        self._made: tuple[tuple[File, File, File], File | None] | None = None
        self._names: tuple[File, bytes] | None = None
        self._location: tuple[File, LocationTable, mmap.mmap] | None = None
        self._left_out: Mapping[str, int] = {}
        self._why = ""

    def of(self, geography: File, names: File, plan: File) -> File | None:
        """The image of these stored files; None where it cannot be made, which the log says."""
        key = geography, names, plan
        if self._made is None or self._made[0] != key:
            self._made = key, self._make(*key)
        return self._made[1]

    def forget(self) -> None:
        """Write the image again, since its file may be damaged."""
        self._made = None

    def _make(self, geography: File, names: File, plan: File) -> File | None:
        try:
            content = self._names_of(names), read_file(self._folder, plan)
            tables = Tables.load(*content, self._location_of(geography))
            image = self._builder.build(tables)
            file = self._publisher.store("image", image.octets, str(tables.version))
        except (UnusableGeneration, ValueError, OSError, MemoryError) as error:
            if str(error) != self._why:
                self._why = str(error)
                log.warning(
                    "no image for executors in C: workers answer all by the reference", extra={"why": self._why}
                )
            return None
        self._why = ""
        if image.left_out != self._left_out:
            self._left_out = image.left_out
            if image.left_out:
                said = ", ".join(f"{count} {what}" for what, count in sorted(image.left_out.items()))
                log.warning("some is not in the image for executors in C: workers answer it", extra={"left out": said})
        return file

    def _names_of(self, file: File) -> bytes:
        if self._names is None or self._names[0] != file:
            self._names = file, read_file(self._folder, file)
        return self._names[1]

    def _location_of(self, file: File) -> LocationTable:
        if self._location is None or self._location[0] != file:
            mapped = map_file(self._folder, file)
            self._location = file, LocationTable.from_buffer(memoryview(mapped)), mapped
        return self._location[1]
