"""Other people's servers on loopback with the same zone: the judges of the probes.

A probe that none of them passes is a suspect.  What each is known to miss stands in MISSES.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.e2e.probes.dynamic import knot_geoip
from tests.e2e.probes.wire import Target, query
from tests.ports import free_port

ZONE_FILE = Path(__file__).parent.parent / "data" / "acceptance.test.zone"
START_S = 10.0

NSD = """
server:
  ip-address: {address}
  port: {port}
  zonesdir: "{folder}"
  pidfile: "{folder}/nsd.pid"
  xfrdfile: ""
  zonelistfile: "{folder}/zone.list"
  database: ""
  username: ""
  chroot: ""
  logfile: "{folder}/nsd.log"
  server-count: 1
  nsid: "ascii_nsd"
  rrl-ratelimit: 0
remote-control:
  control-enable: no
zone:
  name: acceptance.test
  zonefile: {zone}
"""
KNOT = """
server:
    listen: {address}@{port}
    rundir: {folder}
    nsid: knot
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
    edns-client-subnet: on
database:
    storage: {folder}
mod-geoip:
  - id: subnets
    config-file: {folder}/geoip.conf
    mode: subnet
    ttl: 60
zone:
  - domain: acceptance.test
    file: {zone}
    zonefile-load: whole
    zonefile-sync: -1
    journal-content: none
    module: mod-geoip/subnets
    semantic-checks: off
"""
NAMED = """
options {{
    directory "{folder}";
    pid-file "{folder}/named.pid";
    session-keyfile "{folder}/session.key";
    lock-file none;
    listen-on port {port} {{ {address}; }};
    listen-on-v6 {{ none; }};
    recursion no;
    dnssec-validation no;
    allow-transfer {{ none; }};
    notify no;
    server-id "named";
    minimal-any no;
    minimal-responses yes;
}};
controls {{ }};
zone "acceptance.test" {{ type primary; file "{zone}"; }};
"""

# Known shortcomings of Debian 12's versions, each seen and understood; the probes are right and the server is not.
MISSES: dict[str, dict[str, str]] = {
    "nsd": {
        "22-dig-opcode15-flags": "copies the flags into NOTIMP",
        "77-tc-referral": "leaves glue out without TC (RFC 9471 is younger)",
    },
    "knot": {
        "22-dig-opcode15-flags": "copies the flags into NOTIMP",
        "41-qdcount2": "is silent where RFC 9619 says FORMERR",
        "54-edns-payload-1": "refuses a payload of exactly 1",
        "62-ecs-bad-should-trailing-bits": "takes it",
        "62-ecs-bad-should-trailing-bits-25": "takes it",
        "62-ecs-bad-should-scope-in-query": "takes it",
        "62-ecs-bad-should-too-many-octets": "takes it",
        "62-ecs-bad-leaves-no-trace": "takes trailing bits and scopes",
        "64-ecs-tailored": "a client without a rule has scope 0",
        "64-ecs-nooverlap": "a client without a rule has scope 0",
        "64-ecs-unmatched-scope": "a client without a rule has scope 0",
        "74-dname-yxdomain": "says NXDOMAIN",
        "74-dname-fits": "says NXDOMAIN",
    },
    "named": {
        "52-opcode-notify": "a primary acknowledges any NOTIFY",
        "61-cookie-qdcount0-wrong": "says NOERROR where RFC 7873 section 5.4 says BADCOOKIE",
        "77-tc-referral": "leaves glue out without TC (RFC 9471 is younger)",
    },
}
FEATURES = {
    "nsd": frozenset({"nsid"}),
    "knot": frozenset({"nsid", "ecs", "tailoring"}),
    "named": frozenset({"nsid", "ecs", "keepalive", "cookies"}),
}
COMMANDS: dict[str, tuple[str, str, Callable[[Path], list[str]]]] = {
    "nsd": (NSD, "nsd", lambda config: ["-d", "-c", str(config)]),
    "knot": (KNOT, "knotd", lambda config: ["-c", str(config)]),
    "named": (NAMED, "named", lambda config: ["-f", "-c", str(config), "-n", "1"]),
}


def expanded(text: str) -> str:
    """A master file without BIND's $GENERATE, which NSD and Knot do not read."""

    def lines(match: re.Match[str]) -> str:
        return "\n".join(match[3].replace("$", str(number)) for number in range(int(match[1]), int(match[2]) + 1))

    return re.sub(r"^\$GENERATE (\d+)-(\d+) +(.*)$", lines, text, flags=re.MULTILINE)


def configure(name: str, folder: Path, target: Target) -> Path:
    """Write all that the peer reads into `folder`; its config file."""
    config, zone = folder / f"{name}.conf", folder / "acceptance.test.zone"
    config.write_text(COMMANDS[name][0].format(address=target.address, port=target.port, folder=folder, zone=zone))
    zone.write_text(expanded(ZONE_FILE.read_text()))
    (folder / "geoip.conf").write_text(knot_geoip())
    return config


@contextlib.contextmanager
def serving(name: str, program: str, folder: Path) -> Iterator[Target]:
    """Start the peer, whose daemon is `program`, wait until it answers, stop it at the end."""
    target = Target("127.0.0.1", free_port(), FEATURES[name])
    config = configure(name, folder, target)
    arguments = COMMANDS[name][2]
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen([program, *arguments(config)], stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_until_answering(target, process, folder / "output")
        yield target
    finally:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_answering(target: Target, process: subprocess.Popen[bytes], output: Path) -> None:
    """Ask until an authoritative answer comes; AssertionError when the process ends or time runs out."""
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        assert process.poll() is None, f"ended with {process.returncode}: {output.read_text()}"
        with contextlib.suppress(OSError):
            if target.raw_udp(query("leaf", "A"))[3] & 15 == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"no answer within {START_S} s: {output.read_text()}")
