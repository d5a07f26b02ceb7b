"""Answers follow verdicts when the disk of the state folder is full; and it is said."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.lifecycle import Server, wait_until
from tests.e2e.services import services
from tests.e2e.test_failover import FRA, IAD, WITHIN_S, configured
from tests.ports import free_port

pytestmark = pytest.mark.root


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path) -> Path:
    """Take what room is left."""
    with (folder / "fill").open("ab", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    return folder / "fill"


def test_a_full_disk_stops_no_failover(disk: Path, tmp_path: Path) -> None:
    folder = tmp_path / "node"
    folder.mkdir()
    with services(free_port(), FRA, IAD) as (fra, iad):
        node = Server(folder, configured(fra.port))
        node.state = disk / "state"
        try:
            node.start()
            wait_until(lambda: node.addresses() == [FRA], "the first pool answers")
            filler = fill(disk)
            fra.kill()
            wait_until(lambda: node.addresses() == [IAD], "the other site answers", 2 * WITHIN_S)
            fill(disk)
            assert "the disk is full" in node.said()
            filler.unlink()
            fra.start()
            iad.kill()
            wait_until(lambda: node.addresses() == [FRA], "the first site is back", 2 * WITHIN_S)
            wait_until(lambda: "disk" not in node.status()["problems"], "there is room again", WITHIN_S)
        finally:
            node.clear()
