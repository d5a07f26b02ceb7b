"""Responders made of generations, one after the other: right ones are made, wrong ones refused, old ones leave no trace."""

from __future__ import annotations

import gc
import mmap
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gslb.decide.decide import decide
from gslb.geo.table import UnreadableTable
from gslb.model.world import World
from gslb.nameserver.responders import ResponderMaker
from gslb.nameserver.table import compile_names, compile_plan
from tests.control.make import DEPLOYMENT, WITH_SUBNETS, ZONE, model

QUERY = bytes.fromhex("000001000001000000000000") + b"\x03www\x07example\x03com\x00\x00\x01\x00\x01"
NAMES = compile_names((ZONE,), None)


def content(folder: Path, deployment: str = "example") -> tuple[bytes, mmap.mmap]:
    """A compiled plan and the location table that it is for."""
    one = model(folder, replace(DEPLOYMENT, name=deployment))
    plan = decide(one.deployment, one.geography, World(0.0), None)
    with one.located.path.open("rb") as file:
        return compile_plan(plan, b"secret"), mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


@pytest.fixture
def without_collector() -> Iterator[None]:
    """As in a worker, which freezes what lives: only what holds no cycle goes."""
    gc.disable()
    yield
    gc.enable()


def test_it_answers(tmp_path: Path) -> None:
    plan, geography = content(tmp_path)
    responder = ResponderMaker("example")(NAMES, plan, geography, "first")
    reply = responder.udp(QUERY, "192.0.2.1")
    assert reply is not None
    assert reply[3] & 15 == 0
    assert responder.tcp(QUERY, "192.0.2.1") == reply


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    plan, geography = content(tmp_path)
    with pytest.raises(UnreadableTable, match="'example', expected 'other'"):
        ResponderMaker("other")(NAMES, plan, geography, "first")
    with model(tmp_path, WITH_SUBNETS).located.path.open("rb") as file:
        another = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with pytest.raises(UnreadableTable, match="the plan is for geography"):
        ResponderMaker("example")(NAMES, plan, another, "second")


@pytest.mark.usefixtures("without_collector")
def test_a_replaced_responder_and_its_mapping_are_gone_at_once(tmp_path: Path) -> None:
    maker = ResponderMaker("example")
    plan, geography = content(tmp_path)
    responder = maker(NAMES, plan, geography, "first")
    responder.udp(QUERY, "192.0.2.1")
    traces: list[Callable[[], object]] = [weakref.ref(responder), weakref.ref(geography)]
    plan, geography = content(tmp_path)
    responder = maker(NAMES, plan, geography, "second")
    assert [trace() for trace in traces] == [None, None]
    assert responder.udp(QUERY, "192.0.2.1") is not None
