"""What is said of the executor in the workers."""

from __future__ import annotations

import pytest

from gslb.cli.executor_text import WORDS, executor_lines
from gslb.nameserver.scoreboard import Executor


def report(*executors: str, alive: bool = True) -> dict[str, object]:
    return {"workers": [{"executor": one, "alive": alive, "kind": "udp"} for one in executors]}


def test_every_executor_has_its_words() -> None:
    assert set(WORDS) == {executor.name.lower() for executor in Executor}


@pytest.mark.parametrize(
    ("found", "lines"),
    [
        (report("native", "native"), ["workers     answer natively, what is unusual in Python"]),
        (
            report("native", "no_image"),
            [
                "workers     answer natively, what is unusual in Python; others in Python: this generation has no whole image "
                "(the log says why)"
            ],
        ),
        (report("native", alive=False), []),
        ({"workers": [{"executor": "python", "alive": True, "kind": "tcp"}]}, []),
    ],
)
def test_lines(found: dict[str, object], lines: list[str]) -> None:
    assert list(executor_lines(found)) == lines
