"""The bus by NATS: messages by core NATS on `gslb.DEPLOYMENT.SITE.NODE.KIND`, keys and objects by JetStream.  IO.

Rule 1: one connection after the other, each new from the ground up: what waits to be sent when a line is lost is thrown away.
What the kernel of a server that stood still had taken comes out when it goes on: messages say when they were sent.
Rule 2: what comes is bounded before it is looked at: by octets, by its subject, and by how much may wait.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from hashlib import blake2b
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

from nats import errors
from nats.aio.msg import Msg

from gslb.bus.access import Access
from gslb.bus.bucket import Bucket
from gslb.bus.bus import (
    MESSAGE_MOST,
    OBJECT_MOST,
    VALUE_MOST,
    Away,
    Entry,
    Hearer,
    Message,
    Standing,
    check_key,
    check_size,
)
from gslb.bus.link import CALL_S, Link, words
from gslb.bus.nkeys import BadKey
from gslb.bus.watch import Watch

PORT = 4222  # of NATS, by IANA
_NEAR_S = 1.0  # a server that takes longer to reach comes last
_NETWORK_BITS = {4: 24, 6: 64}  # of a network as most are
_PAUSE_S, _PAUSE_MOST_S = 0.25, 5.0  # between rounds of attempts
_OUT_MESSAGES, _OUT_OCTETS = 512, 2 << 20  # that may wait to be sent
_IN_MESSAGES, _IN_OCTETS = 2048, 16 << 20  # that may wait to be heard
_TOKEN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}")

log = logging.getLogger("gslb.bus")


class Nats:
    """`Bus` by NATS.  `clock` tells seconds since the epoch, for people; `site` and `node` are who we are."""

    def __init__(self, access: Access, deployment: str, site: str, node: str, clock: Callable[[], float]) -> None:
        for name in (deployment, site, node):
            if not _TOKEN.fullmatch(name):
                raise ValueError(f"{name!r} cannot be in a subject: expected letters, digits, - and _")
        self._access = access
        self._deployment = deployment
        self._own = (site, node)
        self._clock = clock
        self._since = clock()
        self._server = ""
        self._why = "not connected yet"
        self._keys_why = ""
        self._refused: Counter[str] = Counter()
        self._said: set[str] = set()
        self._out: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(_OUT_MESSAGES)
        self._out_octets = 0
        self._bucket: Bucket | None = None  # while connected
        self._hearer: Hearer | None = None

    @property
    def standing(self) -> Standing:
        """Where it stands now."""
        return Standing(
            connected=self._bucket is not None,
            since=self._since,
            server=self._server,
            why=self._why,
            refused=dict(self._refused),
            keys_why=self._keys_why,
        )

    def publish(self, kind: str, body: bytes) -> bool:
        """As `Bus.publish`.  Raises ValueError for what nobody would take."""
        check_size(f"a message of {kind}", body, MESSAGE_MOST)
        if not _TOKEN.fullmatch(kind):
            raise ValueError(f"{kind!r} cannot be in a subject")
        if self._bucket is None or self._out.full() or self._out_octets + len(body) > _OUT_OCTETS:
            return False
        self._out.put_nowait((kind, body))
        self._out_octets += len(body)
        return True

    async def get(self, key: str) -> Entry:
        """As `Bus.get`."""
        return await self._connected().get(check_key(key))

    async def put(self, key: str, value: bytes, revision: int | None = None) -> int:
        """As `Bus.put`.  Raises ValueError for a key or a value that cannot be."""
        check_size(check_key(key), value, VALUE_MOST)
        return await self._connected().put(key, value, revision)

    async def store(self, name: str, value: bytes) -> None:
        """As `Bus.store`.  Raises ValueError for an object that is too large."""
        check_size(name, value, OBJECT_MOST)
        await self._connected().store(name, value)

    async def fetch(self, name: str) -> bytes | None:
        """As `Bus.fetch`."""
        return await self._connected().fetch(name)

    async def run(self, hearer: Hearer, stop: asyncio.Event) -> None:
        """As `Bus.run`."""
        self._hearer = hearer
        hearer.standing(self.standing)
        stopped = asyncio.ensure_future(stop.wait())
        living = asyncio.ensure_future(self._live(hearer))
        try:
            await asyncio.wait((stopped, living), return_when=asyncio.FIRST_COMPLETED)
            if living.done():
                living.result()  # raises what ended it
        finally:
            await _cancel(stopped, living)

    async def _live(self, hearer: Hearer) -> None:
        attempt = 0
        while True:
            link = await self._connect()
            if link is not None:
                attempt = 0
                await self._serve(link, hearer)
            pause = min(_PAUSE_MOST_S, _PAUSE_S * 2 ** min(attempt, 10))
            await asyncio.sleep(pause * (0.5 + _fraction(*self._own, str(attempt))))
            attempt += 1

    async def _connect(self) -> Link | None:
        for url in await _nearest(self._access.urls, self._own[1]):
            link = Link(self._access, f"gslb {self._deployment} {self._own[0]} {self._own[1]}", self._trouble)
            try:
                await link.open(url)
                await link.subscribe(
                    f"gslb.{self._deployment}.>",
                    cb=self._heard,
                    pending_msgs_limit=_IN_MESSAGES,
                    pending_bytes_limit=_IN_OCTETS,
                )
                await link.flush(timeout=int(CALL_S))
            except (errors.Error, OSError, TimeoutError, BadKey) as error:
                await link.abort()
                self._stand(None, "", f"{url}: {words(error)}")
            except BaseException:
                await link.abort()
                raise
            else:
                self._stand(Bucket(link, self._deployment), url, "")
                return link
        return None

    async def _serve(self, link: Link, hearer: Hearer) -> None:
        tasks = [
            asyncio.ensure_future(work)
            for work in (link.alive(), link.lost.wait(), self._send(link), self._follow(hearer))
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # raises what ended it
        finally:
            self._stand(None, "", link.why)
            await link.abort()
            await _cancel(*tasks)

    async def _send(self, link: Link) -> None:
        try:
            while True:
                kind, body = await self._out.get()
                self._out_octets -= len(body)
                await link.publish(".".join(("gslb", self._deployment, *self._own, kind)), body)
        except (errors.Error, OSError):
            return  # the line is lost

    async def _follow(self, hearer: Hearer) -> None:
        assert self._bucket is not None
        watch = Watch(self._bucket, hearer, self._refuse, lambda: self._keys_stand(""))
        while True:
            try:
                await watch.follow()
            except Away as away:
                self._keys_stand(str(away))
                await asyncio.sleep(1)

    def _keys_stand(self, why: str) -> None:
        """Whether keys can be reached; said when it changed, and not at each other reason why not."""
        changed = bool(why) != bool(self._keys_why)
        self._keys_why = why
        if changed and self._hearer is not None:
            self._hearer.standing(self.standing)

    async def _heard(self, message: Msg) -> None:
        heard_at = time.monotonic()
        tokens = message.subject.split(".")
        if len(tokens) != 5 or not all(map(_TOKEN.fullmatch, tokens)):
            self._refuse("subject")
        elif len(message.data) > MESSAGE_MOST:
            self._refuse("oversized")
        elif (tokens[2], tokens[3]) == self._own:
            self._refuse("own_name")  # our own messages do not come back: another has our name
        elif self._hearer is not None:
            self._hearer.message(Message(tokens[2], tokens[3], tokens[4], message.data, heard_at))
        await asyncio.sleep(0)  # others of this loop may go on between two messages

    def _trouble(self, error: Exception) -> None:
        if isinstance(error, errors.SlowConsumerError):
            self._refuse("dropped")
            return
        if isinstance(error, errors.StaleConnectionError | OSError):
            return  # the line is lost, which `standing` tells
        if "permissions violation" in str(error).lower():
            self._refuse("permission")
        if str(error) not in self._said and len(self._said) < 100:
            self._said.add(str(error))
            log.warning("the bus has trouble", extra={"why": words(error)}, exc_info=error)

    def _refuse(self, cause: str) -> None:
        self._refused[cause] += 1

    def _connected(self) -> Bucket:
        if self._bucket is None:
            raise Away(f"the bus is not connected: {self._why}")
        return self._bucket

    def _stand(self, bucket: Bucket | None, server: str, why: str) -> None:
        changed = (bucket is None) != (self._bucket is None)
        if changed:
            self._since = self._clock()
        self._bucket, self._server, self._why, self._keys_why = bucket, server, why, ""
        while not self._out.empty():
            self._out.get_nowait()
        self._out_octets = 0
        if changed and self._hearer is not None:
            self._hearer.standing(self.standing)


async def _nearest(urls: tuple[str, ...], node: str) -> list[str]:
    """The servers that are on a network of ours, then the others, by the time that a connection takes, in whole milliseconds.

    Of equal ones each node takes another first.
    """

    async def measure(url: str) -> tuple[float, bool]:
        loop = asyncio.get_running_loop()
        parts = urlsplit(url)
        began = loop.time()
        try:
            async with asyncio.timeout(_NEAR_S):
                _, writer = await asyncio.open_connection(parts.hostname, parts.port or PORT)
        except (OSError, TimeoutError):
            return _NEAR_S, False
        took = round(loop.time() - began, 3)
        ends = [writer.get_extra_info(end) for end in ("sockname", "peername")]  # None of a line that is over
        writer.transport.abort()
        return took, all(ends) and beside(*(end[0] for end in ends))

    if len(urls) == 1:
        return list(urls)
    found = await asyncio.gather(*map(measure, urls))
    if all(took >= _NEAR_S for took, _ in found):  # none is there, or we were busy
        found = await asyncio.gather(*map(measure, urls))
    return in_order({url: (*one, _fraction(node, url)) for one, url in zip(found, urls, strict=True)})


def in_order(found: Mapping[str, tuple[float, bool, float]]) -> list[str]:
    """Servers in the order in which they are tried; of each the seconds that it took, whether it is beside us, and its lot."""

    def place(url: str) -> tuple[bool, float, float]:
        took, near, lot = found[url]
        return not near, took, lot

    return sorted(found, key=place)


def beside(ours: str, theirs: str) -> bool:
    """Whether two addresses are of one network, as far as one can tell without asking the kernel."""
    one, other = (ip_address(text.partition("%")[0]) for text in (ours, theirs))
    return other in ip_network((one, _NETWORK_BITS[one.version]), strict=False)


def _fraction(*words: str) -> float:
    """0 to 1, alike for the same words: nodes do not come back all at once."""
    return int.from_bytes(blake2b("\n".join(words).encode(), digest_size=4).digest(), "big") / 2**32


async def _cancel(*tasks: asyncio.Future[Any]) -> None:
    """End tasks, for sure: nats-py swallows a cancellation that meets it while it waits for its socket."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.1)
