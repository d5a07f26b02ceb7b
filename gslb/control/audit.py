"""The audit log of a node: who changed what and why, as JSON lines in its state folder, rotated by size.  IO.

Rule: writing never blocks the controller.  A thread writes; when it cannot keep up, lines are lost and counted.
"""

from __future__ import annotations

import io
import json
import logging
import os
import queue
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

NAME = "audit.jsonl"
_BYTES = 10 << 20  # of one file
_FILES = 5  # that are kept beside the current one
_WAITING = 10_000  # lines
_END_S = 2.0

log = logging.getLogger("gslb.audit")


class AuditLog:
    """The log in one folder."""

    def __init__(self, folder: Path, file_bytes: int = _BYTES, waiting: int = _WAITING) -> None:
        self._queue: queue.Queue[str | None] = queue.Queue(waiting)  # None is the end
        self._file = _File(folder / NAME, file_bytes)
        self._lost = 0
        self._thread = threading.Thread(target=self._drain, name="audit", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Lines that are not written yet."""
        return self._queue.qsize()

    def write(self, at: float, body: Mapping[str, object]) -> None:
        """Add a line: `at` in seconds since the epoch, and JSON values."""
        line = json.dumps({"time": moment_text(at), **body}, ensure_ascii=True)
        try:
            self._queue.put_nowait(line)
        except queue.Full:
            if not self._lost:
                log.error("the audit log cannot keep up; changes are missing from it", extra={"file": self._file.path})
            self._lost += 1
            return
        if self._lost and self._queue.qsize() <= self._queue.maxsize // 2:
            log.warning("the audit log keeps up again", extra={"lost": self._lost})
            self._lost = 0

    def close(self) -> None:
        """Write what waits, and close the file; a disk that hangs is not waited for."""
        with suppress(queue.Full):
            self._queue.put_nowait(None)
        self._thread.join(_END_S)
        if not self._thread.is_alive():
            self._file.close()

    def _drain(self) -> None:
        while (line := self._queue.get()) is not None:
            self._file.handle(logging.makeLogRecord({"msg": line}))


class _File(RotatingFileHandler):
    """A file for its owner alone, opened at the first line; a disk that is full is said once."""

    def __init__(self, path: Path, file_bytes: int) -> None:
        super().__init__(path, maxBytes=file_bytes, backupCount=_FILES, encoding="ascii", delay=True)
        self.path = path
        self._failing = False
        self._why = ""

    def createLock(self) -> None:  # type: ignore[explicit-override]  # noqa: N802
        """None: one thread writes, and the end of the process must not wait for it (`logging.shutdown`)."""
        self.lock = None

    def _open(self) -> TextIOWrapper:  # type: ignore[explicit-override]  # typing.override comes with 3.12
        return TextIOWrapper(io.BufferedWriter(io.FileIO(self.path, "a", opener=_private)), "ascii")

    def emit(self, record: logging.LogRecord) -> None:  # type: ignore[explicit-override]
        """Write one line."""
        failing, self._failing = self._failing, False
        super().emit(record)  # calls handleError where it fails
        if failing and not self._failing:
            log.info("the audit log is written again", extra={"file": self.path})
        elif self._failing and not failing:
            log.error("the audit log cannot be written", extra={"file": self.path, "why": self._why})

    def handleError(self, record: logging.LogRecord) -> None:  # type: ignore[explicit-override]  # noqa: N802, ARG002
        """Remember why; the line is lost."""
        error = sys.exc_info()[1]
        self._why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        self._failing = True
        stream, self.stream = self.stream, None  # as the superclass does when it is closed
        if stream is not None:
            _drop(stream)


def _drop(stream: TextIOWrapper) -> None:
    """Close a stream whose rest cannot be written: it would be tried again with each line."""
    try:
        stream.close()
    except OSError:
        return


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def moment_text(at: float) -> str:
    """`2026-11-23T03:04:05.678Z`."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
