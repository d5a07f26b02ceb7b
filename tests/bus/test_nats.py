"""The bus by a real NATS server: messages, keys, objects, and what becomes of them when the line or the server is lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import nats
import pytest

from gslb.bus import watch
from gslb.bus.bus import MESSAGE_MOST, VALUE_MOST, Away, Conflict, Entry
from gslb.bus.nats import beside, in_order
from tests.bus.cluster import Cluster, Server
from tests.bus.hearing import Ear, bus_at, running, until
from tests.ports import free_port


@pytest.fixture
def server(tmp_path: Path, tool: Callable[[str], str]) -> Iterator[Server]:
    tool("nats-server")
    with Cluster(tmp_path) as cluster:
        yield cluster.servers[0]


@pytest.mark.parametrize(
    ("ours", "theirs", "is_beside"),
    [
        ("10.50.1.11", "10.50.1.5", True),
        ("10.50.1.11", "10.50.2.5", False),
        ("2001:db8:0:1::b", "2001:db8:0:1::5", True),
        ("2001:db8:0:1::b", "2001:db8:0:2::5", False),
        ("fe80::b%eth0", "fe80::5%eth0", True),
    ],
)
def test_who_is_on_a_network_of_ours(ours: str, theirs: str, *, is_beside: bool) -> None:
    assert beside(ours, theirs) is is_beside


def test_a_server_on_our_network_comes_first() -> None:
    assert in_order({"far": (0.004, False, 0.1), "ours": (0.4, True, 0.9)}) == ["ours", "far"]
    found = {"far": (0.020, False, 0.1), "one": (0.004, False, 0.9), "two": (0.004, False, 0.2)}
    assert in_order(found) == ["two", "one", "far"]


def test_others_hear_what_is_told_and_the_teller_does_not(server: Server) -> None:
    async def main() -> None:
        left, right = bus_at(server.url), bus_at(server.url, node="iad1", site="iad")
        other = bus_at(server.url, node="iad1", site="iad", deployment="other")
        async with running(left) as ears, running(right) as heard, running(other) as apart:
            assert left.publish("life", b"one")
            assert left.publish("loads", b"")
            await until(lambda: len(heard.messages) == 2)
            assert [(m.site, m.node, m.kind, m.body) for m in heard.messages] == [
                ("fra", "fra1", "life", b"one"),
                ("fra", "fra1", "loads", b""),
            ]
            right.publish("life", b"two")
            await until(lambda: ears.messages)
            assert ears.bodies == [b"two"]
            assert not apart.messages
            assert left.standing.connected
            assert left.standing.server == server.url

    asyncio.run(main())


def test_a_message_is_there_within_100_ms(server: Server) -> None:
    async def main() -> None:
        left, right = bus_at(server.url), bus_at(server.url, node="iad1")
        loop = asyncio.get_running_loop()
        took = []
        async with running(left), running(right) as heard:
            for number in range(1, 51):
                began = loop.time()
                assert left.publish("opinions", bytes(16_000))
                await until(lambda: len(heard.messages) == number)  # noqa: B023
                took.append(loop.time() - began)
        assert sorted(took)[25] < 0.1

    asyncio.run(main())


def test_what_is_malformed_oversized_or_says_that_it_is_ours_is_refused_and_counted(server: Server) -> None:
    async def main() -> None:
        bus = bus_at(server.url)
        with pytest.raises(ValueError, match="octets"):
            bus.publish("life", bytes(MESSAGE_MOST + 1))
        with pytest.raises(ValueError, match="subject"):
            bus.publish("li.fe", b"")
        with pytest.raises(ValueError, match="subject"):
            bus_at(server.url, node="fra.1")
        async with running(bus) as ear, await nats.connect(server.url) as client:
            await client.publish("gslb.example.fra.life", b"")
            await client.publish("gslb.example.fra.fra2.life.x", b"")
            await client.publish("gslb.example.fra.fr\xe4.life", b"")
            await client.publish("gslb.example.fra.fra1.life", b"")
            await client.publish("gslb.example.fra.fra2.life", bytes(MESSAGE_MOST + 1))
            await client.publish("gslb.example.fra.fra2.life", b"well")
            await until(lambda: ear.messages)
            assert ear.bodies == [b"well"]
            assert bus.standing.refused == {"subject": 3, "own_name": 1, "oversized": 1}

    asyncio.run(main())


def test_keys_are_compared_and_set(server: Server) -> None:
    async def main() -> None:
        left, right = bus_at(server.url), bus_at(server.url, node="iad1")
        async with running(left) as ears, running(right) as heard:
            assert await left.get("override.a") == Entry("override.a", None, 0)
            first = await left.put("override.a", b"1", 0)
            with pytest.raises(Conflict):
                await right.put("override.a", b"2", 0)
            await until(lambda: heard.keys.get("override.a") == b"1")
            second = await right.put("override.a", b"2", first)
            assert await left.get("override.a") == Entry("override.a", b"2", second)
            with pytest.raises(Conflict):
                await left.put("override.a", b"3", first)
            await left.put("override.a", b"", None)
            await until(lambda: ears.keys.get("override.a") == b"" == heard.keys.get("override.a"))
            with pytest.raises(ValueError, match="no key"):
                await left.put("override.*", b"")
            with pytest.raises(ValueError, match="octets"):
                await left.put("override.a", bytes(VALUE_MOST + 1))
            big = bytes(range(256)) * (VALUE_MOST // 256)
            await left.put("config.current", big)
            await until(lambda: heard.keys.get("config.current") == big)

    asyncio.run(main())


def test_a_key_that_was_deleted_by_hand_counts_as_not_there(server: Server) -> None:
    async def main() -> None:
        bus = bus_at(server.url)
        async with running(bus) as ear, await nats.connect(server.url) as client:
            revision = await bus.put("lease.a", b"1", 0)
            store = await client.jetstream().key_value("gslb-example")
            await store.delete("lease.a")
            await until(lambda: ear.entries and ear.entries[-1] == Entry("lease.a", None, 0))
            assert await bus.get("lease.a") == Entry("lease.a", None, 0)
            with pytest.raises(Conflict):
                await bus.put("lease.a", b"2", revision)
            await bus.put("lease.a", b"2", 0)
            with pytest.raises(Conflict):
                await bus.put("lease.a", b"3", 0)
            await until(lambda: ear.keys["lease.a"] == b"2")

    asyncio.run(main())


def test_who_comes_later_is_told_all_keys_and_then_that_it_was_told_all(server: Server) -> None:
    async def main() -> None:
        async with running(bus_at(server.url)) as ear:
            assert ear.lists == [frozenset()]
            left = bus_at(server.url, node="fra2")
            async with running(left):
                for number in range(300):
                    await left.put(f"shed.p{number}", b"%d" % number)
            async with running(bus_at(server.url, node="iad1")) as late:
                assert late.lists == [frozenset(f"shed.p{number}" for number in range(300))]
                assert late.keys == {f"shed.p{number}": b"%d" % number for number in range(300)} == ear.keys

    asyncio.run(main())


def test_an_object_of_3_mb_comes_back_as_it_was(server: Server) -> None:
    async def main() -> None:
        left, right = bus_at(server.url), bus_at(server.url, node="iad1")
        value = bytes(range(256)) * (3 * 4096)
        async with running(left), running(right):
            assert await right.fetch("bundle 7") is None
            await left.store("bundle 7", value)
            assert await right.fetch("bundle 7") == value
            await left.store("bundle 7", b"")
            assert await right.fetch("bundle 7") == b""

    asyncio.run(main())


def test_nothing_is_sent_later_that_could_not_be_sent_at_once(server: Server) -> None:
    async def main() -> None:
        left, right = bus_at(server.url), bus_at(server.url, node="iad1")
        async with running(left) as ears, running(right) as heard:
            left.publish("life", b"before")
            await until(lambda: heard.messages)
            server.kill()
            await until(lambda: not left.standing.connected and not right.standing.connected)
            assert not left.publish("life", b"while it is gone")
            with pytest.raises(Away, match="not connected"):
                await left.put("a", b"")
            server.start()
            await until(lambda: left.standing.connected and right.standing.connected)
            await until(lambda: left.publish("life", b"after"))
            await until(lambda: b"after" in heard.bodies)
            assert heard.bodies == [b"before", b"after"]
            assert [standing.connected for standing in ears.standings] == [False, True, False, True]
            assert ears.standings[2].since >= ears.standings[1].since

    asyncio.run(main())


@pytest.mark.slow
def test_a_server_that_stands_still_is_left_and_what_waited_is_not_sent(server: Server) -> None:
    async def main() -> None:
        left, right = bus_at(server.url), bus_at(server.url, node="iad1")
        async with running(left) as ears, running(right) as heard:
            server.pause()
            told = 0
            deadline = asyncio.get_running_loop().time() + 20
            while left.standing.connected:
                assert asyncio.get_running_loop().time() < deadline
                told += left.publish("loads", bytes(MESSAGE_MOST))
                await asyncio.sleep(0.002)
            assert ears.standings[-1].why
            await until(lambda: not right.standing.connected)
            server.resume()
            await until(lambda: left.standing.connected and right.standing.connected)
            await until(lambda: left.publish("life", b"after"))
            await until(lambda: b"after" in heard.bodies)
            assert heard.bodies[-1] == b"after"
            assert len(heard.bodies) - 1 < told / 4, "more than what the server's kernel can hold"

    asyncio.run(main())


@pytest.mark.parametrize("how", ["deleted", "wiped"])
def test_a_bucket_that_was_lost_is_made_again_and_all_are_told(server: Server, how: str) -> None:
    async def main() -> None:
        bus = bus_at(server.url)
        async with running(bus) as ear:
            await bus.put("override.a", b"1")
            await bus.put("override.b", b"1")
            await until(lambda: len(ear.keys) == 2)
            lists = len(ear.lists)
            if how == "deleted":
                async with await nats.connect(server.url) as client:
                    await client.jetstream().delete_stream("KV_gslb-example")
            else:
                server.kill()
                server.wipe()
                server.start()
            await until(lambda: len(ear.lists) > lists and not ear.lists[-1])
            assert how == "wiped" or ear.keys == {"override.a": None, "override.b": None}
            await bus.put("override.a", b"1", 0)
            await until(lambda: ear.keys["override.a"] == b"1")

    asyncio.run(main())


def test_a_put_makes_the_bucket_that_is_gone(server: Server) -> None:
    async def main() -> None:
        bus = bus_at(server.url)
        async with running(bus), await nats.connect(server.url) as client:
            await client.jetstream().delete_stream("KV_gslb-example")
            assert await bus.get("override.a") == Entry("override.a", None, 0)
            assert await bus.put("override.a", b"1", 0) == 1

    asyncio.run(main())


def test_a_consumer_that_was_lost_in_silence_is_noticed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "CHECK_S", 0.2)

    async def main() -> None:
        bus = bus_at(server.url)
        async with running(bus) as ear, await nats.connect(server.url) as client:
            stream = client.jetstream()
            for consumer in await stream.consumers_info("KV_gslb-example"):
                await stream.delete_consumer("KV_gslb-example", consumer.name)
            await bus.put("override.a", b"1")
            await until(lambda: ear.keys.get("override.a") == b"1", 5)

    asyncio.run(main())


def test_an_entry_that_its_hearer_cannot_stand_keeps_no_other_from_it(server: Server) -> None:
    async def main() -> None:
        bus, stop, ear = bus_at(server.url), asyncio.Event(), Ear(cannot_stand=b"bad")
        async with running(bus_at(server.url, node="fra2")) as other:
            task = asyncio.ensure_future(bus.run(ear, stop))
            await until(lambda: ear.lists)
            await bus.put("override.a", b"bad")
            await bus.put("override.b", b"good")
            await until(lambda: ear.keys.get("override.b") == b"good" == other.keys.get("override.b"))
            assert "override.a" not in ear.keys
            stop.set()
            await task

    asyncio.run(main())


@pytest.mark.slow
def test_a_way_of_a_second_is_no_loss(server: Server) -> None:
    async def main() -> None:
        port = free_port()
        async with _slow(port, server.port, 1.0):
            far, near = bus_at(f"nats://127.0.0.1:{port}"), bus_at(server.url, node="iad1")
            async with running(near) as heard, running(far) as ear:
                loop = asyncio.get_running_loop()
                began = loop.time()
                assert far.publish("life", b"late")
                await until(lambda: heard.messages)
                assert 0.9 < loop.time() - began < 2
                await far.put("override.a", b"1", 0)
                await until(lambda: heard.keys.get("override.a") == b"1" == ear.keys.get("override.a"))
                await asyncio.sleep(7)  # longer than an answer to a ping may take
                assert [standing.connected for standing in ear.standings] == [False, True]
                assert not far.standing.keys_why

    asyncio.run(main())


@contextlib.asynccontextmanager
async def _slow(port: int, to: int, seconds: float) -> AsyncIterator[None]:
    """A TCP relay whose octets take so long each way."""
    loop = asyncio.get_running_loop()
    writers: list[asyncio.StreamWriter] = []
    tasks: set[asyncio.Task[None]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            loop.call_later(seconds, writer.write, data)
        loop.call_later(seconds, writer.close)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        other_reader, other_writer = await asyncio.open_connection("127.0.0.1", to)
        writers.extend((writer, other_writer))
        for work in (copy(reader, other_writer), copy(other_reader, writer)):
            task = asyncio.ensure_future(work)
            tasks.add(task)

    relay = await asyncio.start_server(accept, "127.0.0.1", port)
    try:
        yield
    finally:
        relay.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.close()


def test_a_flood_is_bounded_counted_and_stops_nobody(server: Server) -> None:
    async def main() -> None:
        bus = bus_at(server.url)
        longest = 0.0

        async def tick() -> None:
            nonlocal longest
            loop = asyncio.get_running_loop()
            while True:
                began = loop.time()
                await asyncio.sleep(0.001)
                longest = max(longest, loop.time() - began)

        async with running(bus) as ear:
            ticking = asyncio.ensure_future(tick())
            process = await asyncio.create_subprocess_exec(
                "python3", "-c", _FLOOD, server.url.rpartition(":")[2], stdout=asyncio.subprocess.DEVNULL
            )
            assert await asyncio.wait_for(process.wait(), 60) == 0
            await until(lambda: len(ear.messages) + (bus.standing.refused or {}).get("dropped", 0) >= 40_000)
            assert bus.standing.connected
            ticking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await ticking
        assert longest < 1, f"the loop stood still for {longest:.2f} s"

    asyncio.run(main())


_FLOOD = """
import socket, sys
line = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
line.sendall(b'CONNECT {"verbose":false}\\r\\n')
for number in range(40):
    line.sendall((b"PUB gslb.example.fra.fra2.loads 500\\r\\n" + bytes(500) + b"\\r\\n") * 1000)
line.sendall(b"PING\\r\\n")
while b"PONG" not in line.recv(65536):
    pass
"""
