"""What is said to ExaBGP when: fences, one command at a time, audits, time-outs, and what is prepared for the bridge."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from ipaddress import ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from bgp.commands import line_of
from bgp.heard import SessionSaid
from bgp.routes import Announce, Attributes, Change, Route, Withdraw
from bgp.speaker import ANSWER_S, AUDIT_S, Applied, Event, Lost, Ready, Rejected, Speaker, Stage
from gslb.model.deployment import Address, Network

NEIGHBOR = ip_address("10.99.1.1")
ROUTES = tuple(Route(NEIGHBOR, ip_network(f"192.0.2.{number}/32")) for number in range(4))
DRAINED = Attributes(med=100, communities=((65535, 0),))


def drained(routes: Iterable[Route]) -> tuple[Change, ...]:
    return tuple(Announce(replace(route, attributes=DRAINED)) for route in routes)


@dataclass
class FakeExaBgp:
    """ExaBGP and its bridge: a table, and an answer to each line.  `refuses` are lines that it answers with `error`."""

    table: dict[tuple[Address, Network], str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    refuses: set[str] = field(default_factory=set)
    version: str = "5.0.15"
    silent: bool = False

    def answers(self, line: str) -> list[str]:
        self.said.append(line)
        if self.silent or line.startswith("#"):
            return []
        if line in self.refuses:
            return ["error"]
        if line == "version":
            return [f"exabgp {self.version}", "done"]
        if line == "show neighbor json":
            return ['[{"fsm": "ESTABLISHED", "peer": {"address": "10.99.1.1"}}]', "done"]
        if line == "show adj-rib out extensive":
            return [*self.table.values(), "done"]
        words = line.split()
        key = (ip_address(words[1]), ip_network(words[4]))
        self.table.pop(key, None)
        if words[2] == "announce":
            said = (
                line.split("next-hop self")[1].replace("[", "(")
                if "as-path" in line
                else line.split("next-hop self")[1]
            )
            self.table[key] = (
                f"neighbor {key[0]} local-ip 10.99.1.2 family-allowed in-open ipv4 unicast {key[1]} next-hop 10.99.1.2{said}"
            )
        return ["done"]

    @property
    def prefixes(self) -> set[Network]:
        return {prefix for _, prefix in self.table}


def turn(speaker: Speaker, exabgp: FakeExaBgp, now: float) -> list[Event]:
    """Until nobody has anything more to say; each line of ours finds no other unanswered."""
    events = speaker.tick(now)
    while lines := speaker.to_send():
        commands = [line for line in lines if not line.startswith("#")]
        assert len(commands) <= 1, "one command is outstanding"
        for line in lines:
            for answer in exabgp.answers(line):
                events += speaker.receive(answer, now)
    return events


def connected(wanted: Iterable[Route] = (), table: Iterable[Route] = ()) -> tuple[Speaker, FakeExaBgp]:
    speaker, exabgp = Speaker(10.0), FakeExaBgp()
    for route in table:
        exabgp.answers(line_of(Announce(route)))
    exabgp.said.clear()
    speaker.want(wanted, drained(wanted))
    speaker.connected(0.0)
    turn(speaker, exabgp, 0.0)
    return speaker, exabgp


@given(there=st.sets(st.sampled_from(ROUTES)), wanted=st.sets(st.sampled_from(ROUTES)))
def test_only_the_difference_is_said(there: set[Route], wanted: set[Route]) -> None:
    speaker, exabgp = connected(sorted(wanted, key=str), there)
    assert speaker.settled
    assert exabgp.prefixes == {route.prefix for route in wanted}
    assert sum("announce" in line and not line.startswith("#") for line in exabgp.said) == len(wanted - there)
    assert sum("withdraw" in line for line in exabgp.said) == len(there - wanted)


def test_nothing_is_said_before_the_first_wish() -> None:
    speaker, exabgp = Speaker(10.0), FakeExaBgp()
    exabgp.answers(line_of(Announce(ROUTES[0])))
    speaker.connected(0.0)
    assert [event for event in turn(speaker, exabgp, 0.0) if isinstance(event, Ready)] == [Ready("5.0.15")]
    assert not any(line.startswith(("#deadman", "neighbor")) for line in exabgp.said[1:])
    assert "#fenced" in exabgp.said


def test_answers_to_an_earlier_connection_are_not_ours() -> None:
    speaker = Speaker(10.0)
    speaker.want(ROUTES[:1])
    speaker.connected(0.0)
    for stray in ("done", "error", "192.0.2.9"):
        assert not speaker.receive(stray, 0.0)
    stages = [speaker.stage]
    for line in ("exabgp 5.0.15", "done", "done", "[]", "done", "done"):  # the third belongs to a command of before
        speaker.receive(line, 0.0)
        stages.append(speaker.stage)
    assert stages == [*[Stage.VERSION] * 2, *[Stage.SESSIONS] * 3, Stage.ROUTES, Stage.READY]


def test_a_silent_exabgp_is_left_and_asked_anew() -> None:
    speaker, exabgp = connected()
    exabgp.silent = True
    speaker.want(ROUTES[:1])
    turn(speaker, exabgp, 1.0)
    assert not turn(speaker, exabgp, 1.0 + ANSWER_S / 2)
    assert [type(event) for event in turn(speaker, exabgp, 1.0 + ANSWER_S)] == [Lost]
    assert speaker.stage is Stage.AWAY
    exabgp.silent = False
    speaker.connected(9.0)
    assert Applied(0.0) in turn(speaker, exabgp, 9.0)
    assert exabgp.prefixes == {ROUTES[0].prefix}


def test_a_hanging_exabgp_is_noticed_by_the_audit() -> None:
    speaker, exabgp = connected()
    exabgp.silent = True
    turn(speaker, exabgp, AUDIT_S)
    assert any(isinstance(event, Lost) for event in turn(speaker, exabgp, AUDIT_S + ANSWER_S))


def test_what_somebody_else_changed_is_put_right_by_the_audit() -> None:
    speaker, exabgp = connected(ROUTES[:2])
    exabgp.table.clear()
    turn(speaker, exabgp, AUDIT_S)
    assert exabgp.prefixes == {route.prefix for route in ROUTES[:2]}


def test_a_rejected_line_is_told_and_tried_again_with_the_audit_only() -> None:
    speaker, exabgp = connected()
    exabgp.refuses = {line_of(Announce(ROUTES[0]))}
    speaker.want(ROUTES[:2])
    assert Rejected(line_of(Announce(ROUTES[0]))) in turn(speaker, exabgp, 1.0)
    assert exabgp.prefixes == {ROUTES[1].prefix}
    assert not speaker.settled
    assert not turn(speaker, exabgp, 2.0)
    exabgp.refuses = set()
    turn(speaker, exabgp, AUDIT_S)
    assert speaker.settled
    assert exabgp.prefixes == {route.prefix for route in ROUTES[:2]}


def test_the_bridge_never_brings_back_what_is_off() -> None:
    speaker, exabgp = connected(ROUTES[:1])
    exabgp.said.clear()
    speaker.want(ROUTES[1:2], drained(ROUTES[1:2]))
    turn(speaker, exabgp, 1.0)
    new, old = drained(ROUTES[1:2])[0], drained(ROUTES[:1])[0]
    said = exabgp.said
    assert said.index(f"#do {line_of(new)}") > said.index(line_of(Announce(ROUTES[1])))
    assert said.index("#armed") < said.index(line_of(Withdraw(NEIGHBOR, ROUTES[0].prefix)))
    assert f"#do {line_of(old)}" not in said


def test_heartbeats_go_on_while_an_answer_is_awaited() -> None:
    speaker, exabgp = connected()
    exabgp.silent = True
    speaker.want(ROUTES[:1])
    turn(speaker, exabgp, 2.0)
    exabgp.said.clear()
    wake = speaker.wake_at()
    assert wake is not None
    turn(speaker, exabgp, 3.99)
    assert exabgp.said == ["#hb"] * len(exabgp.said)


def test_an_exabgp_that_routers_could_speak_through_is_not_used() -> None:
    speaker, exabgp = Speaker(10.0), FakeExaBgp(version="5.0.12")
    speaker.want(ROUTES)
    speaker.connected(0.0)
    assert [type(event) for event in turn(speaker, exabgp, 0.0)] == [Lost]
    assert speaker.stage is Stage.UNUSABLE
    assert not exabgp.table


def state(state: str, reason: str = "") -> str:
    return (
        '{ "type": "state", "neighbor": { "address": { "local": "10.99.1.2", "peer": "10.99.1.1" }, '
        f'"state": "{state}", "reason": "{reason}" }} }}'
    )


def test_sessions_are_told_once() -> None:
    speaker, _ = connected()
    assert speaker.sessions[NEIGHBOR].up
    assert speaker.receive(state("up"), 1.0) == []
    assert speaker.receive(state("connected"), 1.0) == []
    assert speaker.receive(state("down", "wrong AS\\u001b[2J"), 1.0) == [
        SessionSaid(NEIGHBOR, up=False, reason="wrong AS?[2J")
    ]
    assert speaker.receive(state("down", "wrong AS\\u001b[2J"), 2.0) == []
    assert len(speaker.receive(state("down", "refused"), 3.0)) == 1
    assert speaker.receive(state("down", "closing connection"), 3.0) == []
    assert speaker.receive(state("down", "refused"), 3.0) == []
    assert speaker.receive(state("up"), 4.0) == [SessionSaid(NEIGHBOR, up=True)]


LINES = st.sampled_from(
    [
        "done",
        "error",
        "exabgp 5.0.15",
        "exabgp ",
        "[]",
        "[1]",
        '[{"peer": 1}]',
        "[" * 9999,
        state("up"),
        "{}",
        "#hello 1 2 0",
        "#x",
    ]
)


@given(st.lists(LINES | st.text(st.characters(max_codepoint=126), max_size=40), max_size=30))
def test_nothing_that_is_heard_breaks_it(lines: list[str]) -> None:
    speaker = Speaker(10.0)
    speaker.want(ROUTES, drained(ROUTES))
    speaker.connected(0.0)
    for line in lines:
        speaker.receive(line, 0.0)
        speaker.tick(0.0)
        assert sum(not said.startswith("#") for said in speaker.to_send()) <= 1
