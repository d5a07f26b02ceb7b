"""IO: deployment -> a location table on disk, from the nearest cache that holds it.

    location_table(deployment, cache_dir, progress) -> Located(path, digest, notes)

Three steps, each skipped when its result lies in `cache_dir`: databases -> places (10 s for a full city database), places
-> table (2 s), table -> checked (0.2 s).  Call it in a child process: the first two need numpy and up to 1.2 GB, and a
process does not give memory back.  Without databases the table is made at once, without numpy.

A database that is not there is left out and noted.  One that is there and unusable raises DatabaseUnusable: the caller
keeps the table that it has, or calls again with fewer databases.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from gslb.geo.cache import store, touch
from gslb.geo.progress import Progress, silent
from gslb.geo.source import content_digest
from gslb.geo.subnets import subnet_table
from gslb.geo.table import FORMAT, LocationTable
from gslb.model.deployment import DYNAMIC_TYPES, Deployment

BUILD = 1  # raise it when the same places and deployment give another table


@dataclass(frozen=True, slots=True)
class Located:
    """A finished table: its file (map it, or link it elsewhere: a later call may drop it), its digest, remarks."""

    path: Path
    digest: str
    notes: tuple[str, ...]


def location_table(deployment: Deployment, cache_dir: Path, progress: Progress = silent) -> Located:
    """The location table of `deployment`.  Raises DatabaseUnusable, TooManyClasses (both ValueError), OSError."""
    databases = [Path(name).expanduser() for name in deployment.geo.databases]
    present = [path for path in databases if path.exists()]
    notes = tuple(f"no geo database at {path}" for path in databases if path not in present)
    if not present:
        return _kept(deployment, cache_dir, "", lambda: subnet_table(deployment), notes)
    progress("checking the geo databases", 0.0)
    digest = content_digest(present)
    cached = _usable(cache_dir / _name(deployment, digest))
    if cached is not None:
        return Located(*cached, notes)
    # numpy, which a warm start does without
    from gslb.geo.build import build_table  # noqa: PLC0415
    from gslb.geo.rebuild import places_of  # noqa: PLC0415

    places = places_of(present, digest, cache_dir, progress)
    progress("ranking places", 0.0)
    located = _kept(deployment, cache_dir, places.digest, lambda: build_table(deployment, places), notes)
    progress("ranking places", 1.0)
    return located


def _kept(
    deployment: Deployment, cache_dir: Path, digest: str, build: Callable[[], bytes], notes: tuple[str, ...]
) -> Located:
    """The table of these databases: the cached one, else a new one."""
    path = cache_dir / _name(deployment, digest)
    cached = _usable(path)
    if cached is None:
        table = build()
        store(path, [table])
        cached = path, LocationTable.from_buffer(table).digest
    return Located(*cached, notes)


def _usable(path: Path) -> tuple[Path, str] | None:
    """The cached table, if it is there and every byte of it is right."""
    try:
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        content.madvise(mmap.MADV_SEQUENTIAL)  # read once, it is in use no more than other files
        table = LocationTable.from_buffer(memoryview(content))
        table.verify()
    except (OSError, ValueError):  # absent, empty, damaged
        return None
    touch(path)
    return path, table.digest


def _name(deployment: Deployment, digest: str) -> str:
    """The table's file name: by the databases' content and all of the deployment that the table depends on."""
    rules = [
        (
            name,
            [
                (rule.nearest, rule.pools, rule.asns, rule.geos, [str(subnet) for subnet in rule.subnets])
                for rule in policy.rules
            ],
            policy.spill.to,  # distances to them are kept
            policy.view,
        )
        for name, policy in deployment.policies.items()
    ]
    pools = [
        (name, pool.datacenter, [bool(pool.answers_of(rtype)) for rtype in DYNAMIC_TYPES])
        for name, pool in deployment.pools.items()
    ]
    sites = [(name, site.at, site.continent) for name, site in deployment.datacenters.items()]
    geo = (deployment.geo.nearest_limit, deployment.geo.scope4, deployment.geo.scope6)
    parts = json.dumps([FORMAT, BUILD, digest, rules, pools, sites, geo]).encode()
    return f"table-{blake2b(parts, digest_size=16).hexdigest()}"
