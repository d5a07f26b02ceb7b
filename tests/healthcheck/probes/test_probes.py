"""What holds for every probe: it exists for every kind, ends in time, raises nothing, leaves nothing open."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from gslb.config.load import load
from gslb.config.read_monitors import MonitorKind
from healthcheck.check import Check
from healthcheck.probes import PROBES
from tests.healthcheck.probes.servers import SHORT_S, check, full_port, samples, serving, silent

FULL = Path(__file__).parents[2] / "config/good/full.yaml"
OVER_TCP: list[tuple[str, Mapping[str, object]]] = [
    ("http", {"path": ["/a", "/b"]}),
    ("https", {}),
    ("tcp", {"expect": "hello"}),
    ("grpc", {}),
    ("grpc", {"tls": True}),
]


def test_every_kind_of_monitor_has_a_probe() -> None:
    assert set(PROBES) == {*MonitorKind, "load"}


def test_the_settings_of_a_configuration_are_those_of_the_probes() -> None:
    monitors = load(FULL).deployment.monitors
    assert monitors is not None
    assert {monitor.kind: monitor.settings for monitor in monitors.values()} == {
        "https": {
            "path": ("/ok", "/login"), "expect": (204,), "host": "www.example.com", "verify": False, "expiry_warning": 30 * 86400.0,
        },
        "dns": {"query": "www.example.com.", "record": "AAAA"},
        "grpc": {"service": "web", "tls": True, "verify": True, "expiry_warning": 14 * 86400.0},
        "exec": {"command": ("/bin/true", "{address}")},
        "tcp": {"send": r"EHLO x\r\n", "expect": "250"},
    }  # fmt: skip


@pytest.mark.parametrize(("kind", "settings"), OVER_TCP, ids=["http", "https", "tcp", "grpc", "grpcs"])
def test_checks_that_wait_in_vain_leave_nothing_open(kind: str, settings: Mapping[str, object]) -> None:
    """Neither those that end by their own deadline, nor those that their runner cancels."""

    async def main(port: int) -> None:
        waiting = check(kind, port, settings, timeout_s=SHORT_S)
        await samples(waiting)  # imports and contexts
        before = psutil.Process().num_fds()
        tasks = [asyncio.create_task(samples(waiting)) for _ in range(10)]
        await asyncio.sleep(SHORT_S / 3)
        assert psutil.Process().num_fds() > before
        for task in tasks[5:]:
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in found[5:])
        assert not any(isinstance(one, BaseException) for one in found[:5])
        async with asyncio.timeout(5):  # the server's side closes when it hears of it
            while psutil.Process().num_fds() > before:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def behind_a_handshake() -> None:
        async with serving(silent) as port:
            await main(port)

    asyncio.run(behind_a_handshake())
    with full_port() as port:
        asyncio.run(main(port))


HOSTS = [
    "",
    ".",
    "a..b",
    ".a",
    "a" * 300,
    "\0",
    "\u00fc.invalid",
    "[::1]",
    "::1%none",
    "no such host",
    "256.256.256.256",
]


@pytest.mark.parametrize("kind", sorted(PROBES))
@pytest.mark.parametrize("host", HOSTS, ids=[repr(host)[:10] for host in HOSTS])
def test_a_host_that_is_none_is_a_failure(kind: str, host: str) -> None:
    settings = {"query": "a", "command": ["/bin/false"], "url": f"https://{host}/", "json": "$", "tls": True}
    settings |= {"host": host} if host else {}
    for one in asyncio.run(samples(Check("odd", kind, host, 1, 5.0, settings))):
        assert not one.ok
        assert 0 < len(one.why) <= 300
