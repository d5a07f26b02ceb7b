"""The native executor inside a worker: what is served is answered by it, counted, and left to Python where it cannot be."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from gslb.dnslayout import LAYOUT_HASH, DnsQtype, DnsUp
from gslb.nameserver import channel, scoreboard
from gslb.nameserver.core import Core
from gslb.nameserver.counters import Counter
from gslb.nameserver.generation import Publisher
from gslb.nameserver.image import ImageBuilder
from gslb.nameserver.orders import ask_to_give
from gslb.nameserver.queryevent import RECORD_OCTETS, read
from gslb.nameserver.responders import ResponderMaker
from gslb.nameserver.scoreboard import Executor, Page, Tally
from gslb.nameserver.table import compile_names, compile_plan
from gslb.nameserver.worker import Post, Worker
from tests.fuzz.differential import LIBRARY
from tests.nameserver import make
from tests.nameserver.echo import bound, running, wait_until

ZONE = make.zone(
    "z.test.", "@ 3600 SOA ns1 h 1 2 3 4 60\n@ 300 NS ns1\nns1 300 A 198.18.0.53\n", make.bound("www.z.test.")
)
AA = 0x0400  # in a query it means nothing, and is left to the reference
OLDER, NEWER = "192.0.2.1", "192.0.2.2"


class Node:
    """A serving folder with generations of one name."""

    def __init__(self, folder: Path) -> None:
        self.post = Post("tests", folder / "serving", folder / "run", 0)
        self.post.run.mkdir()
        self.publisher = Publisher(self.post.serving, "tests")

    def publish(self, address: str, version: int, *, image: bool = True, spoilt: bool = False) -> None:
        location = make.one_class("web")
        made = make.plan(location, {"web": make.policy_plan({1: (0,), 28: (0,)})}, [make.choice(address)], version)
        store = self.publisher.store
        names, plan = compile_names([ZONE], b"node"), compile_plan(made, make.SECRET)
        octets = ImageBuilder().build(make.tables([ZONE], made, location, b"node")).octets
        if spoilt:
            octets = bytes(8) + octets[8:]
        files = store("geography", bytes(location._view)), store("names", names), store("plan", plan)
        self.publisher.publish((version, "digest"), *files, store("image", octets) if image else None)

    def serve(self, sock: socket.socket, library: Path | None) -> AbstractContextManager[tuple[int, socket.socket]]:
        maker = ResponderMaker("tests")
        return running(lambda line: Worker(self.post, maker, line, [sock.dup()], Core(library)).run())

    def page(self, pid: int) -> Page:
        found = scoreboard.read(self.post.run / f"udp-{pid}.board")
        assert found is not None
        return found


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


@pytest.fixture(params=["127.0.0.1", "::1"])
def listening(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.bind((request.param, 0))
        yield sock


def ask(server: socket.socket, message: bytes) -> bytes:
    with socket.socket(server.family, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.sendto(message, server.getsockname())
        return client.recv(4096)


def answer(server: socket.socket) -> str:
    return socket.inet_ntoa(ask(server, make.query("www.z.test."))[-4:])


def test_ordinary_queries_are_answered_natively_and_others_in_python(node: Node, listening: socket.socket) -> None:
    node.publish(OLDER, 1)
    with node.serve(listening, LIBRARY) as (pid, _):
        assert answer(listening) == OLDER
        assert ask(listening, make.query("www.z.test.", flags=AA))[:4] == b"\x12\x34\x84\0"
        wait_until(lambda: sum(node.page(pid).counts[Counter.ANSWERED :][:1]) == 2, "both are counted")
        page = node.page(pid)
        assert page.executor == Executor.NATIVE
        assert (page.counts[Counter.NATIVE], page.counts[Counter.FAST] + page.counts[Counter.GENERAL]) == (1, 1)
        assert page.ups[DnsUp.DNS_UP_HEADER] == 1
        assert page.qtypes[DnsQtype.DNS_QTYPE_A] == 1


def test_the_very_next_query_sees_a_new_generation_and_counts_go_on(node: Node, listening: socket.socket) -> None:
    node.publish(OLDER, 1)
    with node.serve(listening, LIBRARY) as (pid, _):
        for _ in range(3):
            assert answer(listening) == OLDER
        node.publish(NEWER, 2)
        for _ in range(2):
            assert answer(listening) == NEWER
        wait_until(lambda: node.page(pid).counts[Counter.NATIVE] == 5, "counts go on over generations")
        assert node.page(pid).qtypes[DnsQtype.DNS_QTYPE_A] == 5


@pytest.mark.parametrize(("spoilt", "executor"), [(False, Executor.NO_IMAGE), (True, Executor.UNFIT)])
def test_without_a_good_image_python_answers_and_says_why(
    node: Node, listening: socket.socket, executor: Executor, *, spoilt: bool
) -> None:
    node.publish(OLDER, 1)
    with node.serve(listening, LIBRARY) as (pid, _):
        assert answer(listening) == OLDER
        node.publish(NEWER, 2, image=spoilt, spoilt=spoilt)
        assert answer(listening) == NEWER
        assert node.page(pid).executor == executor
        node.publish(OLDER, 3)
        assert answer(listening) == OLDER
        assert node.page(pid).executor == Executor.NATIVE


def test_without_a_library_python_answers_and_says_why(node: Node, listening: socket.socket, tmp_path: Path) -> None:
    node.publish(OLDER, 1)
    with node.serve(listening, tmp_path / "absent.so") as (pid, _):
        assert answer(listening) == OLDER
        assert node.page(pid).executor == Executor.NO_LIBRARY


def test_a_library_of_another_layout_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gslb.nameserver.native.LAYOUT_HASH", "0" * len(LAYOUT_HASH))
    copied = tmp_path / "libgslb.so"
    copied.write_bytes(LIBRARY.read_bytes())
    assert Core(copied).executor == Executor.OTHER_LAYOUT


def test_more_than_a_batch_is_answered(node: Node) -> None:
    node.publish(OLDER, 1)
    with bound(socket.SOCK_DGRAM) as sock, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        wanted = set(range(200))  # as many as a socket's default buffer holds
        for number in wanted:
            message = make.query("www.z.test.", flags=0 if number % 10 else AA)
            client.sendto(number.to_bytes(2, "big") + message[2:], sock.getsockname())
        with node.serve(sock, LIBRARY) as (pid, _):
            assert {int.from_bytes(client.recv(4096)[:2], "big") for _ in wanted} == wanted
            wait_until(lambda: node.page(pid).counts[Counter.NATIVE] == 180, "and counted")
            assert node.page(pid).tallies[Tally.SEND_FAILED] == 0


def test_before_the_first_generation_nothing_is_counted() -> None:
    core = Core(LIBRARY)
    core.settle()
    assert (core.native, core.ups, core.qtypes) == (None, (), ())


@pytest.mark.parametrize("library", [LIBRARY, None], ids=["native", "python"])
def test_who_listens_is_told_of_queries(node: Node, listening: socket.socket, library: Path | None) -> None:
    """A line is enough, and its end ends it."""
    node.publish(OLDER, 1)
    message = make.query("www.z.test.", "A")
    with node.serve(listening, library) as (pid, _):
        ask(listening, message)
        with channel.connect(node.post.run, f"udp-{pid}.sock", 5.0) as line:
            channel.send(line, {"do": "sample", "one_in": 1})
            hears(line)
            ask(listening, message)
            ask(listening, flagged(message))
            told = [heard(line)]
            while sum(len(records) for _, records, _ in told) < 2 * RECORD_OCTETS:
                told.append(heard(line))
            events = [(who, read(record)) for who, records, lost in told for record in parts(records) if not lost]
            assert {who for who, _ in events} == ({"native", "python"} if library is not None else {"python"})
            assert {(event.name, event.address) for _, event in events} == {(b"\3www\1z\4test\0", OLDER)}
            node.publish(NEWER, 2)
            while read(told[-1][1][-RECORD_OCTETS:]).address != NEWER:  # it goes on from the next generation
                ask(listening, message)
                told.append(heard(line))
        ask(listening, message)
        with channel.connect(node.post.run, f"udp-{pid}.sock", 5.0) as line:
            channel.send(line, {"do": "sample", "one_in": 0})
            ask(listening, message)
            hears(line)  # and tells nothing


def hears(line: socket.socket) -> None:
    """Wait until the worker has heard all that was said."""
    given = ask_to_give(line)
    assert given is not None
    assert given[0], "this is its answer, and no query"
    for sock in given[1]:
        sock.close()


def flagged(message: bytes) -> bytes:
    """A query that is left to the reference."""
    return message[:2] + (int.from_bytes(message[2:4], "big") | AA).to_bytes(2, "big") + message[4:]


def heard(line: socket.socket) -> tuple[str, bytes, int]:
    received = channel.receive(line)
    assert received is not None
    message, _ = received
    return str(message["executor"]), base64.b64decode(str(message["queries"])), int(str(message["lost"]))


def parts(records: bytes) -> list[bytes]:
    return [records[at : at + RECORD_OCTETS] for at in range(0, len(records), RECORD_OCTETS)]
