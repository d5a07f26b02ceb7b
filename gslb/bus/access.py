"""What a node shows the NATS servers, and how it knows them: from the configuration, the environment and files.  IO."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from gslb.model.deployment import Bus

_SECRET_MOST = 4096  # octets


class NoAccess(Exception):
    """A secret or a certificate that the configuration names cannot be used; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Access:
    """`tls_wanted`: an open line is refused; `tls` is used as well where only the server asks for it.

    `tls_digest` changes with the contents of the files that `tls` was made of, as when a certificate was renewed.
    """

    urls: tuple[str, ...]
    user: str | None = None
    password: str | None = None
    token: str | None = None
    credentials_file: Path | None = None
    nkey_file: Path | None = None
    tls: ssl.SSLContext | None = None
    tls_wanted: bool = False
    tls_digest: str = ""


def access_of(bus: Bus, environment: Mapping[str, str], config: Path) -> Access:
    """`bus` with what its variables and files hold; relative paths start at the folder of `config`.  Raises NoAccess."""
    credentials, nkey = _path(config, bus.credentials_file), _path(config, bus.nkey_file)
    return Access(
        urls=bus.nats,
        user=bus.user,
        password=_secret("bus.password", bus.password_env, _path(config, bus.password_file), environment),
        token=_secret("bus.token", bus.token_env, _path(config, bus.token_file), environment),
        credentials_file=credentials,
        nkey_file=nkey,
        tls=_context(bus, config),
        tls_wanted=bus.tls is not None or any(url.startswith("tls:") for url in bus.nats),
        tls_digest=_digest(bus, config),
    )


def _path(config: Path, name: str | None) -> Path | None:
    return config.parent / Path(name).expanduser() if name is not None else None


def _secret(what: str, variable: str | None, path: Path | None, environment: Mapping[str, str]) -> str | None:
    if path is not None:
        try:
            with path.open("rb") as file:
                found = file.read(_SECRET_MOST + 1).strip()
        except OSError as error:
            raise NoAccess(f"{what}_file {path}: {error.strerror}") from error
        where = f"{what}_file {path}"
    elif variable is not None:
        found = environment.get(variable, "").strip().encode("utf-8", "surrogateescape")
        where = f"{what}_env: the variable {variable}"
    else:
        return None
    if not 0 < len(found) <= _SECRET_MOST:
        raise NoAccess(f"{where} has {len(found) or 'no'} octets - expected 1 to {_SECRET_MOST}")
    try:
        return found.decode()
    except UnicodeDecodeError:
        raise NoAccess(f"{where}: expected a text in UTF-8") from None


def _context(bus: Bus, config: Path) -> ssl.SSLContext:
    """Certificates are always verified, with the name or address of the URL; without `ca_file` by the system's authorities."""
    if bus.tls is None:
        return ssl.create_default_context()
    authority = _path(config, bus.tls.ca_file)
    try:
        context = ssl.create_default_context(cafile=authority)
    except (OSError, ssl.SSLError) as error:
        raise NoAccess(f"bus.tls.ca_file {authority}: {_said(error)}") from error
    certificate, key = _path(config, bus.tls.cert_file), _path(config, bus.tls.key_file)
    if certificate is not None:
        try:
            context.load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            raise NoAccess(f"bus.tls.cert_file {certificate} with key_file {key}: {_said(error)}") from error
    return context


def _digest(bus: Bus, config: Path) -> str:
    if bus.tls is None:
        return ""
    found = blake2b(digest_size=16)
    for name in (bus.tls.ca_file, bus.tls.cert_file, bus.tls.key_file):
        path = _path(config, name)
        try:
            found.update(b"\0" if path is None else blake2b(path.read_bytes()).digest())
        except OSError as error:
            raise NoAccess(f"bus.tls: {path}: {error.strerror}") from error
    return found.hexdigest()


def _said(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"no certificate or key in PEM that fits ({error.reason or error})"
    return str(error.strerror)
