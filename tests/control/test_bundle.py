"""Bundles: what is packed comes back, and nothing leads out of the folder or beyond the bounds."""

from __future__ import annotations

import json
import shutil
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.config.load import load, load_copy
from gslb.config.origin import Copy
from gslb.control.bundle import MAX_OCTETS, Bundle, BundleRefused, bundle_of, copy_at, digest_of, packed, unpacked

GOOD = Path(__file__).parents[1] / "config" / "good"
SMALL = Bundle("test", "deployment: test", {"zones/a.yaml": "a: 1"}, {"zones/*": ("zones/a.yaml",)})


def test_it_is_the_same_configuration_in_another_place(tmp_path: Path) -> None:
    shutil.copytree(GOOD, tmp_path / "here")
    was = load(tmp_path / "here" / "full.yaml")
    data = packed(bundle_of(was.deployment.name, was.copy))
    shutil.rmtree(tmp_path / "here")
    there = load_copy(copy_at(unpacked(data, was.deployment.name), tmp_path / "there" / "gslb.yaml"))
    assert there.digest == was.digest
    assert there.zones == was.zones
    assert there.copy.config == tmp_path / "there" / "gslb.yaml"
    again = packed(bundle_of(was.deployment.name, there.copy))
    assert digest_of(again) == digest_of(data)


@pytest.mark.parametrize("name", ["/etc/passwd", "/etc/gslb/../passwd", "/etc/gslb/zones/../../passwd", "/etc/gslbx/a"])
def test_files_outside_of_the_folder_are_refused(name: str) -> None:
    copy = Copy(Path("/etc/gslb/gslb.yaml"), {"/etc/gslb/gslb.yaml": b"", name: b""}, {})
    with pytest.raises(BundleRefused, match=r"lies outside of /etc/gslb: a bundle holds only files below that folder"):
        bundle_of("test", copy)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../a", "a/../../b", "a//b", "./a", "", ".", "a\0b", "a/", "x" * 1001, 7]
)
def test_names_that_lead_elsewhere_are_refused(name: object) -> None:
    value = {"format": 1, "deployment": "test", "main": "", "files": {"a": ""}, "matched": {"*": [name]}}
    with pytest.raises(BundleRefused, match="file name"):
        unpacked(zlib.compress(json.dumps(value).encode()), "test")
    if isinstance(name, str):
        value |= {"files": {name: ""}, "matched": {}}
        with pytest.raises(BundleRefused, match="file name"):
            unpacked(zlib.compress(json.dumps(value).encode()), "test")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "cut off"),
        (b"nothing", "not a bundle"),
        (packed(SMALL)[:-5], "cut off"),
        (packed(SMALL) + b"x", "more behind it"),
        (zlib.compress(b"{"), "not JSON"),
        (zlib.compress(b"[]"), "not a bundle of format 1"),
        (zlib.compress(b'{"format":1}'), "the field 'deployment' is missing"),
        (packed(replace(SMALL, deployment="other")), "of deployment 'other', expected 'test'"),
        (zlib.compress(b" " * (MAX_OCTETS + 1)), "more than 64 MB unpacked"),
        (b"\0" * ((16 << 20) + 1), "16,777,217 octets, expected at most 16,777,216"),
    ],
    ids=map(str, range(10)),
)
def test_what_is_no_bundle_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(BundleRefused, match=why):
        unpacked(data, "test")


def test_a_file_that_is_not_in_it_is_refused() -> None:
    with pytest.raises(BundleRefused, match=r"zones/b\.yaml' is not in it"):
        packed(replace(SMALL, matched={"zones/*": ("zones/b.yaml",)}))


def test_too_much_is_not_packed() -> None:
    with pytest.raises(BundleRefused, match="expected at most 64 MB, 16 MB compressed"):
        packed(replace(SMALL, main="x" * (MAX_OCTETS + 1)))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_json_is_read_or_refused(value: object) -> None:
    whole = {"format": 1, "deployment": "test", "main": "", "files": {}, "matched": {}}
    for one in (value, whole | {"files": value}, whole | {"matched": value}, whole | {"main": value}):
        try:
            unpacked(zlib.compress(json.dumps(one).encode()), "test")
        except BundleRefused:
            continue
