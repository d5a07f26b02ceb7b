"""The sample of queries in the controller: workers are asked while somebody listens, and what they tell becomes events."""

from __future__ import annotations

import asyncio
import base64
import socket
from pathlib import Path

from gslb.control.queries import DRIVER, Queries
from gslb.nameserver import channel
from gslb.nameserver.queryevent import RECORD_OCTETS, pack
from tests.nameserver.make import query

RECORD = pack(query("WWW.z.test.", "AAAA"), None, "2001:db8:5:55ff::1", 1_700_000_000_000_000_000, valid=False) or b""
TOLD = {
    "executor": "native",
    "one_in": 5,
    "client": "2001:db8:5:5500::/56",
    "subnet": None,
    "scope": None,
    "name": "www.z.test.",
    "cut": False,
    "type": "AAAA",
    "rcode": "NOERROR",
    "address": None,
    "answered": False,
    "truncated": False,
    "do": False,
    "cookie": None,
}


def test_workers_are_asked_as_long_as_somebody_listens(tmp_path: Path) -> None:
    changed: list[int] = []

    async def follow() -> None:
        queries, stop = Queries(tmp_path, 1, changed.append), asyncio.Event()
        running = asyncio.create_task(queries.run(stop))
        with channel.listen(tmp_path, "udp-7.sock") as door:
            door.settimeout(5)
            with queries.listening(9), queries.listening(5):
                line, _ = await asyncio.to_thread(door.accept)
                with line:
                    line.settimeout(5)
                    assert await ordered(line) == 5, "the most that anybody wants"
                    text = base64.b64encode(RECORD).decode()
                    channel.send(line, {"queries": "%", "lost": 0, "executor": "native"})
                    channel.send(line, {"queries": text, "lost": 3, "executor": "native"})
                    assert await queries.hub.wait(0, 5.0)
                    (event,) = queries.hub.after(0).events
                    assert (event.at, event.body, queries.lost) == (1_700_000_000.0, TOLD, 3)
                    with queries.listening(2):
                        assert await ordered(line) == 2
                    assert await ordered(line) == 5
                again, _ = await asyncio.to_thread(door.accept)
                with again:
                    again.settimeout(5)
                    assert await ordered(again) == 5, "a line that ended is made anew"
                    queries._wanted.clear()
                    queries._tell()
                    assert await asyncio.to_thread(channel.receive, again) is None, "nobody listens"
                    queries._wanted += [9, 5]
        stop.set()
        await running

    asyncio.run(follow())
    assert changed == [9, 5, 2, 5, 0, 9, 0]


async def ordered(line: socket.socket) -> object:
    received = await asyncio.to_thread(channel.receive, line)
    assert received is not None
    assert received[0]["do"] == "sample"
    return received[0]["one_in"]


def test_what_the_driver_tells_is_for_who_listens(tmp_path: Path) -> None:
    queries = Queries(tmp_path, 1, lambda _one_in: None)
    queries.take(RECORD, 1, DRIVER)
    assert (queries.hub.last, queries.lost) == (0, 0)
    with queries.listening(1):
        queries.take(RECORD * 3 + RECORD[: RECORD_OCTETS - 1], 2, DRIVER)
    assert (queries.hub.last, queries.lost) == (3, 2)


def test_a_name_that_is_cut_ends_at_a_whole_label(tmp_path: Path) -> None:
    queries = Queries(tmp_path, 1, lambda _one_in: None)
    name = f"{'a' * 40}.{'b' * 40}.z.test."
    with queries.listening(1):
        queries.take(pack(query(name, "A"), None, "192.0.2.1", 0, valid=False) or b"", 0, DRIVER)
    (event,) = queries.hub.after(0).events
    assert (event.body["name"], event.body["cut"]) == ("a" * 40 + ".", True)
