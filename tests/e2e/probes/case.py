"""A probe: a name, its number in the list, and a function that raises AssertionError when the server is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.e2e.probes.wire import Target


@dataclass(frozen=True)
class Probe:
    """`item` is the number in the list of checks; `needs` are the features without which it says nothing."""

    item: int
    name: str
    run: Callable[[Target], None]
    needs: frozenset[str] = frozenset()

    @property
    def id(self) -> str:
        """What test reports show: number and name."""
        return f"{self.item:02}-{self.name}"


class Probes:
    """The probes of one module, in the order in which they are written."""

    def __init__(self) -> None:
        self.all: list[Probe] = []

    def __call__(
        self, item: int, name: str, *needs: str
    ) -> Callable[[Callable[[Target], None]], Callable[[Target], None]]:
        """Decorate a function that probes one thing."""

        def register(run: Callable[[Target], None]) -> Callable[[Target], None]:
            self.all.append(Probe(item, name, run, frozenset(needs)))
            return run

        return register

    def each(self, item: int, name: str, cases: dict[str, Callable[[Target], None]], *needs: str) -> None:
        """Register a table of small cases under one name."""
        for case, run in cases.items():
            self.all.append(Probe(item, f"{name}-{case}", run, frozenset(needs)))
