"""The small worlds of the other tests: hosts that reach one another and nothing else, and leave nothing behind."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from tests.namespaces import World

pytestmark = pytest.mark.root


def test_two_hosts_reach_each_other(netns: World) -> None:
    left, right = netns.namespace("left"), netns.namespace("right")
    netns.join(left, right, "198.18.0.1/24", "198.18.0.2/24")
    right.add_address("lo", "2001:db8::53/128")
    right.add_address("lo", "198.18.9.53/32")
    left.add_route("198.18.9.0/24", "198.18.0.2")
    listener = right.call(lambda: socket.create_server(("198.18.9.53", 5300)))
    with listener, left.call(lambda: socket.create_connection(("198.18.9.53", 5300), timeout=5)) as client:
        server, (address, _) = listener.accept()
        with server:
            assert address == "198.18.0.1"
            client.sendall(b"hello")
            assert server.recv(16) == b"hello"


def test_a_call_raises_where_it_was_made(netns: World) -> None:
    alone = netns.namespace("alone")
    with pytest.raises(OSError, match="unreachable"):
        alone.call(lambda: socket.create_connection(("198.18.0.1", 53), timeout=1))


def test_nothing_is_left_behind() -> None:
    with World() as world:
        host = world.namespace("host")
        process = host.start("sh", "-c", "trap '' TERM; sleep 60 & echo ready; wait", stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.stdout.close()
        process.send_signal(9)
    assert process.returncode is not None
    assert not host.path.exists()
    assert not [link for link in Path("/sys/class/net").iterdir() if link.name.startswith("gslb")]
