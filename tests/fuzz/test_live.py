"""A bounded number of the packets of `make fuzz`, and the fuzzer's own parts."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.probes.wire import Target, opt, query
from tests.e2e.program import acceptance
from tests.fuzz.live import Failure, Tally, client, fuzz, send_window
from tests.fuzz.packets import packets, payload_of

PACKETS = 20_000


@pytest.mark.timeout(180)
def test_the_live_server_survives(tmp_path: Path) -> None:
    """No crash, no hang, no reply to a response, no reply larger than allowed."""
    with acceptance(tmp_path) as program:
        tally = fuzz(program, PACKETS, seed=8906)
    assert tally.sent == PACKETS
    assert tally.replies.keys() >= {0, 1, 3, 4, 5}, "the packets reach every kind of answer"


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (lambda query: query[:2] + b"\x80\x00" + query[4:12], "must not be answered"),
        (lambda query: None if query[2:3] > b"\x7f" else b"\xab\xcd\x80\x00" + query[4:12], "not asked"),
        (lambda query: None if query[2:3] > b"\x7f" else query[:2] + b"\x80\x00" + bytes(700), "700|704"),
        (lambda query: None if query[2:3] > b"\x7f" else query, "not a response"),
        (lambda _: None, "no answer to a good query"),
    ],
    ids=["answers-responses", "another-id", "too-large", "echo", "hangs"],
)
def test_a_bad_server_is_found_out(answer: Callable[[bytes], bytes | None], complaint: str) -> None:
    """Each rule of the fuzzer is broken once by a server of a few lines."""
    window = [b"\0\0\x80" + bytes(9) if number % 2 else query("host", "A") for number in range(4)]
    with serving(answer) as target, client(target) as sock:
        sock.settimeout(0.2)
        with pytest.raises(Failure, match=complaint):
            send_window(sock, window, Tally())


@contextlib.contextmanager
def serving(answer: Callable[[bytes], bytes | None]) -> Iterator[Target]:
    """A UDP server that answers with `answer`, in a thread."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))

        def serve() -> None:
            while (received := sock.recvfrom(4096))[0]:
                reply = answer(received[0])
                if reply is not None:
                    sock.sendto(reply, received[1])

        thread = threading.Thread(target=serve)
        thread.start()
        yield Target("127.0.0.1", int(sock.getsockname()[1]))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"", sock.getsockname())
        thread.join()


def test_the_same_seed_makes_the_same_packets() -> None:
    """So that a found case can be found again."""
    assert packets(500, 1) == packets(500, 1)
    assert packets(500, 1) != packets(500, 2)


def test_payload_is_read_from_the_packet() -> None:
    """So that the fuzzer knows what a reply may weigh."""
    assert payload_of(query("host", "A")) is None
    assert payload_of(query("host", "A", edns=opt(payload=4096))) == 4096
    assert payload_of(query("host", "A", edns=opt(payload=4096))[:-8]) is None
