"""Answers follow what the servers behind them do: asked over DNS, with real servers that are killed, frozen, slowed down."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.lifecycle import Server, wait_until
from tests.e2e.services import Service, services
from tests.ports import free_port

FRA, IAD = "127.0.1.1", "127.0.1.2"
WITHIN_S = 6.0  # falling takes 3 checks of 0.3 s, with room for a busy machine
CONFIG = """\
deployment: example
datacenters:
  fra: {at: [50.11, 8.68], continent: EU}
  iad: {at: [38.95, -77.45], continent: NA}
monitors:
  web: {type: http, port: PORT-OF-SERVICE, path: [/healthz, /login], interval: 300ms, timeout: 200ms, fall: 3, rise: 2}
pools:
  web-fra: {datacenter: fra, monitor: web, answers: [127.0.1.1], return: RETURN}
  web-iad: {datacenter: iad, monitor: web, answers: [127.0.1.2], return: RETURN}
policies:
  web:
    rules: [{pools: [web-fra, web-iad]}]
    ttl: {max: 60, min: 1}
dns: {listen: ["ADDRESS:PORT"], workers: 1}
api: {listen: "127.0.0.1:API"}
zones: [zones/*.yaml]
"""


def configured(port: int, returning: str = "at_once") -> str:
    """The configuration for services at `port`."""
    text = CONFIG.replace("PORT-OF-SERVICE", str(port)).replace("RETURN", returning)
    return text.replace(":API", f":{free_port()}")


@pytest.fixture
def sites() -> Iterator[tuple[Service, Service]]:
    """Two services."""
    with services(free_port(), FRA, IAD) as (fra, iad):
        yield fra, iad


@pytest.fixture
def node(tmp_path: Path, sites: tuple[Service, Service]) -> Iterator[Server]:
    """A node that checks them."""
    server = Server(tmp_path, configured(sites[0].port))
    try:
        server.start()
        wait_until(lambda: server.addresses() == [FRA], "the first pool answers")
        yield server
    finally:
        server.clear()


BREAKS: dict[str, Callable[[Service], None]] = {
    "killed": Service.kill,
    "frozen": Service.freeze,
    "500 everywhere": lambda service: service.set(status=500),
    "500 on one path": lambda service: service.set("/login", status=500),
    "slower than the timeout": lambda service: service.set(delay_s=0.4),
}
MENDS: dict[str, Callable[[Service], None]] = {"killed": Service.start, "frozen": Service.thaw}


@pytest.mark.parametrize("how", BREAKS)
def test_users_go_elsewhere_and_come_back(node: Server, sites: tuple[Service, Service], how: str) -> None:
    fra, _ = sites
    BREAKS[how](fra)
    wait_until(lambda: node.addresses() == [IAD], f"{how}: the other site answers", WITHIN_S)
    MENDS.get(how, Service.set)(fra)
    wait_until(lambda: node.addresses() == [FRA], f"{how}: the site is back", WITHIN_S)


def test_a_ttl_is_short_before_the_answer_changes(node: Server, sites: tuple[Service, Service]) -> None:
    assert node.query().answer[0].ttl == 60
    sites[0].kill()
    seen: set[int] = set()
    until = time.monotonic() + WITHIN_S
    while node.addresses() == [FRA]:
        seen.add(node.query().answer[0].ttl)
        assert time.monotonic() < until, "the answer did not change"
    assert min(seen) == 1, seen


def test_when_all_are_down_all_are_answered(node: Server, sites: tuple[Service, Service]) -> None:
    for site in sites:
        site.kill()
    wait_until(lambda: node.status()["policies"][0]["modes"]["A"] == ["serve_all"], "all are down", WITHIN_S)
    wait_until(lambda: node.addresses() == [FRA], "as if all were up", WITHIN_S)
    sites[1].start()
    wait_until(lambda: node.addresses() == [IAD], "the one that is back answers", WITHIN_S)


def test_a_restart_begins_with_what_was_known(node: Server, sites: tuple[Service, Service]) -> None:
    sites[0].kill()
    wait_until(lambda: node.addresses() == [IAD], "the other site answers", WITHIN_S)
    assert node.stop() == 0
    node.start()
    assert node.addresses() == [IAD]


def test_a_pool_returns_by_hand_where_that_is_wanted(tmp_path: Path, sites: tuple[Service, Service]) -> None:
    node = Server(tmp_path, configured(sites[0].port, "manual"))
    try:
        node.start()
        sites[0].kill()
        wait_until(lambda: node.addresses() == [IAD], "the other site answers", WITHIN_S)
        sites[0].start()
        wait_until(lambda: node.status()["pools"][0]["true_state"] == "up", "its checks pass", WITHIN_S)
        time.sleep(1)  # nothing must happen
        assert node.addresses() == [IAD]
        done = node.command("up", "pool/web-fra", "--for", "1s", "--why", "CHG-7")
        assert done.returncode == 0, done.stderr
        wait_until(lambda: node.addresses() == [FRA], "the operator's word", WITHIN_S)
        wait_until(lambda: not node.status()["pools"][0]["override"], "the override has ended", WITHIN_S)
        time.sleep(0.5)  # nothing must happen
        assert node.addresses() == [FRA]
    finally:
        node.clear()
