"""ExaBGP's configuration: it holds what was meant, ExaBGP accepts it, and nothing of anybody's text means more than itself."""

from __future__ import annotations

import base64
import sys
from dataclasses import replace
from ipaddress import IPv4Address, ip_address
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bgp.bridge
from bgp.launch import Launch, Setup
from bgp.render import Session, Speaker, configuration
from gslb.model.bgp import Neighbor

FOUR = Session(
    Neighbor(ip_address("10.99.1.1"), 65001, port=1790, passive=True, gtsm=True), ip_address("10.99.1.2"), "s3cret"
)
SIX = Session(Neighbor(ip_address("fd99:1::1"), 4200000000, port=1179), ip_address("fd99:1::2"))


def speaker(*sessions: Session) -> Speaker:
    bridge, python = PurePosixPath(bgp.bridge.__file__), PurePosixPath(sys.executable)
    return Speaker(65010, IPv4Address("10.99.1.2"), sessions, bridge, PurePosixPath("/run/x/s"), python)


def test_one_session_for_each_neighbor() -> None:
    text = configuration(speaker(FOUR, SIX))
    process, four, six = (
        text.split("neighbor 10.99.1.1 {")[0],
        *text.split("neighbor 10.99.1.1 {")[1].split("neighbor fd"),
    )
    assert "respawn" not in process
    for line in ("peer-as 65001;", "passive;", "listen 1790;", "incoming-ttl 255;", "hold-time 9;", "ipv4 unicast;"):
        assert f"    {line}\n" in four
    for line in (
        "peer-as 4200000000;",
        "passive false;",
        "connect 1179;",
        "ipv6 unicast;",
        "graceful-restart disable;",
    ):
        assert f"    {line}\n" in six
    assert "ttl" not in six
    assert "md5" not in six
    assert "static" not in text
    assert "announce" not in text


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=20))
def test_a_password_means_nothing_but_itself(password: str) -> None:
    lines = configuration(speaker(replace(FOUR, password=password))).splitlines()
    assert lines[:4] == configuration(speaker(FOUR)).splitlines()[:4]
    assert len(lines) == len(configuration(speaker(FOUR)).splitlines())
    (said,) = (line.strip().split()[1] for line in lines if "md5-password" in line)
    assert base64.b64decode(said.rstrip(";")).decode() == password


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (speaker(), "no BGP neighbors"),
        (speaker(replace(FOUR, local=ip_address("fd99:1::2"))), "addresses of one family"),
        (speaker(replace(FOUR, password="x" * 81)), "81 bytes - expected 1 to 80"),
        (speaker(replace(FOUR, password="")), "0 bytes"),
        (replace(speaker(FOUR), socket=PurePosixPath("/run/a b;")), "expected an absolute path"),
        (replace(speaker(FOUR), bridge=PurePosixPath("bridge.py")), "expected an absolute path"),
    ],
)
def test_what_exabgp_would_read_otherwise_is_refused(broken: Speaker, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        configuration(broken)


def test_a_password_is_not_shown() -> None:
    assert "s3cret" not in repr(speaker(FOUR))


def test_exabgp_accepts_it_and_the_old_one_stays_where_it_does_not(tmp_path: Path) -> None:
    launch = Launch(Setup(tmp_path, speaker(FOUR, SIX)))
    assert launch.configure() == ""
    before = launch.configuration()
    assert (tmp_path / "exabgp.conf").stat().st_mode & 0o777 == 0o600
    gone = replace(speaker(SIX), python=PurePosixPath("/nowhere/python"))
    assert "/nowhere/python" in Launch(Setup(tmp_path, gone)).configure()
    bridge = replace(speaker(SIX), bridge=PurePosixPath("/nowhere"))
    twice = Launch(Setup(tmp_path, replace(bridge, sessions=(SIX, SIX)))).configure()
    assert "`exabgp validate` refused" in twice
    assert launch.configuration() == before


def test_a_full_disk_is_no_reason_not_to_start_with_what_is_there(tmp_path: Path) -> None:
    launch = Launch(Setup(tmp_path, speaker(FOUR)))
    assert launch.configure() == ""
    (tmp_path / "exabgp.new").mkdir()  # nothing can be written there
    assert launch.configure() == ""
    assert "exabgp.new" in Launch(Setup(tmp_path, speaker(SIX))).configure()


def test_an_exabgp_that_nobody_would_find_again_is_not_left_behind(tmp_path: Path) -> None:
    launch = Launch(Setup(tmp_path, speaker(FOUR)))
    assert launch.configure() == ""
    (tmp_path / "exabgp.pid").mkdir()
    with pytest.raises(OSError, match=r"exabgp\.pid"):
        launch.spawn()
    left = [one for one in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path).encode() in _read(one)]
    assert not left


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
