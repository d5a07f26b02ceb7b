"""All keys of a bucket and each change of them, by an ephemeral consumer of JetStream.  IO.

A consumer may die with its server and say nothing, and messages may be lost where this node is slow.  So the numbers of
messages must have no gap, the last number of the stream is asked for every few seconds, and all is listed anew now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from nats import errors
from nats.aio.msg import Msg
from nats.js import api

from gslb.bus.bucket import Bucket, bounded
from gslb.bus.bus import KEY, VALUE_MOST, Away, Entry, Hearer
from gslb.bus.link import CALL_S

LIST_S = 30.0  # so old a miss can be that nothing else showed
CHECK_S = 3.0
_GONE_S = 10.0  # after which a server forgets a consumer that nobody hears
_MESSAGES, _OCTETS = 1 << 16, 48 << 20  # that may wait here: a listing comes all at once, and a bucket holds less

log = logging.getLogger("gslb.bus")


class Watch:
    """What was told of the keys by one connection.

    `refuse` counts what is not told, by its cause; `well` is called when all was listed.
    """

    def __init__(self, bucket: Bucket, hearer: Hearer, refuse: Callable[[str], None], well: Callable[[], None]) -> None:
        self._bucket = bucket
        self._hearer = hearer
        self._refuse = refuse
        self._well = well
        self._told: dict[str, int] = {}  # key -> revision, 0: it is not there
        self._made: object = None  # when the bucket was made that it was told of

    async def follow(self) -> None:
        """List all, follow the changes, and return when all should be listed anew.  Raises Away."""
        info = await self._bucket.made()
        await self._bucket.grow(info)
        if info.created != self._made:
            self._told = dict.fromkeys(self._told, -1)  # numbers begin again in a bucket that was made anew
            self._made = info.created
        turn = _Turn(self._take, info.state.last_seq)
        bucket = self._bucket
        inbox = bucket.link.new_inbox()
        async with bounded():
            subscription = await bucket.link.subscribe(
                inbox, cb=turn.take, pending_msgs_limit=_MESSAGES, pending_bytes_limit=_OCTETS
            )
        try:
            async with bounded():
                consumer = await bucket.js.add_consumer(
                    bucket.stream,
                    api.ConsumerConfig(
                        deliver_subject=inbox,
                        deliver_policy=api.DeliverPolicy.LAST_PER_SUBJECT,
                        filter_subject=f"{bucket.prefix}>",
                        ack_policy=api.AckPolicy.NONE,
                        inactive_threshold=_GONE_S,
                        num_replicas=1,
                        mem_storage=True,
                    ),
                )
            if consumer.num_pending or (consumer.delivered is not None and consumer.delivered.consumer_seq):
                await turn.end()
            self._list(turn.seen)
            self._well()
            await self._changes(turn, info)
        finally:
            with contextlib.suppress(errors.Error, OSError, TimeoutError):
                async with asyncio.timeout(CALL_S):
                    await subscription.unsubscribe()

    async def _changes(self, turn: _Turn, info: api.StreamInfo) -> None:
        loop = asyncio.get_running_loop()
        end, behind = loop.time() + LIST_S, 0
        while loop.time() < end:
            try:
                await asyncio.wait_for(turn.gap.wait(), CHECK_S)
                return
            except TimeoutError:
                pass
            now = await self._bucket.info()
            if now is None or now.created != info.created or turn.last < behind:
                return
            behind = now.state.last_seq

    def _list(self, seen: set[str]) -> None:
        for key in [key for key, revision in self._told.items() if revision and key not in seen]:
            self._told[key] = 0
            self._tell(Entry(key, None, 0))
        self._hearer.listed(frozenset(key for key, revision in self._told.items() if revision))

    def _tell(self, entry: Entry) -> None:
        try:
            self._hearer.entry(entry)
        except Exception:  # one entry that its hearer cannot stand must not keep the others from it
            log.exception("an entry of the bus was not taken", extra={"key": entry.key, "revision": entry.revision})

    def _take(self, message: Msg, revision: int) -> str | None:
        """Tell an entry; its key where it is one of ours."""
        key = message.subject.removeprefix(self._bucket.prefix)
        if not KEY.fullmatch(key):
            self._refuse("key")
            return None
        if len(message.data) > VALUE_MOST:
            self._refuse("oversized")
            return None
        gone = bool(message.headers and message.headers.get("KV-Operation"))
        if self._told.get(key, 0 if gone else -1) != (0 if gone else revision):
            self._told[key] = 0 if gone else revision
            self._tell(Entry(key, None if gone else message.data, self._told[key]))
        return None if gone else key


class _Turn:
    """One consumer: which numbers came."""

    def __init__(self, tell: Callable[[Msg, int], str | None], last: int) -> None:
        self.last = last  # of the stream
        self.seen: set[str] = set()
        self.complete = asyncio.Event()
        self.gap = asyncio.Event()
        self._tell = tell
        self._next = 1

    async def end(self) -> None:
        """Return when all was listed, however long that takes while keys come.  Raises Away."""
        while not self.complete.is_set():
            before = self._next
            try:
                await asyncio.wait_for(self.complete.wait(), CALL_S)
            except TimeoutError:
                if self._next == before:
                    raise Away("the servers did not answer in time") from None
        if self.gap.is_set():  # not at once again: that would be so for ever
            raise Away("not all keys could be heard: they are too many, or this node is too slow")

    async def take(self, message: Msg) -> None:
        meta = message.metadata
        if meta.sequence.consumer != self._next:
            self.gap.set()
            self.complete.set()
            return
        self._next += 1
        self.last = max(self.last, meta.sequence.stream)
        key = self._tell(message, meta.sequence.stream)
        if key is not None:
            self.seen.add(key)
        if meta.num_pending == 0:
            self.complete.set()
        await asyncio.sleep(0)  # others of this loop may go on between two messages
