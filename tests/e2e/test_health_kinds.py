"""Each kind of monitor against a real server of its kind that fails and comes back: asked over DNS, told by `gslb status`."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from tests.e2e.daemons import Daemon, connects, daemon, module, nginx_command
from tests.e2e.lifecycle import wait_until
from tests.e2e.pairs import Node, Pair, node_with
from tests.e2e.probes import peers
from tests.e2e.probes.wire import Target, query
from tests.ports import free_port

KILLED, FROZEN, GRPC, EXPIRING, SOON, LINE, DNS, EXEC = (f"127.0.2.{number}" for number in range(1, 9))
NOW = datetime.now(UTC)
AUTHORITY = trustme.CA()


class Scene:
    """The servers, and a node that checks them; each test has a server of its own."""

    def __init__(self, node: Node, servers: dict[str, Daemon], folder: Path) -> None:
        self.node = node
        self.servers = servers
        self.folder = folder


def certify(folder: Path, address: str, ends_in: timedelta) -> None:
    """Write a certificate for `address` that ends then."""
    made = AUTHORITY.issue_cert(address, not_before=NOW - timedelta(days=30), not_after=NOW + ends_in)
    made.private_key_pem.write_to_path(str(folder / f"{address}.key"))
    with (folder / f"{address}.pem").open("wb") as file:
        file.writelines(blob.bytes() for blob in made.cert_chain_pems)


def pairs_at(port: int, switch: Path) -> tuple[Pair, ...]:
    """What is checked, all at one port."""
    return (
        Pair("killed", KILLED, f"type: http, port: {port}, path: /healthz"),
        Pair("frozen", FROZEN, f"type: http, port: {port}"),
        Pair("grpc", GRPC, f"type: grpc, port: {port}, service: shop.v1.Cart"),
        Pair("expiring", EXPIRING, f"type: https, port: {port}"),
        Pair("soon", SOON, f"type: https, port: {port}, expiry_warning: 10d"),
        Pair("line", LINE, rf'type: tcp, port: {port}, send: "GET / HTTP/1.0\\r\\n\\r\\n", expect: "all is well"'),
        Pair("dns", DNS, f"type: dns, port: {port}, query: leaf.acceptance.test."),
        Pair("nodns", DNS, f"type: dns, port: {port}, query: no.such.acceptance.test."),
        Pair("exec", EXEC, f'type: exec, command: [test, -e, "{switch}"]'),
    )


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, tool: Callable[[str], str]) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("kinds")
    port = free_port()
    (folder / "switch").touch()
    nsd = Target(DNS, port)
    for address, days in ((EXPIRING, 100), (SOON, 5)):
        certify(folder, address, timedelta(days=days, hours=1))
    AUTHORITY.cert_pem.write_to_path(str(folder / "authority.pem"))

    def nginx(address: str, more: str = "", options: str = "") -> Daemon:
        server = f'listen {address}:{port} {options}; {more} location / {{ return 200 "all is well\\n"; }}'
        command = nginx_command(tool("nginx"), folder / address, server)
        return stack.enter_context(daemon(command, lambda: connects(address, port), folder / f"{address}.log"))

    def secure(address: str) -> Daemon:
        files = f"ssl_certificate {folder}/{address}.pem; ssl_certificate_key {folder}/{address}.key;"
        return nginx(address, files, "ssl")

    with ExitStack() as stack:
        servers = {
            "killed": nginx(KILLED),
            "frozen": nginx(FROZEN),
            "expiring": secure(EXPIRING),
            "soon": secure(SOON),
            "line": nginx(LINE),
            "grpc": stack.enter_context(module("grpc_service", GRPC, port, folder / "grpc.log")),
            "dns": stack.enter_context(
                daemon(
                    [tool("nsd"), "-d", "-c", str(peers.configure("nsd", folder, nsd))],
                    lambda: answered(nsd),
                    folder / "nsd.out",
                )
            ),
        }
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        environment.setenv("SSL_CERT_FILE", str(folder / "authority.pem"))
        home = folder / "node"
        home.mkdir()
        node = stack.enter_context(node_with(home, *pairs_at(port, folder / "switch")))
        wait_until(lambda: all(node.at_home(name) for name in node.pairs if name != "nodns"), "all is well")
        yield Scene(node, servers, folder)


def answered(server: Target) -> bool:
    try:
        return server.raw_udp(query("leaf", "A"))[3] & 15 == 0
    except OSError:
        return False


def test_nginx_killed(scene: Scene) -> None:
    scene.servers["killed"].kill()
    scene.node.leaves("killed", "killed")
    scene.node.down("killed", "/healthz: connection refused")
    scene.servers["killed"].start()
    scene.node.returns("killed", "started")


def test_nginx_frozen(scene: Scene) -> None:
    scene.servers["frozen"].freeze()
    scene.node.leaves("frozen", "frozen")
    scene.node.down("frozen", "/: no answer within 300ms")
    scene.servers["frozen"].thaw()
    scene.node.returns("frozen", "thawed")


def test_a_grpc_service_that_says_not_serving(scene: Scene) -> None:
    scene.servers["grpc"].signal(signal.SIGUSR1)
    scene.node.leaves("grpc", "NOT_SERVING")
    scene.node.down("grpc", "NOT_SERVING")
    scene.servers["grpc"].signal(signal.SIGUSR2)
    scene.node.returns("grpc", "SERVING")


def test_a_certificate_that_has_expired(scene: Scene) -> None:
    certify(scene.folder, EXPIRING, -timedelta(hours=1))
    scene.servers["expiring"].signal(signal.SIGHUP)
    scene.node.leaves("expiring", "expired")
    scene.node.down("expiring", "/: the certificate has expired")
    scene.node.shows(f"down        expiring-home {EXPIRING}: /: the certificate has expired")
    certify(scene.folder, EXPIRING, timedelta(days=100))
    scene.servers["expiring"].signal(signal.SIGHUP)
    scene.node.returns("expiring", "renewed")


def test_a_certificate_that_expires_soon_is_a_warning(scene: Scene) -> None:
    assert scene.node.at_home("soon")
    wait_until(lambda: bool(scene.node.figures("soon")["warning"]), "a warning")
    assert scene.node.figures("soon")["warning"] == "the certificate expires in 5 days"
    assert scene.node.figures("expiring")["warning"] == ""
    scene.node.shows(f"warning     soon-home {SOON}: the certificate expires in 5 days")


def test_a_line_that_is_not_said_any_more(scene: Scene) -> None:
    config = scene.folder / LINE / "nginx.conf"
    good = config.read_text()
    config.write_text(good.replace("all is well", "all is lost"))
    scene.servers["line"].signal(signal.SIGHUP)
    scene.node.leaves("line", "something else is said")
    scene.node.down("line", "expected text")
    config.write_text(good)
    scene.servers["line"].signal(signal.SIGHUP)
    scene.node.returns("line", "it is said again")


def test_a_nameserver_that_is_silent(scene: Scene) -> None:
    scene.servers["dns"].freeze()
    scene.node.leaves("dns", "frozen")
    scene.node.down("dns", "no answer within 300ms")
    scene.servers["dns"].thaw()
    scene.node.returns("dns", "thawed")


def test_a_nameserver_without_the_name(scene: Scene) -> None:
    assert not scene.node.at_home("nodns")
    scene.node.down("nodns", "NXDOMAIN")


def test_a_program_that_says_no(scene: Scene) -> None:
    (scene.folder / "switch").unlink()
    scene.node.leaves("exec", "status 1")
    scene.node.down("exec", "status 1")
    (scene.folder / "switch").touch()
    scene.node.returns("exec", "status 0")
