"""Zones with all that a name can be, and policies with all that a choice can be: what images and executors are tried on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from gslb.geo.subnets import subnet_table
from gslb.geo.table import LocationTable
from gslb.model.plan import Choice, Mode
from gslb.model.zone import DynamicRecord, Zone
from gslb.nameserver.answer import Responder
from gslb.nameserver.image import ImageBuilder, split
from gslb.nameserver.legend import Legend
from gslb.nameserver.table import Tables
from tests.nameserver import make
from tests.nameserver.imagereader import ImageReader
from tests.nameserver.make import bound, choice, part, plan, policy_plan, zone

SHAPES = dict.fromkeys(
    ("web", "spread", "id", "none", "dead", "mixed", "shed", "large"),
    (
        ("10.20.0.0/16", "203.0.113.0/24", "2001:db8:5::/48", "::/40"),
        ("10.0.0.0/8", "198.51.100.0/24", "2001:db8::/32", "64:ff9b::/48"),
        ("0.0.0.0/5", "192.0.2.0/24", "2000::/13", "2001:db8:5:5500::/56"),
    ),
)
SOA = "@ 3600 SOA ns1 h 1 2 3 4 60\n@ 300 NS ns1\n@ 300 NS ns.elsewhere.test.\nns1 300 A 198.18.0.53\nns1 60 AAAA 2001:db8::53\n"
MAIN = (
    SOA
    + f"""\
alias 300 CNAME www
Alias2 300 CNAME alias
dangling 300 CNAME absent
out 300 CNAME www.example.net.
across 300 CNAME www.other.test.
spreading 300 CNAME spread
nowhere 300 CNAME none
loop 300 CNAME loop
mixedcase 300 CNAME WWW.Other.TEST.
@ 300 MX 10 mail
mail 300 A 192.0.2.25
@ 300 TXT "one" "two"
@ 300 HTTPS 1 . alpn=h2
svc 300 SRV 1 1 443 www
svc 300 SRV 1 2 443 mail
a.b.c.deep 60 TXT "deep"
*.wild 300 A 192.0.2.3
below.star.wild 300 A 192.0.2.3
sub 300 NS ns.sub
sub 300 DS 1 13 2 {"00" * 32}
ns.sub 300 A 192.0.2.4
old 300 DNAME new.other.test.
old 300 A 192.0.2.5
child 300 NS ns.child
child 300 DS 2 13 2 {"00" * 32}
ns.child 300 A 192.0.2.6
under.child 300 A 192.0.2.7
"""
)
MAIN += "".join(f'many 300 TXT "{"x" * 90}{number}"\n' for number in range(9))
MAIN += "".join(f'huge 300 TXT "{"x" * 200}{number}"\n' for number in range(9))
MAIN += "".join(f"mails 300 MX {number} mail{number}\nmail{number} 300 A 192.0.2.{number}\n" for number in range(24))
MAIN += "".join(f"types 300 TYPE{number} \\# 1 00\n" for number in range(1000, 1014))
LONG = ".".join("l" * 30 for _ in range(5))
NAMED = {"web": "www", "spread": "spread", "id": "id", "none": "none", "dead": "dead", "mixed": "mixed", "shed": "shed"}
NAMED |= {"large": "large"}


def zones() -> tuple[Zone, ...]:
    """Four zones, one of them below another."""
    dynamic: dict[str, DynamicRecord] = {}
    for policy, name in NAMED.items():
        dynamic |= bound(f"{name}.z.test.", policy=policy)
    dynamic |= bound("slow.z.test.", ttl=20) | bound("four.z.test.", types=(1,)) | bound("*.any.z.test.")
    dynamic |= bound(f"{LONG}.z.test.")
    # The name servers of these SOAs are below names that policies answer: there NODATA is written in another way.
    odd = "@ 3600 SOA ns.www h.mixed 1 2 3 4 60\n@ 300 NS ns.www\nns.www 300 A 192.0.2.1\n"
    return (
        zone("z.test.", MAIN, dynamic),
        zone("other.test.", SOA + "www 60 CNAME www.z.test.\nnew 60 A 192.0.2.8\n*.new 60 CNAME www.z.test.\n"),
        zone("child.z.test.", SOA + "under 60 A 192.0.2.9\n", bound("www.child.z.test.", policy="none")),
        zone("odd.test.", odd, bound("www.odd.test.", policy="none") | bound("mixed.odd.test.", policy="mixed")),
    )


MANY = [f"192.0.2.{host}@many{host % 3}" for host in range(50)]
CHOICES = (
    choice("192.0.2.1@fra"),
    choice("192.0.2.1@fra", "192.0.2.2@iad"),
    choice("192.0.2.1@fra", "192.0.2.2@iad", "192.0.2.3*4@iad", count=2),
    choice("192.0.2.1@fra", "192.0.2.2@iad", "192.0.2.9@-"),
    choice(mode=Mode.NODATA),
    choice(mode=Mode.SERVFAIL),
    choice("192.0.2.1@fra", shed=[part(300, "192.0.2.2@iad"), part(200, "192.0.2.3@sin", "192.0.2.4*2@sin")]),
    choice("192.0.2.1@fra", "192.0.2.2@fra", shed=[part(600, "192.0.2.3@iad")]),
    choice(*MANY, count=50),
    choice(*MANY, count=40),
)
SIX = tuple(
    Choice(
        each.mode,
        tuple(make.member(f"2001:db8::{number}@fra") for number, _ in enumerate(each.members)),
        each.count,
    )
    for each in CHOICES
)
RANKINGS: Mapping[str, tuple[int, ...]] = {
    "web": (0, 1, 0, 4),
    "spread": (2, 3, 0, 2),
    "id": (3, 0, 2, 3),
    "none": (4, 4, 4, 4),
    "dead": (5, 5, 5, 5),
    "mixed": (4, 5, 4, 2),
    "shed": (6, 7, 6, 0),
    "large": (8, 9, 8, 0),
}


@dataclass(frozen=True)
class Scene:
    """Tables, their image as it is read, and the reference over them."""

    tables: Tables
    file: bytes  # the image and its legend
    geography: bytes
    reader: ImageReader
    legend: Legend
    responder: Responder


@cache
def scene(*, one_class: bool) -> Scene:
    """Over one location class, or over some that differ by policy; 192.0.2.77 is a heavy resolver, and time stands still."""
    shapes = dict.fromkeys(SHAPES, ()) if one_class else SHAPES
    geography = subnet_table(make.deployment(shapes))
    location = LocationTable.from_buffer(geography)
    count = len(CHOICES)
    policies = {
        name: policy_plan(
            {1: indexes[: 1 if one_class else 4], 28: [index + count for index in indexes[: 1 if one_class else 4]]},
            ttl=30,
            sticky=(None, None) if name == "id" else (20, 48),
        )
        for name, indexes in RANKINGS.items()
    }
    made = plan(location, policies, (*CHOICES, *SIX), heavy=[make.CLIENT])
    found = make.tables(zones(), made, location, b"node-1")
    file = ImageBuilder().build(found).octets
    image, legend = split(file)
    responder = Responder(found, clock=lambda: 1_800_000_000.0)
    return Scene(found, file, geography, ImageReader(image, geography), legend, responder)


NAMES = [
    "z.test.", "www.z.test.", "alias.z.test.", "Alias2.Z.test.", "dangling.z.test.", "out.z.test.", "across.z.test.",
    "spreading.z.test.", "nowhere.z.test.", "loop.z.test.", "mixedcase.z.test.", "mail.z.test.", "svc.z.test.",
    "deep.z.test.", "c.deep.z.test.", "a.b.c.deep.z.test.", "wild.z.test.", "x.wild.z.test.", "*.wild.z.test.",
    "star.wild.z.test.", "sub.z.test.", "x.sub.z.test.", "ns.sub.z.test.", "old.z.test.", "x.old.z.test.", "child.z.test.",
    "under.child.z.test.", "www.child.z.test.", "many.z.test.", "huge.z.test.", "mails.z.test.", "types.z.test.",
    f"{LONG}.z.test.", f"x.{LONG}.z.test.", "any.z.test.", "x.any.z.test.", "four.z.test.", "slow.z.test.", "ns1.z.test.",
    "other.test.", "www.other.test.", "new.other.test.", "x.new.other.test.", "odd.test.", "www.odd.test.", "mixed.odd.test.",
    "ns.www.odd.test.", "test.", ".", "absent.example.", *(f"{name}.z.test." for name in NAMED.values()),
]  # fmt: skip
TYPES = [1, 28, 2, 5, 6, 15, 16, 33, 39, 43, 65, 255, 252, 257, 1000, 1013]
