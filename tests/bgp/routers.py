"""BIRD 2 and FRR as the router of a lab, with what they say of a route in one shape.  IO; needs root.

Neither sees the machine's own configuration: sockets, process files and logs are in folders of their own.  Both answer a lost
session quickly, take every route, honour 65535:0 (RFC 8326; FRR does it unasked), and spread over equal paths.
"""

from __future__ import annotations

import ipaddress
import json
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.bgp.lab import OURS, THEIRS, Lab
from tests.e2e.lifecycle import wait_until
from tests.namespaces import Namespace, stop

START_S = 15.0  # on a busy machine
_FRR = Path("/usr/lib/frr")
_OPTIONS = {"zebra": ("--v6-rr-semantics",)}  # otherwise a route of IPv6 that changes is gone for a moment
_KNOWN = {"gracefulShutdown": "65535:0", "graceful-shutdown": "65535:0"}  # FRR says them by name


@dataclass(frozen=True, slots=True)
class Peer:
    """One session as the router sees it.  `lines` are in the router's own language, inside this session."""

    address: str
    local: str
    peer_as: int = OURS
    lines: tuple[str, ...] = ()

    @property
    def version(self) -> int:
        """4 or 6."""
        return ipaddress.ip_address(self.address).version

    @property
    def name(self) -> str:
        """A name that BIRD takes."""
        return "s_" + re.sub(r"\W", "_", self.address)


@dataclass(frozen=True, slots=True)
class Held:
    """One route of the router's table."""

    neighbor: str
    as_path: tuple[int, ...]
    med: int | None
    local_pref: int
    communities: frozenset[str]
    large: frozenset[str]


class Router(Protocol):
    """What the tests need of either router."""

    def start(self) -> None:
        """Start it and wait until it answers."""

    def stop(self) -> None:
        """End it in order."""

    def say(self, command: str) -> str:
        """What it answers to a command of its own."""

    def is_up(self, address: str) -> bool:
        """Whether the session with that neighbor is established."""

    def paths(self, prefix: str) -> list[Held]:
        """The routes that it holds for a prefix."""

    def refresh(self, address: str) -> None:
        """Ask that neighbor for all its routes again (RFC 2918)."""


def peers(lab: Lab, *versions: int, lines: tuple[str, ...] = ()) -> tuple[Peer, ...]:
    """A session with each site for each family."""
    return tuple(Peer(lab.address(site, v), lab.gateway(site, v), lines=lines) for site in lab.sites for v in versions)


class Bird:
    """BIRD in any host of a lab, with any configuration."""

    def __init__(self, host: Namespace, folder: Path, config: str) -> None:
        self.host = host
        self.socket = folder / "bird.ctl"
        self.config = folder / "bird.conf"
        folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(config)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        argv = ["bird", "-f", "-c", str(self.config), "-s", str(self.socket)]
        with (self.config.parent / "bird.log").open("ab") as log:
            self.process = self.host.start(*argv, stderr=log)
        wait_until(self._answers, "BIRD answers", START_S)

    def stop(self) -> None:
        """End it in order: its sessions are closed with Cease."""
        if self.process is not None:
            stop(self.process)

    def say(self, command: str) -> str:
        """What birdc prints."""
        return self.host.run("birdc", "-s", str(self.socket), *command.split())

    def is_up(self, address: str) -> bool:
        """Whether the session with that neighbor is established."""
        return "Established" in self.say(f"show protocols {Peer(address, '').name}")

    def paths(self, prefix: str) -> list[Held]:
        """The routes that it holds for a prefix."""
        try:
            text = self.say(f"show route for {prefix} all")
        except subprocess.CalledProcessError as error:
            if "Network not found" in error.stderr:
                return []
            raise
        return [_bird_held(part) for part in re.split(r"\n(?=\S*\s+unicast )", text) if "BGP.as_path" in part]

    def refresh(self, address: str) -> None:
        """Ask that neighbor for all its routes again."""
        self.say(f"reload in {Peer(address, '').name}")

    def _answers(self) -> bool:
        assert self.process is not None
        log = (self.config.parent / "bird.log").read_text()
        assert self.process.poll() is None, f"BIRD ended: {log}"
        try:
            return "Daemon is up" in self.say("show status")
        except subprocess.CalledProcessError:
            return False


def bird_router(lab: Lab, folder: Path, sessions: tuple[Peer, ...]) -> Bird:
    """BIRD as the router of the lab."""
    kernels = "".join(
        f"protocol kernel k{version} {{ merge paths yes; "
        f"ipv{version} {{ import none; export where source = RTS_BGP; }}; }}\n"
        for version in (4, 6)
    )
    bgp = "".join(
        f"protocol bgp {peer.name} {{\n  local {peer.local} as {THEIRS};\n  neighbor {peer.address} as {peer.peer_as};\n"
        f"  hold time 9; connect delay time 1; connect retry time 1; error wait time 1,2;\n"
        f"  ipv{peer.version} {{ import filter taken; export none; import table on; }};\n"
        f"  {' '.join(peer.lines)}\n}}\n"
        for peer in sessions
    )
    config = (
        "router id 10.99.0.1;\nlog stderr all;\nprotocol device { scan time 1; }\n"
        "filter taken { if (65535,0) ~ bgp_community then bgp_local_pref = 0; accept; }\n"
    )
    return Bird(lab.router, folder, config + kernels + bgp)


class Frr:
    """FRR as the router of a lab: zebra and bgpd, and bfdd where the configuration is given whole.

    It runs as its own user, who cannot enter the folders of tests; and socket paths are short.
    """

    def __init__(
        self, lab: Lab, sessions: tuple[Peer, ...], config: str | None = None, host: Namespace | None = None
    ) -> None:
        """`config` is of all its processes, as vtysh takes it; without it one that takes every route."""
        self.host = lab.router if host is None else host
        self._config = config
        self._made = tempfile.TemporaryDirectory(prefix="gslb-frr-")
        self.folder = folder = Path(self._made.name)
        shutil.chown(folder, "frr", "frr")
        (folder / "zebra.conf").write_text("hostname router\n")
        (folder / "bfdd.conf").write_text("hostname router\n")
        (folder / "bgpd.conf").write_text("hostname router\n" if config else _frr_config(sessions))
        (folder / "frr.conf").write_text(config or "")
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start those that do not run, and wait until all answer."""
        for name in ("zebra", "bfdd", "bgpd") if self._config else ("zebra", "bgpd"):
            if name not in self.processes or self.processes[name].poll() is not None:
                self._start(name)
            wait_until(lambda name=name: self._answers(name), f"{name} answers", START_S)  # type: ignore[misc]
        if self._config:
            self.host.run("vtysh", "--vty_socket", str(self.folder), "-f", str(self.folder / "frr.conf"))

    def stop(self) -> None:
        """End all in order, and remove what they wrote."""
        for name in reversed(self.processes):
            stop(self.processes[name])
        self._made.cleanup()

    def say(self, command: str) -> str:
        """What vtysh prints."""
        return self.host.run("vtysh", "--vty_socket", str(self.folder), "-c", command)

    def is_up(self, address: str) -> bool:
        """Whether the session with that neighbor is established."""
        found = json.loads(self.say(f"show bgp neighbors {address} json"))
        return bool(found.get(address, {}).get("bgpState") == "Established")

    def paths(self, prefix: str) -> list[Held]:
        """The routes that it holds for a prefix."""
        version = ipaddress.ip_network(prefix).version
        found = json.loads(self.say(f"show bgp ipv{version} unicast {prefix} json"))
        return [_frr_held(path) for path in found.get("paths", [])]

    def refresh(self, address: str) -> None:
        """Ask that neighbor for all its routes again."""
        self.say(f"clear bgp {address} soft in")

    def _start(self, name: str) -> None:
        files = {"-f": f"{name}.conf", "-i": f"{name}.pid", "-z": "zserv", "--vty_socket": ""}
        paths = [word for option, file in files.items() for word in (option, str(self.folder / file))]
        own = ("--bfdctl", str(self.folder / "bfdd.sock")) if name == "bfdd" else _OPTIONS.get(name, ())
        argv = [str(_FRR / name), *paths, "-P", "0", *own]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = self.host.start(*argv, "--log", "stdout", stdout=log, stderr=log)

    def _answers(self, name: str) -> bool:
        log = (self.folder / f"{name}.log").read_text()
        assert self.processes[name].poll() is None, f"{name} ended: {log}"
        try:
            self.host.run("vtysh", "--vty_socket", str(self.folder), "-d", name, "-c", "show version")
        except subprocess.CalledProcessError:
            return False
        return True


def _frr_config(sessions: tuple[Peer, ...]) -> str:
    lines = [
        f"router bgp {THEIRS}",
        "bgp router-id 10.99.0.1",
        "no bgp ebgp-requires-policy",
        "no bgp default ipv4-unicast",
        "bgp graceful-restart-disable",
        "timers bgp 3 9",
    ]
    for peer in sessions:
        lines += [f"neighbor {peer.address} remote-as {peer.peer_as}", f"neighbor {peer.address} timers connect 1"]
        lines += [f"neighbor {peer.address} {line}" for line in peer.lines]
    for version in (4, 6):
        lines += [f"address-family ipv{version} unicast", "maximum-paths 8"]
        for peer in sessions:
            if peer.version == version:
                lines += [f"neighbor {peer.address} activate", f"neighbor {peer.address} soft-reconfiguration inbound"]
        lines.append("exit-address-family")
    return "\n".join(lines) + "\n"


def _bird_held(text: str) -> Held:
    fields = dict(re.findall(r"^\s+BGP\.(\w+): ?(.*)$", text, re.M))
    found = re.search(r"\[s_(\w+) ", text)  # where the configuration is not ours, sessions have other names
    name = found[1] if found else fields["next_hop"].split()[0]
    return Held(
        name.replace("_", ":" if name.startswith("fd") else "."),
        tuple(int(word) for word in fields["as_path"].split()),
        int(fields["med"]) if "med" in fields else None,
        int(fields["local_pref"]),
        frozenset(pair.replace(",", ":") for pair in re.findall(r"\((\d+,\d+)\)", fields.get("community", ""))),
        frozenset(
            re.sub(r",\s*", ":", three) for three in re.findall(r"\(([\d, ]+)\)", fields.get("large_community", ""))
        ),
    )


def _frr_held(path: dict[str, object]) -> Held:
    peer, as_path = path["peer"], path["aspath"]
    assert isinstance(peer, dict)
    assert isinstance(as_path, dict)
    med, local = path.get("metric"), path.get("locPrf", 100)
    assert isinstance(med, int | None)
    assert isinstance(local, int)
    return Held(
        str(peer["peerId"]),
        tuple(int(word) for word in str(as_path["string"]).split() if word.isdigit()),
        med,
        local,
        frozenset(_KNOWN.get(name, name) for name in _listed(path.get("community"))),
        _listed(path.get("largeCommunity")),
    )


def _listed(found: object) -> frozenset[str]:
    return frozenset(str(one) for one in found["list"]) if isinstance(found, dict) else frozenset()
