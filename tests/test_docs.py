"""docs/config.md lists every key, in the words that the reader uses."""

from __future__ import annotations

import re
from pathlib import Path

from gslb.config import keys
from gslb.config.problem import Problems
from gslb.config.source import parse

DOCS = Path(__file__).parent.parent / "docs"


def test_reference_is_the_generated_one() -> None:
    text = (DOCS / "config.md").read_text()
    assert keys.table() in text, "`python -m gslb.config.keys` prints the table anew"


def test_every_key_is_documented_once() -> None:
    documented = re.findall(r"^\| `([^`]+)` \|", (DOCS / "config.md").read_text(), re.M)
    assert documented == [key.path for key in keys.KEYS]
    assert len(set(documented)) == len(documented)


def test_every_default_is_what_its_key_accepts() -> None:
    for key in keys.KEYS:
        if key.default is not None:
            problems = Problems()
            key.kind.read(parse(key.default, key.path, problems), (), problems)
            assert not problems.failed, key.path
            assert not key.required, key.path
