"""A configuration loaded again from the copy of what was read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gslb.config.load import load, load_copy
from gslb.config.origin import Copy
from gslb.config.problem import Refused

GOOD = Path(__file__).parent / "good"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The full example, in a folder of its own."""
    shutil.copytree(GOOD, tmp_path / "good")
    return tmp_path / "good" / "full.yaml"


def test_it_is_what_it_was_whatever_became_of_its_files(config: Path) -> None:
    was = load(config)
    shutil.rmtree(config.parent)
    again = load_copy(was.copy)
    assert again == was
    assert again.digest == was.digest


def test_a_folder_in_place_of_a_zone_file_changes_nothing(config: Path) -> None:
    was = load(config)
    zone = next(path for path in was.files if path.suffix in (".yaml", ".zone") and path != config)
    zone.unlink()
    zone.mkdir()
    assert load_copy(was.copy).zones == was.zones


def test_relative_paths_mean_what_they_meant_in_the_node(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(config.parent)
    was = load(Path(config.name))
    monkeypatch.chdir("/")
    again = load_copy(was.copy)
    assert again.zones == was.zones
    assert again.copy.config == config
    assert again.deployment.geo.databases
    assert all(Path(name).is_absolute() for name in again.deployment.geo.databases)


def test_what_is_not_in_the_copy_is_not_read_from_the_disk(config: Path) -> None:
    was = load(config).copy
    kept = {name: octets for name, octets in was.octets.items() if name == str(config)}
    with pytest.raises(Refused, match="not in the copy of the configuration in force"):
        load_copy(Copy(was.config, kept, was.matched))
