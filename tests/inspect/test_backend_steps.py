"""The lines for the kernel's own tunnel devices, and ranges, where no kernel is asked."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network

import pytest

from gslb.inspect.backend import Part, Task
from gslb.inspect.backend_doctor import Case, Judged, findings
from gslb.inspect.backend_facts import Device, Facts
from gslb.inspect.backend_steps import Decap, held, silence, stale, steps
from gslb.model.deployment import Forward, Listen, PoolId

LISTEN = (Listen("tcp", 0),)
PARTS = (
    Part(PoolId("a"), ip_address("10.1.0.11"), Forward.GUE, LISTEN, (ip_network("192.0.2.0/25"),)),
    Part(PoolId("b"), ip_address("2001:db8:1::11"), Forward.IPIP, LISTEN, (ip_network("2001:db8:a::10"),)),
)
FACTS = Facts(
    devices={
        "lo": Device("lo", arp=False),
        "eth0": Device("eth0", addresses=(ip_interface("10.1.0.11/24"), ip_interface("2001:db8:1::11/64"))),
    },
    default_devices={4: "eth0", 6: "eth0"},
    mss={},
    modules=frozenset({"sit"}),
)


def test_the_kernels_tunnel_devices() -> None:
    lines = [step.line for step in steps(Task(PARTS), FACTS, "eth0", Decap.KERNEL)]
    assert lines[2:9] == [
        "ip link add name gslb4 type sit mode any local 10.1.0.11 remote any",
        "ip link set gslb4 up",
        "ip link add name gslb6 type ip6tnl mode any local 2001:db8:1::11 remote any",
        "ip link set gslb6 up",
        "ip fou add port 6080 gue",
        "sysctl -w net.ipv4.conf.gslb4.rp_filter=2",
        "sysctl -w net.ipv4.conf.gslb6.rp_filter=2",
    ]
    assert lines[-2:] == ["ip route add local 192.0.2.0/25 dev lo", "ip address add 2001:db8:a::10/128 dev lo nodad"]


def test_segments_leave_room_for_the_outer_headers_of_each_vip() -> None:
    task = Task(PARTS)
    assert task.mss(ip_network("192.0.2.0/25"), 1500) == 1500 - 20 - 8 - 40
    assert task.mss(ip_network("2001:db8:a::10"), 1500) == 1500 - 40 - 60


def test_a_kernel_without_the_device_is_told_apart_from_one_that_lacks_only_the_line() -> None:
    wrong = [one for one in findings(Case(Task(PARTS), FACTS, "eth0", Decap.KERNEL)) if one.judged is Judged.WRONG]
    assert [(one.text, one.mend) for one in wrong if "end" in one.text][:2] == [
        ("no tunnel device ends tunnels to 10.1.0.11", "gslb backend setup --decap kernel"),
        (
            "this kernel has no module ip6_tunnel to end tunnels to 2001:db8:1::11 with",
            "gslb backend setup --decap xdp",
        ),
    ]


@pytest.mark.parametrize("decap", Decap)
def test_doctor_has_its_lines_in_the_order_of_setup(decap: Decap) -> None:
    """Who runs them from the top never has a VIP that the machine is not silent about."""
    task = Task(PARTS)
    mends = [one.mend for one in findings(Case(task, FACTS, "eth0", decap)) if one.judged is Judged.WRONG]
    setup = [step.line for step in steps(task, FACTS, "eth0", decap)]
    told = [line for line in mends if line in setup]
    assert told == [line for line in setup if line in told]
    assert {one.line for one in (*silence(task, FACTS, "eth0"), *(held(FACTS, vip) for vip in task.vips))} <= set(told)
    assert mends.index("ip route add local 192.0.2.0/25 dev lo") > max(
        at for at, line in enumerate(mends) if line.startswith(("sysctl", "gslb backend setup"))
    )


def test_what_nobody_wants_any_more_is_taken_back_the_last_first() -> None:
    recorded = {"a": "undo a", "b": "undo b", "ip route add local 192.0.2.0/25 dev lo": "undo c"}
    assert stale(recorded, steps(Task(PARTS), FACTS, "eth0", Decap.XDP)) == ("undo b", "undo a")
