"""Server-sent events over real sockets: what a reader gets, misses, and takes up again."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from gslb.api.stream import READERS
from gslb.control.events import Hub
from gslb.nameserver.queryevent import pack
from tests.api.desk import NOW, FakeDesk
from tests.api.served import Served, served, wait_for
from tests.nameserver.make import query


@dataclass
class Reader:
    """One connection that follows the events."""

    opened: socket.socket
    taken: bytes = b""
    events: list[tuple[str, str, Any]] = field(default_factory=list)

    def take(self, count: int) -> list[tuple[str, str, Any]]:
        """The next `count` events: kind, id, data."""
        while True:
            while b"\n\n" in self.taken:
                block, _, self.taken = self.taken.partition(b"\n\n")
                lines = dict(line.split(": ", 1) for line in block.decode().splitlines() if line[:1] != ":")
                if "data" in lines:
                    self.events.append((lines["event"], lines.get("id", ""), json.loads(lines["data"])))
            if len(self.events) >= count:
                found, self.events = self.events[:count], self.events[count:]
                return found
            part = self.opened.recv(65536)
            assert part, "the stream ended"
            self.taken += unchunked(part)


def unchunked(part: bytes) -> bytes:
    """Without the sizes of chunks; the events themselves have no line of hexadecimal digits alone."""
    lines = part.split(b"\r\n")
    return b"".join(line for line in lines if line and not is_size(line))


def is_size(line: bytes) -> bool:
    return len(line) < 8 and all(octet in b"0123456789abcdefABCDEF" for octet in line)


@contextmanager
def reading(api: Served, path: str = "/v1/events", last: str | None = None) -> Iterator[Reader]:
    given = "" if last is None else f"Last-Event-ID: {last}\r\n"
    with api.raw(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{given}\r\n".encode()) as one:
        reader = Reader(one)
        head = b""
        while b"\r\n\r\n" not in head or (head.startswith(b"HTTP/1.1 200") and b"retry: " not in head):
            part = one.recv(65536)
            assert part, head
            head += part
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"Content-Type: text/event-stream\r\n" in head
        assert b"Cache-Control: no-store\r\n" in head
        reader.taken = unchunked(head.partition(b"\r\n\r\n")[2])
        yield reader


def publish(api: Served, *numbers: int) -> None:
    for number in numbers:
        api.call(lambda number=number: api.desk.events.publish(NOW + number, {"n": number}))  # type: ignore[misc]


def numbers(found: list[tuple[str, str, Any]]) -> list[int]:
    assert {kind for kind, _, _ in found} == {"change"}
    return [data["n"] for _, _, data in found]


def test_changes_come_as_they_happen(api: Served) -> None:
    with reading(api) as one, reading(api) as other:
        publish(api, 1, 2)
        first = one.take(2)
        assert first == [("change", "1-1", {"time": NOW + 1, "n": 1}), ("change", "1-2", {"time": NOW + 2, "n": 2})]
        publish(api, 3)
        assert (numbers(one.take(1)), numbers(other.take(3))) == ([3], [1, 2, 3])


def test_a_reader_takes_up_where_it_was(api: Served) -> None:
    publish(api, 1, 2, 3)
    with reading(api, last="1-1") as one:
        assert numbers(one.take(2)) == [2, 3]
    with reading(api, last="1-3") as one:
        publish(api, 4)
        assert numbers(one.take(1)) == [4]


@pytest.mark.parametrize("last", ["9-1", "1-99", "x", "1-" + "9" * 30])
def test_an_id_of_another_run_is_a_gap_and_all_that_is_kept(api: Served, last: str) -> None:
    publish(api, 1, 2)
    with reading(api, last=last) as one:
        gap, *rest = one.take(3)
        assert (gap, numbers(rest)) == (("gap", "", {"missed": None}), [1, 2])


def test_the_last_changes_on_demand(api: Served) -> None:
    publish(api, 1, 2, 3)
    with reading(api, "/v1/events?last=2") as one:
        assert numbers(one.take(2)) == [2, 3]
    for wrong in ("-1", "x", "201", "9999999999", ""):
        got = api.get(f"/v1/events?last={wrong}")
        assert (got.status, "expected a number from 0 to 200" in got.json["detail"]) == (400, True)


def test_queries_are_told_to_who_asks_for_them(api: Served) -> None:
    record = pack(query("www.z.test.", "A"), None, "192.0.2.77", int(NOW * 1e9), valid=False)
    assert record is not None
    taken = partial(api.desk.queries.take, record, 0, "driver")
    with reading(api) as changes:
        api.call(taken)
        with reading(api, "/v1/events?queries=100") as one:
            wait_for(lambda: api.desk.queries.one_in == 100)
            api.call(taken)
            publish(api, 1)
            api.call(partial(api.desk.queries.take, b"", 7, "driver"))
            api.call(taken)
            found = {kind: (number, data) for kind, number, data in one.take(4)}
        wait_for(lambda: api.desk.queries.one_in == 0)
        assert found["query"][0] == "", "those have no ids"
        data = found["query"][1]
        assert (data["time"], data["client"], data["one_in"]) == (NOW, "192.0.2.0/24", 100)
        assert found["lost"] == ("", {"queries": 7})
        assert found["change"] == ("1-1", {"time": NOW + 1, "n": 1})
        assert numbers(changes.take(1)) == [1]


@pytest.mark.parametrize("wrong", ["0", "-1", "x", "", "1000001", "1" * 40])
def test_a_share_that_cannot_be_is_refused(api: Served, wrong: str) -> None:
    got = api.get(f"/v1/events?queries={wrong}")
    assert (got.status, "expected a number from 1 to 1000000" in got.json["detail"]) == (400, True)


def test_readers_are_bounded_and_make_room(api: Served) -> None:
    with ExitStack() as stack:
        for _ in range(READERS):
            stack.enter_context(reading(api))
        got = api.get("/v1/events")
        assert (got.status, got.headers["Retry-After"]) == (503, "10")

    def there_is_room() -> bool:
        try:
            with reading(api):
                return True
        except AssertionError:
            return False

    wait_for(there_is_room)


def test_streams_end_with_the_server(desk: FakeDesk) -> None:
    with ExitStack() as readers:
        with served(desk) as api:
            one = readers.enter_context(reading(api))
        assert one.opened.recv(65536) in (b"", b"0\r\n\r\n")


def test_a_reader_that_falls_behind_is_told_how_much_it_missed() -> None:
    hub = Hub(epoch=1, kept=5)
    for number in range(1, 13):
        hub.publish(NOW, {"n": number})
    news = hub.after(3)
    assert (news.missed, [event.number for event in news.events]) == (4, [8, 9, 10, 11, 12])
    assert hub.since("1-3") == news
    assert (hub.after(12).missed, hub.after(12).events) == (0, ())


def test_waiting_ends_with_news_or_with_time() -> None:
    async def scenario() -> None:
        hub = Hub(epoch=1)
        waiting = asyncio.create_task(hub.wait(0, 10))
        await asyncio.sleep(0)
        hub.publish(NOW, {})
        assert await waiting
        assert await hub.wait(0, 10)
        assert not await hub.wait(1, 0.01)

    asyncio.run(scenario())
