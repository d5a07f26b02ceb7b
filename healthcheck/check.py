"""What is checked and what a probe found: the seam between the engine and its probes.  Pure values."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

MARK = "mark"


@dataclass(frozen=True, slots=True)
class Check:
    """One target and how to ask it.  `settings` holds what only probes of this `kind` know (path, expect, host, ...).

    `id` names the execution: the same for the same question to the same target, however many pools use it.
    The setting MARK, which every kind but `exec` and `load` knows, is the mark of the probe's packets (SO_MARK of socket(7)).
    """

    id: str
    kind: str
    address: str
    port: int | None
    timeout_s: float
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sample:
    """The outcome of one probe of one `path` (empty where the kind has none), `latency_s` after it began.

    `why` says what is wrong where `ok` is false; `warning` what will be (a certificate that expires); `value` is a reading
    of load.  `moot`: the target was not asked, for the reason in `why` that lies with this node, and nothing is known of it.
    """

    ok: bool
    latency_s: float
    why: str = ""
    path: str = ""
    warning: str = ""
    value: float | None = None
    moot: bool = False


class Probe(Protocol):
    """One coroutine a kind of check.

    Gives one sample a path, one where the kind has no paths.  Raises nothing but CancelledError; bounded in what it reads;
    its caller cancels it after `check.timeout_s`.
    """

    def __call__(self, check: Check) -> Awaitable[tuple[Sample, ...]]: ...
