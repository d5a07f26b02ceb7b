"""What a client makes of answers and pages, over real sockets."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import dns.message
import dns.rrset
import pytest

from compose import clients, score


def reply(name: str, *addresses: str, ttl: int = 20, rcode: int = 0) -> bytes:
    asked = dns.message.from_wire(clients.question(name, 7))
    made = dns.message.make_response(asked)
    made.set_rcode(dns.rcode.Rcode(rcode))
    if addresses:
        made.answer = [
            dns.rrset.from_text(f"{name}.", ttl + 5, "IN", "CNAME", "other.example.com."),
            dns.rrset.from_text_list("other.example.com.", ttl, "IN", "A", addresses),
        ]
    return made.to_wire()


def test_a_question_is_read_by_others_as_it_was_meant() -> None:
    asked = dns.message.from_wire(clients.question("www.example.com", 7))
    assert str(asked.question[0]) == "www.example.com. IN A"
    assert asked.id == 7
    assert asked.flags & dns.flags.RD


def test_addresses_behind_an_alias_are_found_and_kept_as_long_as_they_may_be() -> None:
    found = clients.read(reply("www.example.com", "192.0.2.1", "192.0.2.2"), 7)
    assert (set(found.addresses), found.ttl_s) == ({"192.0.2.1", "192.0.2.2"}, 20)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (reply("www.example.com", rcode=2), "rcode 2"),
        (reply("www.example.com"), "no address"),
        (reply("www.example.com", "192.0.2.1")[:-3], "cannot be read"),
        (b"\0\7", "something else"),
        (struct.pack("!6H", 8, 0x8000, 0, 0, 0, 0), "something else"),
    ],
)
def test_what_is_of_no_use_is_told(answer: bytes, why: str) -> None:
    with pytest.raises(clients.Unanswered, match=why):
        clients.read(answer, 7)


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.headers["Host"] == "www.example.com" else 503)
        self.send_header("X-Site", "fra")
        self.send_header("X-Server", "web-fra1")
        if self.path == "/cut":
            self.send_header("Content-Length", "1000")
        self.end_headers()

    def log_message(self, *_: object) -> None:  # type: ignore[explicit-override]
        """Nothing is logged."""


@pytest.fixture
def page() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), _Page) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        yield server.server_port
        server.shutdown()


def test_a_page_tells_its_site_and_server(page: int) -> None:
    assert clients.fetch("127.0.0.1", "www.example.com", port=page) == ("fra", "web-fra1")


def test_a_page_that_is_refused_is_a_failure(page: int) -> None:
    with pytest.raises(clients.Broken, match="status 503") as told:
        clients.fetch("127.0.0.1", "other.example.com", port=page)
    assert told.value.server == "web-fra1"


def test_a_page_that_is_cut_off_tells_whose_it_was(page: int) -> None:
    with pytest.raises(clients.Broken) as told:
        clients.fetch("127.0.0.1", "www.example.com", "/cut", port=page)
    assert (told.value.site, told.value.server) == ("fra", "web-fra1")


@pytest.mark.skipif(os.geteuid() != 0, reason="port 53 needs root")
def test_what_is_under_way_when_a_client_is_ended_is_told() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.78", 53))
        silent.settimeout(20)
        words = (sys.executable, "-m", "compose.clients", "127.0.0.78", "www.example.com", "--path", "")
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as client:
            silent.recv(4096)
            client.terminate()
            told, _ = client.communicate(timeout=20)
    assert client.returncode == 0
    (one,) = score.read(told.splitlines())
    assert one.failed == "dns: timed out"
    assert one.took_s >= clients.TIMEOUT_S


def test_a_resolver_that_is_not_there_is_a_failure_of_dns() -> None:
    outcome = clients.Client("127.0.0.77", "www.example.com").request(5.0)
    assert outcome.at == 5.0
    assert outcome.failed.startswith("dns: ")
    assert not outcome.site
