"""From deployment to table: what is cached, what is noticed, what is refused."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from gslb.geo import placefile
from gslb.geo.cache import KEPT
from gslb.geo.load import Located, location_table
from gslb.geo.places import flatten
from gslb.geo.source import DatabaseUnusable, content_digest, copied
from gslb.geo.table import LocationTable
from gslb.model.deployment import Deployment, Geo
from tests.geo.worlds import deployment, flat, nearest_of, policy, pool, rule, write


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A small database."""
    return write(tmp_path / "city.mmdb", {"10.0.0.0/8": flat("iad"), "12.0.0.0/8": flat("sin")})


def with_databases(model: Deployment, *paths: Path) -> Deployment:
    """The deployment, reading these databases."""
    return replace(model, geo=replace(model.geo, databases=tuple(map(str, paths))))


def located(model: Deployment, cache: Path) -> tuple[Located, list[str]]:
    """The table, and the steps that it took."""
    steps: list[str] = []
    found = location_table(model, cache, lambda step, _: steps.append(step))
    table = LocationTable.from_buffer(found.path.read_bytes())
    table.verify()
    assert table.digest == found.digest
    return found, list(dict.fromkeys(steps))


CHECK, RANK = "checking the geo databases", "ranking places"


def test_each_step_is_done_once(tmp_path: Path, database: Path) -> None:
    model, cache = with_databases(nearest_of("fra", "iad"), database), tmp_path / "cache"
    first, steps = located(model, cache)
    assert steps == [CHECK, "checking city.mmdb", "walking city.mmdb", "reading city.mmdb", RANK]
    assert located(model, cache) == (first, [CHECK])
    moved = with_databases(nearest_of("fra", "iad", "sin"), database)
    second, steps = located(moved, cache)
    assert steps == [CHECK, RANK]
    assert second.digest != first.digest
    assert located(model, cache) == (first, [CHECK])


def test_equal_content_elsewhere_is_known(tmp_path: Path, database: Path) -> None:
    cache = tmp_path / "cache"
    first, _ = located(with_databases(nearest_of("fra", "iad"), database), cache)
    elsewhere = tmp_path / "elsewhere.mmdb"
    elsewhere.write_bytes(database.read_bytes())
    assert located(with_databases(nearest_of("fra", "iad"), elsewhere), cache) == (first, [CHECK])


@pytest.mark.parametrize("kind", ["table", "places"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "gone"])
def test_a_damaged_cache_is_made_again(tmp_path: Path, database: Path, kind: str, damage: str) -> None:
    model, cache = with_databases(nearest_of("fra", "iad"), database), tmp_path / "cache"
    first, _ = located(model, cache)
    if kind == "places":
        first.path.unlink()
    [path] = cache.glob(f"{kind}-*")
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        flipped = content[:-100] + bytes([content[-100] ^ 1]) + content[-99:]
        path.write_bytes({"flip": flipped, "truncate": content[: len(content) // 2], "empty": b""}[damage])
    assert located(model, cache)[0] == first


def test_a_changed_database_gives_another_table(tmp_path: Path, database: Path) -> None:
    model, cache = with_databases(nearest_of("fra", "iad"), database), tmp_path / "cache"
    first, _ = located(model, cache)
    write(database, {"10.0.0.0/8": flat("fra")})
    assert located(model, cache)[0].digest != first.digest


def test_missing_databases_are_noted(tmp_path: Path, database: Path) -> None:
    absent = tmp_path / "absent.mmdb"
    found, _ = located(with_databases(nearest_of("fra", "iad"), absent, database), tmp_path / "cache")
    assert found.notes == (f"no geo database at {absent}",)
    assert LocationTable.from_buffer(found.path.read_bytes()).classes == 2
    found, steps = located(with_databases(nearest_of("fra", "iad"), absent), tmp_path / "cache")
    assert found.notes == (f"no geo database at {absent}",)
    assert steps == []
    assert LocationTable.from_buffer(found.path.read_bytes()).classes == 1


def test_a_subnet_rule_needs_no_database(tmp_path: Path) -> None:
    subnets = (ip_network("10.20.0.0/16"), ip_network("2001:db8::/32"))
    web = policy("web", rule("web-iad", subnets=subnets), rule("web-fra"))
    found, _ = located(deployment([web], [pool("web-fra"), pool("web-iad")]), tmp_path / "cache")
    table = LocationTable.from_buffer(found.path.read_bytes())
    lookups = [table.lookup(ip_address(each).packed) for each in ("10.20.3.4", "10.21.0.0", "2001:db8::9")]
    assert lookups == [(1, 16), (0, 16), (1, 32)]


def test_what_does_not_matter_does_not_rebuild(tmp_path: Path) -> None:
    model = nearest_of("fra", "iad")
    first, _ = located(model, tmp_path)
    [web] = model.policies.values()
    assert located(replace(model, name="other", policies={web.name: replace(web, ttl_max=30)}), tmp_path)[0] == first


@pytest.mark.parametrize("change", ["site", "limit", "scope", "family", "rule"])
def test_what_matters_rebuilds(tmp_path: Path, database: Path, change: str) -> None:
    model = with_databases(nearest_of("fra", "iad"), database)
    first, _ = located(model, tmp_path / "cache")
    [web] = model.policies.values()
    [fra, iad, *_] = model.datacenters.values()
    [pool_fra, pool_iad] = model.pools.values()
    changed = {
        "site": replace(model, datacenters={fra.name: fra, iad.name: replace(iad, at=(0.0, 1.0))}),
        "limit": replace(model, geo=replace(model.geo, nearest_limit=1)),
        "scope": replace(model, geo=replace(model.geo, scope4=8)),
        "family": replace(
            model, pools={pool_fra.name: replace(pool_fra, answers=pool_fra.answers[:1]), pool_iad.name: pool_iad}
        ),
        "rule": replace(model, policies={web.name: replace(web, rules=(rule("web-iad"),))}),
    }[change]
    assert located(changed, tmp_path / "cache")[0].path != first.path


def test_an_unusable_database_is_refused_and_leaves_the_cache(tmp_path: Path, database: Path) -> None:
    model, cache = with_databases(nearest_of("fra", "iad"), database), tmp_path / "cache"
    first, _ = located(model, cache)
    good = database.read_bytes()
    database.write_bytes(good[: len(good) // 2])
    with pytest.raises(DatabaseUnusable, match=str(database)):
        location_table(model, cache)
    assert first.path.exists()
    database.write_bytes(b"")
    with pytest.raises(DatabaseUnusable, match="the file is empty"):
        location_table(model, cache)
    database.write_bytes(good)
    assert located(model, cache) == (first, [CHECK])


def test_old_tables_are_dropped(tmp_path: Path) -> None:
    models = [replace(nearest_of("fra", "iad"), geo=Geo(nearest_limit=limit)) for limit in range(1, KEPT + 3)]
    found = [located(model, tmp_path)[0] for model in models]
    assert len(list(tmp_path.iterdir())) == KEPT
    assert found[-1].path.exists()


def test_a_copy_does_not_change_with_its_file(tmp_path: Path, database: Path) -> None:
    good = database.read_bytes()
    with copied(database) as copy:
        database.write_bytes(b"truncated and replaced")
        assert copy.content[:] == good
        assert content_digest([database]) != content_digest([Path(copy.path)])
    assert not (tmp_path / copy.path.lstrip("/")).exists()


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    """Somebody writes all the time; a file of 64 MB takes longer to copy than a time stamp of the file system lasts."""
    path = tmp_path / "growing.mmdb"
    path.write_bytes(b"")
    os.truncate(path, 1 << 26)
    writing, done = threading.Event(), threading.Event()

    def write_on() -> None:
        with path.open("r+b", buffering=0) as file:
            while not done.is_set():
                file.seek(0)
                file.write(b"x")
                writing.set()

    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        assert writing.wait(10)
        with pytest.raises(DatabaseUnusable, match="it changed while it was read"), copied(path):
            pass
        with pytest.raises(DatabaseUnusable, match="it changed while it was read"):
            content_digest([path])
    finally:
        done.set()
        writer.join(10)


def test_a_warm_start_needs_no_numpy(tmp_path: Path, database: Path) -> None:
    """The second start with the same databases maps what the first one made."""
    model, cache = with_databases(nearest_of("fra", "iad"), database), tmp_path / "cache"
    first, _ = located(model, cache)
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(model))
    code = (
        "import sys, pickle, pathlib\n"
        "from gslb.geo.load import location_table\n"
        "model = pickle.load(open(sys.argv[1], 'rb'))\n"
        "print(location_table(model, pathlib.Path(sys.argv[2])).digest, 'numpy' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore::ResourceWarning", "-c", code, str(tmp_path / "model.pickle"), str(cache)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": "2"},
    )
    assert done.stdout.split() == [first.digest, "False"]


def test_places_survive_the_disk(tmp_path: Path, database: Path) -> None:
    places = flatten([database])
    path = tmp_path / "places"
    path.write_bytes(b"".join(placefile.to_parts(places)))
    again = placefile.read(path)
    assert (again.digest, again.geos) == (places.digest, places.geos)
    assert again.rows.tobytes() == places.rows.tobytes()
    for ours, theirs in ((places.v4, again.v4), (places.v6, again.v6)):
        assert ours.starts.tolist() == theirs.starts.tolist()
        assert ours.places.tolist() == theirs.places.tolist()
