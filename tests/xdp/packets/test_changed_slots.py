"""TCP in a slot that changed: whoever is remembered, or stays, is sent to one backend from its SYN on, whatever the limits do."""

from __future__ import annotations

import pytest

from tests.xdp.packets.frames import ether, tcp
from tests.xdp.packets.scene import BACKENDS, VIPS, Scene, all_slots

pytestmark = pytest.mark.root


def carrier(scene: Scene, flags: str, port: int = 50001) -> str:
    """The backend that is given one packet of a flow."""
    packet = tcp("l2", 4, flags, sport=port)
    packet.dst = VIPS["moving/4/tcp"].address
    counts = scene.programs.run(bytes(ether() / packet)).counts
    [name] = [name for name in ("one", "two") if counts.get(f"{name}.packets")]
    return name + (" and counted" if counts.get("NEW_FLOWS_FULL") else "")


@pytest.fixture(autouse=True)
def _changed(scene: Scene) -> None:
    """From one to two."""
    scene.moving(all_slots(BACKENDS["two"].number, BACKENDS["one"].number))


def test_a_new_flow_is_remembered_and_an_older_one_stays(scene: Scene) -> None:
    assert carrier(scene, "S") == "two"
    assert carrier(scene, "A") == "two"
    assert carrier(scene, "A", 50002) == "one"


def test_a_flow_that_cannot_be_remembered_stays_with_the_previous_backend(scene: Scene) -> None:
    scene.settings(new_flows_per_s=0)
    assert carrier(scene, "S") == "one and counted"
    assert carrier(scene, "A") == "one"


def test_a_repeated_syn_goes_where_its_flow_is_remembered_though_the_limit_is_used_up(scene: Scene) -> None:
    assert carrier(scene, "S") == "two"
    scene.settings(new_flows_per_s=0)
    assert carrier(scene, "S") == "two"
    assert carrier(scene, "A") == "two"
