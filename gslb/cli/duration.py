"""Times as people say them.  Pure."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """`3 d`, `2 h`, `5 min`, `7 s`."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
