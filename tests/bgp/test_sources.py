"""Where our address and the password of a session come from."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address
from pathlib import Path

import pytest

from bgp.sessions import local_address, password_of, sessions_of
from gslb.model.bgp import Bgp, Neighbor
from tests.namespaces import World

ROUTER = ip_address("127.0.0.9")


def test_from_the_configuration(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("from a file \n")
    neighbors = (
        Neighbor(ROUTER, 1, md5_env="KEY"),
        Neighbor(ROUTER, 1, md5_file=str(secret)),
        Neighbor(ROUTER, 1, local=ip_address("127.0.0.3")),
    )
    found = sessions_of(Bgp("a", 2, IPv4Address("10.0.0.1"), neighbors), {"KEY": "from outside"})
    assert [(str(each.local), each.password) for each in found] == [
        ("127.0.0.1", "from outside"),
        ("127.0.0.1", "from a file "),
        ("127.0.0.3", None),
    ]


def test_a_password_that_is_missing_is_no_session_without_one(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    for neighbor in (
        Neighbor(ROUTER, 1, md5_env="KEY"),
        Neighbor(ROUTER, 1, md5_file=str(tmp_path / "empty")),
        Neighbor(ROUTER, 1, md5_file=str(tmp_path / "nowhere")),
    ):
        with pytest.raises(ValueError, match=r"neighbor 127\.0\.0\.9: "):
            password_of(neighbor, {"KEY": ""})


@pytest.mark.root
def test_the_address_is_that_of_the_way_there(netns: World) -> None:
    here, there = netns.namespace("here"), netns.namespace("there")
    ends = netns.join(here, there, "10.9.0.1/24", "10.9.0.2/24")
    here.add_address(ends[0], "fd09::1/64")
    assert str(here.call(lambda: local_address(ip_address("10.9.0.2")))) == "10.9.0.1"
    assert str(here.call(lambda: local_address(ip_address("fd09::2")))) == "fd09::1"
    with pytest.raises(ValueError, match="expected a route to it"):
        here.call(lambda: local_address(ip_address("192.0.2.1")))
