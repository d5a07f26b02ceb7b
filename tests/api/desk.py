"""A desk without a controller: a small deployment in force, and what the API did to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path

from gslb.config.load import load
from gslb.control.desk import Figures
from gslb.control.events import Hub
from gslb.control.geography import at_once
from gslb.control.planner import Model, geography_of
from gslb.control.queries import Queries
from gslb.control.report import Report
from gslb.control.store import OverridesRead, Store
from gslb.decide.decide import decide
from gslb.model.deployment import Api, NodeId, PoolId, Socket
from gslb.model.plan import Plan
from gslb.model.world import World
from gslb.nameserver.counters import Counter
from tests.cli.deployment import CONFIG, ZONE

NOW = 1_700_000_000.0
SECRET = b"0123456789abcdef"
LISTEN = Socket(ip_address("127.0.0.1"), 0)
IMAGE = {"octets": 25_000, "left_out": {"names": 5}}
REPORT: Report = {
    "version": "0",
    "deployment": "test",
    "node": "fra",
    "now": NOW,
    "generation": {"number": 1, "plan_version": 7, "plan_digest": "0" * 32, "plan_age_s": 3.5, "image": IMAGE},
    "workers": [{"kind": "udp", "slot": 0, "pid": 1, "alive": True}],
    "queries": 12,
    "counters": {one.name.lower(): one.value + 1 for one in Counter},
    "passed_up": {"name": 3, "view": 4},
    "types": {"A": 5, "OTHER": 6},
    "overrides": [],
    "problems": {"geography": ["no database"]},
    "geography": None,
    "pools": [],
    "blind_since": None,
}


@dataclass
class FakeDesk:
    """Meets `gslb.control.desk.Desk`."""

    config: Path
    store: Store
    model: Model | None
    plan: Plan | None = None
    seen: World = field(default_factory=lambda: World(NOW))
    told: Report = field(default_factory=lambda: dict(REPORT))
    numbers: Figures = field(default_factory=Figures)
    events: Hub = field(default_factory=lambda: Hub(epoch=1))
    queries: Queries = field(default_factory=lambda: Queries(Path("/nonexistent"), 1, lambda _one_in: None))
    pushed: list[tuple[PoolId, float, float | None]] = field(default_factory=list)
    written: int = 0
    read_at: int = -1
    stored: OverridesRead = field(default_factory=lambda: OverridesRead(()))
    problems: tuple[str, ...] = ()
    hushed: tuple[str, ...] = ()

    def world(self) -> World:
        """What is observed, with the overrides that are stored."""
        return replace(self.seen, overrides=self.overrides().overrides or ())

    def overrides(self) -> OverridesRead:
        """Those that are stored; read anew when the API has written them."""
        if self.read_at != self.written:
            self.read_at = self.written
            self.stored = self.store.load_overrides()
        return self.stored

    def report(self) -> Report:
        """What the test said."""
        return self.told

    def figures(self) -> Figures:
        """What the test said."""
        return self.numbers

    async def silent(self) -> tuple[str, ...]:
        """What the test said."""
        return self.hushed

    def push_load(self, pool: PoolId, value: float, at: float | None) -> None:
        """Keep it; negative ones are refused."""
        if value < 0:
            raise ValueError(f"load of {pool}: {value} - expected 0 or more")
        self.pushed.append((pool, value, at))

    def overrides_written(self) -> None:
        """Count."""
        self.written += 1

    def api_problem(self, lines: Sequence[str]) -> None:
        """Keep them."""
        self.problems = tuple(lines)


def make_desk(folder: Path, tables: Path, config: str = CONFIG) -> FakeDesk:
    """The deployment of the commands' tests, in force."""
    (folder / "gslb.yaml").write_text(config)
    (folder / "example.com.yaml").write_text(ZONE)
    loaded = load(folder / "gslb.yaml")
    deployment = replace(loaded.deployment, api=Api(LISTEN, token_file="token"))
    located = at_once(deployment, tables)
    geography = geography_of(located)
    node = deployment.nodes[NodeId("fra")]
    store = Store(folder / "state", deployment.name, node.name)
    store.create()
    return FakeDesk(
        config=folder / "gslb.yaml",
        store=store,
        model=Model(deployment, node, loaded.zones, located, geography, SECRET),
        plan=decide(deployment, geography, World(NOW), None),
    )
