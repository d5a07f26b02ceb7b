"""The probes, one coroutine a kind of check.

Rule 1: what this process may not send is moot: it says nothing of the target.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import cast

from healthcheck.check import Check, Probe, Sample
from healthcheck.probes.marks import mark_of, refusal


class _Deferred:
    """A probe whose module is imported with its first check: what a node does not check costs it no memory."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._probe: Probe | None = None

    async def __call__(self, check: Check) -> tuple[Sample, ...]:
        mark = mark_of(check)
        why = "" if mark is None else refusal(mark)
        if why:
            return (Sample(ok=False, latency_s=0.0, why=why, moot=True),)
        if self._probe is None:
            self._probe = cast(Probe, import_module(f"{__name__}.{self._module}").probe)
        return await self._probe(check)


_HTTP = _Deferred("http")
PROBES: Mapping[str, Probe] = {
    "http": _HTTP,
    "https": _HTTP,
    "tcp": _Deferred("tcp"),
    "icmp": _Deferred("icmp"),
    "dns": _Deferred("dns"),
    "grpc": _Deferred("grpc"),
    "exec": _Deferred("exec"),
    "load": _Deferred("load"),
}
