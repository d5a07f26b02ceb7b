"""Children: what they inherit, how their end is told, and how soon they are replaced."""

from __future__ import annotations

import os
import signal
import socket
from itertools import pairwise

from gslb.control.children import BACKOFF_MAX_S, STEADY_S, Restarts, bury, fork
from gslb.nameserver import channel


def test_the_first_death_is_replaced_at_once_and_a_crash_loop_slows_down() -> None:
    restarts = Restarts()
    delays = [restarts.delay_s(0.1) for _ in range(40)]
    assert delays[:3] == [0.0, 0.1, 0.2]
    assert all(later >= earlier for earlier, later in pairwise(delays))
    assert delays[-1] == BACKOFF_MAX_S, "it slows down and never gives up"


def test_a_steady_life_clears_the_record() -> None:
    restarts = Restarts()
    for _ in range(5):
        restarts.delay_s(0.1)
    assert restarts.delay_s(STEADY_S) == 0.0
    assert restarts.delay_s(0.1) == 0.0


def test_a_child_holds_only_what_it_is_given() -> None:
    kept, other = socket.socketpair()

    def body(line: socket.socket) -> int:
        held = {int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")}  # noqa: PTH110, PTH208
        channel.send(
            line, {"kept": kept.fileno() in held, "other": other.fileno() in held, "line": line.fileno() in held}
        )
        return 7

    with kept, other:
        child = fork("test", 0, body, [kept.fileno()], 0.0)
        assert channel.receive(child.line) == ({"kept": True, "other": False, "line": True}, [])
        assert bury(child) == 7


def test_an_error_ends_a_child_with_a_status() -> None:
    def body(line: socket.socket) -> int:
        line.close()
        raise SystemError

    assert bury(fork("test", 0, body, [], 0.0)) == 1


def test_signals_of_a_terminal_do_not_reach_a_child() -> None:
    def body(line: socket.socket) -> int:
        channel.send(line, {})
        return 0 if channel.receive(line) is not None else 1

    child = fork("test", 0, body, [], 0.0)
    channel.receive(child.line)
    for number in (signal.SIGINT, signal.SIGHUP):
        os.kill(child.pid, number)
    channel.send(child.line, {})
    assert bury(child) == 0
