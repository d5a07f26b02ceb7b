"""What is wrong with stored JSON, in words for people and never longer than a line.  Pure."""

from __future__ import annotations

import json

_SHOWN = 60  # characters of a value that a message repeats


def defect(error: Exception) -> str:
    """What an exception of reading JSON means for the one who looks at the file."""
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno} column {error.colno}: not JSON"
    if isinstance(error, UnicodeDecodeError):
        return "not UTF-8 text"
    if isinstance(error, UnicodeError):
        return "a text holds half a character"
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, KeyError):
        return f"the field {shown(error.args[0])} is missing"
    return "a value is not of the kind expected in its place"


def shown(value: object) -> str:
    """A value as a message repeats it: in quotes if it is a text, and cut where it is long."""
    text = repr(value[:_SHOWN] if isinstance(value, str) else value)
    return text if len(text) <= 2 * _SHOWN else f"{text[: 2 * _SHOWN]}..."
