"""Versions of the configuration over one bucket: published, taken, refused, lost, gone back from, edited over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gslb.bus.bus import Entry, Message, Standing
from gslb.bus.lone import Lone
from gslb.bus.messages import Life
from gslb.bus.peers import Living
from gslb.config.load import load
from gslb.config.problem import one_of
from gslb.control import facts
from gslb.control.applied import (
    Record,
    consider,
)
from gslb.control.bundle import bundle_of, packed
from gslb.control.desk import Api, Desk
from gslb.control.facts import Facts
from gslb.control.kept import keep
from gslb.control.proposal import ANSWERED, Proposal, propose
from gslb.control.release import CURRENT, REFUSED, Release, dump_release
from gslb.control.rollout import Rollout
from gslb.control.start import Serving, Start
from gslb.control.store import Store
from gslb.model.deployment import Deployment, Node, NodeId, SiteId
from tests.cli.deployment import CONFIG, ZONE
from tests.control.shared import Bucket, Line

OTHER = CONFIG.replace("max: 30", "max: 20")
THIRD = CONFIG.replace("max: 30", "max: 25")
NOW = 1_000_000.0


class Quiet:
    """An audience that hears nothing."""

    def progress(self, step: str, share: float) -> None:
        """Nothing."""

    def serving(self, facts: Serving) -> None:
        """Nothing."""


class Member:
    """One node: its own files, its state folder, its line to the bucket; what it reloads it runs."""

    def __init__(self, folder: Path, bucket: Bucket, name: str) -> None:
        self.config = folder / name / "gslb.yaml"
        self.config.parent.mkdir()
        self.config.write_text(CONFIG)
        (self.config.parent / "example.com.yaml").write_text(ZONE)
        self.name, self.folder, self.bucket = name, folder, bucket
        self.store = Store(folder / "state", "test", name)
        self.store.create()
        self.proposals = 0
        self.begin()

    def begin(self) -> None:
        """A controller begins."""

        def node_of(deployment: Deployment) -> Node:
            found = deployment.nodes.get(NodeId(self.name))
            if found is None:
                raise SystemExit(f"gslb: node {self.name} - {one_of(deployment.nodes, self.name)}")
            return found

        def no_api(desk: Desk) -> Api:
            raise AssertionError(desk)

        told = Facts()
        told.open(self.store.folder)
        start = Start(self.config, self.folder / "state", node_of, self.name, Quiet(), no_api)
        self.line = Line(self.bucket)
        self.rollout = Rollout(start, self.store, told, lambda: NOW, self.reload)
        self.reload()

    def reload(self) -> None:
        """What the controller does when its files changed."""
        found = consider(self.config, lambda _: self.store)
        self.rollout.considered(found.own, found.chosen)
        keep(self.store, found.chosen.loaded.copy)
        self.rollout.in_force(found.chosen.loaded.digest)
        self.ttl = found.chosen.loaded.deployment.policies["web"].ttl_max  # type: ignore[index]
        self.lines = found.lines

    def edit(self, text: str) -> None:
        """The operator edits the node's own file."""
        self.config.write_text(text)
        self.reload()

    def apply(self, text: str | None, base: int, who: str = "alice") -> str:
        """`gslb apply`, or with None `gslb apply --back`; the name of the proposal."""
        self.proposals += 1
        name = f"{self.name}-{self.proposals}"
        data = None
        if text is not None:
            new = self.folder / "new"
            new.mkdir(exist_ok=True)
            (new / "new.yaml").write_text(text)
            (new / "example.com.yaml").write_text(ZONE)
            data = packed(bundle_of("test", load(new / "new.yaml").copy))
        propose(self.store, Proposal(name, base, who, "CHG", NOW, data))
        self.rollout.proposed()
        return name

    async def answer(self, name: str) -> dict[str, Any]:
        """What became of a proposal."""
        await until(lambda: (self.fact(ANSWERED) or {}).get("id") == name)
        return dict(self.fact(ANSWERED))

    def fact(self, name: str) -> Any:
        """What `gslb status` reads."""
        return facts.read(self.store.folder).get(name)

    def message(self, message: Message) -> None:
        raise AssertionError(message)

    def entry(self, entry: Entry) -> None:
        self.rollout.entry(entry)

    def listed(self, keys: frozenset[str]) -> None:
        self.rollout.listed(keys)

    def standing(self, standing: Standing) -> None:
        self.rollout.standing(standing)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, at most some seconds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # files and threads have no events
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running(*members: Member) -> AsyncIterator[None]:
    """They run, connected."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for member in members:
            tasks.create_task(member.rollout.run(member.line, stop))
            await asyncio.sleep(0)
            member.line.connect(member)
        try:
            yield
        finally:
            stop.set()


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


@pytest.fixture
def fra(tmp_path: Path, bucket: Bucket) -> Member:
    return Member(tmp_path, bucket, "fra")


@pytest.fixture
def iad(tmp_path: Path, bucket: Bucket) -> Member:
    return Member(tmp_path, bucket, "iad")


def test_a_version_is_taken_by_all_and_one_command_goes_back(fra: Member, iad: Member) -> None:
    async def scenario() -> None:
        async with running(fra, iad):
            assert (await fra.answer(fra.apply(OTHER, 0))) == {"id": "fra-1", "version": 1, "lines": []}
            await until(lambda: fra.ttl == iad.ttl == 20)
            assert iad.rollout.version == 1
            assert iad.fact("rollout")["published"]["who"] == "alice"
            assert (await iad.answer(iad.apply(None, 1)))["version"] == 2
            await until(lambda: fra.ttl == iad.ttl == 30)
            assert (await fra.answer(fra.apply(None, 2)))["version"] == 3
            await until(lambda: fra.ttl == iad.ttl == 20)

    asyncio.run(scenario())


def test_a_restart_runs_the_version_without_the_bus(fra: Member) -> None:
    async def scenario() -> None:
        async with running(fra):
            await fra.answer(fra.apply(OTHER, 0))
            await until(lambda: fra.ttl == 20)

    asyncio.run(scenario())
    fra.begin()
    assert (fra.ttl, fra.rollout.version) == (20, 1)


def test_the_file_that_was_edited_last_wins_for_good_until_the_next_version(fra: Member, iad: Member) -> None:
    async def scenario() -> None:
        async with running(fra, iad):
            await fra.answer(fra.apply(OTHER, 0))
            await until(lambda: iad.ttl == 20)
            iad.edit(THIRD)
            assert (iad.ttl, iad.rollout.version) == (25, 0)
            iad.edit(CONFIG)
            assert (iad.ttl, iad.rollout.version) == (30, 0), "what stood there before is an edit too"
            await fra.answer(fra.apply(THIRD, 1))
            await until(lambda: iad.ttl == 25)
            assert iad.rollout.version == 2

    asyncio.run(scenario())


def test_own_files_that_say_the_same_are_that_version(fra: Member) -> None:
    async def scenario() -> None:
        async with running(fra):
            await fra.answer(fra.apply(OTHER, 0))
            await until(lambda: fra.ttl == 20)
            fra.edit(OTHER)
            assert (fra.ttl, fra.rollout.version) == (20, 1)
            fra.edit(CONFIG)
            assert (fra.ttl, fra.rollout.version) == (30, 0)

    asyncio.run(scenario())


def test_own_files_that_are_refused_leave_the_version_in_force(fra: Member) -> None:
    async def scenario() -> None:
        async with running(fra):
            await fra.answer(fra.apply(OTHER, 0))
            await until(lambda: fra.ttl == 20)
            fra.edit("deployment: [")
            assert (fra.ttl, fra.rollout.version) == (20, 1)
            assert fra.lines
            await fra.answer(fra.apply(THIRD, 1))
            await until(lambda: fra.ttl == 25)

    asyncio.run(scenario())


def test_a_node_that_refuses_goes_on_and_all_know_why(fra: Member, iad: Member) -> None:
    without_iad = OTHER.replace("iad: {at", "ord: {at").replace("datacenter: iad", "datacenter: ord")

    async def scenario() -> None:
        async with running(fra, iad):
            assert (await fra.answer(fra.apply(without_iad, 0)))["version"] == 1
            await until(lambda: "iad" in fra.rollout.state()["refused"])
            told = fra.rollout.state()["refused"]["iad"]
            assert told["version"] == 1
            assert "node iad" in told["lines"][0]
            assert iad.ttl == 30
            assert "the present one goes on" in iad.fact("problems")["version of the configuration"][0]
            await fra.answer(fra.apply(None, 1))
            await until(lambda: fra.rollout.state()["refused"] == {})
            assert "version of the configuration" not in iad.fact("problems")

    asyncio.run(scenario())


def test_what_this_node_refuses_is_not_published(fra: Member) -> None:
    async def scenario() -> None:
        async with running(fra):
            answer = await fra.answer(
                fra.apply(OTHER.replace("fra: {at", "ord: {at").replace("datacenter: fra", "datacenter: ord"), 0)
            )
            assert answer["version"] is None
            assert "node fra" in answer["lines"][0]
            assert CURRENT not in fra.bucket.held

    asyncio.run(scenario())


def test_of_two_at_once_one_is_told_that_it_lost(fra: Member, iad: Member) -> None:
    async def scenario() -> None:
        async with running(fra, iad):
            names = fra.apply(OTHER, 0), iad.apply(THIRD, 0, "bob")
            answers = [await fra.answer(names[0]), await iad.answer(names[1])]
            (won,) = [one for one in answers if one["version"] == 1]
            (lost,) = [one for one in answers if one["version"] is None]
            assert "look at it and apply again" in lost["lines"][0]
            want = 20 if won is answers[0] else 25
            await until(lambda: fra.ttl == iad.ttl == want)
            late = await fra.answer(fra.apply(CONFIG, 0))
            assert late["lines"][0].startswith("version 1 by ")

    asyncio.run(scenario())


def test_without_the_bus_nothing_is_published(fra: Member) -> None:
    async def scenario() -> None:
        async with running(fra):
            fra.line.cut()
            answer = await fra.answer(fra.apply(OTHER, 0))
            assert answer["version"] is None
            assert "the bus cannot be reached" in answer["lines"][0]

    asyncio.run(scenario())
    assert fra.ttl == 30


def test_a_bucket_that_was_lost_is_given_the_version_again(fra: Member, iad: Member, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(fra, iad):
            await fra.answer(fra.apply(OTHER, 0))
            await until(lambda: iad.ttl == 20)
            iad.line.cut()
            await fra.answer(fra.apply(THIRD, 1))
            fra.line.cut()
            fra.bucket.lose()
            iad.line.connect(iad)
            await until(lambda: CURRENT in fra.bucket.held)
            fra.line.connect(fra)
            await until(lambda: iad.ttl == 25)
            late = Member(tmp_path, fra.bucket, "cloud")
            async with running(late):
                await until(lambda: late.ttl == 25)
                assert (await late.answer(late.apply(None, 2)))["version"] == 3
                await until(lambda: fra.ttl == iad.ttl == 20)

    asyncio.run(scenario())


def test_a_node_that_is_alone_applies_to_itself_and_goes_back_after_a_restart(fra: Member) -> None:
    async def scenario() -> None:
        bus, stop = Lone(1, NOW), asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(bus.run(fra, stop))
            tasks.create_task(fra.rollout.run(bus, stop))
            if fra.ttl == 30:
                assert (await fra.answer(fra.apply(OTHER, 0)))["version"] == 1
                await until(lambda: fra.ttl == 20)
            else:
                assert (await fra.answer(fra.apply(None, 1)))["version"] == 2
                await until(lambda: fra.ttl == 30)
            stop.set()

    asyncio.run(scenario())
    fra.begin()
    assert fra.ttl == 20
    asyncio.run(scenario())
    fra.begin()
    assert (fra.ttl, fra.rollout.version) == (30, 2)


def test_a_version_that_is_no_version_changes_nothing(fra: Member, bucket: Bucket) -> None:
    record = Record(7, "config-x-1", "0" * 32, "", "eve", "", NOW, "x")

    async def scenario() -> None:
        async with running(fra):
            for value in (b"{", b"[]", dump_release("other", Release(record)), b" " * 40_000):
                bucket.write(CURRENT, value)
                bucket.write(f"{REFUSED}iad", value)
            assert fra.rollout.state()["malformed"] == {CURRENT: 4, REFUSED: 4}
            bucket.objects["config-x-1"] = b"something else"
            bucket.write(CURRENT, dump_release("test", Release(record)))
            await until(lambda: "version of the configuration" in fra.fact("problems"))
            assert fra.fact("problems")["version of the configuration"] == ["version 7: its files are not on the bus"]
            assert (fra.ttl, fra.rollout.version) == (30, 0)
            bucket.write(CURRENT, b"taken away")
            await until(lambda: "version of the configuration" not in fra.fact("problems"))

    asyncio.run(scenario())


def test_nodes_that_go_on_with_another_configuration_are_a_problem(
    fra: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life("f" * 32, 3, 1, "", "", "", None, {}, "0.1", 5.0)
    living = Living(SiteId("iad"), NodeId("iad"), 1, life, 0.1, alive=True, delay_s=0.0, skew_s=0.0, refused={})
    clock = [100.0]
    monkeypatch.setattr("gslb.control.rollout.time.monotonic", lambda: clock[0])
    fra.rollout.others({living.node: living})
    clock[0] += 29
    fra.rollout.others({living.node: living})
    assert "configuration of other nodes" not in fra.fact("problems")
    clock[0] += 1
    fra.rollout.others({living.node: living})
    (line,) = fra.fact("problems")["configuration of other nodes"]
    assert line.startswith("node iad runs another configuration: version 3 (ffffffffffff), here its own file (")
    fra.rollout.others({living.node: replace(living, alive=False)})
    assert "configuration of other nodes" not in fra.fact("problems")
