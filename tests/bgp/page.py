"""What docs/anycast.md gives people to copy."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/anycast.md"
PASSWORD = "change-me"  # of all routers there
SESSION = {"password": PASSWORD, "gtsm": True}  # what a node needs to speak with them


def snippet(heading: str, number: int = 0) -> str:
    """The `number`th block of code under a heading, whatever its level."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", _unfenced(PAGE.read_text()), re.M | re.S)
    assert found is not None, f"docs/anycast.md has no heading {heading!r}"
    blocks = re.findall(r"^```\w*\n(.*?)^```", found[1].replace("\0", "#"), re.M | re.S)
    assert len(blocks) > number, f"docs/anycast.md has {len(blocks)} blocks under {heading!r}"
    return str(blocks[number])


def _unfenced(text: str) -> str:
    """The page with every # of a block hidden: comments there are no headings."""
    return re.sub(r"^```.*?^```", lambda block: block[0].replace("#", "\0"), text, flags=re.M | re.S)
