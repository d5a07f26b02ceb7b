"""docs/config.md lists every key, in the words that the reader uses; and the links of all pages lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gslb.config import keys
from gslb.config.problem import Problems
from gslb.config.source import parse

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = (ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md")))
_CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.M | re.S)
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)|^\[[^\]]+\]:\s*(\S+)|(?:src|href)=\"([^\"]+)", re.M)


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


def links(text: str) -> list[str]:
    """What a page links to: inline, by reference, or by HTML; not what stands in code."""
    return ["".join(found) for found in _LINK.findall(_CODE.sub("", text))]


def anchors(text: str) -> set[str]:
    """The names of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ +(.+?) *$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page: Path, link: str) -> str:
    """What is wrong with a link; empty for one that holds, or that leads out of the repository."""
    path, _, anchor = link.partition("#")
    if re.match(r"[a-z][a-z0-9+.-]*:", link):
        return ""
    target = (page.parent / path).resolve() if path else page
    if not target.is_relative_to(ROOT) or not target.exists():
        return f"{link}: there is no such file"
    if anchor and (target.suffix != ".md" or anchor not in anchors(target.read_text())):
        return f"{link}: {target.name} has no such heading"
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    found = [broken(page, link) for link in links(page.read_text())]
    assert [one for one in found if one] == []


def test_links_are_found_and_broken_ones_told() -> None:
    text = (
        "[a](docs/spill.md) ![b](none.svg) [c](<docs/api.md#nowhere>) `[d](code.md)`\n```\n[e](code.md)\n```\n"
        '[f]: gone.md\n<img src="gone.png"> [g](https://example.com/x) [h](../outside.md) [i](docs/api.md#events)\n'
    )
    told = [broken(ROOT / "README.md", link).partition(":")[0] for link in links(text)]
    assert [one for one in told if one] == ["none.svg", "docs/api.md#nowhere", "gone.md", "gone.png", "../outside.md"]
