"""What `gslb apply` asks the running node to publish: a file in its state folder, answered in its facts.  IO."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

from gslb.control.store import Store

PROPOSED = "proposed.json"
ANSWERED = "applying"  # the fact that answers: {"id", "version", "lines"}
LIFE_S = 60.0  # an older one is not published any more: who asked has gone
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Proposal:
    """A configuration to publish after version `base`, which is what its writer looked at.

    `bundle` is None for the version before `base`; `at` is seconds since the epoch.
    """

    name: str
    base: int
    who: str
    why: str
    at: float
    bundle: bytes | None


def propose(store: Store, proposal: Proposal) -> None:
    """Write it.  Raises StateError."""
    bundle = None if proposal.bundle is None else base64.b64encode(proposal.bundle).decode()
    value = {
        "format": FORMAT,
        "id": proposal.name,
        "base": proposal.base,
        "who": proposal.who,
        "why": proposal.why,
        "at": proposal.at,
        "bundle": bundle,
    }
    store.save_file(PROPOSED, json.dumps(value).encode())


def take_proposal(store: Store) -> Proposal | None:
    """The proposal, which is gone then; None where there is none that can be read."""
    try:
        raw = json.loads(store.read_file(PROPOSED) or b"null")
        if raw is None:
            return None
        store.drop_file(PROPOSED)
        if raw["format"] != FORMAT:
            return None
        bundle = None if raw["bundle"] is None else base64.b64decode(raw["bundle"], validate=True)
        words = str(raw["id"]), int(raw["base"]), str(raw["who"]), str(raw["why"])
        return Proposal(*words, float(raw["at"]), bundle)
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
