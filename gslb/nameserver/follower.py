"""Following the generation in force: what a worker answers from, changed between two turns.  IO.

A generation that does not fit (damaged, older, another deployment's) is refused: the worker keeps what it has, counts
it and says so.  A worker that has nothing yet takes the newest older generation instead.
"""

from __future__ import annotations

import logging
import mmap
from pathlib import Path
from typing import Protocol

from gslb.nameserver import generation
from gslb.nameserver.generation import Current, Manifest, UnusableGeneration
from gslb.nameserver.given import Given
from gslb.nameserver.scoreboard import Scoreboard, Tally

RETRY_S = 30.0  # a refusal may have been for want of memory or descriptors

log = logging.getLogger("gslb.worker")


class Answers(Protocol):
    """What turns a query into a reply (`gslb.nameserver.answer.Responder`); None: stay silent."""

    counts: list[int]
    given: Given

    @property
    def limited(self) -> str:
        """The client that was over the limit last; empty: nobody was."""

    def udp(self, query: bytes, source: str, /) -> bytes | None:
        """Answer a datagram."""

    def tcp(self, query: bytes, source: str, /) -> bytes | None:
        """Answer a message of a stream."""


class Maker(Protocol):
    """Makes answers of one generation's content.  Raises ValueError where the content does not fit together."""

    def __call__(self, names: bytes, plan: bytes, geography: mmap.mmap, digest: str, /) -> Answers:
        """`digest` names the geography's file, so that an unchanged one need not be opened again."""


class Follower:
    """The answers of the newest usable generation; with `images` also its image, where it has one that is whole."""

    def __init__(self, folder: Path, deployment: str, make: Maker, board: Scoreboard, *, images: bool = False) -> None:
        """Map `current`.  Raises OSError, UnusableGeneration."""
        self._folder = folder
        self._deployment = deployment
        self._make = make
        self._board = board
        self._current = Current(folder)
        self._manifest: Manifest | None = None
        self._images = images
        self._retry_at_s: float | None = None
        self.word = self._current.word
        self.seen = 0  # the number that was looked at last, served or refused
        self.answers: Answers | None = None
        self.geography: mmap.mmap | None = None
        self.image: mmap.mmap | None = None  # with its legend (`gslb.nameserver.image.split`)

    def follow(self, now: float) -> bool:
        """Serve the generation in force; True when the answers changed.  Never raises for what is on the disk."""
        before = self.answers
        while (number := self._current.number) != self.seen:
            self.seen = number
            if self._take(number, now) or self.answers is not None:
                continue
            any(self._take(older, now) for older in generation.fallbacks(self._folder, number))
        return self.answers is not before

    def look_around(self, now: float) -> None:
        """Follow the file that now stands in `current`'s place, and have a refused generation looked at again when it is
        time.  `word` may be another one afterwards.
        """
        if not self._current.in_place:
            self._remap()
        if self._retry_at_s is not None and now >= self._retry_at_s:
            self._retry_at_s = None
            self.seen = 0

    def _remap(self) -> None:
        try:
            fresh = Current(self._folder)
        except (OSError, UnusableGeneration):  # whoever publishes writes it again
            return
        self._current.close()
        self._current, self.word = fresh, fresh.word
        log.warning("another file says which generation is in force", extra={"generation": fresh.number})

    def close(self) -> None:
        """Let go of `current`."""
        self._current.close()

    def _take(self, number: int, now: float) -> bool:
        try:
            manifest = generation.read_manifest(self._folder, number, self._deployment)
            self._load(manifest)
        except (UnusableGeneration, ValueError, OSError, MemoryError) as error:
            if self._current.number != number and isinstance(error, UnusableGeneration):
                return False  # swept away while we looked: the newer one is next
            self._retry_at_s = now + RETRY_S
            self._board.tallies[Tally.GENERATION_REFUSED] += 1
            kept = self._manifest.generation if self._manifest else None
            log.error("generation refused", extra={"generation": number, "why": str(error), "kept": kept})
            return False
        self._manifest = manifest
        self._retry_at_s = None
        self._board.serving(number, manifest.plan_version)
        return True

    def _load(self, manifest: Manifest) -> None:
        held = self._manifest
        if held is not None and manifest.plan_version < held.plan_version:
            raise UnusableGeneration(f"its plan is version {manifest.plan_version}, older than {held.plan_version}")
        geography = self.geography
        if geography is None or held is None or manifest.geography != held.geography:
            geography = generation.map_file(self._folder, manifest.geography)
        names = generation.read_file(self._folder, manifest.names)
        plan = generation.read_file(self._folder, manifest.plan)
        answers = self._make(names, plan, geography, manifest.geography.digest)
        if self.answers is not None:
            answers.counts[:] = self.answers.counts
            answers.given.go_on(self.answers.given)
        self.answers, self.geography, self.image = answers, geography, self._image_of(manifest)

    def _image_of(self, manifest: Manifest) -> mmap.mmap | None:
        """The image of a generation that is served; without it the reference answers all."""
        if manifest.image is None or not self._images:
            return None
        try:
            return generation.map_file(self._folder, manifest.image)
        except (UnusableGeneration, OSError, MemoryError) as error:
            log.warning("image refused", extra={"generation": manifest.generation, "why": str(error)})
            return None
