"""The keys and the objects of a deployment in JetStream, by one connection.  IO.

Rule 1: what a majority must have kept is asked of the leader; every failure is Away, or Conflict for a key.
Rule 2: a bucket that is not there is made, with as many replicas as the cluster has servers, at most three; one that was made
while a server was missing gets its replicas later.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from hashlib import sha256

from nats import errors
from nats.js import api
from nats.js import errors as refusals
from nats.js.object_store import ObjectStore

from gslb.bus.bus import OBJECT_MOST, VALUE_MOST, Away, Conflict, Entry
from gslb.bus.link import CALL_S, Link, words

OBJECT_S = 30.0
REPLICAS = 3
_KEYS_OCTETS = 32 << 20  # a server sets so much aside for a stream
_FILES_OCTETS = 128 << 20
_PIECE = 256 << 10  # octets of an object in one message
_ROOM = 4096  # octets of headers beside a value
_NO_LEADER = "the servers have no JetStream for this user, or no leader of it now"
_NO_STREAM = 10059
_WRONG_SEQUENCE = (10071, 10164)
_TOO_MANY_REPLICAS = (10005, 10023, 10052, 10074)  # no suitable peers, no resources, needs a cluster


@contextlib.asynccontextmanager
async def bounded(seconds: float = CALL_S) -> AsyncIterator[None]:
    """What takes longer, and what NATS refuses, is Away."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except refusals.APIError as error:
        raise Away(error.description or _NO_LEADER) from error
    except (errors.NoRespondersError, refusals.NoStreamResponseError) as error:
        raise Away(_NO_LEADER) from error
    except TimeoutError as error:
        raise Away("the servers did not answer in time") from error
    except (errors.Error, OSError) as error:
        raise Away(words(error)) from error


class Bucket:
    """`gslb-DEPLOYMENT` for keys and `gslb-DEPLOYMENT-files` for objects."""

    def __init__(self, link: Link, deployment: str) -> None:
        name = f"gslb-{deployment}"
        self.link = link
        self.stream = f"KV_{name}"
        self.prefix = f"$KV.{name}."
        self.js = link.jetstream(timeout=CALL_S)
        self._files = f"{name}-files"

    async def made(self) -> api.StreamInfo:
        """The stream of the keys, made where it is missing.  Raises Away."""
        async with bounded(2 * CALL_S):
            return await self._made(
                api.StreamConfig(
                    name=self.stream,
                    description="gslb: what all nodes share",
                    subjects=[f"{self.prefix}>"],
                    max_msgs_per_subject=1,
                    max_msg_size=VALUE_MOST + _ROOM,
                    max_bytes=_KEYS_OCTETS,
                    discard=api.DiscardPolicy.NEW,
                    storage=api.StorageType.FILE,
                    allow_rollup_hdrs=True,
                    deny_delete=True,
                    allow_direct=False,
                )
            )

    async def info(self) -> api.StreamInfo | None:
        """What is known of the stream of the keys; None where there is none.  Raises Away."""
        async with bounded():
            return await self._info(self.stream)

    async def get(self, key: str) -> Entry:
        """As `Bus.get`."""
        async with bounded():
            return (await self._last(key))[0]

    async def put(self, key: str, value: bytes, revision: int | None) -> int:
        """As `Bus.put`."""
        async with bounded():
            try:
                return await self._put(key, value, revision)
            except refusals.NoStreamResponseError:
                if await self._info(self.stream) is not None:
                    raise  # it has no leader now
        await self.made()
        async with bounded():
            return await self._put(key, value, revision)

    async def store(self, name: str, value: bytes) -> None:
        """As `Bus.store`."""
        async with bounded(OBJECT_S):
            await self._made(
                api.StreamConfig(
                    name=f"OBJ_{self._files}",
                    description="gslb: configurations",
                    subjects=[f"$O.{self._files}.C.>", f"$O.{self._files}.M.>"],
                    max_bytes=_FILES_OCTETS,
                    discard=api.DiscardPolicy.OLD,
                    storage=api.StorageType.FILE,
                    allow_rollup_hdrs=True,
                )
            )
            pieces = api.ObjectMetaOptions(max_chunk_size=_PIECE)
            await self._store().put(name, value, api.ObjectMeta(name=name, options=pieces))

    async def fetch(self, name: str) -> bytes | None:
        """As `Bus.fetch`."""
        async with bounded(OBJECT_S):
            try:
                return await self._fetch(name)
            except refusals.NotFoundError:
                return None
            except refusals.BadObjectMetaError as error:
                raise Away(f"the object {name} is damaged: put it again") from error

    async def _fetch(self, name: str) -> bytes:
        """Piece by piece, without a consumer that could be left behind."""
        found = await self._store().get_info(name)
        if (found.size or 0) > OBJECT_MOST:
            raise Away(f"the object {name} has {found.size} octets - expected at most {OBJECT_MOST}")
        value, sequence = bytearray(), 1
        for _ in range(found.chunks or 0):
            subject = f"$O.{self._files}.C.{found.nuid}"
            piece = await self.js.get_msg(f"OBJ_{self._files}", seq=sequence, subject=subject, next=True)
            value += piece.data or b""
            sequence = (piece.seq or 0) + 1
        told = base64.urlsafe_b64encode(sha256(value).digest()).decode()
        if found.digest is None or found.digest.partition("=")[2] != told:
            raise Away(f"the object {name} is damaged: put it again")
        return bytes(value)

    async def grow(self, info: api.StreamInfo) -> None:
        """Give the keys the replicas that could not be had when the bucket was made, if these can be had now."""
        if info.cluster is None or not self.link.is_in_cluster or (info.config.num_replicas or 1) >= REPLICAS:
            return
        with contextlib.suppress(Away):  # a cluster of two, or a server is still missing: there are keys all the same
            async with bounded():
                await self.js.update_stream(info.config.evolve(num_replicas=REPLICAS))

    async def _last(self, key: str) -> tuple[Entry, int]:
        """The entry, and the last sequence of the key: that of a mark where it was deleted."""
        try:
            found = await self.js.get_msg(self.stream, subject=f"{self.prefix}{key}")
        except refusals.NotFoundError:
            return Entry(key, None, 0), 0
        if found.headers and found.headers.get("KV-Operation"):
            return Entry(key, None, 0), found.seq or 0
        return Entry(key, found.data or b"", found.seq or 0), found.seq or 0

    async def _put(self, key: str, value: bytes, revision: int | None) -> int:
        try:
            return await self._write(key, value, revision)
        except refusals.APIError as error:
            if error.err_code not in _WRONG_SEQUENCE:
                raise
            entry, last = await self._last(key) if revision == 0 else (None, 0)
            if entry is None or entry.value is not None or last == 0:
                raise Conflict(key) from error
        try:  # it was deleted by hand: the mark of that is what must not have changed
            return await self._write(key, value, last)
        except refusals.APIError as error:
            if error.err_code in _WRONG_SEQUENCE:
                raise Conflict(key) from error
            raise

    async def _write(self, key: str, value: bytes, last: int | None) -> int:
        headers = {api.Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: str(last)} if last is not None else None
        kept = await self.js.publish(f"{self.prefix}{key}", value, headers=headers, stream=self.stream)
        return kept.seq

    async def _info(self, stream: str) -> api.StreamInfo | None:
        try:
            return await self.js.stream_info(stream)
        except refusals.NotFoundError as error:
            if error.err_code == _NO_STREAM:
                return None
            raise

    async def _made(self, config: api.StreamConfig) -> api.StreamInfo:
        found = await self._info(config.name or "")
        for replicas in range(REPLICAS, 0, -1):
            if found is not None:
                break
            try:
                found = await self.js.add_stream(config.evolve(num_replicas=replicas))
            except refusals.APIError as error:
                if error.err_code not in _TOO_MANY_REPLICAS or replicas == 1:
                    raise
        assert found is not None
        return found

    def _store(self) -> ObjectStore:
        return ObjectStore(self._files, f"OBJ_{self._files}", self.js)
