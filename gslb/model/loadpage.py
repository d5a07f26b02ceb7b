"""The number that a page of load holds: JSON by a path, or the Prometheus text format by a series.  Pure.

Rule 1: whatever a page holds, the result is a number from 0 to MOST or Unreadable with a reason for people.
Rule 2: a path is `$` and then `.name`, `['name']` or `[0]`, at most STEPS of them: no search, no filter.
Sources: RFC 9535 (JSONPath; a subset), Prometheus exposition formats (text format 0.0.4).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from gslb.model.unreadable import defect, shown

MOST = 1e12  # as the most that a capacity may be
STEPS = 32
LABELS = 64  # of one series

Path = tuple[str | int, ...]
_STEP = re.compile(r"""\.([A-Za-z_][\w-]*)|\[(\d{1,9})\]|\[(?:'([^'\\]+)'|"([^"\\]+)")\]""")
_NAME = re.compile(r"[A-Za-z_:][\w:]*", re.ASCII)
_LABEL = re.compile(r'\s*([A-Za-z_]\w*)\s*=\s*"((?:[^"\\\n]|\\.)*)"\s*(?:,|(?=\}))', re.ASCII)
_ESCAPED = re.compile(r"\\(.)")


class Unreadable(ValueError):
    """The page does not hold the number; the text says why."""


@dataclass(frozen=True, slots=True)
class Series:
    """A metric's name, and labels that a series must have."""

    name: str
    labels: frozenset[tuple[str, str]] = frozenset()


def load_value(value: object) -> float:
    """A reading of load.  Raises Unreadable for what is no finite number from 0 to MOST."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unreadable(f"{shown(value)} is no number")
    if isinstance(value, float) and math.isnan(value):
        raise Unreadable("NaN is no load")
    if not 0 <= value <= MOST:
        huge = isinstance(value, int) and value.bit_length() > 200  # more digits than a message holds
        raise Unreadable(f"{'a huge number' if huge else value} is no load - expected 0 to {MOST:g}")
    return float(value)


def json_path(text: str) -> Path:
    """The steps of a path such as `$.servers[0].rps`.  Raises ValueError."""
    steps: list[str | int] = []
    at = 1
    while text.startswith("$") and at < len(text) and len(steps) < STEPS:
        match = _STEP.match(text, at)
        if match is None:
            break
        name, index, single, double = match.groups()
        steps.append(int(index) if index is not None else name or single or double)
        at = match.end()
    if not text.startswith("$") or at < len(text):
        raise ValueError(f"a path such as $.rps or $.servers[0].rps, at most {STEPS} steps")
    return tuple(steps)


def series(text: str) -> Series:
    """A metric such as `requests` or `requests{code="200"}`.  Raises ValueError."""
    found = _series(text.strip())
    if found is None or found[1]:
        raise ValueError('the name of a metric, with labels where they matter: requests{code="200"}')
    return found[0]


def json_value(page: bytes, path: Path) -> float:
    """The number at `path` of a JSON document.  Raises Unreadable."""
    try:
        at = json.loads(page)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"not JSON ({defect(error)})") from error
    seen = "$"
    for step in path:
        inside = (
            isinstance(at, dict) and step in at if isinstance(step, str) else isinstance(at, list) and step < len(at)
        )
        if not inside:
            raise Unreadable(f"{seen} has no {shown(step)}")
        at = at[step]
        seen += f".{step}" if isinstance(step, str) else f"[{step}]"
    return load_value(at)


def metric_value(page: bytes, wanted: Series) -> float:
    """The sum over the series of a page in the Prometheus text format.  Raises Unreadable."""
    values = list(_samples(page, wanted))
    if not values:
        labels = " with these labels" if wanted.labels else ""
        raise Unreadable(f"the page has no metric {wanted.name}{labels}")
    return load_value(math.fsum(map(load_value, values)))


def _samples(page: bytes, wanted: Series) -> Iterator[float]:
    name = wanted.name.encode()
    for line in page.split(b"\n"):
        if line.lstrip().startswith(name):  # the rest of the page costs no more than this look
            text = line.decode("utf-8", "replace").strip()
            found = _series(text)
            if found is None:
                raise Unreadable(f"{shown(text)} is no line of the Prometheus text format")
            if found[0].name == wanted.name and found[0].labels >= wanted.labels:
                yield _number(found[1], text)


def _number(rest: str, line: str) -> float:
    try:
        return float(rest.split()[0])  # a timestamp may stand behind it
    except (IndexError, ValueError):
        raise Unreadable(f"{shown(line)} holds no number") from None


def _series(text: str) -> tuple[Series, str] | None:
    """A series at the start of `text`, and what stands behind it; None where there is none."""
    name = _NAME.match(text)
    if name is None:
        return None
    if not text.startswith("{", name.end()):
        return Series(name[0]), text[name.end() :]
    labels: set[tuple[str, str]] = set()
    at = name.end() + 1
    while (label := _LABEL.match(text, at)) and len(labels) < LABELS:
        labels.add((label[1], _ESCAPED.sub(lambda escape: "\n" if escape[1] == "n" else escape[1], label[2])))
        at = label.end()
    rest = text[at:].lstrip()
    if not rest.startswith("}"):
        return None
    return Series(name[0], frozenset(labels)), rest[1:]
