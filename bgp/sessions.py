"""What the operator wrote of a speaker, as sessions: our address on each, and passwords from where they are kept.  IO."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path

from bgp.render import Session
from gslb.model.bgp import Bgp, Neighbor
from gslb.model.deployment import Address

DISCARD = 9  # a port to which nothing is sent


def sessions_of(bgp: Bgp, environment: Mapping[str, str]) -> tuple[Session, ...]:
    """The sessions of a speaker.  Raises ValueError with what is missing: a route to a router, or a password."""
    return tuple(
        Session(
            neighbor,
            local_address(neighbor.address) if neighbor.local is None else neighbor.local,
            password_of(neighbor, environment),
        )
        for neighbor in bgp.neighbors
    )


def local_address(router: Address) -> Address:
    """Our address on the way to `router`, as the kernel would choose it; nothing is sent.  Raises ValueError without a way."""
    family = socket.AF_INET if router.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as made:
            made.connect((str(router), DISCARD))
            return ip_address(made.getsockname()[0])
    except OSError as error:
        found = error.strerror or str(error)
        raise ValueError(
            f"neighbor {router}: {found} - expected a route to it, or `local` beside its address"
        ) from error


def password_of(neighbor: Neighbor, environment: Mapping[str, str]) -> str | None:
    """The TCP MD5 password, None where there is none to be.  Raises ValueError where it cannot be read; never shows it."""
    if neighbor.md5_env is not None:
        if password := environment.get(neighbor.md5_env):
            return password
        raise ValueError(
            f"neighbor {neighbor.address}: the variable {neighbor.md5_env} is empty - expected its password"
        )
    if neighbor.md5_file is not None:
        try:
            password = Path(neighbor.md5_file).read_text().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"neighbor {neighbor.address}: its password cannot be read: {error}") from error
        if password:
            return password
        raise ValueError(f"neighbor {neighbor.address}: {neighbor.md5_file} is empty - expected its password")
    return None
