"""Quantities: what is read, what is refused, and that printing and reading are each other's reverse."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb import units


@pytest.mark.parametrize(
    ("text", "value"),
    [("5s", 5.0), ("500ms", 0.5), ("2m", 120.0), ("2min", 120.0), ("1h30m", 5400.0), ("1d", 86400.0), ("1.5s", 1.5)],
)
def test_seconds(text: str, value: float) -> None:
    assert units.seconds(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "-5s", "5x", "1e3s", "9999999999s", "5s!", "5S"])
def test_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="a duration such as"):
        units.seconds(text)


@pytest.mark.parametrize(("text", "value"), [("0%", 0.0), ("80%", 0.8), ("12.5%", 0.125), ("100%", 1.0)])
def test_share(text: str, value: float) -> None:
    assert units.share(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "80", "0.8", "101%", "-1%", "%", "80 %"])
def test_no_share(text: str) -> None:
    with pytest.raises(ValueError, match="a percentage"):
        units.share(text)


@pytest.mark.parametrize(
    ("text", "value"), [("5%/min", 0.05 / 60), ("5%/m", 0.05 / 60), ("1%/s", 0.01), ("60%/h", 1 / 6000)]
)
def test_share_rate(text: str, value: float) -> None:
    assert units.share_rate(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["5%", "5/min", "5%/ms", "5%/year", "%/s"])
def test_no_share_rate(text: str) -> None:
    with pytest.raises(ValueError, match="a share per time"):
        units.share_rate(text)


@given(st.integers(0, 10**11))
def test_seconds_come_back(milliseconds: int) -> None:
    text = units.seconds_text(milliseconds / 1000)
    assert units.seconds(text) == pytest.approx(milliseconds / 1000)


@given(st.integers(0, 10_000))
def test_shares_come_back(hundredths: int) -> None:
    assert units.share(units.share_text(hundredths / 10_000)) == pytest.approx(hundredths / 10_000)


def test_texts() -> None:
    assert [units.seconds_text(value) for value in (0, 0.25, 5, 90, 5400, 90_000)] == [
        "0s", "250ms", "5s", "1m30s", "1h30m", "1d1h",
    ]  # fmt: skip
    assert [units.share_text(value) for value in (0, 0.8, 0.125, 1)] == ["0%", "80%", "12.5%", "100%"]
