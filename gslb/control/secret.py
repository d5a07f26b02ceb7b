"""The deployment's secret: given by the operator, else made once and kept in the state folder.  IO."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gslb.bus.access import Access, access_of
from gslb.model.deployment import Deployment

NAME = "secret"
_LENGTH = 32  # octets
_MAX = 4096


class NoSecret(Exception):
    """The secret cannot be read or made; the message says which file and why."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """What a node needs to know besides its files: the deployment's secret, and what it shows the bus (None: there is none)."""

    secret: bytes
    access: Access | None


def secrets_of(deployment: Deployment, environment: Mapping[str, str], config: Path, folder: Path) -> Secrets:
    """The secret, and the access to the bus; files start at the folder of `config`.  Raises NoSecret, NoAccess."""
    access = access_of(deployment.bus, environment, config) if deployment.bus.nats else None
    return Secrets(secret_of(deployment, environment, config, folder), access)


def secret_of(deployment: Deployment, environment: Mapping[str, str], config: Path, folder: Path) -> bytes:
    """The secret that keys sticky choices; `secret_file` starts at the folder of `config`.  Raises NoSecret."""
    if deployment.secret_file is not None:
        return _read(config.parent / Path(deployment.secret_file).expanduser())
    return _given(deployment, environment) or _own(folder / NAME)


def unshared(deployment: Deployment, environment: Mapping[str, str]) -> str | None:
    """A warning where several nodes are given no secret to share."""
    if len(deployment.nodes) < 2 or deployment.secret_file is not None or _given(deployment, environment):
        return None
    return (
        f"no secret is given (by {deployment.secret_env or 'secret_env or secret_file'}): "
        "each node uses one of its own, so nodes choose differently for the same client"
    )


def _given(deployment: Deployment, environment: Mapping[str, str]) -> bytes:
    return environment.get(deployment.secret_env, "").encode() if deployment.secret_env is not None else b""


def _own(path: Path) -> bytes:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return _read(path, "; remove it and a new one is made")
    except OSError as error:
        raise NoSecret(f"secret {path}: {error.strerror}") from error
    made = secrets.token_hex(_LENGTH).encode()
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(made + b"\n")
            file.flush()
            os.fsync(handle)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise NoSecret(f"secret {path}: {error.strerror}") from error
    return made


def _read(path: Path, remedy: str = "") -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX).strip()
    except OSError as error:
        raise NoSecret(f"secret {path}: {error.strerror}") from error
    if not content:
        raise NoSecret(f"secret {path}: empty{remedy}")
    return content
