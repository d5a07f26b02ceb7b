"""The sample of queries that a worker tells of, while a controller listens.  IO on its channel only.

    {"do": "sample", "one_in": 100}                                  tell of one query in 100 on this line; of none: 0
    {"queries": records in base64, "lost": 3, "executor": "python"}  what it says then (`gslb.nameserver.queryevent`)

Rule 1: who does not listen costs nothing: the reference is called directly, and the native executor tells of nothing.
Rule 2: what waits is bounded, and what a second may have; what is left out for that, or is not taken, is counted and told.
"""

from __future__ import annotations

import base64
import socket
import time
from collections.abc import Callable

from gslb.nameserver import channel
from gslb.nameserver.counters import Counter
from gslb.nameserver.native import Native
from gslb.nameserver.queryevent import RECORD_OCTETS, pack

PER_S = 200  # queries that an executor of a worker tells of in a second
_MOST = 256  # that wait

Answer = Callable[[bytes, str], bytes | None]


class Sample:
    """What one worker tells."""

    def __init__(self) -> None:
        self.one_in = 0
        self._line: socket.socket | None = None
        self._records: list[bytes] = []
        self._seen = self._told = 0
        self._second = 0
        self._lost = {"python": 0, "native": 0}

    def listen(self, line: socket.socket, one_in: int) -> None:
        """Tell `line` from now on, and nobody else."""
        self._line, self.one_in = (line, one_in) if one_in > 0 else (None, 0)
        self._records.clear()
        self._lost = dict.fromkeys(self._lost, 0)

    def gone(self, line: socket.socket) -> None:
        """Nobody is at the other end of `line`."""
        if line is self._line:
            self.listen(line, 0)

    def around(self, answer: Answer, counts: list[int]) -> Answer:
        """`answer`, and what is told of it; `counts` is where it counts."""
        if not self.one_in:
            return answer

        def told(query: bytes, client: str) -> bytes | None:
            if not self._is_next():
                return answer(query, client)
            before = counts[Counter.COOKIES_VALID]
            reply = answer(query, client)
            record = pack(query, reply, client, time.time_ns(), valid=counts[Counter.COOKIES_VALID] > before)
            if record is not None:
                self._records.append(record)
            return reply

        return told

    def say(self, native: Native | None) -> None:
        """Tell what there is."""
        if self._line is None:
            return
        self._send("python", b"".join(self._records), 0)
        self._records.clear()
        if native is not None:
            self._send("native", *native.told())

    def _send(self, executor: str, records: bytes, lost: int) -> None:
        self._lost[executor] += lost
        if self._line is None or not (records or self._lost[executor]):
            return
        text = base64.b64encode(records).decode()
        if channel.send(self._line, {"queries": text, "lost": self._lost[executor], "executor": executor}):
            self._lost[executor] = 0
        else:
            self._lost[executor] += len(records) // RECORD_OCTETS

    def _is_next(self) -> bool:
        self._seen += 1
        if self._seen < self.one_in:
            return False
        self._seen = 0
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._told = second, 0
        if self._told >= PER_S or len(self._records) >= _MOST:
            self._lost["python"] += 1
            return False
        self._told += 1
        return True
