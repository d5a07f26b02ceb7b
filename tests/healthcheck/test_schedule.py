from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from healthcheck.schedule import JITTER, SOON_S, Schedule

INTERVAL_S = 5.0


def filled(count: int, *, soon: bool = False, interval_s: float = INTERVAL_S) -> Schedule:
    schedule = Schedule()
    for number in range(count):
        schedule.add(f"web/192.0.2.{number}", interval_s, 0.0, soon=soon)
    return schedule


def run(schedule: Schedule, until: float, took_s: float = 0.0, most: int = 10_000) -> list[tuple[float, str]]:
    """Run from moment to moment; each check takes `took_s`, and at most `most` run at a time."""
    ran: list[tuple[float, str]] = []
    ends: list[tuple[float, str]] = []
    now = 0.0
    while now <= until:
        for end, name in [one for one in ends if one[0] <= now]:
            schedule.done(name, end)
            ends.remove((end, name))
        for name in schedule.due(now, most - len(ends)):
            ran.append((now, name))
            ends.append((now + took_s, name))
        due = schedule.wake_at() if len(ends) < most else None
        moments = [end for end, _ in ends] + ([due] if due is not None else [])
        now = max(min(moments), now)
    return ran


def test_each_runs_once_an_interval_within_jitter() -> None:
    ran = run(filled(20), 100.0)
    by_name: dict[str, list[float]] = {}
    for at, name in ran:
        by_name.setdefault(name, []).append(at)
    assert len(by_name) == 20
    for moments in by_name.values():
        gaps = [after - before for before, after in pairwise(moments)]
        assert all(INTERVAL_S * (1 - JITTER) - 1e-6 <= gap <= INTERVAL_S * (1 + JITTER) + 1e-6 for gap in gaps)
        assert len({round(gap, 3) for gap in gaps}) > 5


def test_no_bursts_at_the_start_nor_later() -> None:
    ran = run(filled(1000), 60.0)
    by_tenth = Counter(int(at * 10) for at, _ in ran)
    assert max(by_tenth.values()) < 3 * 1000 / (INTERVAL_S * 10)


def test_what_nothing_is_known_of_is_checked_soon_and_then_spread() -> None:
    ran = run(filled(500, soon=True), 30.0)
    assert len({name for at, name in ran if at <= SOON_S}) == 500
    later = Counter(int(at) for at, _ in ran if at > SOON_S + INTERVAL_S)
    assert max(later.values()) < 2 * 500 / INTERVAL_S


def test_the_start_follows_from_the_name() -> None:
    assert run(filled(50), 20.0) == run(filled(50), 20.0)


def test_at_most_so_many_are_handed_out_and_the_longest_due_first() -> None:
    schedule = filled(100)
    first = schedule.due(INTERVAL_S, 10)
    assert len(first) == 10
    rest = schedule.due(INTERVAL_S, 1000)
    assert len(rest) == 90
    assert not schedule.due(INTERVAL_S, 1000)
    order = [name for _, name in run(filled(100), INTERVAL_S * 0.9)]
    assert (first + rest)[:50] == order[:50]


def test_one_check_never_runs_twice_at_a_time() -> None:
    schedule = filled(1)
    assert len(schedule.due(INTERVAL_S, 10)) == 1
    assert not schedule.due(1000.0, 10)
    assert schedule.wake_at() is None


def test_missed_moments_are_skipped() -> None:
    schedule = filled(1)
    name = schedule.due(INTERVAL_S, 1)[0]
    schedule.done(name, 1000.0)
    assert 195 <= schedule.skipped <= 201
    due = schedule.wake_at()
    assert due is not None
    assert 1000.0 - INTERVAL_S / 2 <= due <= 1000.0 + INTERVAL_S
    assert len(schedule.due(due, 10)) == 1


def test_a_check_that_takes_the_whole_interval_loses_no_moment() -> None:
    ran = run(filled(5), 100.0, took_s=INTERVAL_S)
    assert len(ran) >= 5 * 100.0 / (INTERVAL_S * (1 + JITTER)) - 5


def test_too_much_work_is_shared_evenly() -> None:
    ran = run(filled(100), 60.0, took_s=1.0, most=10)  # 20 a second are wanted, 10 can be had
    counts = Counter(name for _, name in ran)
    assert len(counts) == 100
    assert max(counts.values()) - min(counts.values()) <= 2


def test_late_checks_are_counted() -> None:
    schedule = filled(10)
    assert schedule.late(0.0) == 0
    assert schedule.late(INTERVAL_S + 1) == 10
    schedule.due(INTERVAL_S + 1, 4)
    assert schedule.late(INTERVAL_S + 1) == 6


def test_what_was_removed_is_not_due_and_may_come_again() -> None:
    schedule = filled(3)
    schedule.remove("web/192.0.2.1")
    schedule.remove("never there")
    assert len(schedule.due(100.0, 10)) == 2
    schedule.add("web/192.0.2.1", 1.0, 100.0, soon=True)
    assert schedule.due(102.0, 10) == ["web/192.0.2.1"]


def test_a_place_of_before_its_removal_does_not_make_a_check_due() -> None:
    schedule = filled(1)
    (name,) = filled(1).due(INTERVAL_S, 1)
    schedule.remove(name)
    schedule.add(name, 100.0, 0.0, soon=False)
    due = schedule.wake_at()
    assert due is not None
    assert due > INTERVAL_S
    assert not schedule.due(due - 0.001, 10)
    assert schedule.due(due, 10) == [name]


def test_many_new_configurations_leave_nothing_behind() -> None:
    schedule = filled(3)
    for _ in range(1000):
        schedule.remove("web/192.0.2.1")
        schedule.add("web/192.0.2.1", INTERVAL_S, 0.0, soon=True)
    assert len(schedule._heap) < 100


def test_a_check_that_was_removed_while_it_ran_does_not_come_back() -> None:
    schedule = filled(1)
    name = schedule.due(INTERVAL_S, 1)[0]
    schedule.remove(name)
    schedule.done(name, INTERVAL_S)
    assert schedule.wake_at() is None


@given(
    st.lists(st.tuples(st.sampled_from("ard"), st.integers(0, 5), st.floats(0, 30)), max_size=60), st.floats(0.1, 60)
)
def test_memory_and_moments_stay_bounded(steps: list[tuple[str, int, float]], interval_s: float) -> None:
    schedule = Schedule()
    now = 0.0
    running: set[str] = set()
    wanted: set[str] = set()
    for step, number, passed in steps:
        name = str(number)
        now += passed
        if step == "a" and name not in wanted:
            schedule.add(name, interval_s, now, soon=False)
            wanted.add(name)
        elif step == "r":
            schedule.remove(name)
            wanted.discard(name)
            running.discard(name)
        else:
            for due in schedule.due(now, 2):
                assert due in wanted - running
                running.add(due)
            for ended in sorted(running)[:1]:
                schedule.done(ended, now)
                running.discard(ended)
        assert len(schedule) == len(wanted)
        assert len(schedule._heap) <= 2 * len(wanted) + 70
        due_at = schedule.wake_at()
        assert (due_at is None) == (wanted == running)
        assert due_at is None or due_at <= now + interval_s * (1 + JITTER) + 1e-6
