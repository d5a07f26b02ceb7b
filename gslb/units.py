"""Quantities as people write them ("5s", "80%", "5%/min") and as the program holds them.  Pure.

Rule 1: these spellings are parsed and printed here and nowhere else.
Inside the program times are seconds, shares are 0..1, and the rate of a share is per second.
"""

from __future__ import annotations

import re

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER = r"\d{1,9}(?:\.\d{1,6})?"  # bounded, so that no text makes an infinite float
_PART = re.compile(rf"({_NUMBER})(ms|min|s|m|h|d)")
_DURATION = re.compile(rf"(?:{_NUMBER}(?:ms|min|s|m|h|d)){{1,6}}")
_SHARE = re.compile(rf"({_NUMBER})%")
_SHARE_RATE = re.compile(rf"({_NUMBER})%/(s|m|min|h|d)")


def seconds(text: str) -> float:
    """Seconds of a duration such as `500ms`, `5s`, `1h30m`.  Raises ValueError."""
    if not _DURATION.fullmatch(text):
        raise ValueError("a duration such as 500ms, 5s, 2h or 1h30m")
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))


def share(text: str) -> float:
    """A share 0..1 of a percentage such as `80%`.  Raises ValueError, also above 100%."""
    match = _SHARE.fullmatch(text)
    if not match or float(match[1]) > 100:
        raise ValueError("a percentage from 0% to 100%")
    return float(match[1]) / 100


def share_rate(text: str) -> float:
    """A share per second of a text such as `5%/min`.  Raises ValueError."""
    match = _SHARE_RATE.fullmatch(text)
    if not match:
        raise ValueError("a share per time such as 5%/min")
    return float(match[1]) / 100 / _SECONDS[match[2]]


def seconds_text(value: float) -> str:
    """The duration `value` in the largest units that fit, to the millisecond: `1h30m`, `5s`, `500ms`."""
    rest = round(value * 1000)
    parts: list[str] = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def share_text(value: float) -> str:
    """The share `value` as a percentage with at most two decimals: `80%`."""
    return f"{value * 100:.2f}".rstrip("0").rstrip(".") + "%"
