"""GoBGP as the router of a lab, with what it says in the shape of the others.  IO; needs root.

It gives the kernel no routes, so only its own table can be looked at.
"""

from __future__ import annotations

import ipaddress
import json
import subprocess
from pathlib import Path
from typing import Any

from tests.bgp.lab import Lab
from tests.bgp.routers import START_S, Held
from tests.e2e.lifecycle import wait_until
from tests.namespaces import stop

_MED, _LOCAL_PREF, _AS_PATH, _COMMUNITIES, _LARGE = 4, 5, 2, 8, 32  # RFC 4271 section 5, RFC 1997, RFC 8092
DEFAULT_PREFERENCE = 100


class GoBgp:
    """GoBGP with any configuration (TOML)."""

    def __init__(self, lab: Lab, folder: Path, config: str) -> None:
        self.host = lab.router
        self.config = folder / "gobgpd.toml"
        folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(config)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.config.parent / "gobgpd.log").open("ab") as log:
            argv = ["gobgpd", "-f", str(self.config), "--log-plain"]
            self.process = self.host.start(*argv, stdout=log, stderr=log)
        wait_until(self._answers, "GoBGP answers", START_S)

    def stop(self) -> None:
        """End it in order."""
        if self.process is not None:
            stop(self.process)

    def say(self, command: str) -> str:
        """What gobgp prints."""
        return self.host.run("gobgp", *command.split())

    def is_up(self, address: str) -> bool:
        """Whether the session with that neighbor is established."""
        return "BGP state = ESTABLISHED" in self.say(f"neighbor {address}")

    def paths(self, prefix: str) -> list[Held]:
        """The routes that it holds for a prefix, after its policies."""
        version = ipaddress.ip_network(prefix).version
        found = json.loads(self.say(f"global rib -a ipv{version} -j"))
        return [_held(path) for path in found.get(prefix, [])]

    def refresh(self, address: str) -> None:
        """Ask that neighbor for all its routes again."""
        self.say(f"neighbor {address} softresetin")

    def _answers(self) -> bool:
        assert self.process is not None
        log = (self.config.parent / "gobgpd.log").read_text()
        assert self.process.poll() is None, f"GoBGP ended: {log}"
        try:
            return "AS:" in self.say("global")
        except subprocess.CalledProcessError:
            return False


def _held(path: dict[str, Any]) -> Held:
    said = {attribute["type"]: attribute for attribute in path["attrs"]}
    communities = said.get(_COMMUNITIES, {}).get("communities", ())
    large = said.get(_LARGE, {}).get("value", ())
    return Held(
        str(path["neighbor-ip"]),
        tuple(number for part in said.get(_AS_PATH, {}).get("as_paths", ()) for number in part["asns"]),
        said.get(_MED, {}).get("metric"),
        said.get(_LOCAL_PREF, {}).get("value", DEFAULT_PREFERENCE),
        frozenset(f"{number >> 16}:{number & 0xFFFF}" for number in communities),
        frozenset(f"{one['ASN']}:{one['LocalData1']}:{one['LocalData2']}" for one in large),
    )
