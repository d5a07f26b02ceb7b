"""Orders and samples for the tests of this folder."""

from __future__ import annotations

from dataclasses import replace

from gslb.model.world import Health
from healthcheck.check import Check, Sample
from healthcheck.messages import Order, Role

OK = (Sample(ok=True, latency_s=0.01),)
BAD = (Sample(ok=False, latency_s=0.01, why="status 500"),)


def order(
    name: str, role: Role = Role.TARGET, *, interval_s: float = 5.0, timeout_s: float = 2.0, known: Health | None = None
) -> Order:
    """One check; falls after 3, rises after 2."""
    check = Check(name, "fake", "192.0.2.1", 80, timeout_s, {"path": ["/"]})
    return Order(check, role, interval_s, 3, 2, known)


def slow(seconds: float) -> tuple[Sample, ...]:
    """A result that passed after so long."""
    return (replace(OK[0], latency_s=seconds),)
