"""Executors: what puts a plan in force.  IO.

Rule 1: an executor is given the whole plan and finds out itself what is new.
Rule 2: content that is in force already is not published again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from gslb.control.imaging import Images
from gslb.model.plan import Plan
from gslb.model.zone import Zone
from gslb.nameserver.generation import File, Manifest, Publisher
from gslb.nameserver.protection import Protection
from gslb.nameserver.table import compile_names, compile_plan

log = logging.getLogger("gslb.node")


@dataclass(frozen=True, slots=True)
class Content:
    """Everything that answers are made of, beside the plan.  `location` is the location table's file."""

    location: Path
    zones: tuple[Zone, ...]
    nsid: bytes | None
    secret: bytes
    protection: Protection | None = None


class Executor(Protocol):
    """One way of putting plans in force."""

    @property
    def in_force(self) -> Manifest | None:
        """What is in force, also from an earlier run; None where there is nothing."""

    def apply(self, plan: Plan, content: Content) -> Manifest | None:
        """Put `plan` in force; None when it is already.  Raises OSError, ValueError, and then nothing changed."""


class Executors:
    """DNS, and beside it the balancer and DNS in the driver: these are told, and not waited for, so that nothing of them keeps a
    plan from the workers.

    `tell` is given each plan, `served` what the workers have in force.
    """

    def __init__(
        self, dns: Executor, tell: Callable[[Plan], None], served: Callable[[Manifest | None, Content], None]
    ) -> None:
        self._dns = dns
        self._tell = tell
        self._served = served

    @property
    def in_force(self) -> Manifest | None:
        """What is in force in DNS."""
        return self._dns.in_force

    def apply(self, plan: Plan, content: Content) -> Manifest | None:
        """Put `plan` in force in both; a failure of DNS keeps it from neither."""
        self._tell(plan)
        manifest = self._dns.apply(plan, content)
        self._served(manifest or self._dns.in_force, content)
        return manifest


class DnsTables:
    """The executor of DNS: generations in the serving folder, which the workers follow."""

    def __init__(self, folder: Path, deployment: str) -> None:
        """Raises OSError, UnusableGeneration."""
        self._publisher = Publisher(folder, deployment)
        self._images = Images(folder, self._publisher)
        self._names: tuple[tuple[Zone, ...], bytes | None, File] | None = None
        self._geography: tuple[Path, tuple[int, int, int], File] | None = None
        self._plan: tuple[Plan, bytes, Protection | None, File] | None = None
        now = self._publisher.in_force
        # After a power cut a file may be empty: workers refuse it, so what is written in its place needs a new number.
        self._damaged = now is not None and not all(map(self._publisher.holds, now.files))

    @property
    def in_force(self) -> Manifest | None:
        """The manifest of the newest generation."""
        return self._publisher.in_force

    def apply(self, plan: Plan, content: Content) -> Manifest | None:
        """Compile and publish what differs from the generation in force."""
        if self._publisher.restore():
            log.warning("the file that tells workers the generation was changed by others: written again")
        now = self._publisher.in_force
        if self._names is not None and self._names[0] is not content.zones:  # read anew: a reload
            self._damaged = self._damaged or (now is not None and not all(map(self._publisher.holds, now.files)))
            self._geography = self._plan = None
            self._images.forget()
        geography = self._geography_file(content.location)
        names = self._names_file(content.zones, content.nsid)
        compiled = self._plan_file(plan, content.secret, content.protection)
        image = self._images.of(geography, names, compiled)
        files = geography, names, compiled, image
        same = now is not None and (now.geography, now.names, now.plan, now.image) == files
        if same and not self._damaged:
            return None
        manifest = self._publisher.publish((plan.version, plan.digest), *files)
        self._damaged = False
        return manifest

    def close(self) -> None:
        """What was published stays in force."""
        self._publisher.close()

    def _plan_file(self, plan: Plan, secret: bytes, protection: Protection | None) -> File:
        """Of a plan of which only the history differs, nothing is compiled again."""
        known = self._plan
        if known is None or known[1:3] != (secret, protection) or replace(known[0], history=plan.history) != plan:
            compiled = compile_plan(plan, secret, protection)
            known = plan, secret, protection, self._publisher.store("plan", compiled, str(plan.version))
        self._plan = plan, *known[1:]
        return known[3]

    def _names_file(self, zones: tuple[Zone, ...], nsid: bytes | None) -> File:
        if self._names is None or self._names[0] is not zones or self._names[1] != nsid:
            file = self._publisher.store("names", compile_names(zones, nsid))
            self._names = zones, nsid, file
        return self._names[2]

    def _geography_file(self, path: Path) -> File:
        stat = path.stat()
        identity = stat.st_ino, stat.st_mtime_ns, stat.st_size
        if self._geography is None or self._geography[:2] != (path, identity):
            self._geography = path, identity, self._publisher.adopt("geography", path)
        return self._geography[2]
