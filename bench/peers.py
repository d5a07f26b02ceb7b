"""The servers of the DNS bench and their configurations, all saying the same: www.example.com is at one of five sites.

Servers which know geography look the client up in the same city database (IPv4); the others answer one static address.
Each serves on one core with one thread or process for UDP.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.citydb import SITES

NAMES = {"EU": "fra", "NA": "iad", "AS": "sin", "OC": "syd", "SA": "gru"}
ANSWERS = {"EU": "192.0.2.10", "NA": "198.51.100.10", "AS": "203.0.113.10", "OC": "203.0.113.20", "SA": "203.0.113.30"}
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
ZONE = """\
$ORIGIN example.com.
@ 3600 SOA ns1 hostmaster 1 3600 900 604800 60
@ 3600 NS ns1
ns1 3600 A {address}
static 60 A 192.0.2.80
"""


@dataclass(frozen=True)
class Setup:
    """Where a server is to listen and write, and what it may read; `city` is None without a database."""

    folder: Path
    address: str
    port: int
    city: Path | None
    databases: tuple[Path, ...] = ()
    interface: str = ""  # by which queries come

    def write(self, name: str, text: str) -> Path:
        """A file in the server's folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def zone(self, name: str, www: str) -> Path:
        """The zone as a master file, ending in the lines `www`."""
        return self.write(name, ZONE.format(address=self.address) + www)


@dataclass(frozen=True)
class Server:
    """One row of the table: how to configure it (the result is its command), and what it does for an answer."""

    name: str
    program: str
    version: tuple[str, ...]
    configure: Callable[[Setup], list[str]]
    by_client: bool

    @property
    def path(self) -> str | None:
        """Where its program is installed; ours are run from this environment."""
        return sys.executable if self.program == "python" else shutil.which(self.program, path=PATH)

    def version_text(self) -> str:
        """What it says of its version."""
        path = self.path
        assert path is not None
        done = subprocess.run([path, *self.version], capture_output=True, text=True, timeout=10, check=False)
        found = re.search(r"\d+\.\d+(\.\d+)?", done.stdout + done.stderr)
        return found[0] if found else "?"


def _gslb(setup: Setup, module: str = "gslb.cli", xdp: str = "off") -> list[str]:
    sites = "\n".join(f"  {NAMES[code]}: {{at: [{at[0]}, {at[1]}], continent: {code}}}" for code, at in SITES.items())
    pools = "\n".join(f"  {NAMES[code]}: {{datacenter: {NAMES[code]}, answers: [{ANSWERS[code]}]}}" for code in SITES)
    of = ", ".join(NAMES.values())
    databases = ", ".join(map(str, setup.databases))
    config = f"""\
deployment: bench-{setup.port}
nodes: {{fra: {{site: fra{f", interfaces: [{setup.interface}]" if setup.interface else ""}}}}}
datacenters:
{sites}
geo: {{databases: [{databases}]}}
pools:
{pools}
policies:
  www: {{rules: [{{pools: nearest, of: [{of}]}}]}}
dns: {{listen: ["{setup.address}:{setup.port}"], workers: 1, xdp: {xdp}}}
limits: {{exempt: [198.18.0.0/15, 64.0.0.0/3]}}
zones: [example.com.zone]
records:
  www.example.com.: {{policy: www, ttl: 60, types: [A]}}
"""
    setup.zone("example.com.zone", "")
    path = setup.write("gslb.yaml", config)
    return [
        sys.executable, "-m", module, "run", "--config", str(path), "--node", "fra",
        "--state", str(setup.folder / "state"),
    ]  # fmt: skip


def _reference(setup: Setup) -> list[str]:
    return _gslb(setup, module="bench.reference")


def _driver(setup: Setup) -> list[str]:
    return _gslb(setup, xdp="native")


def _bare(setup: Setup) -> list[str]:
    return [sys.executable, "-m", "bench.bare", setup.address, str(setup.port)]


def _gdnsd(setup: Setup) -> list[str]:
    names = ", ".join(NAMES.values())
    coordinates = ", ".join(f"{NAMES[code]} => [{at[0]}, {at[1]}]" for code, at in SITES.items())
    addresses = ", ".join(f"{NAMES[code]} => {ANSWERS[code]}" for code in SITES)
    geography = f"geoip2_db => {setup.city}, auto_dc_coords => {{ {coordinates} }}, auto_dc_limit => 3"
    plugin = f"""\
plugins => {{ geoip => {{
  maps => {{ sites => {{ datacenters => [ {names} ], {geography} }} }}
  resources => {{ www => {{ map => sites, service_types => up, dcmap => {{ {addresses} }} }} }}
}} }}
"""
    setup.write(
        "config",
        f"""\
options => {{
  listen => {setup.address}, dns_port => {setup.port}, udp_threads => 1, tcp_threads => 1
  run_dir => {setup.folder}/run, state_dir => {setup.folder}/state
}}
{plugin if setup.city else ""}""",
    )
    for folder in ("run", "state"):
        (setup.folder / folder).mkdir(exist_ok=True)
    setup.zone("zones/example.com", "www 60 DYNA geoip!www\n" if setup.city else f"www 60 A {ANSWERS['EU']}\n")
    return ["gdnsd", "-c", str(setup.folder), "start"]


def _knot_xdp(setup: Setup) -> list[str]:
    return _knot(setup, f"xdp:\n    listen: {setup.interface}@{setup.port}\n")


def _knot(setup: Setup, xdp: str = "") -> list[str]:
    zone = setup.zone("zone", f"www 60 A {ANSWERS['EU']}\n")
    places = "".join(f'  - geo: "{code}"\n    A: {ANSWERS[code]}\n' for code in SITES)
    geography = setup.write("geo.conf", f"www.example.com:\n{places}")
    module = f"""\
mod-geoip:
  - id: www
    config-file: {geography}
    ttl: 60
    mode: geodb
    geodb-file: {setup.city}
    geodb-key: [ continent/code ]
"""
    path = setup.write(
        "knot.conf",
        f"""\
server:
    listen: {setup.address}@{setup.port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
    rundir: {setup.folder}
    edns-client-subnet: on
database:
    storage: {setup.folder}
{xdp}{module if setup.city else ""}zone:
  - domain: example.com
    file: {zone}
    {"module: mod-geoip/www" if setup.city else ""}
    zonefile-sync: -1
    zonefile-load: whole
    journal-content: none
""",
    )
    return ["knotd", "-c", str(path)]


def _nsd(setup: Setup) -> list[str]:
    zone = setup.zone("zone", f"www 60 A {ANSWERS['EU']}\n")
    path = setup.write(
        "nsd.conf",
        f"""\
server:
    ip-address: {setup.address}@{setup.port}
    server-count: 1
    username: ""
    pidfile: {setup.folder}/pid
    zonelistfile: {setup.folder}/zones
    xfrdfile: {setup.folder}/xfrd
    xfrdir: {setup.folder}
    database: ""
    rrl-ratelimit: 0
remote-control:
    control-enable: no
zone:
    name: example.com
    zonefile: {zone}
""",
    )
    return ["nsd", "-d", "-c", str(path)]


def _powerdns(setup: Setup) -> list[str]:
    places = "".join(
        f"    {code.lower()}.sites.example.com:\n      - a: {address}\n"
        for code, address in {**ANSWERS, "unknown": ANSWERS["EU"]}.items()
    )
    service = "%cn.sites.example.com" if setup.city else "eu.sites.example.com"
    zones = setup.write(
        "zones.yaml",
        f"""\
domains:
- domain: example.com
  ttl: 60
  records:
    example.com:
      - soa: ns1.example.com hostmaster.example.com 1 3600 900 604800 60
      - ns: ns1.example.com
    ns1.example.com:
      - a: {setup.address}
    static.example.com:
      - a: 192.0.2.80
{places}  services:
    www.example.com: '{service}'
""",
    )
    setup.write(
        "pdns.conf",
        f"""\
daemon=no
guardian=no
disable-syslog=yes
socket-dir={setup.folder}
local-address={setup.address}
local-port={setup.port}
receiver-threads=1
distributor-threads=1
launch=geoip
geoip-zones-file={zones}
{f"geoip-database-files=mmdb:{setup.city}" if setup.city else ""}
edns-subnet-processing=yes
""",
    )
    return ["pdns_server", f"--config-dir={setup.folder}"]


SERVERS = (
    Server("gslb", "python", ("-m", "gslb.cli", "--version"), _gslb, by_client=True),
    Server("gslb Python", "python", ("-m", "gslb.cli", "--version"), _reference, by_client=True),
    Server("gdnsd", "gdnsd", ("-V",), _gdnsd, by_client=True),
    Server("knot", "knotd", ("-V",), _knot, by_client=True),
    Server("powerdns", "pdns_server", ("--version",), _powerdns, by_client=True),
    Server("nsd", "nsd", ("-v",), _nsd, by_client=False),
    Server("bare loop", "python", ("-V",), _bare, by_client=False),
)
DRIVEN = (
    Server("gslb XDP", "python", ("-m", "gslb.cli", "--version"), _driver, by_client=True),
    Server("knot XDP", "knotd", ("-V",), _knot_xdp, by_client=True),
)
"""Those that answer before the kernel's network stack."""
