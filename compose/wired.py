"""The lab in network namespaces, with everything running: what containers are, in seconds.  IO; needs root.

`with Wired(lab(), folder) as wired:` brings it up; `wired.well()` waits until users are served.  Each network is a bridge in a
namespace of its own.  A namespace for the bridges stands for the machine under the containers.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from compose import commands, hosts, render, routing
from compose.clients import Outcome
from compose.hosts import Host, join
from compose.topology import ROUTERS, ZONE, Machine, Topology

ROOT = Path(__file__).resolve().parent.parent
GSLB = (sys.executable, "-m", "gslb.cli")
PYTHON = {"PYTHONPATH": str(ROOT)}
WELL_S = 90.0  # on a busy machine
_PROGRAMS = ("bird", "ethtool", "nats-server", "nginx", "pdns_recursor", "setpriv", "unbound", "unshare", "vtysh")
_ORDER = (("nats",), ROUTERS, ("server", "backend"), ("gslb",), ("unbound", "recursor"))


def unavailable() -> str | None:
    """Why the lab cannot be brought up here, or None if it can."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [program for program in _PROGRAMS if shutil.which(program, path=path) is None]
    return f"not installed: {', '.join(missing)}" if missing else hosts.unavailable()


class Wired:
    """All machines of a topology.  `folder` takes their files and logs."""

    def __init__(self, topology: Topology, folder: Path) -> None:
        self.topology = topology
        self.folder = folder
        self.hosts: dict[str, Host] = {}
        self.daemons: dict[str, list[subprocess.Popen[bytes]]] = {}
        self._switch: Host | None = None
        self._lines: dict[tuple[str, str], str] = {}  # (machine, network) -> the port of the switch
        self._ports = itertools.count()

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all."""
        for host in self.hosts.values():
            host.close()
        self.hosts.clear()
        if self._switch is not None:
            self._switch.close()
            self._switch = None

    def start(self, machine: Machine) -> None:
        """Start a machine's daemons.  What they say is in `folder`/MACHINE.log."""
        with (self.folder / f"{machine.name}.log").open("ab") as log:
            self.daemons[machine.name] = [
                self.hosts[machine.name].start(*argv, output=log, env=PYTHON)
                for argv in commands.serve(machine, str(self.folder), GSLB)
            ]

    def lose(self, machines: Iterable[Machine]) -> None:
        """These machines are gone from one moment to the next, as by a loss of power, with all that they kept.

        Their lines go first, a router's to the transit before that to its site, of which it would tell: a kernel whose
        processes are killed says farewell to their peers, and as long as it has something left to say it forwards and
        refuses in the place of the machine that comes after it.
        """
        going = list(machines)
        lines = [self._lines.pop((one.name, line.network)) for one in going for line in reversed(one.interfaces)]
        assert self._switch is not None
        self._switch.run("sh", "-c", 'for line; do ip link delete "$line" || exit; done', "sh", *lines)
        for machine in going:
            self.hosts.pop(machine.name).close()

    def restore(self, machines: Iterable[Machine]) -> None:
        """New machines in the place of those that were lost, with everything running."""
        coming = list(machines)
        for machine in coming:
            self._add(machine)
        for runs in _ORDER:
            for machine in coming:
                if machine.runs in runs:
                    self.start(machine)

    def cut(self, machine: Machine, networks: Iterable[str]) -> None:
        """Its lines to these networks take nothing more, without either end being told."""
        self._plug(machine, networks, lambda _: ("nomaster",))

    def mend(self, machine: Machine, networks: Iterable[str]) -> None:
        """They work again."""
        self._plug(machine, networks, lambda network: ("master", network))

    def gslb(self, node: str, name: str, *words: str) -> str:
        """What a command of a node prints."""
        machine = self.topology.by_name[node]
        return self.hosts[node].run(*GSLB, name, *words, *commands.here(machine, str(self.folder)), env=PYTHON)

    def status(self, node: str) -> dict[str, Any]:
        """What `gslb status --json` prints on a node."""
        found: dict[str, Any] = json.loads(self.gslb(node, "status", "--json"))
        return found

    def routes(self, machine: str) -> dict[str, int]:
        """The services' prefixes in a machine's kernel, and the number of ways to each."""
        found = json.loads(self.hosts[machine].run("ip", "-4", "-j", "route"))
        ways = {str(route["dst"]): len(route.get("nexthops", [0])) for route in found}
        wanted = {prefix.removesuffix("/32") for prefix in routing.vips(self.topology)}
        return {destination: number for destination, number in ways.items() if destination in wanted}

    def request(self, region: str, name: str = f"www.{ZONE}") -> Outcome:
        """What becomes of one request of a region's client: asked by its resolver, fetched from where it is sent."""
        words = (self.resolver(region).address, name, "--seconds", "0.01")
        said = self.hosts[f"client-{region}"].run(sys.executable, "-m", "compose.clients", *words, env=PYTHON)
        return Outcome(**json.loads(said.splitlines()[0]))

    def resolver(self, region: str) -> Machine:
        """The resolver of a region."""
        return self.topology.at(region, "unbound", "recursor")[0]

    def well(self, within_s: float = WELL_S) -> None:
        """Until every router has a way to every service, and the users of each region are served by their nearest site.

        AssertionError, with what is missing, where that does not come.
        """
        wanted = {prefix.removesuffix("/32") for prefix in routing.vips(self.topology)}
        for router in self.topology.running(*ROUTERS):
            self.until(
                lambda name=router.name: self.routes(name).keys() >= wanted,  # type: ignore[misc]
                lambda name=router.name: f"{name} has ways to {sorted(self.routes(name))}",  # type: ignore[misc]
                within_s,
            )
        for region in self.topology.regions:
            self.until(
                lambda region=region: self.request(region.name).site == region.nearest,  # type: ignore[misc]
                lambda region=region: f"{region.name} is served by {region.nearest}; {self.request(region.name)}",  # type: ignore[misc]
                within_s,
            )

    @staticmethod
    def until(condition: Callable[[], bool], what: Callable[[], str], within_s: float = WELL_S) -> None:
        """Wait until `condition`."""
        until = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > until:
                raise AssertionError(f"not within {within_s:g} s: {what()}")
            time.sleep(0.1)

    def _open(self) -> None:
        render.write(self.topology, self.folder, commands.RUN)
        self._switch = switch = Host("switch")
        for network in self.topology.networks:
            switch.run("ip", "link", "add", network.name, "type", "bridge")
            switch.run("ip", "link", "set", network.name, "up")
        self.restore(self.topology.machines)

    def _plug(self, machine: Machine, networks: Iterable[str], words: Callable[[str], tuple[str, ...]]) -> None:
        assert self._switch is not None
        for network in networks:
            self._switch.run("ip", "link", "set", self._lines[machine.name, network], *words(network))

    def _add(self, machine: Machine) -> None:
        switch = self._switch
        assert switch is not None
        host = self.hosts[machine.name] = Host(machine.name)
        for line, interface in enumerate(machine.interfaces):
            port = f"port{next(self._ports)}"
            join(host, f"eth{line}", switch, port)
            host.run("ip", "address", "add", f"{interface.address}/24", "dev", f"eth{line}")
            self._lines[machine.name, interface.network] = port
            self.mend(machine, [interface.network])
            switch.run("ethtool", "-K", port, "gro", "on", "tx", "off")
        if settings := commands.settings(machine):
            host.run("sysctl", "-qw", *settings)
        for argv in commands.prepare(machine, str(self.folder), GSLB):
            host.run(*argv, env=PYTHON)
