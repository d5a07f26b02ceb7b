"""Log lines: `key=value` for people and grep, or one JSON object a line.  To standard error; nothing per query.

Fields are given by `extra={...}`: `log.info("plan in force", extra={"version": 7})`.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Mapping

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Logfmt(logging.Formatter):
    """`2026-11-23T03:04:05.678Z info gslb.node: plan in force version=7`."""

    def format(self, record: logging.LogRecord) -> str:  # type: ignore[explicit-override]  # typing.override comes with 3.12
        """One line, and a traceback below it where there is one."""
        fields = "".join(f" {key}={_quoted(value)}" for key, value in fields_of(record).items())
        line = f"{_moment(record)} {record.levelname.lower()} {record.name}: {record.getMessage()}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:  # type: ignore[explicit-override]
        """One line."""
        entry: dict[str, object] = {
            "time": _moment(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def open_journal(style: str, level: int = logging.INFO) -> None:
    """Log everything of `level` and above to standard error, in style `text` or `json`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if style == "json" else Logfmt())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    logging.raiseExceptions = False  # a worker outlives whoever read its standard error
    for chatty in ("asyncio", "watchfiles"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def fields_of(record: logging.LogRecord) -> Mapping[str, object]:
    """What `extra` added to the record."""
    return {key: value for key, value in vars(record).items() if key not in _STANDARD and value is not None}


def _moment(record: logging.LogRecord) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{record.msecs:03.0f}Z"


def _quoted(value: object) -> str:
    text = str(value)
    plain = text and not any(character in ' "=\\' or not character.isprintable() for character in text)
    return text if plain else json.dumps(text)
