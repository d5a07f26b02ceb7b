"""The two sites of `anycasting.py` with balancers: a backend behind the router for each, to which its balancer sends through a tunnel.  IO."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from gslb.cli.main import main
from tests.bgp.lab import Meter
from tests.e2e.anycasting import CONFIG, WEB, Anycasting, Site
from tests.e2e.anycastprobes import PACE_S
from tests.e2e.lifecycle import WAIT_S
from tests.namespaces import World

PORT = 9000
VIP = WEB.partition("/")[0]
_MONITOR = "{type: tcp, port: 9000, interval: 300ms, timeout: 250ms, fall: 2, rise: 2}"
_BALANCE = "balance: {listen: [tcp/9000, udp/9000], forward: ipip, backends: [10.77.%d.2]}"
BALANCED = CONFIG.replace(
    CONFIG[CONFIG.index("  web: {type") : CONFIG.index("  web-c:")],
    f"  line: {_MONITOR}\n"
    "pools:\n"
    + "".join(
        f"  web-{site}: {{datacenter: {site}, monitor: line, return: at_once, answers: [{VIP}], {_BALANCE % number}}}\n"
        for number, site in enumerate("ab", start=1)
    ),
).replace(
    "monitors:\n",
    "nodes: {a: {site: a, interfaces: [v1r]}, b: {site: b, interfaces: [v2r]}}\n"
    "balancer: {attach: generic}\n"
    "monitors:\n",
)


class BalancedSite(Site):
    """The node of a site, which pins what it loads: it must end by itself."""

    def clear(self) -> None:  # type: ignore[explicit-override]
        """End it in order."""
        if self.runs and self.runs[-1].poll() is None:
            self.runs[-1].terminate()
            self.runs[-1].wait(2 * WAIT_S)
        super().clear()


class WithBackends(Anycasting):
    """The deployment; `WEB` is an address of both balancers."""

    site_class: type[Site] = BalancedSite

    def __init__(self, world: World, folder: Path) -> None:
        super().__init__(world, folder, config=BALANCED)
        self._servers: dict[str, subprocess.Popen[bytes]] = {}
        self.backends = {name: world.namespace(f"backend-{name}") for name in self.sites}
        self.lab.client.run("ethtool", "-K", "v0r", "tx", "off")
        for number, host in enumerate(self.backends.values(), start=1):
            host.run("sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0")
            _, device = world.join(self.lab.router, host, f"10.77.{number}.1/24", f"10.77.{number}.2/24")
            host.run("ethtool", "-K", device, "tx", "off")
            host.add_route("default", f"10.77.{number}.1")

    @contextmanager
    def running(self) -> Iterator[None]:  # type: ignore[explicit-override]
        """The backends as well."""
        with ExitStack() as stack:
            for name in self.backends:
                stack.callback(self._backend, name, "remove")
                self._backend(name, "setup")
                self.serve(name)
            stack.enter_context(super().running())
            stack.callback(self._end)
            yield

    def _end(self) -> None:
        for site in self.sites.values():
            site.runs[-1].terminate()

    def serve(self, site: str) -> None:
        """Start the server of a site's backend."""
        number = list(self.sites).index(site) + 1
        command = (sys.executable, "-m", "tests.e2e.named_server", site, str(PORT), VIP, f"10.77.{number}.2")
        self._servers[site] = self.backends[site].start(*command)

    def kill(self, site: str) -> None:
        """SIGKILL to the server of a site's backend."""
        self._servers[site].kill()
        self._servers[site].wait()

    def web_meter(self) -> Meter:  # type: ignore[explicit-override]
        """Datagrams to the servers behind the balancers."""
        return Meter(self.lab, VIP, PORT, PACE_S)

    def _backend(self, name: str, what: str) -> None:
        printed = io.StringIO()
        with redirect_stdout(printed), redirect_stderr(printed):
            done = self.backends[name].call(lambda: main(["backend", what, "--config", str(self.a.config)]))
        assert done == 0, printed.getvalue()
