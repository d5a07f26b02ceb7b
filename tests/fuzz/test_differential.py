"""Executors in C against the reference, a bounded number of questions; `make fuzz` asks a million."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.nameserver.answer import Responder
from gslb.nameserver.counters import Counter
from gslb.nameserver.native import Native, opened
from gslb.nameserver.queryevent import pack, read
from tests.fuzz.differential import LIBRARY, NOW, Subject, compare, subjects
from tests.fuzz.questions import sixteen
from tests.nameserver import make
from tests.nameserver.imagescene import NAMES

QUESTIONS = 10_000
# What resolvers ask every day, and an image holds
HELD = [
    "z.test.", "www.z.test.", "WWW.z.TEST.", "alias.z.test.", "nowhere.z.test.", "mail.z.test.", "a.b.c.deep.z.test.",
    "c.deep.z.test.", "absent.z.test.", "x.absent.z.test.", "spread.z.test.", "id.z.test.", "none.z.test.", "dead.z.test.",
    "mixed.z.test.", "absent.example.", "www.example.com.",
]  # fmt: skip


@pytest.fixture
def native() -> Native:
    """Over many classes, with cookies."""
    subject = Subject.of(one_class=False, protected=True)
    return Native(opened(LIBRARY), subject.image, subject.geography)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(2))
def test_both_builds_answer_and_count_as_the_reference(number: int, tmp_path: Path, tool: Callable[[str], str]) -> None:
    tool("gcc")
    judge = compare(subjects()[number], tmp_path, QUESTIONS, 1)
    assert judge.answered > QUESTIONS // 5


def test_what_resolvers_ask_is_answered(native: Native) -> None:
    asker = Subject.of(one_class=False, protected=True).asker(1)
    for message, source in asker.ordinary(2000, HELD, types=(1, 28, 16, 65)):
        assert native.answer(message, sixteen(source), NOW) is not None, (message.hex(), source)


@pytest.mark.parametrize("number", range(2))
def test_of_queries_the_same_is_told(number: int) -> None:
    subject = subjects()[number]
    native = Native(opened(LIBRARY), subject.image, subject.geography)
    responder = Responder(subject.tables, clock=lambda: NOW)
    native.sample(1, 1 << 31)
    told = 0
    for message, source in subject.asker(7).questions(QUESTIONS // 5):
        reply = native.answer(message, sixteen(source), NOW)
        records, _ = native.told()
        if reply is None:
            assert not records
            continue
        before = responder.counts[Counter.COOKIES_VALID]
        assert responder.udp(message, source) == reply
        valid = responder.counts[Counter.COOKIES_VALID] > before
        expected = pack(message, reply, source, 0, valid=valid)
        assert expected is not None
        assert replace(read(records), at=0.0) == read(expected), (message.hex(), source)
        told += 1
    native.close()
    assert told > QUESTIONS // 25


@given(message=st.binary(max_size=600))
def test_noise_is_for_the_reference(message: bytes) -> None:
    subject = Subject.of(one_class=True, protected=False)
    native = Native(opened(LIBRARY), subject.image, subject.geography)
    if native.answer(message, sixteen("192.0.2.1"), NOW) is not None:
        assert message[4:6] == b"\0\1"


@given(name=st.sampled_from(NAMES), octets=st.integers(0, 60))
def test_a_message_that_is_cut_is_never_answered(name: str, octets: int) -> None:
    subject = Subject.of(one_class=False, protected=True)
    native = Native(opened(LIBRARY), subject.image, subject.geography)
    message = make.query(name, 1, make.opt(make.ecs("192.0.2.0/24"), (10, bytes(8)), (3, b"")))
    assert native.answer(message[: max(0, len(message) - 1 - octets)], sixteen("192.0.2.1"), NOW) is None
