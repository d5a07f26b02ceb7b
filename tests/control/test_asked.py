"""Executors that are asked: who answers, who hangs, who is gone, and who has nothing yet."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gslb.control.asked import ASK_S, answering, silent
from gslb.nameserver import channel
from gslb.nameserver.core import Core
from gslb.nameserver.generation import Publisher
from gslb.nameserver.image import ImageBuilder
from gslb.nameserver.responders import ResponderMaker
from gslb.nameserver.table import compile_names, compile_plan
from gslb.nameserver.worker import Post, Worker
from tests.fuzz.differential import LIBRARY
from tests.nameserver import make
from tests.nameserver.echo import bound, live, running, wait_until

PROBE = make.query("z.test.", "SOA").hex()
ZONE = make.zone("z.test.", "@ 3600 SOA ns1 h 1 2 3 4 60\n@ 300 NS ns1\nns1 300 A 198.18.0.53\n")


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with bound(socket.SOCK_DGRAM) as sock:
        yield sock


@pytest.fixture
def post(tmp_path: Path) -> Post:
    made = Post("tests", tmp_path / "serving", tmp_path / "run", 0)
    made.run.mkdir()
    return made


def publish(post: Post) -> None:
    publisher = Publisher(post.serving, "tests")
    location = make.one_class("web")
    plan = make.plan(location, {}, [], 1)
    store = publisher.store
    names, compiled = compile_names([ZONE], b"node"), compile_plan(plan, make.SECRET)
    image = ImageBuilder().build(make.tables([ZONE], plan, location, b"node")).octets
    files = store("geography", bytes(location._view)), store("names", names), store("plan", compiled)
    publisher.publish((1, "digest"), *files, store("image", image))


def asked(post: Post, driver: tuple[str, ...] = (), probe: str = PROBE) -> tuple[str, ...]:
    return asyncio.run(silent(post.run, probe, driver))


def count(post: Post, *, driver: bool = False) -> int | None:
    return asyncio.run(answering(post.run, PROBE, driver=driver))


@pytest.mark.parametrize("library", [LIBRARY, None], ids=["native", "python"])
def test_a_worker_is_asked_over_its_own_socket(post: Post, listening: socket.socket, library: Path | None) -> None:
    Publisher(post.serving, "tests")
    make_responder = ResponderMaker("tests")
    with running(lambda line: Worker(post, make_responder, line, [listening.dup()], Core(library)).run()) as (
        pid,
        line,
    ):
        assert asked(post) == ("no worker answers over UDP",), "it has nothing to answer from yet"
        publish(post)
        line.settimeout(10)
        assert channel.receive(line) == ({"say": "serving"}, [])
        assert asked(post) == ()
        assert asked(post, ("the driver answers nonsense",)) == ("the driver answers nonsense",)
        (wrong,) = asked(post, probe=make.query("elsewhere.", "SOA").hex())
        assert f"the worker with pid {pid} replies" in wrong
        asked(post, probe="12340000")
        assert asked(post) == (), "nonsense ends no worker"
        os.kill(pid, signal.SIGSTOP)
        try:
            assert asked(post) == (f"the worker with pid {pid} was asked and has not answered for {ASK_S:g} s",)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert asked(post) == ()


def test_who_is_gone_is_not_asked(post: Post) -> None:
    channel.listen(post.run, "udp-7.sock").close()
    assert asked(post) == ("no worker answers over UDP",)
    assert asked(post, probe="") == (), "without a zone there is nothing to ask"


def begun(post: Post, held: ExitStack) -> tuple[int, socket.socket]:
    """A worker that answers when something is published; at the end it must be alive."""
    sock = held.enter_context(bound(socket.SOCK_DGRAM))
    make_responder = ResponderMaker("tests")
    return held.enter_context(running(lambda line: Worker(post, make_responder, line, [sock]).run()))


def serving(line: socket.socket) -> None:
    line.settimeout(10)
    assert channel.receive(line) == ({"say": "serving"}, [])


def test_those_who_answer_are_counted(post: Post, listening: socket.socket) -> None:
    Publisher(post.serving, "tests")
    assert asyncio.run(answering(post.run, "", driver=True)) is None, "there is nothing to ask for"
    make_responder = ResponderMaker("tests")
    line, theirs = channel.pair()
    with ExitStack() as held, line:
        stays, its_line = begun(post, held)
        dies = os.fork()
        if dies == 0:
            live(lambda line: Worker(post, make_responder, line, [listening]).run(), theirs)
        theirs.close()
        try:
            wait_until(lambda: len(list(post.run.glob("udp-*.sock"))) == 2, "both workers")
            assert (count(post), count(post, driver=True)) == (0, 1), "they have nothing to answer from yet"
            publish(post)
            serving(its_line)
            serving(line)
            assert (count(post), count(post, driver=True)) == (2, 3)
        finally:
            os.kill(dies, signal.SIGKILL)
            os.waitpid(dies, 0)
        assert (count(post), count(post, driver=True)) == (1, 2)
        os.kill(stays, signal.SIGSTOP)
        try:
            assert count(post) == 0
        finally:
            os.kill(stays, signal.SIGCONT)
        assert count(post) == 1


def test_where_all_are_stopped_they_are_waited_for_together(post: Post) -> None:
    Publisher(post.serving, "tests")
    publish(post)
    with ExitStack() as held:
        workers = [begun(post, held) for _ in range(4)]
        for _, line in workers:
            serving(line)
        for pid, _ in workers:
            os.kill(pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            assert count(post, driver=True) == 1
            assert ASK_S <= time.monotonic() - began < len(workers) * ASK_S
        finally:
            for pid, _ in workers:
                os.kill(pid, signal.SIGCONT)
        assert count(post) == 4
