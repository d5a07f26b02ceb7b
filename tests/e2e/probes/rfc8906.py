"""RFC 8906 section 8 with the real `dig`, and the queries that ISC's genreport adds (items 1 to 37)."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from functools import partial

from tests.e2e.probes.case import Probes
from tests.e2e.probes.wire import PATIENCE_S, Target

probe = Probes()
ZONE = "acceptance.test."


@dataclass(frozen=True)
class Dug:
    """What dig printed."""

    text: str
    status: str
    opcode: str
    flags: frozenset[str]
    mbz: bool
    counts: tuple[int, int, int, int]
    edns_version: int | None
    edns_flags: frozenset[str]
    edns_mbz: bool
    edns_options: tuple[str, ...]
    answer: tuple[str, ...]

    @property
    def soa(self) -> bool:
        """The zone's SOA stands in the answer section."""
        return any(re.match(r"acceptance\.test\.\s+3600\s+IN\s+SOA\s", line) for line in self.answer)


def dig(target: Target, *arguments: str, name: str | None = ZONE) -> Dug:
    """Run dig once, without retries, and read its report."""
    command = ["dig", f"@{target.address}", "-p", str(target.port), "+tries=1", f"+time={PATIENCE_S:.0f}", "+noidnout"]
    done = subprocess.run(
        [*command, *([name] if name else []), *arguments], capture_output=True, text=True, timeout=10, check=False
    )
    text = done.stdout
    head = re.search(
        r"opcode: (\w+), status: (\w+), id: \d+\n;; flags:([\w ]*);(.*?)QUERY: (\d+), \w+: (\d+), \w+: (\d+), \w+: (\d+)",
        text,
    )
    assert head, f"no reply to dig {' '.join(arguments)}:\n{text}{done.stderr}"
    edns = re.search(r"; EDNS: version: (\d+), flags:([\w ]*);(.*?)udp: \d+\n((?:; .*\n)*)", text)
    answer = re.search(r";; ANSWER SECTION:\n((?:.+\n)*)", text)
    return Dug(
        text=text,
        opcode=head[1],
        status=head[2],
        flags=frozenset(head[3].split()),
        mbz="MBZ" in head[4],
        counts=(int(head[5]), int(head[6]), int(head[7]), int(head[8])),
        edns_version=int(edns[1]) if edns else None,
        edns_flags=frozenset(edns[2].split()) if edns else frozenset(),
        edns_mbz="MBZ" in edns[3] if edns else False,
        edns_options=tuple(edns[4].splitlines()) if edns else (),
        answer=tuple(answer[1].splitlines()) if answer else (),
    )


@dataclass(frozen=True)
class Want:
    """What a reply must say.  Flags: `aa` must be there, `-rd` must not."""

    status: tuple[str, ...]
    flags: str
    soa: bool | None = None
    opt: bool = False
    empty: bool = False


NOERROR, BADVERS, NOTIMP = ("NOERROR",), ("BADVERS",), ("NOTIMP",)
PLAIN = Want(NOERROR, "aa -rd -ad -ra", soa=True)
EDNS = Want(NOERROR, "aa -ad -ra", soa=True, opt=True)
VERSION1 = Want(BADVERS, "-aa -ad -ra", soa=False, opt=True)
ALL_FLAGS = "+aaflag +adflag +cdflag +raflag +rdflag +tcflag +zflag"
OLD_DIG = "+edns=0 +noad +rec"

# number, name, arguments of dig, what must come back.  1 to 18 quote the sections 8.1.1 to 8.2.10 of the RFC in order.
CASES: tuple[tuple[int, str, str, Want], ...] = (
    (1, "plain", "+noedns +noad +norec soa", PLAIN),
    (2, "unknown-type", "+noedns +noad +norec type1000", Want(NOERROR, "aa -rd -ad -ra", empty=True)),
    (3, "cd", "+noedns +noad +norec +cd soa", PLAIN),
    (4, "ad", "+noedns +norec +ad soa", Want(NOERROR, "aa -rd -ra", soa=True)),
    (5, "z", "+noedns +noad +norec +zflag soa", PLAIN),
    (6, "rd", "+noedns +noad +rec soa", Want(NOERROR, "aa rd -ad -ra", soa=True)),
    (7, "opcode15", "+noedns +noad +opcode=15 +norec +header-only", Want(NOTIMP, "-aa -rd -ad -ra", empty=True)),
    (8, "tcp", "+noedns +noad +norec +tcp soa", PLAIN),
    (9, "edns", "+nocookie +edns=0 +noad +norec soa", EDNS),
    (10, "edns1", "+nocookie +edns=1 +noednsneg +noad +norec soa", VERSION1),
    (11, "edns-option", "+nocookie +edns=0 +noad +norec +ednsopt=100 soa", EDNS),
    (12, "edns-flag", "+nocookie +edns=0 +noad +norec +ednsflags=0x40 soa", EDNS),
    (13, "edns1-flag", "+nocookie +edns=1 +noednsneg +noad +norec +ednsflags=0x40 soa", VERSION1),
    (14, "edns1-option", "+nocookie +edns=1 +noednsneg +noad +norec +ednsopt=100 soa", VERSION1),
    (15, "truncation", "+nocookie +norec +dnssec +bufsize=512 +ignore dnskey", Want(NOERROR, "aa -ra", opt=True)),
    (16, "do", "+nocookie +edns=0 +noad +norec +dnssec soa", EDNS),
    (17, "edns1-do", "+nocookie +edns=1 +noednsneg +noad +norec +dnssec soa", VERSION1),
    (18, "options", "+edns=0 +noad +norec +cookie +nsid +expire +subnet=0.0.0.0/0 soa",
     Want(("NOERROR", "BADCOOKIE"), "aa -ad -ra", soa=True, opt=True)),
    (19, "aa-in-query", "+noedns +noad +norec +aaflag soa", PLAIN),
    (20, "ra-in-query", "+noedns +noad +norec +raflag soa", PLAIN),
    (21, "tc-in-query", "+noedns +noad +norec +tcflag soa", PLAIN),
    (22, "opcode15-flags", f"+noedns +opcode=15 +header-only {ALL_FLAGS}",
     Want(NOTIMP, "-aa -ad -cd -ra -tc -rd", empty=True)),
    (23, "type666", "+noedns +noad +norec type666", Want(NOERROR, "aa -rd -ad -ra", empty=True)),
    (24, "do-cd", "+nocookie +edns=0 +noad +norec +dnssec +cd soa", EDNS),
    (25, "nsid", "+nocookie +edns=0 +noad +norec +nsid soa", EDNS),
    (26, "edns1-nsid", "+nocookie +edns=1 +noednsneg +noad +norec +nsid soa", VERSION1),
    (27, "cookie", "+edns=0 +noad +norec +cookie soa", EDNS),
    (28, "edns1-cookie", "+edns=1 +noednsneg +noad +norec +cookie soa", VERSION1),
    (29, "expire", "+nocookie +edns=0 +noad +norec +expire soa", EDNS),
    (30, "edns1-expire", "+nocookie +edns=1 +noednsneg +noad +norec +expire soa", VERSION1),
    (31, "subnet", "+nocookie +edns=0 +noad +norec +subnet=0.0.0.0/0 soa", EDNS),
    (32, "edns1-subnet", "+nocookie +edns=1 +noednsneg +noad +norec +subnet=0.0.0.0/0 soa", VERSION1),
    (33, "tcp-512", "+nocookie +norec +dnssec +bufsize=512 +tcp dnskey", Want(NOERROR, "aa -tc -ra", opt=True)),
    (34, "dig-9.11", f"{OLD_DIG} +cookie soa", Want(NOERROR, "aa rd -ad -ra", soa=True, opt=True)),
    (35, "bind-9.11", "+edns=0 +noad +norec +cd +dnssec +cookie soa", EDNS),
    (36, "tsig-zero-key", "-y hmac-sha256:.:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= +noedns +norec soa",
     Want(("NOTAUTH", "NOERROR", "FORMERR"), "-ra")),
)  # fmt: skip

TYPES = [
    "a",
    "ns",
    "md",
    "mf",
    "cname",
    "soa",
    "mb",
    "mg",
    "mr",
    "null",
    "wks",
    "ptr",
    "hinfo",
    "minfo",
    "mx",
    "txt",
    "rp",
    "afsdb",
    "x25",
    "isdn",
    "rt",
    "nsap",
    "nsap-ptr",
    "sig",
    "key",
    "px",
    "gpos",
    "aaaa",
    "loc",
    "nxt",
    "srv",
    "naptr",
    "kx",
    "cert",
    "a6",
    "dname",
    "apl",
    "ds",
    "sshfp",
    "ipseckey",
    "rrsig",
    "nsec",
    "dnskey",
    "dhcid",
    "nsec3",
    "nsec3param",
    "tlsa",
    "smimea",
    "hip",
    "cds",
    "cdnskey",
    "openpgpkey",
    "csync",
    "zonemd",
    "svcb",
    "https",
    "spf",
    "nid",
    "l32",
    "l64",
    "lp",
    "eui48",
    "eui64",
    "uri",
    "caa",
    "avc",
    "doa",
    "amtrelay",
    "ta",
    "dlv",
]


def check(target: Target, arguments: str, want: Want) -> None:
    """Run one row of the table."""
    dug = dig(target, *arguments.split(), name=None if "+header-only" in arguments else ZONE)
    assert dug.status in want.status, dug.text
    for flag in want.flags.split():
        assert (flag.removeprefix("-") in dug.flags) is not flag.startswith("-"), f"{flag}:\n{dug.text}"
    assert "qr" in dug.flags, dug.text
    assert not dug.mbz, f"a reserved header bit came back:\n{dug.text}"
    assert (dug.edns_version is not None) is want.opt, f"OPT:\n{dug.text}"
    assert dug.edns_version in (None, 0), dug.text
    assert not dug.edns_mbz, f"a reserved EDNS flag came back:\n{dug.text}"
    assert not any("OPT=100" in line for line in dug.edns_options), f"an unknown option came back:\n{dug.text}"
    assert want.soa in (None, dug.soa), f"SOA:\n{dug.text}"
    if want.empty:
        assert dug.counts[1] == 0, f"answers:\n{dug.text}"
    if "+opcode=15" in arguments:
        assert dug.opcode == "RESERVED15", dug.text
        assert dug.counts == (0, 0, 0, 0), dug.text


for _item, _name, _arguments, _want in CASES:
    probe.each(_item, "dig", {_name: partial(check, arguments=_arguments, want=_want)})


@probe(37, "every-type-at-the-apex")
def every_type(target: Target) -> None:
    """Each type, known or not, has an authoritative NOERROR; dig asks for all over one process."""
    batch = [argument for rtype in TYPES for argument in (ZONE, rtype)]
    text = subprocess.run(
        ["dig", f"@{target.address}", "-p", str(target.port), "+tries=1", "+time=2", "+noedns", "+norec", *batch],
        capture_output=True, text=True, timeout=60, check=False,
    ).stdout  # fmt: skip
    heads = re.findall(r"status: (\w+), id: \d+\n;; flags:([\w ]*);", text)
    assert len(heads) == len(TYPES), f"{len(heads)} replies to {len(TYPES)} queries:\n{text}"
    for rtype, (status, flags) in zip(TYPES, heads, strict=True):
        assert status == "NOERROR", rtype
        assert {"qr", "aa"} <= set(flags.split()), rtype
