"""What the controller knows and `gslb status` shows: a JSON file in the state folder, replaced whole.  IO."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

NAME = "controller.json"
TAKEN = "overrides_taken"  # the stamp of the overrides that the plan in force goes by
AGREEMENT = "agreement"  # overrides that other nodes do not know yet, and what was refused of theirs
ROLLOUT = "rollout"  # versions of the configuration
DRAINING = "draining"  # what still comes to this node's site while an operator drains it
_MAX = 4 << 20

log = logging.getLogger("gslb.node")


class Facts:
    """Facts by name.  Before a folder is known they are only kept."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._known: dict[str, object] = {"problems": {}}
        self._problems: dict[str, tuple[str, ...]] = {}

    def open(self, folder: Path) -> None:
        """Keep the file in `folder` from now on."""
        self._path = folder / NAME
        self._save()

    def say(self, **facts: object) -> None:
        """Facts that replace earlier ones of their names."""
        self._known.update(facts)
        self._save()

    def problem(self, what: str, lines: Sequence[str]) -> None:
        """The present problems with `what`, none with no lines.  Each state is logged once."""
        new = tuple(lines)
        if self._problems.get(what, ()) == new:
            return
        if not new:
            log.info("mended", extra={"what": what})
        for line in new:
            log.error(line, extra={"what": what})
        self._problems[what] = new
        self.say(problems={name: list(found) for name, found in self._problems.items() if found})

    def _save(self) -> None:
        if self._path is None:
            return
        beside = self._path.with_name(f".{NAME}.new")
        try:
            beside.write_text(json.dumps(self._known))
            beside.replace(self._path)
        except OSError as error:
            log.warning("facts for `gslb status` cannot be written", extra={"why": error.strerror})


def read(folder: Path) -> Mapping[str, Any]:
    """The facts in `folder`; empty where there are none."""
    try:
        with (folder / NAME).open("rb") as file:
            facts = json.loads(file.read(_MAX))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}
