from __future__ import annotations

from pathlib import Path

from gslb.control.uplink import uplinks

HEAD = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
NONE = "00000000000000000000000000000000"


def net(folder: Path, route: str, ipv6_route: str = "") -> Path:
    (folder / "route").write_text(HEAD + route)
    (folder / "ipv6_route").write_text(ipv6_route)
    return folder


def test_the_default_route_of_least_metric(tmp_path: Path) -> None:
    routes = (
        "eth1 00000000 010200C0 0003 0 0 200 00000000 0 0 0\n"
        "eth0 00000000 010200C0 0003 0 0 100 00000000 0 0 0\n"
        "eth2 000200C0 00000000 0001 0 0 0 00FFFFFF 0 0 0\n"
    )
    assert uplinks(net(tmp_path, routes)) == ("eth0",)


def test_ipv6_may_leave_elsewhere(tmp_path: Path) -> None:
    via = "fd000000000000000000000000000001"
    routes6 = (
        f"{NONE} 00 {NONE} 00 {via} 00000400 00000003 00000000 00000003 eth1\n"
        f"{NONE} 00 {NONE} 00 {NONE} ffffffff 00000001 00000000 00200200 lo\n"
        f"fe800000000000000000000000000000 40 {NONE} 00 {NONE} 00000100 00000002 00000000 00000001 eth0\n"
    )
    routes = "eth0 00000000 010200C0 0003 0 0 0 00000000 0 0 0\n"
    assert uplinks(net(tmp_path, routes, routes6)) == ("eth0", "eth1")
    assert uplinks(net(tmp_path, "", routes6)) == ("eth1",)


def test_no_default_route_and_no_ipv6(tmp_path: Path) -> None:
    folder = net(tmp_path, "eth0 00000000 00000000 0201 0 0 0 00000000 0 0 0\n")
    (folder / "ipv6_route").unlink()
    assert uplinks(folder) == ()
