"""Names that tell what a node's checks find: behind each a pool that is checked, and one to go to when that is down.  IO."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.apiclient import ApiClient
from tests.e2e.lifecycle import Server, wait_until
from tests.ports import free_port

SPARE = "198.51.100.1"
INTERVAL_S, TIMEOUT_S, FALL, RISE = 0.3, 0.3, 2, 2
TURN_S = FALL * INTERVAL_S + TIMEOUT_S + 5.0  # until an answer changes, with room for a busy machine
TOKEN = "a token of this test"
ZONE_HEAD = """\
'':
  - type: SOA
    value: {mname: ns1.example.com., rname: hostmaster.example.com.}
  - type: NS
    values: [ns1.example.com.]
ns1: {type: A, value: 127.0.0.1}
"""


@dataclass(frozen=True)
class Pair:
    """A pool of `address`, checked as `monitor` (YAML keys of a monitor) says; `pool` is more YAML keys of the pool."""

    name: str
    address: str
    monitor: str
    pool: str = ""


class Node:
    """A running node with pairs."""

    def __init__(self, server: Server, api: ApiClient, pairs: Iterable[Pair]) -> None:
        self.server = server
        self.api = api
        self.pairs = {pair.name: pair for pair in pairs}

    def at_home(self, name: str) -> bool:
        """Whether the pair's checked pool answers; else its spare must."""
        (address,) = self.server.addresses(f"{name}.example.com")
        assert address in (self.pairs[name].address, SPARE), address
        return address != SPARE

    def answers(self) -> dict[str, list[str]]:
        """Who answers for each pair."""
        return {name: self.server.addresses(f"{name}.example.com") for name in self.pairs}

    def leaves(self, name: str, what: str, within_s: float = TURN_S) -> float:
        """Wait until the spare answers; seconds that took."""
        return self._waited(name, home=False, what=f"{what}: {name} goes to its spare", within_s=within_s)

    def returns(self, name: str, what: str, within_s: float = TURN_S) -> float:
        """Wait until the checked pool answers; seconds that took."""
        return self._waited(name, home=True, what=f"{what}: {name} is back", within_s=within_s)

    def pool(self, name: str) -> dict[str, Any]:
        """The pair's checked pool in `/v1/status`, which is up to 0.5 s old."""
        pools = self.api.get("/v1/status").json["pools"]
        found: dict[str, Any] = next(one for one in pools if one["name"] == f"{name}-home")
        return found

    def down(self, name: str, why: str) -> None:
        """Wait until the pair's target is shown as down, with a reason that holds `why`."""
        wait_until(lambda: why in self._why(name), f"{name} is down: {why}")

    def audit(self) -> list[dict[str, Any]]:
        """The lines of the audit log."""
        file = self.server.state / "example" / "fra" / "audit.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def shows(self, text: str) -> None:
        """Wait until `gslb status` shows `text`."""
        wait_until(lambda: text in self.server.command("status").stdout, f"gslb status shows {text!r}")

    def figures(self, name: str) -> dict[str, Any]:
        """The statistics of the pair's target, once the node has kept them."""
        found: list[dict[str, Any]] = []

        def kept() -> bool:
            targets = self.server.status()["checks"].get("targets", [])
            found[:] = [one for one in targets if f"{name}-home" in one["pools"]]
            return bool(found)

        wait_until(kept, f"the statistics of {name}")
        return found[0]

    def _why(self, name: str) -> str:
        target = self.pool(name)["targets"][0]
        return str(target["why"]) if target["health"] == "down" else ""

    def _waited(self, name: str, *, home: bool, what: str, within_s: float) -> float:
        began = time.monotonic()
        wait_until(lambda: self.at_home(name) is home, what, within_s)
        return time.monotonic() - began


def configuration(pairs: Iterable[Pair], api_port: int) -> tuple[str, str]:
    """The configuration, and the zone."""
    monitors, pools, policies, zone = [], [], [], [ZONE_HEAD]
    pace = f"interval: {INTERVAL_S * 1000:g}ms, timeout: {TIMEOUT_S * 1000:g}ms, fall: {FALL}, rise: {RISE}"
    for pair in pairs:
        name, more = pair.name, f", {pair.pool}" if pair.pool else ""
        own = pair.monitor if "interval:" in pair.monitor else f"{pair.monitor}, {pace}"
        monitors.append(f"  {name}: {{{own}}}")
        pools.append(
            f"  {name}-home: {{datacenter: fra, monitor: {name}, answers: [{pair.address}], return: at_once{more}}}"
        )
        pools.append(f"  {name}-away: {{datacenter: iad, answers: [{SPARE}]}}")
        policies.append(f"  {name}: {{rules: [{{pools: [{name}-home, {name}-away]}}], ttl: {{max: 60, min: 1}}}}")
        zone.append(f"{name}: {{policy: {name}, ttl: 60, types: [A]}}\n")
    sections = "\n".join(["monitors:", *monitors, "pools:", *pools, "policies:", *policies])
    text = f"""\
deployment: example
datacenters:
  fra: {{at: [50.11, 8.68], continent: EU}}
  iad: {{at: [38.95, -77.45], continent: NA}}
{sections}
dns: {{listen: ["ADDRESS:PORT"], workers: 1}}
api: {{listen: "127.0.0.1:{api_port}", token_file: token}}
zones: [zones/*.yaml]
"""
    return text, "".join(zone)


@contextmanager
def node_with(folder: Path, *pairs: Pair, start: bool = True) -> Iterator[Node]:
    """A node with these pairs for a block; started, and with its first answers given, unless told not to."""
    port = free_port()
    config, zone = configuration(pairs, port)
    (folder / "token").write_text(TOKEN)
    api = ApiClient(port, TOKEN)
    server = Server(folder, config, {"example.com.yaml": zone})
    try:
        if start:
            server.start()
            wait_until(api.listens, "the API answers")
        yield Node(server, api, pairs)
    finally:
        server.clear()
