"""How `gslb run` was started, and who is told how it goes.  Values and a Protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gslb.control.desk import Opens
from gslb.model.deployment import Deployment, Node


class Audience(Protocol):
    """Who watches the start: a terminal, or nobody.  Called in the controller's process."""

    def progress(self, step: str, share: float) -> None:
        """A long step is so far (0..1)."""

    def serving(self, facts: Serving) -> None:
        """The first answers can be had."""


@dataclass(frozen=True, slots=True)
class Serving:
    """What is served, for a banner."""

    deployment: Deployment
    node: Node
    listening: tuple[str, ...]
    databases: tuple[str, ...]
    notes: tuple[str, ...]
    example: str | None  # a dynamic name to ask for


@dataclass(frozen=True, slots=True)
class Start:
    """The arguments of a run.

    `node_of` raises SystemExit with a line for people; `identity` is what it looks at.  `api` makes the controller's API.
    """

    config: Path
    state: Path
    node_of: Callable[[Deployment], Node]
    identity: str
    audience: Audience
    api: Opens
