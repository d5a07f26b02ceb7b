"""ExaBGP's configuration and environment.  Pure.

Rule 1: no route stands in the configuration: routes come by the API alone, so a reload changes none.
Rule 2: one session for each address family: `next-hop self` and a failed session then concern that family only.
Standards: RFC 2385 (MD5), RFC 5082 (GTSM), RFC 4271 section 4.2 (hold time), RFC 2918 (route refresh).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import PurePosixPath

from gslb.model.bgp import Neighbor
from gslb.model.deployment import Address

PROCESS = "gslb"  # the helper's name in the configuration
HIGHEST_TTL = 255  # RFC 5082 section 3: what a directly connected router sends
LONGEST_PASSWORD = 80  # bytes: TCP_MD5SIG_MAXKEYLEN of the kernel
_PATH = re.compile(r"/[A-Za-z0-9._/@+-]*")


@dataclass(frozen=True, slots=True)
class Session:
    """One neighbor, from the address that we speak to it from, with its password if it has one."""

    neighbor: Neighbor
    local: Address
    password: str | None = field(default=None, repr=False)  # values like this one end in logs


@dataclass(frozen=True, slots=True)
class Speaker:
    """What ExaBGP is started with.  Paths are absolute; `python` must be executable by ExaBGP's user, as `bridge` readable."""

    local_as: int
    router_id: IPv4Address
    sessions: tuple[Session, ...]
    bridge: PurePosixPath
    socket: PurePosixPath
    python: PurePosixPath
    hold_s: int = 9


def configuration(speaker: Speaker) -> str:
    """The text of ExaBGP's configuration.  Raises ValueError for what ExaBGP would read otherwise than it was meant."""
    for path in (speaker.bridge, speaker.socket, speaker.python):
        if not _PATH.fullmatch(str(path)):
            raise ValueError(
                f"{path} - expected an absolute path of letters, digits and ._@+-/ for ExaBGP's configuration"
            )
    if not speaker.sessions:
        raise ValueError("no BGP neighbors - expected one at least")
    # ExaBGP restarts a helper that died, which is what keeps the routes: `respawn` must not be turned off.
    # `receive` has no packets and no updates: what arrives at the helper is sessions alone, so its pipe cannot fill.
    head = (
        f"process {PROCESS} {{",
        f"    run {speaker.python} -I {speaker.bridge} {speaker.socket};",
        "    encoder json;",
        "}",
    )
    return "\n".join((*head, *(line for session in speaker.sessions for line in _neighbor(speaker, session)), ""))


def environment(user: str, log: PurePosixPath, modules: PurePosixPath) -> Mapping[str, str]:
    """ExaBGP's environment: who it is, where it logs (it rotates that file), where its modules are; no named pipes of its own."""
    return {
        "exabgp_api_cli": "false",
        "exabgp_api_ack": "true",
        "exabgp_daemon_user": user,
        "exabgp_daemon_daemonize": "false",
        "exabgp_log_destination": str(log),
        "exabgp_log_level": "WARNING",
        "exabgp_log_statistics": "false",
        "exabgp_log_short": "false",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(modules),
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
    }


def _neighbor(speaker: Speaker, session: Session) -> list[str]:
    neighbor = session.neighbor
    if session.local.version != neighbor.address.version:
        raise ValueError(f"neighbor {neighbor.address} from {session.local} - expected addresses of one family")
    return [
        f"neighbor {neighbor.address} {{",
        f"    router-id {speaker.router_id};",
        f"    local-address {session.local};",
        f"    local-as {speaker.local_as};",
        f"    peer-as {neighbor.peer_as};",
        f"    hold-time {speaker.hold_s};",
        "    group-updates false;",
        *_transport(neighbor),
        *_password(session),
        "    capability {",
        "        graceful-restart disable;",  # routers would keep the routes of a dead speaker
        "        route-refresh enable;",
        "    }",
        "    family {",
        f"        ipv{neighbor.address.version} unicast;",
        "    }",
        "    api {",
        f"        processes [ {PROCESS} ];",
        "        neighbor-changes;",
        "        negotiated;",
        "        receive {",
        "            parsed;",
        "            notification;",
        "        }",
        "    }",
        "}",
    ]


def _transport(neighbor: Neighbor) -> list[str]:
    """Who dials whom, where, and from how far."""
    lines = ["    passive;", f"    listen {neighbor.port};"] if neighbor.passive else ["    passive false;"]
    if not neighbor.passive and neighbor.port != 179:
        lines.append(f"    connect {neighbor.port};")
    if neighbor.gtsm:
        lines += [f"    outgoing-ttl {HIGHEST_TTL};", f"    incoming-ttl {HIGHEST_TTL};"]
    return lines


def _password(session: Session) -> list[str]:
    """In base64: no quote or backslash of a password then means anything to ExaBGP."""
    if session.password is None:
        return []
    octets = session.password.encode()
    if not 0 < len(octets) <= LONGEST_PASSWORD:
        found = f"{len(octets)} bytes"
        raise ValueError(f"the MD5 password of neighbor {session.neighbor.address} has {found} - expected 1 to 80")
    return [f"    md5-password {base64.b64encode(octets).decode()};", "    md5-base64 true;"]
