"""Who a node is to the NATS servers, and who they are to it: passwords, tokens, keys, credentials and TLS."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from gslb.bus.access import Access, NoAccess, access_of
from gslb.bus.nats import Nats
from gslb.bus.nkeys import BadKey, encode, read_credentials, read_seed
from gslb.control.membership import Joins, line_of
from gslb.model.deployment import Bus, BusTls
from tests.bus.cluster import Cluster
from tests.bus.hearing import running, until
from tests.control.make import DEPLOYMENT, NODE

PREFIXES = {"O": 14 << 3, "A": 0, "U": 20 << 3}
USERS = 'authorization { users: [ {user: "gslb", password: "p w"} ] }\n'


class Key:
    """An NKEY of an operator, an account or a user."""

    def __init__(self, kind: str) -> None:
        self.private = Ed25519PrivateKey.generate()
        self._prefix = PREFIXES[kind]
        self.public = encode(
            bytes([self._prefix]), self.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        )

    @property
    def seed(self) -> str:
        raw = self.private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        return encode(bytes([18 << 3 | self._prefix >> 5, (self._prefix & 31) << 3]), raw)

    def token(self, subject: Key, kind: str, **claims: object) -> str:
        """A JWT of NATS (version 2) that this key signs."""
        head = {"typ": "JWT", "alg": "ed25519-nkey"}
        body: dict[str, Any] = {"iat": 1, "iss": self.public, "name": kind, "sub": subject.public, "jti": "x"}
        body["nats"] = {"type": kind, "version": 2, **claims}
        text = ".".join(_part(json.dumps(part).encode()) for part in (head, body))
        return f"{text}.{_part(self.private.sign(text.encode()))}"


def _part(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def _changed(seed: str) -> str:
    return seed[:-1] + ("A" if seed[-1] != "A" else "E")


def access(tmp_path: Path, *urls: str, tls: BusTls | None = None, **named: str) -> Access:
    return access_of(Bus(urls, tls=tls, **named), {"SECRET": "p w", "WRONG": "x"}, tmp_path / "gslb.yaml")


def lets_in(found: Access) -> str:
    """Empty where a node with this access is connected; else why not."""

    async def main() -> str:
        bus = Nats(found, "example", "fra", "fra1", lambda: 0.0)
        async with running(bus, connected=False):
            await until(lambda: bus.standing.connected or bus.standing.why != "not connected yet")
            return bus.standing.why

    return asyncio.run(main())


def test_a_user_shows_a_password(tmp_path: Path, tool: Callable[[str], str]) -> None:
    tool("nats-server")
    (tmp_path / "password").write_text("p w\n")
    with Cluster(tmp_path / "bus", extra=USERS) as cluster:
        url = cluster.urls[0]
        assert not lets_in(access(tmp_path, url, user="gslb", password_file="password"))
        assert not lets_in(access(tmp_path, url, user="gslb", password_env="SECRET"))
        refused = f"{url}: the server refuses the user, password, token or key (Authorization Violation)"
        assert lets_in(access(tmp_path, url, user="gslb", password_env="WRONG")) == refused
        assert lets_in(access(tmp_path, url)) == refused


def test_a_token_is_enough_where_servers_know_no_users(tmp_path: Path, tool: Callable[[str], str]) -> None:
    tool("nats-server")
    with Cluster(tmp_path / "bus", extra='authorization { token: "p w" }\n') as cluster:
        assert not lets_in(access(tmp_path, cluster.urls[0], token_env="SECRET"))
        assert "refuses" in lets_in(access(tmp_path, cluster.urls[0], token_env="WRONG"))


def test_a_key_signs(tmp_path: Path, tool: Callable[[str], str]) -> None:
    tool("nats-server")
    known, unknown = Key("U"), Key("U")
    (tmp_path / "known").write_text(f"{known.seed}\n")
    (tmp_path / "unknown").write_text(unknown.seed)
    assert read_seed(tmp_path / "known").public == known.public
    with Cluster(tmp_path / "bus", extra=f"authorization {{ users: [ {{nkey: {known.public}}} ] }}\n") as cluster:
        assert not lets_in(access(tmp_path, cluster.urls[0], nkey_file="known"))
        assert "refuses" in lets_in(access(tmp_path, cluster.urls[0], nkey_file="unknown"))
        assert lets_in(access(tmp_path, cluster.urls[0], nkey_file="gone")).endswith("gone: No such file or directory")


def test_credentials_are_shown_and_their_key_signs(tmp_path: Path, tool: Callable[[str], str]) -> None:
    tool("nats-server")
    operator, system, account, user = Key("O"), Key("A"), Key("A"), Key("U")
    names = "subs data payload imports exports conn leaf mem_storage disk_storage streams consumer"
    limits = {"wildcards": True} | dict.fromkeys(names.split(), -1)
    accounts = operator.token(account, "account", limits=limits)
    users = account.token(user, "user", subs=-1, data=-1, payload=-1)
    (tmp_path / "fra1.creds").write_text(
        f"-----BEGIN NATS USER JWT-----\n{users}\n------END NATS USER JWT------\n\nKeep it.\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
    )
    assert read_credentials(tmp_path / "fra1.creds")[0].public == user.public
    (tmp_path / "operator").write_text(operator.token(operator, "operator"))
    extra = f"""
operator: "{tmp_path / "operator"}"
system_account: {system.public}
resolver: MEMORY
resolver_preload: {{
  {account.public}: {accounts}
  {system.public}: {operator.token(system, "account", limits=dict.fromkeys(names.split()[:7], -1))}
}}
"""
    with Cluster(tmp_path / "bus", extra=extra) as cluster:
        assert not lets_in(access(tmp_path, cluster.urls[0], credentials_file="fra1.creds"))
        assert "refuses" in lets_in(access(tmp_path, cluster.urls[0]))


def test_tls_is_verified_and_never_done_without(tmp_path: Path, tool: Callable[[str], str]) -> None:
    tool("nats-server")
    ours, theirs = trustme.CA(), trustme.CA()
    server, node = ours.issue_cert("127.0.0.1"), ours.issue_cert("fra1")
    server.private_key_pem.write_to_path(tmp_path / "server.key")
    server.cert_chain_pems[0].write_to_path(tmp_path / "server.pem")
    node.private_key_and_cert_chain_pem.write_to_path(tmp_path / "node.pem")
    ours.cert_pem.write_to_path(tmp_path / "ca.pem")
    theirs.cert_pem.write_to_path(tmp_path / "other.pem")
    files = f'cert_file: "{tmp_path}/server.pem", key_file: "{tmp_path}/server.key", ca_file: "{tmp_path}/ca.pem"'
    with Cluster(tmp_path / "bus", extra=f"{USERS}tls {{ {files}, verify: true }}\n") as cluster:
        url = cluster.urls[0].replace("nats:", "tls:")
        show: dict[str, Any] = {"user": "gslb", "password_env": "SECRET"}
        assert not lets_in(access(tmp_path, url, tls=BusTls("ca.pem", "node.pem", "node.pem"), **show))
        assert not lets_in(access(tmp_path, cluster.urls[0], tls=BusTls("ca.pem", "node.pem", "node.pem"), **show))
        assert "certificate verify failed" in lets_in(access(tmp_path, url, tls=BusTls("other.pem"), **show))
        assert "certificate verify failed" in lets_in(access(tmp_path, url, **show))
        assert "Hostname mismatch" in lets_in(
            access(
                tmp_path, url.replace("127.0.0.1", "localhost"), tls=BusTls("ca.pem", "node.pem", "node.pem"), **show
            )
        )
        assert lets_in(access(tmp_path, url, tls=BusTls("ca.pem"), **show)), "the server asks for a certificate"
    with Cluster(tmp_path / "open", extra=USERS) as cluster:
        for found in (
            access(tmp_path, cluster.urls[0].replace("nats:", "tls:"), **show),
            access(tmp_path, cluster.urls[0], tls=BusTls("ca.pem"), **show),
        ):
            assert "does not offer TLS" in lets_in(found)
        assert "Authorization Violation" not in (cluster.servers[0].folder / "log").read_text()


def test_a_renewed_certificate_is_another_line_to_the_bus(tmp_path: Path) -> None:
    def line() -> tuple[object, ...]:
        bus = Bus(("tls://192.0.2.1",), tls=BusTls("ca.pem", "node.pem", "node.pem"))
        found = access_of(bus, {}, tmp_path / "gslb.yaml")
        return line_of(Joins(replace(DEPLOYMENT, bus=bus), NODE, "", found))

    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("fra1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "node.pem")
    before = line()
    assert line() == before
    authority.issue_cert("fra1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "node.pem")
    assert line() != before


def test_what_is_no_nats_server_is_passed_over(tmp_path: Path, tool: Callable[[str], str]) -> None:
    tool("nats-server")

    async def check(url: str, first: bytes) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(first)
            with contextlib.suppress(OSError):
                await writer.drain()
                writer.write_eof()
                await reader.read()
            writer.transport.abort()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            other = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            bus = Nats(Access(urls=(other, url)), "example", "fra", "fra1", time.time)
            async with running(bus):
                assert bus.standing.server == url
            await asyncio.sleep(0.05)

    with Cluster(tmp_path) as cluster:
        for first in (b"INFO []\r\n", b"INFO " + b"x" * 200_000, b"INFO {bad}\r\n", b"SSH-2.0-x\r\n"):
            asyncio.run(check(cluster.urls[0], first))


@pytest.mark.parametrize(
    ("bus", "message"),
    [
        (Bus(password_file="none"), "bus.password_file .*none: No such file"),
        (Bus(password_env="NONE"), "bus.password_env: the variable NONE has no octets - expected 1 to 4096"),
        (Bus(token_file="empty"), "bus.token_file .*empty has no octets"),
        (Bus(tls=BusTls("none")), "bus.tls.ca_file .*none: No such file"),
        (Bus(tls=BusTls("text")), "bus.tls.ca_file .*text: no certificate or key in PEM"),
        (
            Bus(tls=BusTls(None, "text", "text")),
            "bus.tls.cert_file .*text with key_file .*text: no certificate or key in PEM",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_used_is_said(tmp_path: Path, bus: Bus, message: str) -> None:
    (tmp_path / "empty").write_text(" \n")
    (tmp_path / "text").write_text("no certificate")
    with pytest.raises(NoAccess, match=message):
        access_of(bus, {}, tmp_path / "gslb.yaml")


@pytest.mark.parametrize("kind", ["A", "O"])
def test_a_seed_must_be_that_of_a_user(tmp_path: Path, kind: str) -> None:
    (tmp_path / "seed").write_text(Key(kind).seed)
    with pytest.raises(BadKey, match="not that of a user"):
        read_seed(tmp_path / "seed")


@pytest.mark.parametrize(
    "text",
    ["", "SU", "SUAAAA!", _changed(Key("U").seed), Key("U").public],
    ids=["empty", "short", "other letters", "changed", "public"],
)
def test_a_seed_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "seed").write_text(text)
    with pytest.raises(BadKey, match="seed"):
        read_seed(tmp_path / "seed")
    with pytest.raises(BadKey, match="expected a file of credentials"):
        read_credentials(tmp_path / "seed")
