"""The native executor as a worker has it: over the generation that is served, its counts among the worker's.  IO: a library.

Rule 1: without it (no library, another layout, no image) the reference answers everything, and the worker says why.
Rule 2: what it counted is added up before the generation changes, since counts go on from one to the next.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from gslb.geo.table import UnreadableTable
from gslb.nameserver.blocks import Counted
from gslb.nameserver.counters import Counter
from gslb.nameserver.follower import Follower
from gslb.nameserver.guard import Buckets
from gslb.nameserver.image import split
from gslb.nameserver.native import Native, NoNative, opened
from gslb.nameserver.scoreboard import Executor

log = logging.getLogger("gslb.worker")


class Core:
    """One worker's native executor; `native` is None where the reference answers all, and `executor` says which and why."""

    def __init__(self, library: Path | None, buckets: Buckets | None = None) -> None:
        """Without a `library` there is none."""
        self.native: Native | None = None
        self.executor = Executor.PYTHON
        self._buckets = buckets
        self._library = None
        self._counted: Counted | None = None
        if library is None:
            return
        try:
            self._library = opened(library)
        except NoNative as error:
            self.executor = error.executor
            log.info("answering in Python", extra={"pid": os.getpid(), "why": str(error)})

    @property
    def ups(self) -> Sequence[int]:
        """What went to the reference, by reason."""
        return self._counted.ups if self._counted is not None else ()

    @property
    def qtypes(self) -> Sequence[int]:
        """What was answered, by type."""
        return self._counted.qtypes if self._counted is not None else ()

    @property
    def limited(self) -> str:
        """The client that was over the limit last; empty: nobody was."""
        return self.native.limited if self.native is not None else ""

    def settle(self) -> None:
        """Add what was counted since the last time to the counts that are shown."""
        if self.native is not None and self._counted is not None:
            self._counted.add(self.native.counts)

    def follow(self, follower: Follower) -> None:
        """Answer from what `follower` serves now; `settle` was called before it changed."""
        before, self.native = self.native, None
        if self._library is not None and follower.answers is not None:
            try:
                self._open(follower)
            except (UnreadableTable, NoNative) as error:
                self.executor = Executor.UNFIT
                log.warning("answering in Python", extra={"pid": os.getpid(), "why": str(error)})
        if before is not None:
            before.close()

    def _open(self, follower: Follower) -> None:
        answers, geography = follower.answers, follower.geography
        assert self._library is not None
        assert answers is not None
        if follower.image is None or geography is None:
            self.executor = Executor.NO_IMAGE
            return
        image, legend = split(memoryview(follower.image))
        if legend.geography != answers.given.geography:
            raise NoNative(f"an image for the location table {legend.geography}, expected {answers.given.geography}")
        words = self._buckets.words if self._buckets is not None else None
        native = Native(self._library, image, memoryview(geography), words)
        kept = self._counted
        lists = (kept.ups, kept.qtypes) if kept is not None else (None, None)
        self._counted = Counted(legend, answers.counts, answers.given, Counter.NATIVE, *lists)
        self.native = native
        self.executor = Executor.NATIVE
