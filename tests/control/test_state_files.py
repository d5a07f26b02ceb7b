"""The small files of a state folder: lock, secret, facts, remembered starts."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from gslb.control import facts, remembered
from gslb.control.desk import Api as HttpApi
from gslb.control.desk import Desk
from gslb.control.facts import Facts
from gslb.control.lock import AlreadyRunning, Lock, holder
from gslb.control.secret import NoSecret, secret_of, unshared
from gslb.control.start import Serving, Start
from gslb.control.wanted import Wanted
from gslb.model.deployment import Api, Deployment, Dns, Node, NodeId, SiteId, Socket

LISTEN = Socket(IPv4Address("127.0.0.1"), 5300)
FRA = Node(NodeId("fra"), SiteId("fra"))
IAD = Node(NodeId("iad"), SiteId("iad"))
ALONE = Deployment("example", {FRA.name: FRA}, {}, {}, {}, Dns((LISTEN,)), Api(LISTEN))
MANY = replace(ALONE, nodes={FRA.name: FRA, IAD.name: IAD})


class TestLock:
    """One run a node."""

    def test_a_second_is_told_who_holds_it(self, tmp_path: Path) -> None:
        lock = Lock(tmp_path)
        assert holder(tmp_path) == os.getpid()
        with pytest.raises(AlreadyRunning) as told:
            Lock(tmp_path)
        assert told.value.pid == os.getpid()
        lock.release()
        assert holder(tmp_path) is None
        Lock(tmp_path).release()

    def test_it_ends_with_its_process_however_that_ends(self, tmp_path: Path) -> None:
        pid = os.fork()
        if pid == 0:
            Lock(tmp_path)
            os._exit(1)
        os.waitpid(pid, 0)
        Lock(tmp_path).release()

    def test_nobody_holds_a_lock_that_is_not_there(self, tmp_path: Path) -> None:
        assert holder(tmp_path) is None


class TestSecret:
    """Given, or made once."""

    def test_made_once_and_kept_private(self, tmp_path: Path) -> None:
        first = secret_of(ALONE, {}, tmp_path / "gslb.yaml", tmp_path)
        assert len(first) == 64
        assert secret_of(ALONE, {}, tmp_path / "gslb.yaml", tmp_path) == first
        assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600

    def test_an_empty_one_says_the_way_out(self, tmp_path: Path) -> None:
        (tmp_path / "secret").touch()
        with pytest.raises(NoSecret, match=r"secret: empty; remove it and a new one is made$"):
            secret_of(ALONE, {}, tmp_path / "gslb.yaml", tmp_path)

    def test_given_by_the_environment(self, tmp_path: Path) -> None:
        given = replace(MANY, secret_env="GSLB_SECRET")
        assert secret_of(given, {"GSLB_SECRET": "abc"}, tmp_path / "gslb.yaml", tmp_path) == b"abc"
        assert not (tmp_path / "secret").exists()

    def test_given_by_a_file_beside_the_configuration(self, tmp_path: Path) -> None:
        (tmp_path / "key").write_text("abc\n")
        given = replace(MANY, secret_file="key")
        assert secret_of(given, {}, tmp_path / "gslb.yaml", tmp_path / "state") == b"abc"

    def test_nodes_that_share_none_are_warned(self) -> None:
        by_name = replace(MANY, secret_env="GSLB_SECRET")
        assert "by GSLB_SECRET" in str(unshared(by_name, {}))
        assert "by secret_env or secret_file" in str(unshared(MANY, {}))
        assert unshared(by_name, {"GSLB_SECRET": "abc"}) is None
        assert unshared(replace(MANY, secret_file="key"), {}) is None
        assert unshared(ALONE, {}) is None

    @pytest.mark.parametrize(("content", "why"), [(None, "No such file"), (b"", "empty"), (b" \n", "empty")])
    def test_a_file_without_a_secret_is_refused(self, tmp_path: Path, content: bytes | None, why: str) -> None:
        if content is not None:
            (tmp_path / "key").write_bytes(content)
        with pytest.raises(NoSecret, match=why):
            secret_of(replace(ALONE, secret_file="key"), {}, tmp_path / "gslb.yaml", tmp_path)


class TestFacts:
    """For `gslb status`."""

    def test_a_problem_is_logged_once_and_so_is_its_end(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)
        one = Facts()
        one.open(tmp_path)
        for _ in range(3):
            one.problem("plan", ("the disk is full",))
        assert facts.read(tmp_path)["problems"] == {"plan": ["the disk is full"]}
        one.problem("plan", ())
        one.problem("plan", ())
        assert [record.message for record in caplog.records] == ["the disk is full", "mended"]
        assert facts.read(tmp_path)["problems"] == {}

    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
    def test_a_damaged_file_is_no_facts(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / facts.NAME).write_bytes(content)
        assert facts.read(tmp_path) == {}

    def test_a_folder_that_has_gone_is_no_failure(self, tmp_path: Path) -> None:
        one = Facts()
        one.open(tmp_path / "gone")
        one.say(pid=1)


class Nobody:
    """No audience."""

    def progress(self, step: str, share: float) -> None:
        """Nothing."""

    def serving(self, facts: Serving) -> None:
        """Nothing."""


def no_api(desk: Desk) -> HttpApi:
    """Nothing here starts a controller."""
    raise AssertionError(desk)


def start(folder: Path, identity: str = "fra") -> Start:
    return Start(folder / "gslb.yaml", folder / "state", lambda _: FRA, identity, Nobody(), no_api)


class TestRemembered:
    """Taken only where it must be true."""

    ORDERS = Wanted("example", "fra", (("127.0.0.1", 53),), (), 2, 1000)

    def test_the_same_configuration_and_node(self, tmp_path: Path) -> None:
        (tmp_path / "gslb.yaml").write_text("deployment: example")
        assert remembered.recall(start(tmp_path)) is None
        remembered.remember(start(tmp_path), self.ORDERS)
        assert remembered.recall(start(tmp_path)) == self.ORDERS
        assert remembered.recall(start(tmp_path, "iad")) is None
        (tmp_path / "gslb.yaml").write_text("deployment: example2")
        assert remembered.recall(start(tmp_path)) is None
        (tmp_path / "gslb.yaml").unlink()
        assert remembered.recall(start(tmp_path)) is None

    @pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"deployment": "example"})])
    def test_a_damaged_memory_is_none(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "gslb.yaml").write_text("deployment: example")
        remembered.remember(start(tmp_path), self.ORDERS)
        (path,) = (tmp_path / "state" / "starts").glob("*.json")
        path.write_text(content)
        assert remembered.recall(start(tmp_path)) is None

    def test_the_folder_does_not_grow_for_ever(self, tmp_path: Path) -> None:
        for number in range(40):
            (tmp_path / "gslb.yaml").write_text(f"deployment: example{number}")
            remembered.remember(start(tmp_path), self.ORDERS)
        assert len(list((tmp_path / "state" / "starts").iterdir())) <= 16
