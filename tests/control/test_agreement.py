"""Overrides of several nodes over one bucket: the same everywhere in the end, whatever was cut, lost or refused."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from gslb.bus.bus import Entry as KeyEntry
from gslb.bus.bus import Message, Standing
from gslb.bus.stamps import FUTURE_MS, Written
from gslb.control import endings, facts
from gslb.control.agreement import Agreement, Pace
from gslb.control.facts import Facts
from gslb.control.overrides import dump_word, key_of, with_override, without_target
from gslb.control.store import Store
from gslb.control.words import Lost, Word
from gslb.model.world import Forced, Override
from tests.control.shared import Bucket, Line

QUICK = Pace(away_s=0.05, refused_s=0.2)
START = 1_000_000.0


class Node:
    """One node's overrides, and its line to the bucket."""

    def __init__(self, folder: Path, bucket: Bucket, name: str, pace: Pace = QUICK) -> None:
        self.now = START
        self.store = Store(folder / name, "test", name)
        self.store.create()
        self.line = Line(bucket)
        self.lost: list[Lost] = []
        self.written = 0
        told = Facts()
        told.open(self.store.folder)
        self.agreement = Agreement(self.store, told, lambda: self.now, self._note, self.lost.append, pace)

    def _note(self) -> None:
        self.written += 1

    def entry(self, entry: KeyEntry) -> None:
        self.agreement.entry(entry)

    def listed(self, keys: frozenset[str]) -> None:
        self.agreement.listed(keys)

    def standing(self, standing: Standing) -> None:
        self.agreement.standing(standing)

    def message(self, message: Message) -> None:
        raise AssertionError(message)

    def say(self, target: str, state: Forced) -> None:
        """`gslb drain|up|down` on this node, a second after the last."""
        self.now += 1
        new = Override(target, state, self.store.folder.name, "CHG", self.now)
        self.store.edit_overrides(lambda before: with_override(before, new), self.now)
        self.agreement.changed()

    def end(self, target: str) -> None:
        """`gslb auto` on this node."""
        self.now += 1
        self.store.edit_overrides(lambda before: without_target(before, target), self.now, who="bob", why="done")
        self.agreement.changed()

    def states(self) -> dict[str, str]:
        """What is in force."""
        return {one.target: one.state.value for one in self.store.load_overrides().overrides or ()}


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, at most some seconds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # files and threads have no events
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running(*nodes: Node, connected: bool = True) -> AsyncIterator[None]:
    """The agreements of nodes run."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for node in nodes:
            tasks.create_task(node.agreement.run(node.line, stop))
            if connected:
                node.line.connect(node)
        try:
            yield
        finally:
            stop.set()


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


@pytest.fixture
def fra(tmp_path: Path, bucket: Bucket) -> Node:
    return Node(tmp_path, bucket, "fra1")


@pytest.fixture
def iad(tmp_path: Path, bucket: Bucket) -> Node:
    return Node(tmp_path, bucket, "iad1")


def test_an_override_goes_everywhere_and_so_does_its_end(fra: Node, iad: Node) -> None:
    async def scenario() -> None:
        async with running(fra, iad):
            fra.say("site/sin", Forced.DRAIN)
            await until(lambda: iad.states() == {"site/sin": "drain"})
            (made,) = iad.store.load_overrides().overrides or ()
            assert (made.node, made.who) == ("fra1", "fra1")
            await until(lambda: iad.written == 1)
            iad.now = fra.now
            iad.end("site/sin")
            await until(lambda: fra.states() == {})
            assert [(one.target, one.who, one.why) for one in endings.endings(fra.store.folder)] == [
                ("site/sin", "bob", "done")
            ]
            assert fra.agreement.state() == {"waiting": 0, "refused": {}, "lost": 0}
            assert (fra.lost, iad.lost) == ([], [])

    asyncio.run(scenario())


def test_what_was_said_while_cut_off_is_merged_later_and_the_loser_is_told(fra: Node, iad: Node) -> None:
    async def scenario() -> None:
        async with running(fra, iad):
            fra.line.cut()
            fra.say("site/sin", Forced.DRAIN)
            fra.say("pool/web-fra", Forced.DOWN)
            await until(lambda: fra.agreement.state()["waiting"] == 2)
            assert fra.states()["site/sin"] == "drain", "at once, without the bus"
            iad.now += 10
            iad.say("site/sin", Forced.UP)
            fra.line.connect(fra)
            await until(lambda: fra.states() == iad.states() == {"site/sin": "up", "pool/web-fra": "down"})
            await until(lambda: fra.agreement.state()["waiting"] == 0)
            (lost,) = fra.lost
            assert (lost.loser.stamp.node, lost.winner.stamp.node) == ("fra1", "iad1")

    asyncio.run(scenario())


def test_a_later_word_of_the_one_who_was_cut_off_wins_and_all_others_tell_it(fra: Node, iad: Node) -> None:
    async def scenario() -> None:
        async with running(fra, iad):
            fra.line.cut()
            iad.say("site/sin", Forced.UP)
            await until(lambda: iad.line.writes == 1)
            fra.now += 60
            fra.say("site/sin", Forced.DRAIN)
            fra.line.connect(fra)
            await until(lambda: iad.states() == {"site/sin": "drain"})
            await until(lambda: [one.loser.stamp.node for one in (*fra.lost, *iad.lost)] == ["iad1", "iad1"])

    asyncio.run(scenario())


def test_a_bucket_that_was_lost_is_filled_again(fra: Node, iad: Node, bucket: Bucket, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(fra, iad):
            fra.say("site/sin", Forced.DRAIN)
            fra.say("site/iad", Forced.UP)
            fra.end("site/iad")
            await until(lambda: len(bucket.held) == 2 and iad.states() == {"site/sin": "drain"})
            bucket.lose()
            await until(lambda: len(bucket.held) == 2)
            fresh = Node(tmp_path, bucket, "sin1")
            async with running(fresh):
                await until(lambda: fresh.states() == {"site/sin": "drain"})
                assert len(fresh.store.load_words()) == 2

    asyncio.run(scenario())


def test_a_node_that_lost_its_folder_learns_what_it_had(fra: Node, iad: Node) -> None:
    async def scenario() -> None:
        async with running(fra, iad):
            fra.say("site/sin", Forced.DRAIN)
            await until(lambda: iad.states() == {"site/sin": "drain"})
            iad.store.overrides_path.unlink()
            iad.agreement.changed()
            await until(lambda: iad.states() == {"site/sin": "drain"})

    asyncio.run(scenario())


def test_bad_entries_change_nothing_are_counted_and_told_once(
    tmp_path: Path, bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    fra = Node(tmp_path, bucket, "fra1", Pace())
    drain = Override("site/sin", Forced.DRAIN, "eve", "CHG", START)
    good = Word("site/sin", drain, Written(int(START * 1000), "iad1"))
    key = key_of("site/sin")
    ahead = replace(good, stamp=Written(int(START * 1000) + FUTURE_MS + 1000, "iad1"))

    async def scenario() -> None:
        async with running(fra):
            for _ in range(2):
                bucket.write(key, b"{")
                bucket.write(key, dump_word("other", good))
                bucket.write(key_of("site/fra"), dump_word("test", good))
                bucket.write(key, dump_word("test", good).replace(b'"eve"', b'"' + b"e" * 40_000 + b'"'))
                bucket.write(key, dump_word("test", ahead))
            fra.say("pool/web-fra", Forced.UP)
            await until(lambda: key_of("pool/web-fra") in bucket.held)
            refused = fra.agreement.state()["refused"]
            assert refused == {"malformed": 6, "oversized": 2, "future": 2}
            assert fra.states() == {"pool/web-fra": "up"}
            told = [record for record in caplog.records if "is refused" in record.message]
            assert len(told) == 4  # two keys are malformed
            bucket.write(key, dump_word("test", good))
            await until(lambda: fra.states() == {"pool/web-fra": "up", "site/sin": "drain"})

    caplog.set_level(logging.WARNING)
    asyncio.run(scenario())


def test_what_was_from_the_future_is_taken_when_it_is_not_any_more(fra: Node, bucket: Bucket) -> None:
    ahead = Written(int(START * 1000) + FUTURE_MS + 5000, "iad1")
    word = Word("site/sin", Override("site/sin", Forced.DRAIN, "eve", "CHG", START), ahead)

    async def scenario() -> None:
        async with running(fra):
            bucket.write(key_of("site/sin"), dump_word("test", word))
            await until(lambda: fra.agreement.state()["refused"] != {})
            assert fra.states() == {}
            fra.now += 10
            await until(lambda: fra.states() == {"site/sin": "drain"})

    asyncio.run(scenario())


def test_two_nodes_that_refuse_each_other_do_not_fight(tmp_path: Path, bucket: Bucket) -> None:
    """One has its clock an hour ahead: its word is refused by the other, whose own it would write over."""
    right, wrong = (Node(tmp_path, bucket, name, Pace(0.02, 2.0)) for name in ("fra1", "iad1"))
    wrong.now += 3600

    async def scenario() -> None:
        async with running(right, wrong):
            right.say("site/sin", Forced.DRAIN)
            await until(lambda: wrong.states() == {"site/sin": "drain"})
            wrong.say("site/sin", Forced.UP)
            await until(lambda: right.agreement.state()["refused"] != {})
            right.agreement.changed()
            await until(lambda: wrong.agreement.state()["waiting"] == 0)
            assert right.states() == {"site/sin": "drain"}
            assert right.line.writes + wrong.line.writes == 2
            await until(lambda: right.line.writes == 2)  # not in haste, but for those who come

    asyncio.run(scenario())


def test_a_full_disk_is_a_problem_and_what_was_heard_is_not_lost(fra: Node, iad: Node) -> None:
    async def scenario() -> None:
        async with running(fra, iad):
            path = iad.store.folder / ".overrides.json.new"
            path.mkdir()  # nothing can be written there
            fra.say("site/sin", Forced.DRAIN)
            await until(lambda: "overrides of other nodes" in str(facts.read(iad.store.folder)))
            assert iad.states() == {}
            path.rmdir()
            iad.agreement.changed()
            await until(lambda: iad.states() == {"site/sin": "drain"})

    asyncio.run(scenario())


@pytest.mark.parametrize("seed", range(6))
def test_any_course_of_edits_and_cuts_ends_alike(tmp_path: Path, bucket: Bucket, seed: int) -> None:
    """Three nodes edit, are cut off and come back in an order that a seed tells."""
    nodes = [Node(tmp_path, bucket, name, Pace(0.01, 0.1)) for name in ("fra1", "iad1", "sin1")]
    course = [(seed * 7919 + step * 104729) % 9973 for step in range(40)]

    async def scenario() -> None:
        async with running(*nodes):
            for number in course:
                node, target = nodes[number % 3], f"pool/p{number // 3 % 3}"
                match number // 9 % 6:
                    case 0:
                        node.line.cut()
                    case 1:
                        node.line.connect(node)
                    case 2:
                        node.end(target)
                    case _:
                        node.say(target, list(Forced)[number % 3])
                await asyncio.sleep(number % 4 * 0.002)
            for node in nodes:
                node.line.connect(node)
            words = [node.store.load_words for node in nodes]
            await until(lambda: words[0]() == words[1]() == words[2]() and len(bucket.held) == len(words[0]()))
            assert all(word.stamp.node in ("fra1", "iad1", "sin1") for word in words[0]().values())

    asyncio.run(scenario())
