"""Paths and series, and the numbers that they find."""

from __future__ import annotations

import json
import math
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from gslb.model.loadpage import (
    MOST,
    STEPS,
    Series,
    Unreadable,
    json_path,
    json_value,
    load_value,
    metric_value,
    series,
)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("$", ()),
        ("$.rps", ("rps",)),
        ("$.a.b[0].c-d", ("a", "b", 0, "c-d")),
        ("$['a b'][\"c.d\"][12]", ("a b", "c.d", 12)),
        ("$" + ".a" * STEPS, ("a",) * STEPS),
    ],
)
def test_paths(text: str, path: tuple[str | int, ...]) -> None:
    assert json_path(text) == path


@pytest.mark.parametrize(
    "text",
    ["", "rps", "$.", "$..a", "$.*", "$[*]", "$[-1]", "$[?(@.a)]", "$.a ", "$[0", "$['a]", "$" + ".a" * (STEPS + 1)],
)
def test_what_is_no_path(text: str) -> None:
    with pytest.raises(ValueError, match=r"a path such as \$\.rps"):
        json_path(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rps", Series("rps")),
        ("node:rps:rate5m", Series("node:rps:rate5m")),
        ("rps{}", Series("rps")),
        ('rps{zone="a", code = "200",}', Series("rps", frozenset({("zone", "a"), ("code", "200")}))),
        (r'rps{path="a\"b\\c\n"}', Series("rps", frozenset({("path", 'a"b\\c\n')}))),
    ],
)
def test_series(text: str, expected: Series) -> None:
    assert series(text) == expected


@pytest.mark.parametrize(
    "text", ["", "1rps", "rps{", "rps{a=b}", 'rps{a="b}', 'rps{a="b"} 5', "rps 5", 'rps{a="b" c="d"}', "{}"]
)
def test_what_is_no_series(text: str) -> None:
    with pytest.raises(ValueError, match="the name of a metric"):
        series(text)


@pytest.mark.parametrize(
    ("page", "path", "why"),
    [
        (b'{"a": [1]}', "$.a[1]", r"\$\.a has no 1"),
        (b'{"a": [1]}', "$.a.b", r"\$\.a has no 'b'"),
        (b'{"a": [1]}', "$.a", r"\[1\] is no number"),
        (b'{"a": null}', "$.a", "None is no number"),
        (b'{"a": {"b": 1}}', "$.a[0]", r"\$\.a has no 0"),
        (b"\xff\xfe\xff", "$", "not JSON"),
        (b'{"a": 1e999}', "$.a", "inf is no load"),
        (b'{"a": 1' + b"0" * 5000 + b"}", "$.a", "not JSON|a huge number"),
        (b'{"a": -1' + b"0" * 300 + b"}", "$.a", "a huge number is no load"),
    ],
)
def test_pages_without_the_number(page: bytes, path: str, why: str) -> None:
    with pytest.raises(Unreadable, match=why) as unreadable:
        json_value(page, json_path(path))
    assert len(str(unreadable.value)) < 200


@pytest.mark.parametrize(
    ("page", "wanted", "value"),
    [
        ("rps 5", "rps", 5),
        ("rps 5 1700000000000\nrps_total 9\n", "rps", 5),
        ("  rps   5.5e1\r\n", "rps", 55),
        ('rps{a="1"} 1\nrps{a="2"} 2\n', "rps", 3),
        ('rps{a="1",b="x"} 1\nrps{a="1"} 2\nrps{a="2"} 4\n', 'rps{a="1"}', 3),
        ('rps{a="}, 7"} 1\n', "rps", 1),
        ("# rps 7\nrps 0", "rps", 0),
    ],
)
def test_metrics(page: str, wanted: str, value: float) -> None:
    assert metric_value(page.encode(), series(wanted)) == value


@pytest.mark.parametrize(
    ("page", "wanted", "why"),
    [
        ("", "rps", "the page has no metric rps$"),
        ('rps{a="1"} 1', 'rps{a="2"}', "the page has no metric rps with these labels"),
        ("rps", "rps", "'rps' holds no number"),
        ("rps five", "rps", "'rps five' holds no number"),
        ("rps NaN", "rps", "NaN is no load"),
        ("rps +Inf", "rps", "inf is no load"),
        ("rps 5\nrps{} -3", "rps", "-3.0 is no load"),
        ("rps 1e12\nrps{} 1e12", "rps", "2000000000000.0 is no load"),
        ('rps{a="1 5', "rps", "is no line of the Prometheus text format"),
    ],
)
def test_pages_without_the_metric(page: str, wanted: str, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        metric_value(page.encode(), series(wanted))


LABEL = st.text(max_size=8)


@given(st.dictionaries(st.tuples(LABEL, LABEL), st.floats(0, 1e9), min_size=1, max_size=5))
def test_what_the_prometheus_client_writes_is_read(values: dict[tuple[str, str], float]) -> None:
    registry = CollectorRegistry()
    gauge = Gauge("rps", "Requests.", ["zone", "code"], registry=registry)
    for (zone, code), value in values.items():
        gauge.labels(zone, code).set(value)
    page = generate_latest(registry)
    assert metric_value(page, Series("rps")) == pytest.approx(math.fsum(values.values()))
    (zone, code), value = next(iter(values.items()))
    assert metric_value(page, Series("rps", frozenset({("zone", zone), ("code", code)}))) == value


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=4), st.lists))
def test_any_value_is_a_load_or_refused(value: object) -> None:
    with suppress(Unreadable):
        assert 0 <= load_value(value) <= MOST
    with suppress(Unreadable):
        assert 0 <= json_value(json.dumps(value).encode(), ()) <= MOST


@given(st.binary(max_size=200))
def test_octets_at_random_are_unreadable_or_a_load(page: bytes) -> None:
    for data in (page, b"rps" + page, b"{" + page):
        with suppress(Unreadable):
            assert 0 <= metric_value(data, Series("rps")) <= MOST
        with suppress(Unreadable):
            assert 0 <= json_value(data, ("rps",)) <= MOST
