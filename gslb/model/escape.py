"""Octets as people write them in a line of text.  Pure."""

from __future__ import annotations

import re

_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|.|$)", re.DOTALL)
_LETTERS = {"r": "\r", "n": "\n", "t": "\t", "0": "\0", "\\": "\\"}


def octets(text: str) -> bytes:
    r"""The octets of a text with `\r`, `\n`, `\t`, `\0`, `\\` and `\xHH`; all else is UTF-8.  Raises ValueError."""
    parts: list[bytes] = []
    at = 0
    for escape in _ESCAPE.finditer(text):
        parts.append(text[at : escape.start()].encode())
        parts.append(_escaped(escape[1]))
        at = escape.end()
    parts.append(text[at:].encode())
    return b"".join(parts)


def _escaped(written: str) -> bytes:
    if len(written) == 3:
        return bytes.fromhex(written[1:])
    if written not in _LETTERS:
        raise ValueError(rf"\{written} is no escape - expected \r, \n, \t, \0, \\ or \xHH")
    return _LETTERS[written].encode()
