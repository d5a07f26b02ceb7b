"""Whatever stands in the files: `load` returns or raises Refused, in bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.config.keys import KEYS
from gslb.config.load import load
from gslb.config.problem import MAX_PROBLEMS, Refused

GOOD = Path(__file__).parent / "good"
CONFIG = (GOOD / "full.yaml").read_bytes()
MASTER = (GOOD / "zones" / "example.net.zone").read_bytes() + b'$GENERATE 1-3 h$ A 192.0.2.$\nt TXT "a" ( b\n c )\n'
YAML = (
    (Path(__file__).parent.parent.parent / "zones" / "example.com.yaml")
    .read_bytes()
    .replace(b"policy: app", b"policy: spare")
)
BOUND_S = 20.0  # generous: what is feared is minutes or for ever

# Words that mean something in one place, put in another.
WORDS = st.sampled_from(
    [
        b"*", b"&a ", b"*a", b"[", b"]", b"{", b"}", b": ", b"- ", b"\n", b"\t", b"#", b"'", b'"', b"!!int ", b"<<", b"~", b"\0",
        b"\xff", b"%", b"-1", b"0", b"1e999", b"99999999999999999999", b"NO", b"nearest", b"auto", b"::/0", b"0.0.0.0/0", b"$INCLUDE ",
        b"$GENERATE 1-99999999 a$ A 192.0.2.1\n", b"$ORIGIN .\n", b"$TTL ", b"(", b")", b";", b"\\", b"\\# 2 00", b"policy: web",
        b"65535:0", b"1:2:3", b"hold", b"withdraw", b"192.0.2.53/32", b"10.0.1.1", b"fe80::1", b"0s",
        "é".encode(), "\u2028".encode(), b"TYPE0", b"IN", b"CH", b"SOA", b"zones/..", b"4294967296", b".", b"..", b"@",
    ]
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, sound: bytes) -> bytes:
    """The sound octets with a few cuts, repeats and foreign words."""
    data = sound
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 20))
        match draw(st.integers(0, 2)):
            case 0:
                data = data[:at] + data[at + length :]
            case 1:
                data = data[:at] + draw(WORDS) + data[at + length :]
            case _:
                data = data[:at] + data[at : at + length] * draw(st.integers(2, 4)) + data[at + length :]
    return data


@pytest.fixture(scope="module")
def loads(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bytes, bytes, bytes], None]:
    """Load a configuration of the three files."""
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "zones").mkdir()
    (folder / "zones" / "mail.inc").write_bytes((GOOD / "zones" / "mail.inc").read_bytes())

    def attempt(config: bytes, master: bytes, yaml: bytes) -> None:
        (folder / "full.yaml").write_bytes(config)
        (folder / "zones" / "example.net.zone").write_bytes(master)
        (folder / "zones" / "example.com.yaml").write_bytes(yaml)
        started = time.monotonic()
        try:
            loaded = load(folder / "full.yaml")
        except Refused as refused:
            problems = refused.problems
        else:
            problems = loaded.warnings
            assert loaded.deployment.name
        assert len(problems) <= MAX_PROBLEMS + 1
        assert all(str(problem).isprintable() for problem in problems), "a message must not drive the terminal"
        assert time.monotonic() - started < BOUND_S

    return attempt


@given(damaged(CONFIG))
def test_damaged_configuration(loads: Callable[[bytes, bytes, bytes], None], config: bytes) -> None:
    loads(config, MASTER, YAML)


@given(damaged(MASTER), damaged(YAML))
def test_damaged_zones(loads: Callable[[bytes, bytes, bytes], None], master: bytes, yaml: bytes) -> None:
    loads(CONFIG, master, yaml)


@given(st.binary(max_size=400), st.binary(max_size=400), st.binary(max_size=400))
def test_noise(loads: Callable[[bytes, bytes, bytes], None], config: bytes, master: bytes, yaml: bytes) -> None:
    loads(config, master, yaml)
    loads(CONFIG, master, yaml)


YAML_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["web", "fra", "80%", "5s"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "of", "from", "v4"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([
    "deployment", "nodes", "datacenters", "geo", "monitors", "pools", "policies", "anycast", "bgp", "healthcheck", "limits",
    "dns", "bus", "api", "records",
]), YAML_VALUES))  # fmt: skip
def test_values_of_other_shapes(loads: Callable[[bytes, bytes, bytes], None], document: dict[str, object]) -> None:
    """Every section given something that is no such section."""
    import json

    loads(json.dumps(document).encode(), MASTER, YAML)


SPEAKER_VALUES = st.sampled_from(
    [
        "10.0.1.1", "2001:db8::1", "fe80::1", "192.0.2.53/32", "0.0.0.0/0", "::/0", "2001:db8::/128", "65535:0", "1:2:3", "30s", "5s", "0s", "1h",
        "dns", "pools", "hold", "drain", "withdraw", "web-fra", "web-iad", "/run/bird.ctl", "fra1", 0, 1, 2, 1000, 65001, 2**32, True, None,
    ]
)  # fmt: skip


def keyed(holder: str, below: dict[str, st.SearchStrategy[object]]) -> st.SearchStrategy[dict[str, object]]:
    """A mapping with some of the keys that the configuration has under `holder`, each a value, a list, or what `below` has for it."""
    names = {key.name for key in KEYS if key.path == f"{holder}.{key.name}"}
    values = SPEAKER_VALUES | st.lists(SPEAKER_VALUES, max_size=3)
    return st.fixed_dictionaries({}, optional={name: below.get(name, values) for name in sorted(names)})


NEIGHBOR = "bgp.*.neighbors[]"
NEIGHBORS = st.lists(
    keyed(NEIGHBOR, {name: keyed(f"{NEIGHBOR}.{name}", {}) for name in ("announce", "drain", "look")}).map(
        lambda neighbor: {"address": "10.0.1.1", "as": 65001, **neighbor}
    ),
    max_size=3,
)
SPEAKERS = keyed("bgp.*", {"neighbors": NEIGHBORS}).map(
    lambda speaker: {"local_as": 64512, "router_id": "10.0.1.2", **speaker}
)
PREFIXES = keyed("anycast.*", {}).map(
    lambda anycast: {"prefixes": ["192.0.2.53/32"], "announce_when": ["dns"], **anycast}
)


@given(
    st.dictionaries(st.sampled_from(["a", "b", "c"]), PREFIXES, max_size=3),
    st.dictionaries(st.sampled_from(["fra", "fra1", "fra2", "iad", "sfo"]), SPEAKERS, max_size=3),
)
def test_anycast_and_speakers(
    loads: Callable[[bytes, bytes, bytes], None], anycast: dict[str, object], bgp: dict[str, object]
) -> None:
    """Whatever their keys have, most of it well-formed, so that it is the rules that are met."""
    import json

    begin, end = CONFIG.index(b"anycast:"), CONFIG.index(b"healthcheck:")
    sections = b"".join(
        b"%s: %s\n" % (name, json.dumps(value).encode()) for name, value in ((b"anycast", anycast), (b"bgp", bgp))
    )
    loads(CONFIG[:begin] + sections + CONFIG[end:], MASTER, YAML)


def section_variants() -> list[bytes]:
    """The full configuration with each line left out in turn."""
    lines = CONFIG.splitlines(keepends=True)
    return [b"".join(lines[:at] + lines[at + 1 :]) for at in range(len(lines))]


@pytest.mark.parametrize("config", section_variants(), ids=[str(at) for at in range(len(section_variants()))])
def test_each_line_left_out(loads: Callable[[bytes, bytes, bytes], None], config: bytes) -> None:
    loads(config, MASTER, YAML)


def test_the_undamaged_files_are_fine(tmp_path: Path) -> None:
    """Or all of the above would only ever see refusals."""
    (tmp_path / "zones").mkdir()
    (tmp_path / "zones" / "mail.inc").write_bytes((GOOD / "zones" / "mail.inc").read_bytes())
    (tmp_path / "zones" / "example.net.zone").write_bytes(MASTER)
    (tmp_path / "zones" / "example.com.yaml").write_bytes(YAML)
    (tmp_path / "full.yaml").write_bytes(CONFIG)
    assert len(load(tmp_path / "full.yaml").zones) == 2
