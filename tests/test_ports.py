"""Ports for servers of tests."""

from __future__ import annotations

import socket

import pytest

from tests.ports import LOCAL, clients_ports, free_port, is_free


def test_no_client_is_given_the_port_of_a_server() -> None:
    with socket.socket() as client:
        client.bind((LOCAL, 0))
        assert client.getsockname()[1] in clients_ports()
    assert not {free_port() for _ in range(50)} & set(clients_ports())


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_port_is_free_for_both_protocols_or_not_at_all(kind: socket.SocketKind) -> None:
    port = free_port()
    assert is_free(port)
    with socket.socket(type=kind) as taken:
        taken.bind((LOCAL, port))
        assert not is_free(port)
