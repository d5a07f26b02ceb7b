"""TLS of a probe: contexts, and what a certificate says.  IO: the store of trusted issuers is read once.

Sources: RFC 5280 section 4.1.2.5 (validity), RFC 6125 section 6.4 and RFC 2818 section 3.1 (names).
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from gslb import units
from healthcheck.probes.shown import shown

EXPIRY_WARNING_S = 14 * 86400.0
DAY_S = 86400.0
_NAMES_SHOWN = 3
_VERDICTS = {  # of OpenSSL's X509_V_ERR_*
    9: "the certificate is not valid yet",
    10: "the certificate has expired",
    18: "the certificate is signed by itself, not by a known issuer",
    19: "the certificate's issuer is unknown (signed by itself)",
    20: "the certificate's issuer is unknown",
    21: "the certificate's issuer is unknown",
    23: "the certificate was revoked",
}
_NAME_VERDICTS = frozenset({62, 64})  # host name mismatch, address mismatch
_REASONS = {
    "WRONG_VERSION_NUMBER": "does not speak TLS",
    "HTTP_REQUEST": "does not speak TLS",
    "UNEXPECTED_EOF_WHILE_READING": "closed during the TLS handshake",
    "UNSUPPORTED_PROTOCOL": "speaks only old versions of TLS",
}


@dataclass(frozen=True, slots=True)
class Secured:
    """How a connection is secured: by `context`, to the host `name`."""

    context: ssl.SSLContext
    name: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """When a certificate ends, in seconds since the epoch, and whom it is for."""

    ends_at: float
    names: tuple[str, ...]


def secured(settings: Mapping[str, object], address: str, alpn: str) -> Secured:
    """The TLS of a monitor's settings: `verify`, and `host` or the address as the name."""
    host = str(settings.get("host") or address)
    return Secured(_context(verify=settings.get("verify") is not False, alpn=alpn), bare_host(host))


def bare_host(host: str) -> str:
    """A host without its port and brackets: `www.example.com:8443`, `[2001:db8::1]:8443`."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0] if host.count(":") == 1 else host


@lru_cache(maxsize=8)
def _context(*, verify: bool, alpn: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols([alpn])
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def refusal(error: ssl.SSLError) -> str:
    """Why TLS was refused, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _NAME_VERDICTS:
            return f"the certificate is for another name ({error.verify_message.rstrip('.')})"
        return _VERDICTS.get(error.verify_code) or f"the certificate is refused ({error.verify_message})"
    known = _REASONS.get(error.reason or "")
    return known or f"TLS failed ({(error.reason or str(error)).replace('_', ' ').lower()})"


def certificate_warning(session: ssl.SSLObject, settings: Mapping[str, object], name: str, now: float) -> str:
    """What is unwise about the target's certificate, "" where nothing is.  `now` is in seconds since the epoch."""
    within_s = settings.get("expiry_warning")
    limit_s = float(within_s) if isinstance(within_s, int | float) else EXPIRY_WARNING_S
    if settings.get("verify") is not False:
        ends = session.getpeercert()
        return _expiry(ssl.cert_time_to_seconds(str(ends["notAfter"])), now, limit_s) if ends else ""
    octets = session.getpeercert(binary_form=True)
    if octets is None:
        return "the target has no certificate"
    try:
        certificate = _unverified(octets)
    except ValueError:
        return "the certificate cannot be read"
    found = [_expiry(certificate.ends_at, now, limit_s), _mismatch(certificate.names, name)]
    return "; ".join(filter(None, found))


@lru_cache(maxsize=1024)
def _unverified(octets: bytes) -> Certificate:
    """A certificate that OpenSSL was not asked to verify, and so tells nothing of.  Raises ValueError."""
    from cryptography import x509  # noqa: PLC0415  # 10 MB that only `verify: off` needs

    parsed = x509.load_der_x509_certificate(octets)
    try:
        wanted = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = wanted.get_values_for_type(x509.DNSName)
        addresses = [str(address) for address in wanted.get_values_for_type(x509.IPAddress)]
    except x509.ExtensionNotFound:
        names, addresses = [], []
    return Certificate(parsed.not_valid_after_utc.timestamp(), (*names, *addresses))


def _expiry(ends_at: float, now: float, limit_s: float) -> str:
    left_s = ends_at - now
    if left_s > limit_s:
        return ""
    if left_s <= 0:
        return f"the certificate expired {_about(-left_s)} ago"
    return f"the certificate expires in {_about(left_s)}"


def _about(seconds: float) -> str:
    if seconds >= 2 * DAY_S:
        return f"{int(seconds // DAY_S)} days"
    return units.seconds_text(float(int(seconds // 60 * 60))) if seconds >= 60 else "less than a minute"


def _mismatch(names: tuple[str, ...], wanted: str) -> str:
    if any(_matches(name, wanted) for name in names):
        return ""
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    given = ", ".join(shown(name, 100) for name in names[:_NAMES_SHOWN]) or "no name"
    return f"the certificate is for {given}{more}, not for {wanted}"


def _matches(name: str, wanted: str) -> bool:
    given, asked = _address(name), _address(wanted)
    if given is not None or asked is not None:
        return given == asked
    name, wanted = name.lower().rstrip("."), wanted.lower().rstrip(".")
    first, dot, rest = wanted.partition(".")
    return name == wanted or (bool(first and dot) and name == f"*.{rest}")


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
