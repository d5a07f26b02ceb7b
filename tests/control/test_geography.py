"""Location tables by a child process: made, refused, and gone with whoever waits for them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from gslb.control import geography
from gslb.control.geography import GeographyFailed, Located, has_databases, locate
from gslb.control.node import text_of
from gslb.control.planner import geography_of
from gslb.decide.order import fits
from gslb.model.deployment import Deployment, Geo
from tests.control.make import APEX, DEPLOYMENT, POLICY, WITH_SUBNETS
from tests.geo.worlds import maxmind, write


def made(deployment: Deployment, folder: Path) -> tuple[Located, list[str]]:
    steps: list[str] = []
    found = asyncio.run(locate(deployment, folder / "cache", lambda step, _: steps.append(step)))
    return found, steps


def with_database(path: Path) -> Deployment:
    return replace(DEPLOYMENT, geo=Geo((str(path),)))


def with_city(folder: Path) -> Deployment:
    """A deployment with a small database that can be read."""
    write(folder / "city.mmdb", {"203.0.113.0/24": maxmind("fra")})
    return replace(WITH_SUBNETS, geo=Geo((str(folder / "city.mmdb"),)))


def test_without_anything_to_read_no_child_is_needed(tmp_path: Path) -> None:
    absent = with_database(tmp_path / "absent.mmdb")
    assert not has_databases(absent)
    found, steps = made(absent, tmp_path)
    assert geography_of(found).classes == 1
    assert found.notes == (f"no geo database at {tmp_path / 'absent.mmdb'}",)
    assert steps == []


def test_a_child_makes_the_table_and_tells_how_far_it_is(tmp_path: Path) -> None:
    deployment = with_city(tmp_path)
    assert has_databases(deployment)
    found, steps = made(deployment, tmp_path)
    assert geography_of(found).classes == 2
    assert geography_of(found).digest == found.digest
    assert steps
    assert made(deployment, tmp_path)[0] == found


def test_a_damaged_database_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "city.mmdb"
    path.write_bytes(b"no database")
    with pytest.raises(GeographyFailed, match=r"city\.mmdb"):
        made(with_database(path), tmp_path)


def test_a_cache_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    for deployment in (DEPLOYMENT, with_city(tmp_path)):
        with pytest.raises(GeographyFailed):
            made(deployment, tmp_path)


def test_the_child_ends_with_whoever_waits(tmp_path: Path) -> None:
    deployment = with_city(tmp_path)

    async def impatient() -> None:
        task = asyncio.create_task(locate(deployment, tmp_path / "cache", lambda *_: None))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(impatient())
    mine = [path for path in Path("/proc").glob("[0-9]*/cmdline") if geography.__name__.encode() in cmdline(path)]
    assert mine == []


def cmdline(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_an_old_table_serves_only_what_it_was_made_for(tmp_path: Path) -> None:
    known = geography_of(made(WITH_SUBNETS, tmp_path)[0])
    assert fits(WITH_SUBNETS, known)
    assert not fits(DEPLOYMENT, known), "it has rules that are gone"
    assert not fits(replace(WITH_SUBNETS, policies={}), known)
    assert known.rankings.keys() == {POLICY.name}


def test_names_for_people() -> None:
    assert text_of(b"\x03www" + APEX) == "www.example.com."
