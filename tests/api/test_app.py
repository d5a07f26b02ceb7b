"""Where the API listens, and what a changed configuration does to that."""

from __future__ import annotations

import socket
import subprocess
import sys
from ipaddress import ip_address

from gslb.model.deployment import Api, Deployment, Socket
from tests.api.desk import LISTEN, FakeDesk
from tests.api.served import Served, served, wait_for, with_api


def deployment(desk: FakeDesk) -> Deployment:
    assert desk.model is not None
    return desk.model.deployment


def taken() -> socket.socket:
    """A port that somebody has."""
    one = socket.socket()
    one.bind(("127.0.0.1", 0))
    one.listen()
    return one


def test_a_taken_port_is_a_problem_until_it_is_free(desk: FakeDesk) -> None:
    with taken() as other:
        port = other.getsockname()[1]
        assert desk.model is not None
        model = desk.model
        listen = Socket(ip_address("127.0.0.1"), port)
        changed = with_api(model.deployment, Api(listen))
        with served(desk) as api:
            api.want(changed)
            wait_for(lambda: desk.problems != ())
            assert desk.problems == (f"127.0.0.1:{port}: Address already in use; next try in 0.05 s",)
            other.close()
            wait_for(lambda: desk.problems == ())
            assert api.port == port
            assert api.get("/healthz").status == 200


def test_another_listen_opens_there_and_closes_here(api: Served) -> None:
    before = api.port
    api.want(with_api(deployment(api.desk), Api(Socket(ip_address("127.0.0.2"), 0), token_file="token")))
    wait_for(lambda: refused("127.0.0.1", before))
    wait_for(lambda: api.bound is not None)
    with socket.create_connection(("127.0.0.2", api.port), timeout=5) as one:
        one.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.2\r\n\r\n")
        assert one.recv(12) == b"HTTP/1.1 200"


def test_another_token_closes_nothing(api: Served) -> None:
    before = api.port
    with api.raw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n") as kept:
        assert kept.recv(65536).endswith(b'{"status": "ok"}')
        (api.desk.config.parent / "other").write_text("another token")
        api.want(with_api(deployment(api.desk), Api(LISTEN, token_file="other")))
        wait_for(lambda: api.write("DELETE", "/v1/overrides?target=site/iad").status == 401)
        assert api.port == before
        kept.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert kept.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_a_token_that_cannot_be_read_is_told_and_reads_go_on(api: Served) -> None:
    api.want(with_api(deployment(api.desk), Api(LISTEN, token_file="absent")))
    wait_for(lambda: api.desk.problems != ())
    assert api.desk.problems[0].endswith("absent: No such file or directory; changes by the API are refused")
    assert api.get("/healthz").status == 200
    assert api.write("DELETE", "/v1/overrides?target=site/iad").status == 403


def test_ipv6(desk: FakeDesk) -> None:
    model = desk.model
    assert model is not None
    with served(desk) as api:
        api.want(with_api(model.deployment, Api(Socket(ip_address("::1"), 0), token_file="token")))
        wait_for(lambda: (bound := api.bound) is not None and bound.address.version == 6)
        with socket.create_connection(("::1", api.port), timeout=5) as one:
            one.sendall(b"GET /healthz HTTP/1.1\r\nHost: [::1]\r\n\r\n")
            assert one.recv(12) == b"HTTP/1.1 200"


def test_a_start_does_not_wait_for_libraries() -> None:
    code = "import sys, gslb.api.app; print(sorted({'aiohttp', 'prometheus_client'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"[]\n"


def refused(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it was still in the queue when the socket was closed
        return False
    return False
