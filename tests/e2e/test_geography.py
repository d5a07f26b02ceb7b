"""A geo database that changes, breaks or is missing under a running node."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gslb.control.lock import CONTROLLER, holder
from tests.e2e.conftest import MakeServer
from tests.e2e.lifecycle import CONFIG, Server, wait_until
from tests.geo.worlds import maxmind, write

CLIENTS = "203.0.113.0/24"
NEAR_FRA, NEAR_IAD = ["192.0.2.10"], ["198.51.100.10"]


def nearest(database: Path) -> str:
    """The configuration with `nearest` by this database."""
    rules = CONFIG.replace("      - {subnets: [203.0.113.0/24], pools: [web-iad]}\n", "")
    rules = rules.replace("{pools: [web-fra, web-iad]}", "{pools: nearest, of: [web-fra, web-iad]}")
    return f"geo: {{databases: [{database}]}}\n{rules}"


def put(database: Path, place: str) -> None:
    """Replace the database, as an updater would: written beside and renamed."""
    write(database.with_suffix(".new"), {CLIENTS: maxmind(place), "198.18.0.0/15": maxmind("syd")})
    database.with_suffix(".new").replace(database)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Where the database lies; none yet."""
    folder = tmp_path / "databases"
    folder.mkdir()
    return folder / "city.mmdb"


def near(server: Server) -> list[str]:
    """What the clients are given."""
    return server.addresses(subnet=CLIENTS)


def located(server: Server) -> None:
    """Wait for the table of the databases, which comes after the first answers."""
    wait_until(lambda: bool((server.status()["geography"] or {}).get("databases")), "the location table")


def test_a_replaced_database_is_followed_and_a_broken_one_is_not(server: MakeServer, database: Path) -> None:
    put(database, "fra")
    one = server(nearest(database))
    located(one)
    assert near(one) == NEAR_FRA
    put(database, "iad")
    wait_until(lambda: near(one) == NEAR_IAD, "the new database")
    database.write_bytes(database.read_bytes()[:100])
    wait_until(lambda: bool(one.status()["problems"].get("geography")), "the refusal")
    assert near(one) == NEAR_IAD, "the old table serves on"
    assert "city.mmdb" in one.status()["problems"]["geography"][0]
    put(database, "fra")
    wait_until(lambda: near(one) == NEAR_FRA, "the mended database")
    assert one.status()["problems"] == {}


def test_a_database_that_vanishes_leaves_its_table(server: MakeServer, database: Path) -> None:
    put(database, "iad")
    one = server(nearest(database))
    located(one)
    database.unlink()
    wait_until(lambda: bool(one.status()["problems"].get("geography")), "the problem")
    assert near(one) == NEAR_IAD, "its table serves on"
    put(database, "fra")
    wait_until(lambda: near(one) == NEAR_FRA, "the new database")
    wait_until(lambda: one.status()["problems"] == {}, "the end of the problem")


def test_a_database_that_is_missing_is_said_once_and_taken_when_it_comes(server: MakeServer, database: Path) -> None:
    one = server(nearest(database))
    assert near(one) == NEAR_FRA, "the order as written"
    assert one.said().count("no geo database at") == 1
    put(database, "iad")
    wait_until(lambda: near(one) == NEAR_IAD, "the database")


def test_a_start_beside_a_broken_database_serves_what_it_can(server: MakeServer, database: Path) -> None:
    database.write_bytes(b"no database")
    one = server(nearest(database))
    assert near(one) == NEAR_FRA, "the order as written"
    wait_until(lambda: bool(one.status()["problems"].get("geography")), "the broken database is said")


def test_a_restart_beside_a_broken_database_goes_on_with_the_last_good_table(
    server: MakeServer, database: Path
) -> None:
    put(database, "iad")
    one = server(nearest(database))
    located(one)
    assert near(one) == NEAR_IAD
    assert one.stop() == 0
    database.write_bytes(b"no database")
    one.start()
    wait_until(lambda: bool(one.status()["problems"].get("geography")), "the refusal")
    assert near(one) == NEAR_IAD
    assert one.command("drain", "pool/web-iad", "--why", "test").returncode == 0
    wait_until(lambda: near(one) == NEAR_FRA, "decisions go on")


def test_an_override_acts_while_a_table_is_being_made(server: MakeServer, database: Path) -> None:
    """The child that reads the databases is held; the model in force goes on."""
    put(database, "fra")
    one = server(nearest(database))
    located(one)
    database.unlink()
    with socket.socket(socket.AF_UNIX) as never_read:
        never_read.bind(str(database))  # there, and no file
        wait_until(lambda: bool(one.status()["problems"].get("geography")), "the refusal")
        assert one.command("drain", "site/fra", "--why", "test").returncode == 0
        wait_until(lambda: near(one) == NEAR_IAD, "the drain")


def test_the_progress_of_a_long_start_is_shown(server: MakeServer, database: Path) -> None:
    put(database, "fra")
    one = server(nearest(database))
    wait_until(lambda: "listening on" in one.said(), "the banner")
    assert "ranking places: 100%" in one.said()
    assert f"geography     {database.name} (test of " in one.said()
    assert holder(one.state / "example" / "fra", CONTROLLER) == one.status()["controller"]["pid"]


def test_a_terminal_sees_the_banner_and_ctrl_c_ends_it(server: MakeServer, database: Path) -> None:
    put(database, "fra")
    one = server(nearest(database), start=False)
    script = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
    with one.output.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-c", script, *one.words("run")],
            stdin=subprocess.PIPE,
            stdout=sink,
            start_new_session=True,
        )
    one.runs.append(process)
    wait_until(lambda: "+subnet=" in one.said(), "the banner's last line")
    assert "serves deployment example as node fra" in one.said()
    assert process.stdin is not None
    process.stdin.write(b"\x03")  # Ctrl-C, typed
    process.stdin.close()
    assert process.wait(timeout=15) == 0
    assert one.left() == []
