"""YAML: the scalars of the core schema, places, and bounds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.config.problem import Problems, Where
from gslb.config.source import ListNode, MapNode, Scalar, Unreadable, Value, decode, find, parse, shown


def scalar(text: str) -> Scalar:
    node = parse(text, "f", Problems())
    assert isinstance(node, Scalar)
    return node


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("NO", "NO"), ("no", "no"), ("on", "on"), ("yes", "yes"), ("y", "y"),
        ("true", True), ("False", False), ("tRUE", "tRUE"), ("null", None), ("~", None), ("", None), ("nil", "nil"),
        ("010", 10), ("0o10", 8), ("0x1F", 31), ("0b1", "0b1"), ("+7", 7), ("-7", -7), ("1_000", "1_000"),
        ("1:30", "1:30"), ("2026-01-01", "2026-01-01"), ("1.5", 1.5), (".5", 0.5), ("1.", 1.0), ("1e3", 1000.0),
        ("1.2.3", "1.2.3"), ("-.inf", -math.inf), ("=", "="), ("<<", "<<"), ("'5'", "5"), ('"true"', "true"),
        ("!!str 5", "5"), ("!!int 5", 5), ("9" * 31, "9" * 31),
    ],
)  # fmt: skip
def test_core_schema(text: str, value: Value) -> None:
    found = scalar(text)
    assert (found.value, type(found.value)) == (value, type(value))


def test_places() -> None:
    root = parse("a: 1\nlist:\n  - x\n  - {k: [y, z]}\n", "f.yaml", Problems())
    assert isinstance(root, MapNode)
    assert root.entries["a"].key.where == Where("f.yaml", 1, 1)
    assert find(root, ("list", 1, "k", 1)).where == Where("f.yaml", 4, 13)
    assert find(root, ("list", 1, "absent", "deeper")).where == Where("f.yaml", 4, 5), "the last node on the way"
    assert str(Where("f.yaml", 4, 5)) == "f.yaml:4:5"
    assert str(Where("f.yaml")) == "f.yaml"


def test_columns_count_characters() -> None:
    root = parse("a: {ä: 1, b: 2}", "f", Problems())
    assert find(root, ("a", "b")).where == Where("f", 1, 14)


def test_aliases_are_the_same_node() -> None:
    root = parse("a: &x [1, 2]\nb: *x\n", "f", Problems())
    assert find(root, ("a",)) is find(root, ("b",))


def test_byte_order_mark_is_no_text() -> None:
    assert decode(b"\xef\xbb\xbfa: 1", "f") == "a: 1"


def test_merge_key_is_a_key() -> None:
    root = parse("<<: 1", "f", Problems())
    assert isinstance(root, MapNode)
    assert list(root.entries) == ["<<"]


def test_shown_is_short_and_harmless() -> None:
    assert shown(scalar('"\\e[31m"')) == "\\x1b[31m"
    assert len(shown(parse(str(list(range(10_000))), "f", Problems()))) <= 60
    assert shown(ListNode((), Where("f"))) == "[]"


@given(st.binary(max_size=300) | st.text(alphabet="-:[]{},&*!|>'\"%@`#\n\t ab1", max_size=300).map(str.encode))
def test_any_octets_are_a_node_or_unreadable(data: bytes) -> None:
    try:
        node = parse(decode(data, "f"), "f", Problems())
    except Unreadable:
        return
    assert isinstance(node, Scalar | ListNode | MapNode)
