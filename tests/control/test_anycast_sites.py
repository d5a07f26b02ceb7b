"""Several sites with all of the controller that decides on a prefix, and only a recorder in ExaBGP's place: who keeps the route."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from bgp.routes import State
from gslb.model.world import Forced
from tests.control.anycastsites import ANNOUNCED_BY_S, DEAD_MAN_S, Line, Site, Sites
from tests.control.virtualtime import run, virtual_time

Story = Callable[[Sites], Awaitable[None]]
Play = Callable[..., None]
OFF, ANNOUNCED, DRAIN = State.OFF, State.ANNOUNCED, State.DRAIN
SOON_S = 3.0  # a check or two, and an acknowledgement
SETTLED_S = 60.0  # the lease of who is gone, and a few more


@pytest.fixture
def play(caplog: pytest.LogCaptureFixture) -> Iterator[Play]:
    """Play a story among so many sites that announce; `stay`: always at `min_sites` of them the route is there."""

    def played(story: Story, names: Iterable[str] = "abc", *, stay: bool = True, **anycast: object) -> None:
        with TemporaryDirectory(dir="/dev/shm") as folder, virtual_time() as shown:  # written each second or so
            sites = Sites(Path(folder), shown, names, anycast)

            async def whole() -> None:
                await sites.announced()
                await story(sites)
                await sites.close()
                (one,) = sites.deployment.anycast
                assert not stay or sites.least(ANNOUNCED_BY_S, ANNOUNCED, DRAIN) >= one.min_sites

            run(shown, whole())

    caplog.set_level(logging.WARNING)
    yield played
    assert "a defect" not in caplog.text


@contextmanager
def nobody_leaves(sites: Sites) -> Iterator[None]:
    """Meanwhile no site withdraws."""
    began = sites.time.now
    yield
    assert sites.left(began) == []


def test_one_site_that_fails_drains_then_leaves_and_comes_back(play: Play) -> None:
    async def story(sites: Sites) -> None:
        began = sites.time.now
        sites["a"].dns = 0
        await asyncio.sleep(SOON_S)
        assert sites.states() == {"a": OFF, "b": ANNOUNCED, "c": ANNOUNCED}
        (drained, _), (left, _) = [(at, now) for at, now in sites.moments if at >= began]
        assert drained - began < 1.5, "two asks in a row"
        assert left - drained < 0.5, "the lease was prepared"
        shown = sites["a"].prefix_shown()
        assert (shown["state"], shown["acked"], shown["local"]["dns"]) == ("off", True, False)
        assert shown["lease"] == {"wanted": True, "held": True, "holder": "a"}
        assert shown["sites"] == ["b", "c"]
        assert sites["b"].prefix_shown()["sites"] == ["c"]
        sites["a"].dns = 1
        await asyncio.sleep(SETTLED_S)
        assert sites.states()["a"] is ANNOUNCED
        assert sites.left(began) == [(left, "a")]

    play(story)


@pytest.mark.parametrize(("names", "min_sites"), [("ab", 1), ("abc", 1), ("abcd", 2)])
def test_where_all_fail_at_once_all_drain_and_none_leaves(play: Play, names: str, min_sites: int) -> None:
    async def story(sites: Sites) -> None:
        with nobody_leaves(sites):
            for name in names:
                sites[name].dns = 0
            await asyncio.sleep(SETTLED_S)
            assert set(sites.states().values()) == {DRAIN}
            for name in names:
                sites[name].dns = 1
            await asyncio.sleep(SETTLED_S)
            assert set(sites.states().values()) == {ANNOUNCED}

    play(story, names, min_sites=min_sites)


@pytest.mark.parametrize("min_sites", [1, 2])
def test_where_more_fail_than_may_leave_those_who_may_leave_one_after_the_other(play: Play, min_sites: int) -> None:
    async def story(sites: Sites) -> None:
        began = sites.time.now
        for name in "abc":
            sites[name].dns = 0
        await asyncio.sleep(SETTLED_S)
        leavers = sites.left(began)
        assert len(leavers) == (3 if min_sites == 1 else 0), "the last that is well is enough, or is too little"
        assert all(later - earlier >= 10.0 for (earlier, _), (later, _) in pairwise(leavers)), (
            "each knows of the one before"
        )
        assert sites.states()["d"] is ANNOUNCED
        assert sites.least(began, ANNOUNCED) >= 1

    play(story, "abcd", min_sites=min_sites)


def test_another_node_of_a_site_keeps_the_site(play: Play) -> None:
    async def story(sites: Sites) -> None:
        sites["a1"].dns = 0
        await asyncio.sleep(SOON_S)
        assert sites.states() == {"a1": OFF, "a2": ANNOUNCED, "b": ANNOUNCED}
        sites["a2"].dns = sites["b"].dns = 0
        await asyncio.sleep(SETTLED_S)
        assert sites.states() == {"a1": OFF, "a2": DRAIN, "b": DRAIN}

    play(story, ("a1", "a2", "b"))


def test_a_site_that_is_cut_off_drains_when_it_fails_and_stays(play: Play) -> None:
    async def story(sites: Sites) -> None:
        with nobody_leaves(sites):
            sites["a"].cut()
            await asyncio.sleep(SETTLED_S)
            assert set(sites.states().values()) == {ANNOUNCED}, "a partition alone moves nothing"
            sites["a"].dns = 0
            await asyncio.sleep(SETTLED_S)
            assert sites.states() == {"a": DRAIN, "b": ANNOUNCED, "c": ANNOUNCED}
        sites["a"].mend()
        await asyncio.sleep(SETTLED_S)
        assert sites.states() == {"a": OFF, "b": ANNOUNCED, "c": ANNOUNCED}

    play(story)


def test_without_a_bus_all_that_fail_drain_and_stay(play: Play) -> None:
    async def story(sites: Sites) -> None:
        with nobody_leaves(sites):
            for site in sites.sites.values():
                site.cut()
            sites["a"].dns = 0
            await asyncio.sleep(1.4)
            assert sites.states()["a"] is DRAIN
            await asyncio.sleep(SETTLED_S)
            assert sites.states() == {"a": DRAIN, "b": ANNOUNCED, "c": ANNOUNCED}

    play(story)


def test_who_was_heard_just_before_it_was_cut_off_still_counts_and_stays(play: Play) -> None:
    """So one may leave for its sake, and no other: those that are left drain, which is more than one."""

    async def story(sites: Sites) -> None:
        began = sites.time.now
        sites["a"].cut()
        for name in "abc":
            sites[name].dns = 0
        await asyncio.sleep(SETTLED_S)
        assert len(sites.left(began)) <= 1
        assert sites.states()["a"] is DRAIN, "who is cut off is given no lease"

    play(story)


def test_who_holds_the_lease_and_dies_keeps_others_until_its_time_is_over(play: Play) -> None:
    async def story(sites: Sites) -> None:
        began = sites.time.now
        sites["a"].dns = 0
        await asyncio.sleep(SOON_S)
        assert sites.states()["a"] is OFF
        await sites["a"].die()
        sites["b"].dns = 0
        await asyncio.sleep(SOON_S)
        assert sites.states() == {"a": OFF, "b": DRAIN, "c": ANNOUNCED}, "the lease is not given yet"
        await asyncio.sleep(SETTLED_S)
        assert sites.states() == {"a": OFF, "b": OFF, "c": ANNOUNCED}
        (first, _), (second, _) = sites.left(began)
        assert second - first >= 30.0, "the whole time of the lease, since nobody gave it back"
        sites["c"].dns = 0
        await asyncio.sleep(SETTLED_S)
        assert sites.states()["c"] is DRAIN, "it is the last"

    play(story)


def test_the_last_that_announces_dies_and_comes_to_drain_by_its_dead_man(play: Play) -> None:
    async def story(sites: Sites) -> None:
        began = sites.time.now
        sites["b"].dns = sites["c"].dns = 0
        await asyncio.sleep(SOON_S)
        await sites["a"].die()
        await asyncio.sleep(DEAD_MAN_S - 1.0)
        assert sites.states()["a"] is ANNOUNCED
        await asyncio.sleep(SETTLED_S)
        assert sites.states()["a"] is DRAIN
        assert len(sites.left(began)) == 1, "the other of the two has nobody who announces"

    play(story)


@pytest.mark.parametrize(("on_loss", "state"), [("drain", DRAIN), ("hold", ANNOUNCED)])
def test_controllers_that_die_everywhere_leave_the_route_everywhere(play: Play, on_loss: str, state: State) -> None:
    async def story(sites: Sites) -> None:
        with nobody_leaves(sites):
            for site in sites.sites.values():
                await site.die()
            await asyncio.sleep(DEAD_MAN_S - 1.0)
            assert set(sites.states().values()) == {ANNOUNCED}
            await asyncio.sleep(SETTLED_S)
            assert set(sites.states().values()) == {state}
            sites.start()
            await asyncio.sleep(SETTLED_S)
            assert set(sites.states().values()) == {ANNOUNCED}

    play(story, on_controller_loss=on_loss)


def test_a_controller_that_comes_back_in_time_changes_nothing(play: Play) -> None:
    async def story(sites: Sites) -> None:
        moments = len(sites.moments)
        for site in sites.sites.values():
            await site.die()
            await asyncio.sleep(DEAD_MAN_S / 2)
            site.start()
        await asyncio.sleep(SETTLED_S)
        assert len(sites.moments) == moments

    play(story)


def test_a_controller_that_comes_back_beside_failed_ones_does_not_leave_on_what_was_kept(play: Play) -> None:
    """Its state folder says that b announces; b fails while it is away, and says so to nobody."""

    async def story(sites: Sites) -> None:
        await sites["a"].die()
        sites["b"].dns = 0
        await asyncio.sleep(SOON_S)
        for name in "bc":
            sites[name].cut()
        sites["c"].dns = sites["a"].dns = 0
        with nobody_leaves(sites):
            sites["a"].start()
            await asyncio.sleep(SETTLED_S)
            assert sites.states()["a"] is DRAIN

    play(story)


def test_what_was_kept_is_not_fresh_because_the_calendar_was_set_back(play: Play) -> None:
    async def story(sites: Sites) -> None:
        await sites["a"].die()
        sites.time.calendar_s = -3600.0
        for name in "bc":
            sites[name].cut()
        sites["a"].dns = 0
        with nobody_leaves(sites):
            sites["a"].start()
            await asyncio.sleep(SETTLED_S)
            assert sites.states()["a"] is DRAIN

    play(story)


def test_an_operator_drains_everywhere_and_takes_down_one_at_a_time(play: Play) -> None:
    async def story(sites: Sites) -> None:
        with nobody_leaves(sites):
            for site in sites.sites.values():
                site.operator(Forced.DRAIN)
            await asyncio.sleep(SETTLED_S)
            assert set(sites.states().values()) == {DRAIN}
        sites["c"].operator(None)
        began = sites.time.now
        for name in "ab":
            sites[name].operator(Forced.DOWN)
        await asyncio.sleep(SETTLED_S)
        assert sites.states() == {"a": OFF, "b": OFF, "c": ANNOUNCED}
        (first, _), (second, _) = sites.left(began)
        assert second - first >= 10.0
        sites["c"].operator(Forced.DOWN)
        await asyncio.sleep(SETTLED_S)
        assert sites.states()["c"] is DRAIN, "nobody else is left"
        sites["c"].operator(Forced.DOWN, force=True)
        await asyncio.sleep(SETTLED_S)
        assert sites.states()["c"] is OFF

    play(story, stay=False)


def test_messages_that_come_late_are_as_old_as_they_are(play: Play) -> None:
    """All of b's words are 12 s late from now on, when it fails: a must not take them for fresh."""

    async def story(sites: Sites) -> None:
        with nobody_leaves(sites):
            line = sites["b"].line
            assert line is not None
            line.late_s = 12.0
            await asyncio.sleep(15.0)
            sites["a"].dns = 0
            await asyncio.sleep(20.0)
            assert sites.states()["a"] is DRAIN

    play(story, "ab")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_enough_sites_keep_the_route(play: Play, seed: int) -> None:
    dice = random.Random(seed)

    async def story(sites: Sites) -> None:
        names = sorted(sites.sites)
        until = sites.time.now + 300.0
        while sites.time.now < until:
            await happen(sites[dice.choice(names)], dice)
            await asyncio.sleep(dice.choice([0.05, 0.3, 3.0, 10.0, 15.0, 40.0]))

    play(story, "abcd"[: dice.randint(2, 4)], on_controller_loss=dice.choice(["drain", "hold"]))


async def happen(site: Site, dice: random.Random) -> None:
    """Something at one site, or at the bus."""
    match dice.choice(["dns", "dns", "dns", "operator", "bus", "bus", "late", "ack", "life", "lost"]):
        case "dns":
            site.dns = dice.choice([0, 0, 1, 2, 2, None])
        case "operator":
            site.operator(dice.choice([None, None, Forced.UP, Forced.DRAIN, Forced.DOWN]))
        case "ack":
            site.sites.speaking[site.node.name].ack_s = dice.choice([0.004, 0.004, 1.0, 5.0, 20.0])
        case "lost":
            site.sites.bucket.lose()
        case "life" if site.line is None:
            site.start()
            await asyncio.sleep(0.01)
        case "life":
            await site.die()
        case what if site.line is not None:
            change_line(site, site.line, what, dice)
        case _:
            pass


def change_line(site: Site, line: Line, what: str, dice: random.Random) -> None:
    """The line of a site is cut, is there again, or is slow."""
    if what == "late":
        line.late_s = dice.choice([0.002, 0.002, 1.0, 5.0, 12.0])
    elif line.standing.connected:
        site.cut()
    else:
        site.mend()
