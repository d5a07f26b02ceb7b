"""How long work reports where it is; the caller draws it."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, float], None]  # what is being done, and the share (0..1) of that step


def silent(step: str, share: float) -> None:
    """Progress that nobody watches."""
