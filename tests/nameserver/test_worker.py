"""The UDP worker in a process of its own, with a fake of what answers."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from gslb.nameserver import channel, orders, scoreboard
from gslb.nameserver.scoreboard import Kind, Page, Tally
from gslb.nameserver.sockets import endpoint_of
from gslb.nameserver.worker import Worker
from tests.nameserver.echo import ARRIVED, CRASH, SILENT, Stage, bound, make_echo, running, wait_until

QUERY = b"\x12\x34\x01\x00 query"


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with bound(socket.SOCK_DGRAM) as sock:
        yield sock


@pytest.fixture
def client() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        yield sock


def ask(client: socket.socket, server: socket.socket, query: bytes = QUERY) -> bytes:
    client.sendto(query, server.getsockname())
    return client.recv(4096)


def page(stage: Stage, pid: int) -> Page:
    found = scoreboard.read(stage.run / f"udp-{pid}.board")
    assert found is not None
    return found


def serve(stage: Stage, *sockets: socket.socket) -> AbstractContextManager[tuple[int, socket.socket]]:
    return running(lambda line: Worker(stage.post, make_echo, line, [sock.dup() for sock in sockets]).run())


def test_answers_from_the_generation_in_force(stage: Stage, listening: socket.socket, client: socket.socket) -> None:
    stage.publish(b"one", 1)
    with serve(stage, listening) as (pid, _):
        assert ask(client, listening) == b"one " + QUERY
        stage.publish(b"two", 2)
        assert ask(client, listening) == b"two " + QUERY, "the very next query sees the new generation"
        wait_until(lambda: page(stage, pid).counts[ARRIVED] == 2, "counts go on over generations")
        shown = page(stage, pid)
        assert (shown.kind, shown.generation, shown.plan_version) == (Kind.UDP, 2, 2)


def test_queries_wait_for_the_first_generation(stage: Stage, listening: socket.socket, client: socket.socket) -> None:
    with serve(stage, listening) as (_, line):
        client.sendto(QUERY, listening.getsockname())
        stage.publish(b"one")
        assert client.recv(4096) == b"one " + QUERY
        line.settimeout(5)
        assert channel.receive(line) == ({"say": "serving"}, [])


@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_a_current_that_others_removed_is_followed_again_when_it_is_restored(
    stage: Stage, listening: socket.socket, client: socket.socket, how: str
) -> None:
    stage.publish(b"one", 1)
    with serve(stage, listening) as (pid, _):
        assert ask(client, listening) == b"one " + QUERY
        current = stage.serving / "current"
        if how == "removed":
            current.unlink()
        else:
            shutil.copy(current, stage.serving / "other")
            (stage.serving / "other").replace(current)
        assert ask(client, listening) == b"one " + QUERY, "what is loaded is served on"
        stage.publish(b"two", 2)
        wait_until(lambda: page(stage, pid).generation == 2, "the new file is noticed")
        assert ask(client, listening) == b"two " + QUERY


@pytest.mark.parametrize("fault", ["older", "unreadable", "damaged", "foreign"])
def test_keeps_what_it_has_when_a_generation_does_not_fit(
    stage: Stage, listening: socket.socket, client: socket.socket, fault: str
) -> None:
    stage.publish(b"one", 5)
    with serve(stage, listening) as (pid, _):
        assert ask(client, listening) == b"one " + QUERY
        geography, names, plan = stage.store(b"unreadable" if fault == "unreadable" else b"two", 6)
        if fault == "damaged":
            (stage.serving / names.name).write_bytes(b"tw")
        if fault == "foreign":
            stage.publisher._deployment = "other"
        stage.publisher.publish((4 if fault == "older" else 6, "digest"), geography, names, plan)
        assert ask(client, listening) == b"one " + QUERY
        wait_until(lambda: page(stage, pid).tallies[Tally.GENERATION_REFUSED] == 1, "the refusal is counted")
        stage.publisher._deployment = stage.post.deployment
        stage.publish(b"three", 7)
        assert ask(client, listening) == b"three " + QUERY


def test_a_start_beside_a_damaged_generation_takes_the_one_before(
    stage: Stage, listening: socket.socket, client: socket.socket
) -> None:
    stage.publish(b"one", 1)
    _, names, _ = stage.store(b"two", 2)
    stage.publish(b"two", 2)
    (stage.serving / names.name).write_bytes(b"tw")
    with serve(stage, listening):
        assert ask(client, listening) == b"one " + QUERY


def test_a_defect_is_servfail_for_a_query_and_silence_for_a_response(
    stage: Stage, listening: socket.socket, client: socket.socket
) -> None:
    stage.publish(b"one")
    with serve(stage, listening) as (pid, _):
        servfail = CRASH[:2] + bytes((0x80 | (CRASH[2] & 0x79), 2)) + bytes(8)
        assert ask(client, listening, CRASH) == servfail
        client.sendto(SILENT, listening.getsockname())
        assert ask(client, listening) == b"one " + QUERY, "the silent one came first and got nothing"
        wait_until(lambda: page(stage, pid).tallies[Tally.RESPONDER_FAILED] == 1, "the defect is counted")


def test_a_client_that_has_gone_does_not_end_it(stage: Stage, listening: socket.socket, client: socket.socket) -> None:
    stage.publish(b"one")
    with serve(stage, listening):
        for _ in range(20):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
                gone.sendto(QUERY, listening.getsockname())
        assert ask(client, listening) == b"one " + QUERY


def test_a_flood_on_one_socket_does_not_starve_another(stage: Stage, client: socket.socket) -> None:
    stage.publish(b"one")
    with bound(socket.SOCK_DGRAM) as busy, bound(socket.SOCK_DGRAM) as quiet:
        for _ in range(500):
            client.sendto(SILENT, busy.getsockname())
        with serve(stage, busy, quiet), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.settimeout(5)
            assert ask(other, quiet) == b"one " + QUERY


def test_takes_and_leaves_sockets_while_it_serves(
    stage: Stage, listening: socket.socket, client: socket.socket
) -> None:
    stage.publish(b"one")
    with bound(socket.SOCK_DGRAM) as later, serve(stage, listening) as (_, line):
        assert orders.hand_over(line, [later])
        assert ask(client, later) == b"one " + QUERY
        assert orders.take_back(line, [endpoint_of(later)])
        client.settimeout(0.3)
        assert ask(client, listening) == b"one " + QUERY
        with pytest.raises(TimeoutError):
            ask(client, later)


def test_gives_its_sockets_to_whoever_asks_and_serves_on(
    stage: Stage, listening: socket.socket, client: socket.socket
) -> None:
    stage.publish(b"one")
    with serve(stage, listening) as (pid, _):
        assert ask(client, listening) == b"one " + QUERY
        line = channel.connect(stage.run, f"udp-{pid}.sock", 5)
        given = orders.ask_to_give(line)
        assert given is not None
        assert given[0] == pid
        (sock,) = given[1]
        assert sock.getsockname() == listening.getsockname()
        sock.close()
        line.close()
        assert ask(client, listening) == b"one " + QUERY


def test_serves_on_when_its_supervisor_is_gone(stage: Stage, listening: socket.socket, client: socket.socket) -> None:
    stage.publish(b"one")
    with serve(stage, listening) as (pid, line):
        assert ask(client, listening) == b"one " + QUERY
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGHUP)
        line.shutdown(socket.SHUT_RDWR)
        assert ask(client, listening) == b"one " + QUERY
        later = channel.connect(stage.run, f"udp-{pid}.sock", 5)
        channel.send(later, {"do": "finish"})
        later.close()


def test_sigterm_finishes_it_at_once(stage: Stage, listening: socket.socket, client: socket.socket) -> None:
    stage.publish(b"one")
    with serve(stage, listening) as (pid, _):
        assert ask(client, listening) == b"one " + QUERY
        os.kill(pid, signal.SIGTERM)
        began = time.monotonic()
        wait_until(lambda: os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None, "its end")
        assert time.monotonic() - began < 0.9, "it does not wait for the next second"


def test_a_deep_state_folder_is_no_trouble(tmp_path: Path, listening: socket.socket, client: socket.socket) -> None:
    deep = tmp_path.joinpath(*["a-folder-with-a-long-name"] * 8)
    deep.mkdir(parents=True)
    stage = Stage(deep)
    stage.publish(b"one")
    with serve(stage, listening) as (pid, _):
        assert ask(client, listening) == b"one " + QUERY
        channel.connect(stage.run, f"udp-{pid}.sock", 5).close()
