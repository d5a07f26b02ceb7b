"""From a generation's content to what answers: tables opened, a responder made.  Pure but for the mapping."""

from __future__ import annotations

import mmap

from gslb.geo.table import LocationTable
from gslb.nameserver.answer import Responder
from gslb.nameserver.guard import Buckets
from gslb.nameserver.table import Tables
from gslb.nameserver.tcp import PATIENCE


class ResponderMaker:
    """Makes responders of one deployment, and keeps the location table open while its file stays the same.

    Without `buckets` their responses are not limited.
    """

    def __init__(self, deployment: str, buckets: Buckets | None = None) -> None:
        self._deployment = deployment
        self._buckets = buckets
        self._opened: tuple[str, LocationTable] | None = None

    def __call__(self, names: bytes, plan: bytes, geography: mmap.mmap, digest: str) -> Responder:
        """The responder of this content.  Raises UnreadableTable where it does not fit together."""
        if self._opened is None or self._opened[0] != digest:
            self._opened = digest, LocationTable.from_buffer(memoryview(geography))
        location = self._opened[1]
        tables = Tables.load(names, plan, location, deployment=self._deployment)
        return Responder(tables, tcp_idle_s=PATIENCE.idle_s, buckets=self._buckets)
