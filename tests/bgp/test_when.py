"""One prefix at one node, moment by moment: what it waits for, what keeps it, how long it is held back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgp.routes import State
from bgp.when import (
    HOUR_S,
    Local,
    Operator,
    Other,
    Past,
    Remote,
    Rule,
    Timing,
    Verdict,
    Veto,
    Why,
    adopted,
    decide,
    on_controller_loss,
)

RULE = Rule(("dns",))
GOOD, BAD, UNKNOWN = Local(dns=True), Local(dns=False), Local()
NOBODY = Remote()
T = Timing()


def others(*states: State, age_s: float = 1.0, left_s: float = 30.0) -> Remote:
    return Remote(tuple(Other(f"n{n}", f"s{n}", state, age_s) for n, state in enumerate(states)), left_s)


ONE = others(State.ANNOUNCED)


def leaving(remote: Remote = ONE, rule: Rule = RULE, local: Local = BAD, past: Past | None = None) -> Verdict:
    return decide(rule, local, remote, past or adopted(State.DRAIN), 100.0)


def test_nothing_is_announced_before_it_was_good_for_long_enough() -> None:
    first = decide(RULE, UNKNOWN, ONE, Past(), 0.0)
    assert (first.state, first.why) == (State.OFF, Why.UNKNOWN)
    second = decide(RULE, GOOD, ONE, first.past, 10.0)
    assert (second.state, second.why, second.wake_at) == (State.OFF, Why.RISING, 40.0)
    broken = decide(RULE, BAD, ONE, second.past, 20.0)
    assert (broken.state, broken.why) == (State.OFF, Why.DNS)
    again = decide(RULE, GOOD, ONE, broken.past, 21.0)
    assert decide(RULE, GOOD, ONE, again.past, 50.9).state is State.OFF
    assert decide(RULE, GOOD, ONE, again.past, 51.0).state is State.ANNOUNCED


@pytest.mark.parametrize("state", list(State))
def test_what_is_found_is_left_as_it_is_until_it_was_checked(state: State) -> None:
    found = decide(RULE, UNKNOWN, NOBODY, adopted(state), 5.0)
    assert (found.state, found.why) == (state, Why.UNKNOWN)
    assert decide(RULE, GOOD, NOBODY, adopted(State.ANNOUNCED), 5.0).state is State.ANNOUNCED


@pytest.mark.parametrize(
    ("local", "rule", "why"),
    [
        (Local(dns=True, pools=True), Rule(("dns", "pools")), None),
        (Local(dns=False, pools=True), Rule(("dns", "pools")), Why.DNS),
        (Local(dns=True, pools=False), Rule(("dns", "pools")), Why.POOLS),
        (Local(dns=None, pools=False), Rule(("dns", "pools")), Why.POOLS),
        (Local(dns=False, pools=None), Rule(("dns", "pools")), Why.DNS),
        (Local(dns=False, pools=True), Rule(("pools",)), None),
        (Local(dns=True, pools=False), Rule(("dns",)), None),
    ],
)
def test_only_what_the_rule_names_counts(local: Local, rule: Rule, why: Why | None) -> None:
    found = decide(rule, local, NOBODY, adopted(State.ANNOUNCED), 5.0)
    assert found.state is (State.DRAIN if why else State.ANNOUNCED)
    assert found.why is (why or Why.HEALTHY)


@pytest.mark.parametrize(
    ("remote", "veto", "wants"),
    [
        (ONE, None, True),
        (others(State.ANNOUNCED, left_s=T.fresh_s + T.act_s - 0.1), Veto.NO_LEASE, True),
        (others(State.ANNOUNCED, left_s=0.0), Veto.NO_LEASE, True),
        (others(State.DRAIN, State.OFF), Veto.FEW_SITES, False),
        (others(State.ANNOUNCED, age_s=T.fresh_s + 0.1), Veto.FEW_SITES, False),
        (NOBODY, Veto.FEW_SITES, False),
    ],
    ids=["all is well", "lease ends soon", "no lease", "none in full", "old news", "nobody"],
)
def test_what_keeps_a_route_that_should_leave(remote: Remote, veto: Veto | None, *, wants: bool) -> None:
    found = leaving(remote)
    assert (found.state, found.veto, found.wants_lease) == (State.DRAIN if veto else State.OFF, veto, wants)


def test_sites_are_counted_not_nodes() -> None:
    nodes = Remote(tuple(Other(f"n{n}", "fra", State.ANNOUNCED, 1.0) for n in range(3)), 30.0)
    assert leaving(nodes, Rule(("dns",), min_sites=2)).veto is Veto.FEW_SITES
    assert leaving(others(State.ANNOUNCED, State.ANNOUNCED), Rule(("dns",), min_sites=2)).veto is None


def test_with_no_site_to_keep_a_failure_withdraws_by_itself() -> None:
    found = leaving(NOBODY, Rule(("dns",), min_sites=0))
    assert (found.state, found.wants_lease) == (State.OFF, False)


def test_what_was_just_announced_drains_and_leaves_later() -> None:
    past = Past(State.ANNOUNCED, since=90.0, present_since=90.0, good_since=50.0)
    found = leaving(past=past)
    assert (found.state, found.veto, found.wake_at) == (State.DRAIN, Veto.JUST_ANNOUNCED, 120.0)
    assert decide(RULE, BAD, ONE, found.past, 120.0).state is State.OFF


def test_the_lease_is_kept_until_everybody_knows() -> None:
    past = leaving().past
    for now, wanted in ((101.0, True), (100.0 + T.fresh_s + T.act_s - 0.1, True), (100.0 + T.fresh_s + T.act_s, False)):
        assert decide(RULE, BAD, others(State.ANNOUNCED, left_s=20.0), past, now).wants_lease is wanted


def test_an_operators_words() -> None:
    up = adopted(State.ANNOUNCED)
    drained = decide(RULE, Local(dns=True, operator=Operator.DRAIN), ONE, up, 100.0)
    assert (drained.state, drained.why) == (State.DRAIN, Why.OPERATOR_DRAIN)
    assert decide(RULE, GOOD, ONE, drained.past, 101.0).state is State.ANNOUNCED, "no hold after an operator's word"
    down = decide(RULE, Local(dns=True, operator=Operator.DOWN), ONE, up, 100.0)
    assert (down.state, down.veto, down.wake_at) == (State.DRAIN, Veto.DRAINING, 130.0)
    for operator, remote, state in (
        (Operator.DOWN, ONE, State.OFF),
        (Operator.DOWN, NOBODY, State.DRAIN),
        (Operator.FORCED_DOWN, NOBODY, State.OFF),
    ):
        local = Local(dns=True, operator=operator)
        assert decide(RULE, local, remote, down.past, 129.9).state is State.DRAIN
        assert decide(RULE, local, remote, down.past, 130.0).state is state
    forced = decide(RULE, Local(dns=False, operator=Operator.UP), NOBODY, Past(), 1.0)
    assert (forced.state, forced.why) == (State.ANNOUNCED, Why.OPERATOR_UP)


def test_old_knowledge_de_prefers_and_nothing_more() -> None:
    found = decide(RULE, Local(dns=True, old=True), ONE, adopted(State.ANNOUNCED), 1e6)
    assert (found.state, found.why, found.wants_lease) == (State.DRAIN, Why.OLD, False)


def test_each_failure_holds_back_longer_and_hours_of_calm_forgive() -> None:
    past, now, holds = adopted(State.ANNOUNCED), 1000.0, []
    for _ in range(9):
        past = decide(RULE, BAD, NOBODY, past, now).past
        began = now = now + 1
        past = decide(RULE, GOOD, NOBODY, past, now).past
        while past.state is not State.ANNOUNCED:
            now += 30
            past = decide(RULE, GOOD, NOBODY, past, now).past
        holds.append(now - began)
        now += 1
    assert holds == [30, 60, 120, 240, 480, 960, 1800, 1800, 1800]
    now += 3 * HOUR_S
    past = decide(RULE, GOOD, NOBODY, decide(RULE, BAD, NOBODY, past, now).past, now).past
    assert past.failures == 5
    assert decide(RULE, GOOD, NOBODY, past, now + 479).why is Why.HELD
    assert decide(RULE, GOOD, NOBODY, past, now + 480).why is Why.HEALTHY


def test_a_moment_without_knowledge_changes_nothing() -> None:
    past = Past(State.ANNOUNCED, since=0.0, present_since=0.0, good_since=0.0, failures=5)
    asked = decide(RULE, UNKNOWN, ONE, past, 50.0)
    assert asked.state is State.ANNOUNCED
    assert decide(RULE, GOOD, ONE, asked.past, 51.0).state is State.ANNOUNCED


@pytest.mark.parametrize(
    ("policy", "states"),
    [
        ("drain", [State.OFF, State.DRAIN, State.DRAIN]),
        ("withdraw", [State.OFF, State.OFF, State.OFF]),
        ("hold", [State.OFF, State.ANNOUNCED, State.DRAIN]),
    ],
)
def test_without_a_controller(policy: str, states: list[State]) -> None:
    assert [on_controller_loss(policy, state) for state in State] == states


FACT = st.sampled_from([None, True, False])
LOCALS = st.builds(Local, FACT, FACT, st.sampled_from(list(Operator)), st.booleans())
REMOTES = st.builds(
    others, st.sampled_from(list(State)), age_s=st.floats(0, 20), left_s=st.sampled_from([0.0, 5.0, 30.0])
)


@given(
    st.lists(st.tuples(LOCALS, REMOTES, st.floats(0.1, 100)), max_size=30),
    st.sampled_from([("dns",), ("dns", "pools")]),
)
def test_asked_again_with_nothing_new_it_says_the_same(
    story: list[tuple[Local, Remote, float]], names: tuple[str, ...]
) -> None:
    rule, past, now = Rule(names), Past(), 0.0
    for local, remote, pause in story:
        now += pause
        first = decide(rule, local, remote, past, now)
        assert first.wake_at is None or first.wake_at > now
        until = first.wake_at or now + HOUR_S
        again = decide(rule, local, remote, first.past, now)
        assert again.state is first.state
        later = decide(rule, local, remote, again.past, now + (until - now) * 0.99)
        assert later.state is again.state, "what changes by time alone is announced by wake_at"
        past = first.past
