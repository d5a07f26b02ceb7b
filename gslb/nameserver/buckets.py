"""The buckets of the rate limit, which the processes of a node share: a mapped file.  IO.

What a flood takes from one worker it cannot take again from the next.  The file outlives them all, and whatever stands in it
is harmless (`gslb.nameserver.limit`, rule 3).
"""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path

from gslb.nameserver.guard import Buckets
from gslb.nameserver.limit import BUCKETS_OCTETS

NAME = "limit.buckets"


def shared(folder: Path) -> Buckets:
    """The buckets of the node whose run folder this is; where they cannot be mapped, some of this process alone."""
    return Buckets(memoryview(_map(folder / NAME)).cast("Q"), time.monotonic_ns)


def _map(path: Path) -> mmap.mmap:
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return mmap.mmap(-1, BUCKETS_OCTETS)
    try:
        os.posix_fallocate(file, 0, BUCKETS_OCTETS)  # else a full disk is a SIGBUS at the first store
        return mmap.mmap(file, BUCKETS_OCTETS)
    except (OSError, ValueError):
        return mmap.mmap(-1, BUCKETS_OCTETS)
    finally:
        os.close(file)
