"""maxminddb on files that may be malformed: which of its readers, and what it raises."""

from __future__ import annotations

import struct

import maxminddb

# What maxminddb's Python reader raises over a file that is no MaxMind DB.  Its C reader (3.2.0) is not used: it crashes the
# process on some malformed texts.
READER_ERRORS = (
    maxminddb.InvalidDatabaseError,
    OSError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    MemoryError,
    struct.error,
)
