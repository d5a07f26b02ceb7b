"""What a target said, as a message may repeat it: short, and with nothing that a terminal could act on.  Pure."""

from __future__ import annotations


def shown(text: str, most: int) -> str:
    """The first `most` characters, `?` for each that cannot be printed."""
    return "".join(char if char.isprintable() else "?" for char in text[:most])


def shown_octets(data: bytes) -> str:
    """Octets, escaped as Python does."""
    return data.decode("latin-1").encode("unicode_escape").decode("ascii")
