"""`gslb geo` from the command line to the words on the screen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gslb.cli.main import main
from tests.geo.worlds import flat, maxmind, write

CONFIG = """
deployment: test
datacenters:
  fra: {at: [50.11, 8.68], continent: EU}
  iad: {at: [38.95, -77.45], continent: NA}
geo: {databases: [DATABASES]}
pools:
  web-fra: {datacenter: fra, answers: [192.0.2.10, "2001:db8:1::10"]}
  web-iad: {datacenter: iad, answers: [198.51.100.10]}
policies:
  web:
    rules:
      - {subnets: [10.20.0.0/16], pools: [web-fra]}
      - {pools: nearest, of: [web-fra, web-iad]}
dns: {listen: ["127.0.0.1:5399"]}
zones: [example.com.yaml]
"""
ZONE = """
'':
  - {type: SOA, ttl: 60, value: {mname: ns1.example.com., rname: hostmaster.example.com., serial: 1, minimum: 30}}
  - {type: NS, ttl: 60, values: [ns1.example.com.]}
ns1: {type: A, ttl: 60, value: 127.0.0.1}
www: {policy: web, ttl: 60, types: [A, AAAA]}
"""


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """The options that name a deployment with two databases."""
    four = write(tmp_path / "four.mmdb", {"203.0.113.0/24": flat("iad", "Virginia"), "198.51.100.0/25": flat("fra")})
    six = write(tmp_path / "six.mmdb", {"2001:db8::/32": maxmind("fra")}, 6)
    return deployed(tmp_path, f"{four}, {six}")


def deployed(folder: Path, databases: str) -> list[str]:
    """Write a deployment and give the options that name it."""
    (folder / "gslb.yaml").write_text(CONFIG.replace("DATABASES", databases))
    (folder / "example.com.yaml").write_text(ZONE)
    return ["--config", str(folder / "gslb.yaml"), "--state", str(folder / "state")]


def test_in_words(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["geo", "203.0.113.9", *options]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "203.0.113.9/32",
        "  four.mmdb: 203.0.113.0/24 is iad NA-US-VA (38.9500, -77.4500)",
        "  location class 2 of 3, scope /24 (203.0.113.0/24)",
        "  policy web: rule 2 (every client: nearest)",
        "    A     web-iad (0 km), web-fra (6,553 km)",
        "    AAAA  web-fra (6,553 km)",
    ]
    assert main(["geo", "2002:cb00:7109::1", *options]) == 0
    said = capsys.readouterr().out
    assert "class 2 of 3, scope /40 (2002:cb00:7100::/40), looked up by the IPv4 address inside" in said
    assert main(["geo", "192.0.2.1", *options]) == 0
    assert "  no database row\n  location class 0 of 3" in capsys.readouterr().out


def test_a_subnet_with_several_classes_says_so(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["geo", "203.0.112.0/20", *options]) == 0
    assert (
        "note: addresses of 203.0.112.0/20 are not all treated alike: this is 203.0.112.0/24" in capsys.readouterr().out
    )


def test_as_json(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["geo", "2001:db8::1", "--json", *options]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["databases"][0]["network"] == "2001:db8::/32"
    assert said["databases"][0]["city"] == "fra"
    assert (said["class"], said["classes"], said["scope"]) == (0, 3, 15)
    [web] = said["policies"]
    assert [each["pool"] for each in web["A"]] == ["web-fra", "web-iad"]
    assert web["A"][0]["km"] == pytest.approx(0, abs=0.01)


def test_without_a_database(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["geo", "203.0.113.9", *deployed(tmp_path, str(tmp_path / "absent.mmdb"))]) == 0
    said = capsys.readouterr().out
    assert "location class 0 of 2" in said
    assert "A     web-fra, web-iad\n" in said
    assert f"note: no geo database at {tmp_path / 'absent.mmdb'}" in said
    assert "note: no geo database: every client has the configured order" in said


def test_a_broken_database_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.mmdb"
    broken.write_text("not a database")
    assert main(["geo", "203.0.113.9", *deployed(tmp_path, str(broken))]) == 1
    assert capsys.readouterr().err.startswith(f"gslb: geo database {broken}: not a MaxMind DB")


def test_no_address(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["geo", "example.com", *options])
    assert "'example.com' is no address and no subnet" in capsys.readouterr().err
