"""Which interfaces DNS is answered on in the driver, where nobody names them."""

from __future__ import annotations

import pytest

from gslb.control.attachable import Choice, choose, chosen
from gslb.model.deployment import Attach
from xdp.preflight import Nic

NICS = {
    "eth0": Nic("eth0"),
    "eth1": Nic("eth1"),
    "bond0": Nic("bond0", "bond"),
    "eth0.7": Nic("eth0.7", "vlan", parent="eth0"),
    "veth0": Nic("veth0", "veth"),
    "br0": Nic("br0", "bridge"),
    "dummy0": Nic("dummy0", "dummy"),
    "lo": Nic("lo", loopback=True),
}
BRIDGE = "br0 is a bridge, where dns.xdp: auto does not attach; nodes.NODE.interfaces names it"


@pytest.mark.parametrize(
    ("on", "how", "expected"),
    [
        (["eth0"], Attach.AUTO, Choice(("eth0",))),
        (["eth0", "bond0"], Attach.AUTO, Choice(("bond0", "eth0"))),
        (["eth0.7"], Attach.AUTO, Choice(("eth0",))),
        (["br0"], Attach.AUTO, Choice((), (BRIDGE,))),
        (["br0", "eth0"], Attach.AUTO, Choice(("eth0",), (BRIDGE,))),
        (["br0", "veth0"], Attach.NATIVE, Choice(("br0", "veth0"))),
        (["lo"], Attach.AUTO, Choice(("eth1",))),
        (["dummy0", "eth0"], Attach.AUTO, Choice(("eth0", "eth1"))),
        ([""], Attach.GENERIC, Choice(("eth1",))),
    ],
    ids=["one", "two", "vlan", "bridge", "beside", "told", "anycast on lo", "on dummy", "not here yet"],
)
def test_the_choice(on: list[str], how: Attach, expected: Choice) -> None:
    held = {f"192.0.2.{number}": name for number, name in enumerate(on) if name}
    addresses = frozenset(f"192.0.2.{number}" for number, _ in enumerate(on))
    assert chosen(addresses, held, NICS, ("eth1",), how) == expected


def test_what_is_named_is_taken() -> None:
    assert choose(("lo", "eth9"), ["192.0.2.53"], Attach.AUTO) == Choice(("lo", "eth9"))


def test_on_this_machine_loopback_is_never_chosen() -> None:
    assert "lo" not in choose((), ["127.0.0.1"], Attach.AUTO).interfaces
