"""IO: the part of `gslb.geo.load` that needs numpy: databases -> places, through the cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gslb.geo import placefile
from gslb.geo.cache import store, touch
from gslb.geo.places import Places, flatten
from gslb.geo.progress import Progress


def places_of(databases: Sequence[Path], digest: str, cache_dir: Path, progress: Progress) -> Places:
    """The places of these databases, whose content digest was `digest` a moment ago.

    Raises DatabaseUnusable, and OSError where the cache cannot be written.
    """
    path = cache_dir / placefile.name_of(digest)
    try:
        places = placefile.read(path)
    except (OSError, placefile.UnreadablePlaces):  # absent or damaged: work it out again
        places = flatten(databases, progress)
        store(cache_dir / placefile.name_of(places.digest), placefile.to_parts(places))
        return places
    touch(path)
    return places
