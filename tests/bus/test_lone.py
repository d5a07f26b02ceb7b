"""The bus of a node that is alone keeps the contract of keys and objects; nobody hears it."""

from __future__ import annotations

import asyncio

import pytest

from gslb.bus.bus import Conflict, Entry
from gslb.bus.lone import Lone
from tests.bus.hearing import running


def test_keys_and_objects_are_kept_and_told() -> None:
    async def main() -> None:
        bus = Lone(3, since=17.0)
        assert await bus.put("override.a", b"1", 0) == 1
        async with running(bus) as ear:
            assert ear.keys == {"override.a": b"1"}
            assert ear.lists == [frozenset({"override.a"})]
            assert [(standing.alone, standing.connected, standing.since) for standing in ear.standings] == [
                (True, False, 17.0)
            ]
            with pytest.raises(Conflict):
                await bus.put("override.a", b"2", 0)
            await bus.put("override.a", b"2", 1)
            assert ear.entries[-1] == await bus.get("override.a") == Entry("override.a", b"2", 2)
            assert not bus.publish("life", b"")
            await bus.store("bundle", b"files")
            assert await bus.fetch("bundle") == b"files"
            assert await bus.fetch("other") is None
            with pytest.raises(ValueError, match="no key"):
                await bus.put("two words", b"")

    asyncio.run(main())
