"""Refusals of monitors and of sources of load.  Pure, but for one look for programs (`program_not_found`)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from gslb import units
from gslb.config.draft import Draft, Finding
from gslb.config.problem import KeyPath
from gslb.config.read_monitors import MonitorKind
from gslb.config.read_pools import Source


def timeout_beyond_interval(draft: Draft) -> Iterator[Finding]:
    """A check that is still waited for when the next one is due: a target would never be checked as often as written."""
    for monitor in (draft.deployment.monitors or {}).values():
        if monitor.timeout_s > monitor.interval_s:
            path: KeyPath = ("monitors", monitor.name)
            message = f"expected at most the interval ({units.seconds_text(monitor.interval_s)})"
            yield draft.error((*path, "timeout"), message, (*path, "interval"))


def program_not_found(draft: Draft) -> Iterator[Finding]:
    """A program that this machine does not have; another node's may, so it is only unwise."""
    for monitor in (draft.deployment.monitors or {}).values():
        command = (monitor.settings or {}).get("command")
        if monitor.kind != MonitorKind.EXEC or not isinstance(command, tuple) or "{" in command[0]:
            continue
        if shutil.which(command[0]) is None:
            path: KeyPath = ("monitors", monitor.name, "command", 0)
            yield draft.warning(path, "not found here as a program, so every check on this node will fail")


def load_without_capacity(draft: Draft) -> Iterator[Finding]:
    """A load that is a share of nothing."""
    for pool in draft.deployment.pools.values():
        capacity = pool.capacity
        if pool.load and not (capacity and (capacity.conns_per_s or capacity.servers)):
            path: KeyPath = ("pools", pool.name)
            message = "no share can be known from it: expected capacity with conns_per_s or servers beside it"
            yield draft.warning((*path, "load"), message, (*path, "capacity"))


def balancer_load_without_balance(draft: Draft) -> Iterator[Finding]:
    """A load that nothing counts."""
    for pool in draft.deployment.pools.values():
        if pool.load and pool.load.kind == Source.BALANCER and pool.balance is None:
            path: KeyPath = ("pools", pool.name)
            yield draft.error(
                (*path, "load", "from"), "expected balance beside it, or another source", (*path, "balance")
            )


RULES = (timeout_beyond_interval, program_not_found, load_without_capacity, balancer_load_without_balance)
