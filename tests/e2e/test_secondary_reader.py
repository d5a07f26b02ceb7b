"""What `gslb check --dump` prints is a zone to another program: named-checkzone reads it, and nothing is lost."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import dns.name
import dns.rdatatype
import dns.zone
import pytest

from tests.e2e.lifecycle import GSLB
from tests.e2e.probes import dynamic, peers, subnets

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ("example.com", "example.net")


def dump(config: Path, zone: str) -> str:
    """The zone as the program prints it."""
    done = subprocess.run(
        [*GSLB, "check", str(config), "--dump", zone], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def reads(tool: Callable[[str], str], tmp_path: Path) -> Callable[[str, str], dns.zone.Zone]:
    """Let named-checkzone read the text of a zone; the zone as it wrote it out again."""
    checker = tool("named-checkzone")

    def read(zone: str, text: str) -> dns.zone.Zone:
        source, written = tmp_path / "source", tmp_path / "written"
        source.write_text(text)
        done = subprocess.run(
            [checker, "-i", "local", "-o", str(written), zone, str(source)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return dns.zone.from_text(written.read_text(), zone, relativize=False)

    return read


@pytest.mark.parametrize("zone", EXAMPLES)
def test_examples(zone: str, reads: Callable[[str, str], dns.zone.Zone]) -> None:
    """The zones of `make run`."""
    found = reads(zone, dump(ROOT / "gslb.yaml", zone))
    assert found.find_rdataset("www", "A"), "a dynamic record stands there as the addresses of its pools"


def test_acceptance_zone(tmp_path: Path, reads: Callable[[str, str], dns.zone.Zone]) -> None:
    """Every kind of static record comes through unchanged; dynamic ones become addresses."""
    config = tmp_path / "gslb.yaml"
    config.write_text(dynamic.CONFIG.format(listen="[127.0.0.1:5300]", api=8053, workers=1))
    (tmp_path / "acceptance.test.zone").write_text(peers.ZONE_FILE.read_text())
    found = reads("acceptance.test", dump(config, "acceptance.test"))
    origin = dns.name.from_text("acceptance.test.")
    wanted = dns.zone.from_text(peers.ZONE_FILE.read_text(), origin, relativize=False)
    for name, rdataset in wanted.iterate_rdatasets():
        assert found.find_rdataset(name, rdataset.rdtype) == rdataset, (
            f"{name} {dns.rdatatype.to_text(rdataset.rdtype)}"
        )
    extra = {str(name.relativize(origin)) for name in found.nodes} - {
        str(name.relativize(origin)) for name in wanted.nodes
    }
    assert extra == {"geo", "spread", "partial", "*.dyn", "www.deep.dynent"}
    geo = found.find_rdataset(dns.name.from_text("geo", origin), "A")
    assert {rdata.address for rdata in geo} == {answer[0] for answer in (*subnets.RULES.values(), subnets.OTHERS)}
