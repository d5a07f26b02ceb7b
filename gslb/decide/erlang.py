"""Erlang C: how likely a request has to wait, and the utilisation at which that is likely enough.  Pure.

Model: M/M/k with an infinite queue.  Requests arrive as a Poisson process, each of `servers` serves one at a time, for a time
that is exponentially distributed, and nobody gives up.  Real arrivals are burstier and real service times have longer
tails, so this is an estimate for choosing a mark, and not a truth; load that is measured steers, not this.
For a fixed number of servers, the mean wait of those who wait is (service time / servers) / (1 - utilisation).

Sources: A. K. Erlang, "Solution of some problems in the theory of probabilities of significance in automatic telephone
exchanges", 1917; R. B. Cooper, "Introduction to Queueing Theory", 2nd edition 1981, sections 3.3 and 3.4.
Erlang B is taken by Cooper's inverse, a sum of falling factorials: for offered load a = servers x utilisation,

    1 / B = 1 + k/a + k(k-1)/a^2 + ...          C = 1 / (utilisation + (1 - utilisation) / B)

The terms rise while k - j > a, and fall fast after: one loop of about k - a + 9 sqrt(k) steps, or of few where the sum passes
all bounds because nobody waits.
"""

from __future__ import annotations

from functools import lru_cache

LIKELY = 0.2  # the probability of waiting at which `soft: auto` begins to shed
GAP = 0.05  # the least that `soft: auto` leaves between itself and the hard mark: a band to settle in
_MANY = 10**7  # servers; with more, `soft: auto` is below the hard mark by GAP in any case
_NEVER = 1e15  # with 1/B above this, C is zero for people
_EXACT = 1e-16
_HALVINGS = 30


def waiting(servers: int, utilisation: float) -> float:
    """The probability (0..1) that a request waits, with `utilisation` of `servers` (>= 1) busy on average.

    At a utilisation of 1 and more the queue grows without end: 1.0.  NaN and what is below 0 count as 0.
    """
    if utilisation >= 1.0:
        return 1.0
    if not utilisation > 0.0:
        return 0.0
    load = servers * utilisation
    term = inverse = 1.0
    for left in range(servers, 0, -1):
        term *= left / load
        inverse += term
        if term < inverse * _EXACT or inverse > _NEVER:
            break
    return 1.0 / (utilisation + (1.0 - utilisation) * inverse)


@lru_cache(maxsize=4096)
def utilisation_of(servers: int, likely: float = LIKELY) -> float:
    """The utilisation at which a request waits with probability `likely`, found by halving."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if waiting(servers, middle) < likely:
            low = middle
        else:
            high = middle
    return low


def soft_mark(servers: int, hard: float) -> float:
    """`soft: auto`: where waiting becomes likely, but GAP (or, of a low mark, half of it) below `hard`."""
    return min(utilisation_of(min(servers, _MANY)), max(hard - GAP, hard / 2))
