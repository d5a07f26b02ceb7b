"""The systemd unit and its drop-ins: systemd accepts them, and the rights are those that the processes use."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gslb.control import balancerchild, privilege
from gslb.control.supervise import STOP_WITHIN_S
from gslb.control.wanted import MOVE_S, WITHDRAW_S
from xdp import preflight

PACKAGING = Path(__file__).resolve().parent.parent / "packaging"
UNIT = (PACKAGING / "gslb.service").read_text()
DROP_IN = (PACKAGING / "gslb-balancer.conf").read_text()
BGP = (PACKAGING / "gslb-bgp.conf").read_text()
NUMBERS = {
    name: value for home in (privilege, preflight) for name, value in vars(home).items() if name.startswith("CAP_")
}


def last(text: str, key: str) -> list[str]:
    """The words of the last line of a key: one that is empty before it forgets what the unit said."""
    lines = re.findall(rf"^{key}=(.*)$", text, re.M)
    assert "" in lines or text is UNIT
    return str(lines[-1]).split()


@pytest.mark.parametrize("key", ["AmbientCapabilities", "CapabilityBoundingSet"])
def test_a_balancer_is_given_what_it_uses_and_no_more(key: str) -> None:
    given = {NUMBERS[name] for name in last(DROP_IN, key)}
    used = {privilege.CAP_NET_BIND_SERVICE, privilege.CAP_NET_RAW, *privilege.BALANCER} - {privilege.CAP_SYS_ADMIN}
    assert given == used
    rights = sum(1 << number for number in given)
    assert preflight.refusal(preflight.Machine(capabilities=rights)) is None
    assert last(UNIT, key) == ["CAP_NET_BIND_SERVICE"]


def test_each_right_is_needed() -> None:
    for number in privilege.BALANCER - {privilege.CAP_SYS_ADMIN}:
        rights = sum(1 << each for each in privilege.BALANCER - {privilege.CAP_SYS_ADMIN, number})
        assert preflight.refusal(preflight.Machine(capabilities=rights)) is not None


def test_the_folder_in_bpffs_is_that_of_the_pins() -> None:
    assert f"mkdir -p -m 0700 {preflight.BPFFS}/gslb;" in DROP_IN
    assert f"ReadWritePaths={preflight.BPFFS}\n" in DROP_IN
    assert "AF_NETLINK" in last(UNIT, "RestrictAddressFamilies")
    assert "bpf" in DROP_IN.rpartition("SystemCallFilter=")[2].split()


@pytest.mark.parametrize("key", ["AmbientCapabilities", "CapabilityBoundingSet"])
def test_bgp_adds_one_right_to_whatever_is_given(key: str) -> None:
    """Without an empty line before it, so that it stands beside the balancer's drop-in."""
    assert re.findall(rf"^{key}=(.*)$", BGP, re.M) == ["CAP_NET_ADMIN"]


def test_systemd_waits_for_routes_to_leave() -> None:
    rest_s = STOP_WITHIN_S + balancerchild.STOP_WITHIN_S
    assert int(last(UNIT, "TimeoutStopSec")[0]) > rest_s
    (given,) = re.findall(r"^TimeoutStopSec=(\d+)$", BGP, re.M)
    assert int(given) > MOVE_S + WITHDRAW_S + rest_s
    assert f"at most {MOVE_S + WITHDRAW_S:.0f} s" in BGP
    assert last(UNIT, "KillMode") == ["process"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("mistake", ["", "AmbientCapability=CAP_BPF"])
def test_systemd_takes_them(tmp_path: Path, mistake: str) -> None:
    """The unit as it is but for its program, which is not installed here; a mistake in the drop-in is seen."""
    unit, folder = tmp_path / "gslb.service", tmp_path / "gslb.service.d"
    unit.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", UNIT, flags=re.M))
    folder.mkdir()
    (folder / "balancer.conf").write_text(f"{DROP_IN}{mistake}\n")
    (folder / "bgp.conf").write_text(BGP)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ("AmbientCapability" in done.stderr) == bool(mistake), done.stderr
    if not mistake:
        assert (done.returncode, done.stderr) == (0, "")
