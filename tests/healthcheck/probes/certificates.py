"""Certificates of an authority that only these tests trust."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from healthcheck.probes import tls
from tests.healthcheck.probes.servers import LOCAL

AUTHORITY = trustme.CA()


def server_context(
    *names: str, ends_in: timedelta = timedelta(days=100), alpn: str = "http/1.1", authority: trustme.CA = AUTHORITY
) -> ssl.SSLContext:
    """A server's context with a certificate for these names (loopback's address if none)."""
    now = datetime.now(UTC)
    begins = now - timedelta(days=30)
    certificate = authority.issue_cert(*(names or (LOCAL,)), not_before=begins, not_after=now + ends_in)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols([alpn])
    certificate.configure_cert(context)
    return context


@contextmanager
def trusted(folder: Path) -> Iterator[None]:
    """The authority is in the system's store, as OpenSSL reads it from SSL_CERT_FILE."""
    store = folder / "store.pem"
    AUTHORITY.cert_pem.write_to_path(str(store))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SSL_CERT_FILE", str(store))
        tls._context.cache_clear()
        yield
    tls._context.cache_clear()
