"""What `gslb status` says of the executor in the workers: native or Python, and why.  Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_BUILD = "`python -m xdp.build` makes it"
WORDS = {
    "native": "natively, what is unusual in Python",
    "python": "in Python",
    "no_library": f"in Python: libgslb.so is not built, or not for this machine; {_BUILD}",
    "other_layout": f"in Python: libgslb.so is of another version than the rest; {_BUILD}",
    "no_image": "in Python: this generation has no whole image (the log says why)",
    "unfit": "in Python: the image does not fit together (the log says why)",
}


def executor_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """One line of a report, none where no UDP worker lives."""
    living = [one["executor"] for one in found["workers"] if one["alive"] and one["kind"] == "udp"]
    said = dict.fromkeys(WORDS[executor] for executor in living)
    if said:
        yield f"workers     answer {'; others '.join(said)}"
