"""What is found on a node's machine: the configuration, and what that node keeps on disk.  IO; it changes nothing."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path

from gslb.config.load import Loaded
from gslb.control.store import Store
from gslb.decide.order import fits
from gslb.geo.table import LocationTable
from gslb.model.deployment import Deployment, Node
from gslb.nameserver.generation import Current, Manifest, UnusableGeneration, map_file, read_manifest

_SERVING = "serving"  # below the node's state folder; its files are those of gslb.nameserver.generation


@dataclass(frozen=True, slots=True)
class Situation:
    """A checked configuration, which of its nodes this is, and that node's state folder."""

    config: Path
    loaded: Loaded
    node: Node
    store: Store

    @property
    def model(self) -> Deployment:
        """The deployment."""
        return self.loaded.deployment


def generation_in_force(store: Store) -> Manifest | None:
    """What the node's workers serve; None where nothing is served yet, or it cannot be read."""
    serving = store.folder / _SERVING
    try:
        current = Current(serving)
    except (OSError, ValueError, UnusableGeneration):
        return None
    try:
        return read_manifest(serving, current.number, store.deployment)
    except UnusableGeneration:
        return None
    finally:
        current.close()


def table_in_force(store: Store, model: Deployment, manifest: Manifest | None) -> LocationTable | None:
    """The location table that the node's workers serve, where it belongs to this configuration."""
    if manifest is None:
        return None
    try:
        table = LocationTable.from_buffer(memoryview(map_file(store.folder / _SERVING, manifest.geography)))
        return table if fits(model, table.geography()) else None
    except (UnusableGeneration, ValueError):
        return None


def mapped_table(path: Path) -> LocationTable:
    """The location table in a file.  Raises OSError, ValueError."""
    with path.open("rb") as file:
        return LocationTable.from_buffer(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
