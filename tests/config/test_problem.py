"""Nearest names, damaged keys, order and bound of problems."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.config.problem import (
    MAX_PROBLEMS,
    Problem,
    Problems,
    Refused,
    Severity,
    Where,
    edit_distance,
    folded,
    nearest,
    one_of,
    path_text,
)


@pytest.mark.parametrize(
    ("left", "right", "distance"),
    [
        ("", "", 0),
        ("", "abc", 3),
        ("kitten", "sitting", 3),
        ("ab", "ba", 1),
        ("web-fra", "web-fr", 1),
        ("abc", "abc", 0),
    ],
)
def test_edit_distance(left: str, right: str, distance: int) -> None:
    assert edit_distance(left, right) == distance == edit_distance(right, left)


@given(st.text("ab", max_size=8), st.text("ab", max_size=8), st.text("ab", max_size=8))
def test_distance_is_bounded_by_lengths(a: str, b: str, c: str) -> None:
    assert abs(len(a) - len(b)) <= edit_distance(a, b) <= max(len(a), len(b))
    assert (edit_distance(a, b) == 0) == (a == b)
    assert edit_distance(a + c, b + c) <= edit_distance(a, b)


def test_nearest() -> None:
    assert nearest("pols", ["pools", "policies"]) == "pools"
    assert nearest("xyz", ["pools", "policies"]) is None
    assert one_of(["b", "a"], "zzz") == "expected one of b, a"
    assert one_of([], "a") == "none is defined"
    assert one_of([f"name{number}" for number in range(50)], "x") == "expected one of 50 others"


def test_damage_reaches_up_and_down() -> None:
    problems = Problems()
    problems.error(Where("f", 1), ("pools", "a", "answers"), "wrong")
    assert problems.damaged(("pools", "a", "answers", 0))
    assert problems.damaged(("pools",))
    assert not problems.damaged(("pools", "a", "monitor"))
    assert not problems.damaged(("pools", "b"))


def test_a_warning_damages_nothing_and_does_not_fail() -> None:
    problems = Problems()
    problems.add(Problem(Where("f"), "a", "unwise", Severity.WARNING), ("a",))
    assert not problems.failed
    assert not problems.damaged(("a",))
    assert str(problems.sorted()[0]) == "f: warning: a: unwise"


def test_order_and_bound() -> None:
    problems = Problems()
    for number in range(MAX_PROBLEMS + 5):
        problems.error(Where("b" if number % 2 else "a", MAX_PROBLEMS - number // 2), ("k",), "wrong")
    found = problems.sorted()
    assert found[-1].message == "5 more problems are not shown"
    assert [problem.where.file for problem in found[:-1]] == ["a"] * 500 + ["b"] * 500
    assert found[0].where.line < found[1].where.line
    assert str(Refused(found[:2])) == f"{found[0]}\n{found[1]}"


def test_path_text() -> None:
    assert path_text(("policies", "web", "rules", 0, "of", 1)) == "policies.web.rules[0].of[1]"
    assert path_text(("records", "www.example.net.", "ttl")) == "records[www.example.net.].ttl"


def test_warnings_need_no_mending() -> None:
    wrong, unwise = Problem(Where("f", 2), "a", "wrong"), Problem(Where("f", 1), "b", "unwise", Severity.WARNING)
    assert Refused((unwise, wrong)).errors == (wrong,)
    assert Refused((unwise, wrong)).problems == (unwise, wrong)


def test_what_is_alike_is_one_line_with_its_number() -> None:
    def warning(line: int, name: str, alike: str = "") -> Problem:
        return Problem(Where("a.yaml", line), name, "ttl 60 - is too long", Severity.WARNING, alike)

    one, other = warning(1, "www."), warning(2, "ns.")
    assert folded([one, one, other]) == [str(one), str(one), str(other)]
    alone = warning(3, "a.", "ttl is too long for web")
    assert folded([alone, other]) == [str(alone), str(other)]
    many = [warning(line, f"n{line}.", "ttl is too long for web") for line in range(4, 1_205)]
    assert folded([one, *many, warning(9, "b.", "ttl is too long for api")]) == [
        str(one),
        "a.yaml:4: warning: n4. and 1,200 more: ttl is too long for web (`gslb check` names all)",
        "a.yaml:9: warning: b.: ttl 60 - is too long",
    ]
