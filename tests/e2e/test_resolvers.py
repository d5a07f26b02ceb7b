"""Real resolvers cache our tailored answers by scope and give each client network its own (RFC 7871 section 7.3)."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e import resolvers
from tests.e2e.probes import peers
from tests.e2e.program import Program, acceptance
from tests.namespaces import World

pytestmark = [pytest.mark.root, pytest.mark.slow]

QUIET_S = 0.5  # a worker shows its counters 0.2 s after the last query
ONE, TWO, THREE, OTHER = ["203.0.113.1"], ["203.0.113.2"], ["203.0.113.3"], ["203.0.113.9"]


@dataclass
class Counted:
    """What reached the server, by its own counter."""

    program: Program

    def queries(self) -> int:
        """Queries so far: the counter once it has been still for QUIET_S, since workers show theirs some time after."""
        shown, since = self._shown(), time.monotonic()
        until = since + 10
        while time.monotonic() < since + QUIET_S:
            assert time.monotonic() < until, "the counter never rests"
            if (now := self._shown()) != shown:
                shown, since = now, time.monotonic()
        return shown

    def _shown(self) -> int:
        return int(self.program.status()["queries"])


@dataclass
class Scene:
    """A resolver before a server of ours."""

    resolver: resolvers.Resolver
    counted: Counted


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, str], Scene]]:
    """Make the scene of a resolver (its name and path) once, whatever the order of the tests; all end together."""
    made: dict[str, Scene] = {}
    with World() as world, contextlib.ExitStack() as stack:

        def scene_of(name: str, path: str) -> Scene:
            if name not in made:
                folders = [tmp_path_factory.mktemp(folder) for folder in ("server", "resolver")]
                server, host = resolvers.two_hosts(world, name)
                program = stack.enter_context(acceptance(folders[0], resolvers.TARGET, server, workers=1))
                made[name] = Scene(resolvers.start(host, name, path, folders[1]), Counted(program))
            return made[name]

        yield scene_of


@pytest.fixture(params=sorted(resolvers.CONFIGS))
def scene(request: pytest.FixtureRequest, tool: Callable[[str], str], scenes: Callable[[str, str], Scene]) -> Scene:
    """One resolver and then the other; each test asks names of its own, so that no cache is warm for it."""
    return scenes(request.param, tool(request.param))


def test_scopes_in_a_resolvers_cache(scene: Scene) -> None:
    """Two networks get different answers; a third client inside the scope of the first is answered from cache."""
    ask, queries = scene.resolver.ask, scene.counted.queries
    assert ask("scopes.dyn", "192.0.2.77") == ONE
    assert ask("scopes.dyn", "198.51.100.7") == THREE
    before = queries()
    assert ask("scopes.dyn", "192.0.2.200") == ONE
    assert ask("scopes.dyn", "198.51.100.99") == THREE
    assert queries() == before, "inside a known scope nothing is asked"
    assert ask("scopes.dyn", "198.51.7.7") == TWO
    assert queries() > before, "outside it something is"


def test_a_client_without_a_rule_does_not_poison_the_others(scene: Scene) -> None:
    """Whoever comes first: its scope is never 0 beside longer ones."""
    ask, queries = scene.resolver.ask, scene.counted.queries
    for name, clients in (
        ("first.dyn", {"203.0.113.5": OTHER, "192.0.2.77": ONE, "198.51.100.7": THREE, "198.51.7.7": TWO}),
        (
            "last.dyn",
            {"192.0.2.77": ONE, "203.0.113.5": OTHER, "198.51.7.7": TWO, "10.9.8.7": OTHER, "198.51.100.7": THREE},
        ),
    ):
        for _ in range(2):
            for client, answer in clients.items():
                assert ask(name, client) == answer, f"{name} asked by {client}"
    before = queries()
    assert ask("first.dyn", "203.0.113.200") == OTHER
    assert queries() == before, "a client without a rule is answered from cache too"


def test_ipv6_clients(scene: Scene) -> None:
    """The same over IPv6, beside IPv4 clients of the same name."""
    ask, queries = scene.resolver.ask, scene.counted.queries
    assert ask("six.dyn", "2001:db8:c::1") == OTHER
    assert ask("six.dyn", "2001:db8:a::1") == ONE
    assert ask("six.dyn", "2001:db8:b::1") == TWO
    assert ask("six.dyn", "198.51.100.7") == THREE
    before = queries()
    assert ask("six.dyn", "2001:db8:a::2") == ONE
    assert queries() == before


def test_members_of_a_pool(scene: Scene) -> None:
    """A sticky choice among several addresses is cached by client network and stays."""
    first = {client: scene.resolver.ask("spread", client) for client in ("100.64.1.1", "100.64.2.1", "100.64.3.1")}
    for client, answer in first.items():
        assert len(answer) == 2
        assert sorted(scene.resolver.ask("spread", client[:-1] + "99")) == sorted(answer)


def test_an_alias_of_a_dynamic_name(scene: Scene) -> None:
    """The chain is cached under the scope of its tailored end."""
    for client, answer in {"192.0.2.77": ONE, "203.0.113.5": OTHER, "198.51.7.7": TWO, "192.0.2.78": ONE}.items():
        assert scene.resolver.ask("geochain", client)[-1:] == answer


def test_these_tests_would_see_the_harm(netns: World, tool: Callable[[str], str], tmp_path: Path) -> None:
    """Knot's geoip module gives clients without a rule scope 0; one such client then spoils the cache of unbound."""
    path, knot = tool("unbound"), tool("knotd")
    server, host = resolvers.two_hosts(netns, "knot")
    for name in ("server", "resolver"):
        (tmp_path / name).mkdir()
    config = peers.configure("knot", tmp_path / "server", resolvers.TARGET)
    server.start(knot, "-c", str(config), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ask = resolvers.start(host, "unbound", path, tmp_path / "resolver").ask
    assert ask("geo", "192.0.2.77") == ONE
    assert ask("geo", "203.0.113.5") == OTHER
    assert ask("geo", "192.0.2.77") == OTHER, "the first client, which has a rule, is now told what the second was"
