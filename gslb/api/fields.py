"""What a client sends, read strictly: JSON bodies and query strings -> typed values.  Pure.

Rule: a field that is not known, is given twice, is missing or is of another kind is refused with what was expected.
Standards: RFC 8259, without its NaN-like extensions and without duplicate names.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping
from http import HTTPStatus
from typing import NoReturn

from gslb.api.problem import Problem
from gslb.config.problem import one_of, printable

_SHOWN = 40  # characters of a value in a message
_TEXT_MAX = 1_000  # characters


class Fields:
    """Named values, each taken once."""

    def __init__(self, values: Mapping[str, object], known: Collection[str], where: str) -> None:
        """`where` is "field" or "parameter".  Raises Problem for a name that is not known."""
        self._values = values
        self._where = where
        for name in values:
            if name not in known:
                refuse(f"{where} {_shown(name)}: {one_of(known, name)}")

    def text(self, name: str) -> str:
        """A text that must be there."""
        value = self.maybe_text(name)
        if value is None:
            refuse(f"{self._where} {name}: missing")
        return value

    def maybe_text(self, name: str) -> str | None:
        """A text, or None."""
        value = self._values.get(name)
        if value is None:
            return None
        if not isinstance(value, str) or len(value) > _TEXT_MAX:
            refuse(f"{self._where} {name}: {_shown(value)} - expected a text of at most {_TEXT_MAX} characters")
        if any("\ud800" <= character <= "\udfff" for character in value):
            refuse(f"{self._where} {name}: {_shown(value)} - expected Unicode without lone surrogates")
        return value

    def flag(self, name: str) -> bool:
        """true or false; false where it is left out."""
        value = self._values.get(name, False)
        if not isinstance(value, bool):
            refuse(f"{self._where} {name}: {_shown(value)} - expected true or false")
        return value

    def number(self, name: str) -> float:
        """A number that must be there."""
        value = self.maybe_number(name)
        if value is None:
            refuse(f"{self._where} {name}: missing")
        return value

    def maybe_number(self, name: str) -> float | None:
        """A finite number, or None."""
        value = self._values.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            refuse(f"{self._where} {name}: {_shown(value)} - expected a number")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            refuse(f"{self._where} {name}: {_shown(value)} - expected a finite number")
        return number


def body_fields(body: bytes, known: Collection[str]) -> Fields:
    """The fields of a JSON object.  Raises Problem."""
    try:
        raw = json.loads(body.decode(), parse_constant=_no_constant, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        refuse(f"the body is not JSON: {printable(why)}")
    if not isinstance(raw, dict):
        refuse(f"the body is {_shown(raw)} - expected a JSON object")
    return Fields(raw, known, "field")


def query_fields(pairs: Iterable[tuple[str, str]], known: Collection[str]) -> Fields:
    """The parameters of a query string.  Raises Problem."""
    values: dict[str, object] = {}
    for name, value in pairs:
        if name in values:
            refuse(f"parameter {_shown(name)}: given twice")
        values[name] = value
    return Fields(values, known, "parameter")


def refuse(detail: str) -> NoReturn:
    """The request cannot be understood."""
    raise Problem(HTTPStatus.BAD_REQUEST, detail)


def _no_constant(written: str) -> NoReturn:
    raise ValueError(f"{written} is no number of JSON")


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the name {_shown(name)} is there twice")
        found[name] = value
    return found


def _shown(value: object) -> str:
    if isinstance(value, list | dict):  # it may be nested as deep as the stack
        return "a list" if isinstance(value, list) else "an object"
    text = repr(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
