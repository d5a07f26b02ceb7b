"""A histogram of queries by client network: CSV or JSON lines, read within bounds.  IO.

CSV: `network,count[,name]`, with or without that line as a header.  JSON lines: `{"network": ..., "count": ..., "name": ...}`.
Empty lines and lines that begin with `#` are skipped.  A network without a length is one address; counts of one network and
name are added.  Without a name the count holds for every policy.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import BinaryIO

from gslb.config.problem import Problem, Problems, Refused, Where, one_of
from gslb.config.zonefile import name_wire
from gslb.model.deployment import Network

MAX_LINES = 5_000_000
MAX_NETWORKS = 2_000_000
MAX_OCTETS = 2_000  # of a line; a name has at most 1 004 characters
MAX_COUNT = 1e15
_KEYS = ("network", "count", "name")
_NUMBER = re.compile(r"\d{1,20}(\.\d{1,20})?([eE][+-]?\d{1,3})?")

Row = tuple[Network, float, bytes | None]


class _Wrong(ValueError):
    """What is wrong with a line."""


@dataclass(slots=True)
class Histogram:
    """Counts by name (wire form, lower case; None: any name) and network."""

    counts: dict[bytes | None, dict[Network, float]] = field(default_factory=dict)

    def add(self, network: Network, count: float, name: bytes | None) -> None:
        """Count more of one network."""
        of_name = self.counts.setdefault(name, {})
        of_name[network] = of_name.get(network, 0.0) + count

    @property
    def networks(self) -> int:
        """How many (network, name) are counted."""
        return sum(map(len, self.counts.values()))


def read_histogram(path: Path) -> Histogram:
    """Read a file.  Raises Refused, with every problem found; OSError."""
    found, problems = Histogram(), Problems()
    with path.open("rb") as file:
        for number, line in enumerate(_lines(file), 1):
            if number > MAX_LINES or found.networks >= MAX_NETWORKS:
                limit = f"{MAX_LINES} lines with {MAX_NETWORKS} networks"
                problems.add(Problem(Where(str(path), number), "", f"too long - at most {limit} are read"))
                break
            try:
                row = _row(line, first=number == 1)
            except _Wrong as error:
                problems.add(Problem(Where(str(path), number), "", str(error)))
                continue
            if row is not None:
                found.add(*row)
    if not problems.failed and not any(any(counts.values()) for counts in found.counts.values()):
        problems.add(Problem(Where(str(path)), "", "it counts nothing - expected lines `network,count[,name]`"))
    if problems.failed:
        raise Refused(problems.sorted())
    return found


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines; of one that is too long no more than shows that it is."""
    while line := file.readline(MAX_OCTETS + 1):
        yield line
        while len(line) > MAX_OCTETS and not line.endswith(b"\n"):
            line = file.readline(MAX_OCTETS + 1)


def _row(line: bytes, *, first: bool) -> Row | None:
    """What a line says; None where it says nothing."""
    if len(line) > MAX_OCTETS:
        raise _Wrong(f"a line of more than {MAX_OCTETS} octets")
    try:
        text = line.decode("utf-8-sig" if first else "utf-8").strip()
    except UnicodeDecodeError:
        raise _Wrong("not UTF-8 text") from None
    if not text or text.startswith("#"):
        return None
    fields = _from_json(text) if text.startswith("{") else _from_csv(text)
    if first and fields[:2] == ["network", "count"]:
        return None
    return _network(fields[0]), _count(fields[1]), _name(fields[2]) if fields[2:] else None


def _from_csv(text: str) -> list[str]:
    try:
        [fields] = csv.reader([text], strict=True)
    except (csv.Error, ValueError) as error:
        raise _Wrong(f"no line of CSV: {error}") from None
    if not 2 <= len(fields) <= 3:
        raise _Wrong(f"{len(fields)} fields - expected network,count or network,count,name")
    fields = [field.strip() for field in fields]
    return fields if fields[2:] != [""] else fields[:2]


def _from_json(text: str) -> list[str]:
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        raise _Wrong("no line of JSON") from None
    for key in raw:
        if key not in _KEYS:
            raise _Wrong(f"key {key!r} - {one_of(_KEYS, key)}")
    for key in _KEYS[:2]:
        if raw.get(key) is None:
            raise _Wrong(f"the key {key!r} is missing")
    fields = [raw[key] for key in _KEYS if raw.get(key) is not None]
    if not all(isinstance(each, str | int | float) for each in fields):
        raise _Wrong("a value is neither a text nor a number")
    return [str(each) for each in fields]


def _network(text: str) -> Network:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise _Wrong(f"network {text!r} - expected an IPv4 or IPv6 network, as 192.0.2.0/24") from None


def _count(text: str) -> float:
    count = float(text) if _NUMBER.fullmatch(text) else math.inf
    if count > MAX_COUNT:
        raise _Wrong(f"count {text!r} - expected a number from 0 to {MAX_COUNT:g}")
    return count


def _name(text: str) -> bytes:
    try:
        return name_wire(text).lower()
    except ValueError as error:
        raise _Wrong(f"name {text!r} - {error}") from None
