"""What a decision is made from, gathered: from a node's files for commands, from its controller for the API.  IO.

Rule: nothing is changed, and no secret is made.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from gslb.control.desk import Desk
from gslb.control.observed import Observed
from gslb.control.secret import NAME as SECRET
from gslb.control.secret import NoSecret, secret_of
from gslb.control.sharedfile import read_seen
from gslb.control.store import Store
from gslb.geo.load import location_table
from gslb.geo.progress import Progress
from gslb.geo.ranking import written_ranking
from gslb.geo.source import DatabaseUnusable
from gslb.geo.table import LocationTable
from gslb.inspect.situation import Situation, generation_in_force, mapped_table, table_in_force
from gslb.model.deployment import Deployment, Node
from gslb.model.location import Geography
from gslb.model.plan import Plan
from gslb.model.world import World
from gslb.model.zone import Zone
from gslb.nameserver.generation import Manifest


class NothingInForce(Exception):
    """The controller has no configuration in force yet."""


@dataclass(frozen=True, slots=True)
class Basis:
    """Everything that `decide` takes, the zones, and what is served.

    `geography` is that of `table`; without a table, one ranking for each rule with its pools as written.  `secret` raises
    NoSecret where the node has none.  `notes` say what could not be read.
    """

    model: Deployment
    node: Node
    zones: tuple[Zone, ...]
    store: Store
    table: LocationTable | None
    geography: Geography
    world: World
    previous: Plan | None
    manifest: Manifest | None
    secret: Callable[[], bytes]
    notes: tuple[str, ...] = ()


def from_files(here: Situation, now: float) -> Basis:
    """What the node's files say.  The observations in them are as old as they say."""
    store, model = here.store, here.model
    manifest = generation_in_force(store)
    table = table_in_force(store, model, manifest)
    stored, overrides, seen = store.read_plan(), store.load_overrides(), read_seen(store)
    geography = _as_written(model) if table is None else table.geography()
    observed = seen.seen if seen.seen is not None else Observed(now)
    return Basis(
        model=model,
        node=here.node,
        zones=here.loaded.zones,
        store=store,
        table=table,
        geography=geography,
        world=observed.world(now, overrides.overrides or (), geography.digest),
        previous=stored.plan,
        manifest=manifest,
        secret=lambda: _stored_secret(here),
        notes=tuple(note for note in (stored.note, overrides.note, seen.note) if note is not None),
    )


def with_table(basis: Basis, cache: Path, progress: Progress) -> Basis:
    """The basis with a location table: where none is in force, one that is made.  Raises OSError, ValueError."""
    if basis.table is not None:
        return basis
    notes = list(basis.notes)
    try:
        located = location_table(basis.model, cache, progress)
    except DatabaseUnusable as error:
        notes.append(str(error))
        geo = replace(basis.model.geo, databases=())
        located = location_table(replace(basis.model, geo=geo), cache, progress)
    notes += located.notes
    table = mapped_table(located.path)
    return replace(basis, table=table, geography=table.geography(), notes=tuple(notes))


def from_desk(desk: Desk) -> Basis:
    """What the running controller goes by.  Raises NothingInForce; OSError, ValueError where its table cannot be read."""
    model = desk.model
    if model is None:
        raise NothingInForce("no configuration is in force yet")
    return Basis(
        model=model.deployment,
        node=model.node,
        zones=model.zones,
        store=desk.store,
        table=mapped_table(model.located.path),
        geography=model.geography,
        world=desk.world(),
        previous=desk.plan,
        manifest=generation_in_force(desk.store),
        secret=lambda: model.secret,
    )


def _as_written(model: Deployment) -> Geography:
    rankings = {
        name: tuple(written_ranking(model, index, rule) for index, rule in enumerate(policy.rules))
        for name, policy in model.policies.items()
    }
    return Geography("as written", classes=1, rankings=rankings)


def _stored_secret(here: Situation) -> bytes:
    """The secret as the node has it."""
    model, folder = here.model, here.store.folder
    given = model.secret_file is not None or os.environ.get(model.secret_env or "")
    if not given and not (folder / SECRET).exists():
        raise NoSecret("this node has no secret yet, so who is given which of several addresses is not known")
    return secret_of(model, os.environ, here.config, folder)
