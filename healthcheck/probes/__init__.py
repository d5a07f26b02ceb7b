"""The probes, one coroutine a kind of check."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from importlib import import_module
from typing import cast

from healthcheck.check import Check, Probe, Sample


class _Deferred:
    """A probe whose module is imported with its first check: what a node does not check costs it no memory."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._probe: Probe | None = None

    def __call__(self, check: Check) -> Awaitable[tuple[Sample, ...]]:
        if self._probe is None:
            self._probe = cast(Probe, import_module(f"{__name__}.{self._module}").probe)
        return self._probe(check)


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
