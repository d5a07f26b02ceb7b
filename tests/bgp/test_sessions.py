"""Sessions of every kind between real ExaBGP and BIRD: MD5, GTSM, passive, inside one AS; and what is said of those that fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.bgp.controlled import Controlled, now
from tests.bgp.lab import OURS, THEIRS, Lab
from tests.bgp.routers import Bird, bird_router, peers
from tests.e2e.lifecycle import wait_until
from tests.namespaces import World

pytestmark = [pytest.mark.root, pytest.mark.slow]

VIPS = {4: "203.0.113.53/32", 6: "2001:db8:53::53/128"}
PASSWORD = "p'q\\u0041#;{ x"
UP_S = 20.0
ALARM_S = 5.0

Site = Callable[..., tuple[Controlled, Bird, Lab]]


@pytest.fixture
def site(netns: World, tmp_path: Path, tool: Callable[[str], str]) -> Iterator[Site]:
    tool("bird")
    with ExitStack() as ends:

        def make(*lines: str, local_as: int = OURS, **session: object) -> tuple[Controlled, Bird, Lab]:
            lab = Lab(netns, "a")
            router = bird_router(lab, tmp_path / "router", peers(lab, 4, 6, lines=lines))
            controlled = Controlled(lab, "a", tmp_path / "exabgp", local_as=local_as, session=session)
            ends.callback(router.stop)
            ends.callback(controlled.close)
            router.start()
            controlled.start()
            return controlled, router, lab

        yield make


def arrives(controlled: Controlled, router: Bird, state: str = "announced") -> None:
    controlled.announce(**dict.fromkeys(VIPS.values(), state))
    wait_until(lambda: all(router.paths(vip) for vip in VIPS.values()), "both prefixes are there", UP_S)


@pytest.mark.parametrize(
    ("lines", "session"),
    [
        pytest.param((f'password "{PASSWORD}";',), {"password": PASSWORD}, id="md5"),
        pytest.param(("ttl security on;",), {"gtsm": True}, id="gtsm"),
        pytest.param(("neighbor port 1790;",), {"passive": True, "port": 1790}, id="passive"),
        pytest.param(("passive on;",), {}, id="active"),
    ],
)
def test_sessions_come_up(site: Site, lines: tuple[str, ...], session: dict[str, object]) -> None:
    controlled, router, _ = site(*lines, **session)
    arrives(controlled, router)
    controlled.announce()
    wait_until(lambda: not any(router.paths(vip) for vip in VIPS.values()), "both are gone")
    text = (controlled.folder / "exabgp.conf").read_text()
    assert (controlled.folder / "exabgp.conf").stat().st_mode & 0o777 == 0o600
    assert PASSWORD not in text + repr(controlled.said)


def test_a_session_inside_the_as(site: Site) -> None:
    controlled, router, _ = site(f"neighbor as {THEIRS};", local_as=THEIRS)
    arrives(controlled, router, "drain")
    for vip in VIPS.values():
        (path,) = router.paths(vip)
        assert (path.as_path, path.local_pref, path.med) == ((), 0, 100)


@pytest.mark.parametrize(
    ("lines", "session", "reason"),
    [
        pytest.param(("neighbor as 65999;",), {}, "notification", id="wrong as"),
        pytest.param(('password "right";',), {"password": "wrong"}, "", id="wrong md5"),
        pytest.param(("disabled;",), {}, "", id="no router"),
    ],
)
def test_a_session_that_fails_is_told_and_not_tried_in_a_loop(
    site: Site, lines: tuple[str, ...], session: dict[str, object], reason: str
) -> None:
    controlled, _, lab = site(*lines, **session)
    at = controlled.wait("Ready").at
    for version in (4, 6):
        controlled.wait("SessionSaid", text=f"{lab.gateway('a', version)}'), up=False", within_s=ALARM_S)
    said = [each.said for each in controlled.said if each.what == "SessionSaid"]
    assert any(reason in each for each in said), said
    assert now() - at < ALARM_S
    assert len(said) < 10
