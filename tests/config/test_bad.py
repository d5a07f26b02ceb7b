"""Every refusal and every other kind of message, as a bad file in `bad/` with the expected text beside it.

After a wanted change: `python -m tests.config.test_bad` writes the texts anew; read the difference.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from gslb.config.load import load
from gslb.config.problem import Refused, Severity
from gslb.config.rules import RULES

BAD = Path(__file__).parent / "bad"
CASES = sorted(BAD.glob("*.yaml"))


def report(case: Path) -> str:
    """All problems of one case, with paths as seen from its folder."""
    try:
        problems = load(case).warnings
    except Refused as refused:
        problems = refused.problems
    return "".join(f"{problem}\n" for problem in problems).replace(f"{BAD}/", "")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_message(case: Path) -> None:
    assert report(case) == case.with_suffix(".txt").read_text()
    assert report(case)


def test_every_rule_has_a_case() -> None:
    """A rule's case has its name, so that deleting a rule or a case is noticed."""
    assert {rule.__name__.replace("_", "-") for rule in RULES} <= {case.stem for case in CASES}


def test_every_case_has_its_text() -> None:
    assert {case.stem for case in CASES} == {text.stem for text in BAD.glob("*.txt")}


def test_errors_refuse_and_warnings_do_not() -> None:
    for case in CASES:
        only_warnings = all(" warning: " in line for line in case.with_suffix(".txt").read_text().splitlines())
        if only_warnings:
            assert all(problem.severity is Severity.WARNING for problem in load(case).warnings)
        else:
            with pytest.raises(Refused):
                load(case)


if __name__ == "__main__":
    for each in CASES:
        each.with_suffix(".txt").write_text(report(each))
