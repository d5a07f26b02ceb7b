"""What a balancer's process does with what is wanted, over a kernel made of files."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from gslb.model.deployment import Attach, Forward, SiteId
from gslb.model.plan import BackendPlan, BalancerTable, Vip
from tests.xdp.fakekernel import ABSENT, GENERIC, TAKEN, fake_parts
from xdp.driver import RETRY_S, SOON_S, Driver
from xdp.messages import Attached, DnsState, DnsWant, Interface, Probe, Want

TABLE = BalancerTable(SiteId("fra"), (Vip("192.0.2.10/32", 6, 80),), (BackendPlan("10.1.0.11", 1, Forward.L2),))
WANT = Want(1, "example", 7, ("eth0",), Attach.AUTO, "00" * 16, "198.18.0.0/15", "100::/64", 300.0, {"web": TABLE})

MARK = 0x67000001
PROBING = replace(WANT, probes=(Probe(MARK, "web", "10.1.0.11"),))


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def driver(kernel: Path) -> Driver:
    return Driver(partial(fake_parts, kernel))


def links(kernel: Path) -> set[str]:
    return {one.name for one in (kernel / "pins" / "links").iterdir()}


def test_tables_and_interfaces_come_in_force_and_are_told(driver: Driver, kernel: Path) -> None:
    driver.want(WANT, 0.0)
    state = driver.state
    assert (state.serial, state.version, state.refused, state.adopted, state.problems) == (1, 7, "", False, ())
    assert state.interfaces == (Interface("eth0", Attached.NATIVE),)
    assert state.tables.keys() == {"web"}
    assert links(kernel) == {"eth0"}
    assert (kernel / "pins" / "taken").exists()
    pulse = driver.pulse()
    assert pulse is not None
    assert pulse.vips["web"]["192.0.2.10 tcp/80"].packets == 1


def test_a_second_driver_adopts_and_drops_interfaces_that_are_not_wanted(driver: Driver, kernel: Path) -> None:
    driver.want(replace(WANT, interfaces=("eth0", "eth1")), 0.0)
    driver.close()
    assert links(kernel) == {"eth0", "eth1"}
    second = Driver(partial(fake_parts, kernel))
    second.tick(1.0)
    assert second.state.adopted
    assert second.state.version == 7, "so that a node which lost its files numbers its plans above it"
    assert links(kernel) == {"eth0", "eth1"}, "nothing is taken away before anything is wanted"
    second.want(WANT, 2.0)
    assert links(kernel) == {"eth0"}


def test_an_interface_stays_attached_until_those_that_take_its_place_are(driver: Driver, kernel: Path) -> None:
    driver.want(WANT, 0.0)
    driver.want(replace(WANT, serial=2, interfaces=(ABSENT,)), 1.0)
    assert links(kernel) == {"eth0"}, "a name that was mistyped takes no traffic away"
    assert {one.name: one.attached for one in driver.state.interfaces} == {
        ABSENT: Attached.NOT,
        "eth0": Attached.NATIVE,
    }
    driver.want(replace(WANT, serial=3, interfaces=()), 2.0)
    assert links(kernel) == {"eth0"}, "a default route that is lost takes no traffic away"
    (kernel / "pins" / "links" / "eth0").unlink()
    driver.tick(2.0 + RETRY_S)
    assert not driver.state.interfaces, "an interface that is gone is not told of"
    driver.want(replace(WANT, serial=4, interfaces=("eth1",)), 20.0)
    assert links(kernel) == {"eth1"}
    assert driver.state.interfaces == (Interface("eth1", Attached.NATIVE),)


def test_what_somebody_took_out_of_the_kernel_is_put_in_force_anew(driver: Driver, kernel: Path) -> None:
    driver.want(PROBING, 0.0)
    shutil.rmtree(kernel / "pins")
    driver.tick(1.0)
    state = driver.state
    assert (state.serial, state.version, state.refused, state.adopted, state.problems) == (1, 7, "", False, ())
    assert links(kernel) == {"eth0"}
    assert state.probes == (MARK,)
    assert (kernel / "pins" / "taken").exists()


def test_what_is_refused_is_told_and_tried_again(driver: Driver, kernel: Path) -> None:
    (kernel / "refuse").touch()
    driver.want(WANT, 0.0)
    assert driver.state.refused == "no such kernel here; apt-get install one"
    assert driver.state.serial == 1
    assert driver.pulse() is None
    (kernel / "refuse").unlink()
    driver.tick(RETRY_S - 1)
    assert driver.state.refused
    driver.tick(RETRY_S)
    assert driver.state.refused == ""
    assert driver.state.version == 7


def test_an_older_version_changes_nothing(driver: Driver, kernel: Path) -> None:
    driver.want(WANT, 0.0)
    driver.want(replace(WANT, serial=2, version=6, tables={}), 1.0)
    state = driver.state
    assert (state.serial, state.version) == (2, 7)
    assert state.tables.keys() == {"web"}
    assert "version 6 is older than 7" in state.problems[0]
    driver.want(replace(WANT, serial=3, version=8), 2.0)
    assert driver.state.problems == ()
    assert links(kernel) == {"eth0"}


def test_nothing_is_attached_before_the_tables_are_filled(driver: Driver, kernel: Path) -> None:
    driver.tick(0.0)
    (kernel / "pins" / "tables").write_text('{"version": 9}')
    driver.want(WANT, 1.0)
    assert driver.state.problems
    assert links(kernel) == set()


def test_an_interface_without_native_mode_is_told(driver: Driver) -> None:
    driver.want(replace(WANT, interfaces=("eth0", GENERIC)), 0.0)
    modes = {one.name: one.attached for one in driver.state.interfaces}
    assert modes == {"eth0": Attached.NATIVE, GENERIC: Attached.GENERIC}


def test_an_interface_that_comes_later_is_attached(
    driver: Driver, kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.want(replace(WANT, interfaces=(ABSENT,)), 0.0)
    assert driver.state.interfaces == (Interface(ABSENT, Attached.NOT, "there is no such interface", "ip link"),)
    monkeypatch.setattr("tests.xdp.fakekernel.ABSENT", "")
    driver.tick(RETRY_S)
    assert links(kernel) == {ABSENT}
    assert driver.state.interfaces[0].attached is Attached.NATIVE


def test_an_interface_that_another_lets_go_is_attached_soon(driver: Driver, kernel: Path) -> None:
    (kernel / "theirs").touch()
    driver.want(replace(WANT, interfaces=(TAKEN,)), 0.0)
    assert [one.attached for one in driver.state.interfaces] == [Attached.NOT]
    (kernel / "theirs").unlink()
    driver.tick(SOON_S)
    assert [one.attached for one in driver.state.interfaces] == [Attached.NATIVE]


def test_an_interface_that_lost_its_program_has_it_again(driver: Driver, kernel: Path) -> None:
    driver.want(WANT, 0.0)
    (kernel / "pins" / "links" / "eth0").unlink()
    driver.tick(RETRY_S)
    assert links(kernel) == {"eth0"}


def test_another_mode_is_attached_anew(driver: Driver) -> None:
    driver.want(WANT, 0.0)
    driver.want(replace(WANT, serial=2, attach=Attach.GENERIC), 1.0)
    assert driver.state.interfaces[0].attached is Attached.GENERIC


def test_probes_leave_by_the_interfaces(driver: Driver, kernel: Path) -> None:
    driver.want(PROBING, 0.0)
    assert (kernel / "pins" / "probe-eth0").exists()
    assert driver.state.probes == (MARK,)


def test_no_mark_is_told_while_an_interface_lets_probes_pass(driver: Driver, kernel: Path) -> None:
    (kernel / "unprobed").touch()
    driver.want(PROBING, 0.0)
    assert driver.state.probes == ()
    assert driver.state.problems == ("checks to VIPs cannot leave by eth0: [Errno 2] clsact is not in this kernel",)
    (kernel / "unprobed").unlink()
    driver.tick(RETRY_S)
    assert list(driver.state.probes) == [MARK]
    assert not driver.state.problems
    driver.want(replace(PROBING, serial=2, interfaces=("eth0", ABSENT)), RETRY_S)
    assert driver.state.probes == (), "a route may lead them out there"


def test_an_interface_that_is_made_anew_has_the_filter_for_probes_again(driver: Driver, kernel: Path) -> None:
    driver.want(PROBING, 0.0)
    for name in ("links/eth0", "probe-eth0"):
        (kernel / "pins" / name).unlink()
    driver.tick(RETRY_S)
    assert (kernel / "pins" / "probe-eth0").exists()


def test_no_mark_is_told_of_a_balancer_that_is_refused(driver: Driver, kernel: Path) -> None:
    (kernel / "refuse").touch()
    driver.want(PROBING, 0.0)
    assert driver.state.probes == ()


def test_removing_leaves_nothing_also_of_an_earlier_process(driver: Driver, kernel: Path) -> None:
    driver.want(WANT, 0.0)
    driver.close()
    Driver(partial(fake_parts, kernel)).remove()
    assert not (kernel / "pins").exists()


def test_dns_is_answered_beside_the_balancer_and_on_interfaces_of_its_own(driver: Driver, kernel: Path) -> None:
    dns = DnsWant(None, (("192.0.2.53", 53),), ("eth0", "eth1"), Attach.NATIVE)
    driver.want(replace(WANT, attach=Attach.GENERIC, dns=dns), 0.0)
    state = driver.state
    assert state.dns == DnsState(version=7, addresses=1)
    assert state.interfaces == (Interface("eth0", Attached.GENERIC), Interface("eth1", Attached.NATIVE))
    pulse = driver.pulse()
    assert pulse is not None
    assert len(pulse.dns) == 1
    driver.want(replace(WANT, serial=2), 1.0)
    assert driver.state.dns is None
    assert driver.state.interfaces == (Interface("eth0", Attached.NATIVE),), "how changed as well"
    assert links(kernel) == {"eth0"}


def test_dns_alone_needs_no_table(driver: Driver, kernel: Path) -> None:
    dns = DnsWant(None, (("192.0.2.53", 53),), ("eth1",), Attach.AUTO)
    driver.want(replace(WANT, interfaces=(), tables={}, dns=dns), 0.0)
    assert driver.state.dns == DnsState(version=7, addresses=1)
    assert links(kernel) == {"eth1"}


def test_where_dns_is_refused_the_balancer_goes_on(driver: Driver, kernel: Path) -> None:
    (kernel / "refuse-dns").touch()
    driver.want(replace(WANT, dns=DnsWant(None, (), ("eth0",), Attach.AUTO)), 0.0)
    assert driver.state.refused == ""
    assert driver.state.dns == DnsState(refused="the verifier does not like it")
    assert driver.state.tables.keys() == {"web"}
    (kernel / "refuse-dns").unlink()
    driver.tick(RETRY_S)
    assert driver.state.dns == DnsState(version=7)


def test_what_refuses_all_refuses_dns(driver: Driver, kernel: Path) -> None:
    (kernel / "refuse").touch()
    driver.want(replace(WANT, dns=DnsWant(None, (), (), Attach.AUTO)), 0.0)
    assert driver.state.dns == DnsState(refused="no such kernel here; apt-get install one")
