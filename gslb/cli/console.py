"""Where commands print their tables."""

from __future__ import annotations

import sys

from rich.console import Console

_WIDE = 10_000  # columns where nobody looks: a line stays a line for grep and awk


def console() -> Console:
    """Standard output: as wide as the terminal, and unbroken where it is none."""
    return Console(width=None if sys.stdout.isatty() else _WIDE)
