"""HTTPS checks: certificates that are valid, and each way in which they are not."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest
import trustme

from healthcheck.check import Sample
from healthcheck.probes.tls import bare_host
from tests.healthcheck.probes.certificates import server_context, trusted
from tests.healthcheck.probes.servers import SHORT_S, Handler, check, closing, response, sample, saying, serving, silent

VERIFIED: Mapping[str, object] = {}
OFF = {"verify": False}
NAMED = {"host": "www.example.com"}
DAYS = timedelta(days=1)


@pytest.fixture(autouse=True)
def _trusted(tmp_path: Path) -> Iterator[None]:
    with trusted(tmp_path):
        yield


def asked(
    context: ssl.SSLContext | None, handler: Handler, settings: Mapping[str, object] = VERIFIED, timeout_s: float = 5.0
) -> Sample:
    async def main() -> Sample:
        async with serving(handler, context) as port:
            return await sample(check("https", port, settings, timeout_s=timeout_s))

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("names", "settings"),
    [
        ((), {}),
        (("www.example.com",), NAMED),
        (("*.example.com",), NAMED),
        (("other.example.com", "www.example.com"), {"host": "www.example.com:8443"}),
        (("*.example.com",), {**NAMED, **OFF}),
        (("WWW.example.com", "192.0.2.1"), {**NAMED, **OFF}),
        (("127.0.0.1",), OFF),
    ],
)
def test_a_valid_certificate(names: tuple[str, ...], settings: dict[str, object]) -> None:
    found = asked(server_context(*names), saying(response()), settings)
    assert (found.why, found.warning) == ("", "")


@pytest.mark.parametrize("verify", [True, False])
def test_a_status_counts_as_over_plain_http(verify: bool) -> None:  # noqa: FBT001
    assert asked(server_context(), saying(response(500)), {"verify": verify}).why == "status 500, expected 200"


REFUSED = [
    (server_context(ends_in=-2 * DAYS), {}, "the certificate has expired", "the certificate expired 2 days ago"),
    (
        server_context("a.example", "b.example", "c.example", "d.example"),
        NAMED,
        "the certificate is for another name (Hostname mismatch, certificate is not valid for 'www.example.com')",
        "the certificate is for a.example, b.example, c.example and 1 more, not for www.example.com",
    ),
    (
        server_context("192.0.2.1"),
        {},
        "the certificate is for another name (IP address mismatch, certificate is not valid for '127.0.0.1')",
        "the certificate is for 192.0.2.1, not for 127.0.0.1",
    ),
    (
        server_context("*.example.com"),
        {"host": "deep.www.example.com"},
        "the certificate is for another name (Hostname mismatch, certificate is not valid for 'deep.www.example.com')",
        "the certificate is for *.example.com, not for deep.www.example.com",
    ),
    (server_context(authority=trustme.CA()), {}, "the certificate's issuer is unknown", ""),
]


@pytest.mark.parametrize(("context", "settings", "why", "_warning"), REFUSED)
def test_a_certificate_that_is_refused(
    context: ssl.SSLContext, settings: dict[str, object], why: str, _warning: str
) -> None:
    found = asked(context, saying(response()), settings)
    assert (found.ok, found.why) == (False, why)


@pytest.mark.parametrize(("context", "settings", "_why", "warning"), REFUSED)
def test_without_verification_it_is_a_warning(
    context: ssl.SSLContext, settings: dict[str, object], _why: str, warning: str
) -> None:
    found = asked(context, saying(response()), {**settings, **OFF})
    assert (found.why, found.warning) == ("", warning)


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize(
    ("ends_in", "expiry_warning", "warning"),
    [
        (13 * DAYS + timedelta(hours=1), None, "the certificate expires in 13 days"),
        (15 * DAYS, None, ""),
        (15 * DAYS, 30 * 86400.0, "the certificate expires in 15 days|the certificate expires in 14 days"),
        (timedelta(hours=5, minutes=1), None, "the certificate expires in 5h|the certificate expires in 4h59m"),
    ],
)
def test_a_certificate_that_ends_soon_is_a_warning(
    ends_in: timedelta,
    expiry_warning: float | None,
    warning: str,
    verify: bool,  # noqa: FBT001
) -> None:
    settings = {} if expiry_warning is None else {"expiry_warning": expiry_warning}
    found = asked(server_context(ends_in=ends_in), saying(response()), {**settings, "verify": verify})
    assert found.ok
    assert re.fullmatch(warning, found.warning)


def test_a_server_that_speaks_no_tls() -> None:
    async def complain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(response(400))
        await reader.read()

    assert asked(None, complain).why == "does not speak TLS"


def test_a_server_that_greets_in_clear_text() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.com ESMTP\r\n")
        await reader.read()

    assert asked(None, greet).why == "does not speak TLS"


def test_a_server_that_hangs_in_the_handshake() -> None:
    assert asked(None, silent, timeout_s=SHORT_S).why == "no TLS connection within 300ms"


def test_a_server_that_closes_in_the_handshake() -> None:
    assert asked(None, closing).why in ("connection reset", "closed during the TLS handshake")


def test_a_server_that_hangs_behind_the_handshake() -> None:
    assert (
        asked(server_context(), silent, timeout_s=2.0).why == "no answer within 2s"
    )  # a busy machine shakes hands slowly


@pytest.mark.parametrize(
    ("host", "bare"),
    [
        ("www.example.com", "www.example.com"),
        ("www.example.com:8443", "www.example.com"),
        ("192.0.2.1:443", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
    ],
)
def test_the_name_of_a_host(host: str, bare: str) -> None:
    assert bare_host(host) == bare
