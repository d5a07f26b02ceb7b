"""The memo is bounded, by names and by what they hold."""

from __future__ import annotations

from gslb.nameserver.given import Given
from gslb.nameserver.known import OCTETS_MAX, Known
from gslb.nameserver.wire import Rtype
from tests.nameserver.make import one_class, plan, tables, zone

ZONE = "@ 60 SOA ns.z.test. admin.z.test. 1 60 60 60 60\n@ 60 NS ns.z.test.\nns 60 A 192.0.2.53\n"
WIDE = "".join(f'* 60 TXT "{number:04} {"x" * 240}"\n' for number in range(200))  # 50 000 octets at every name


def test_large_replies_under_a_wildcard_do_not_fill_memory() -> None:
    location = one_class("web")
    made = tables([zone("z.test.", ZONE + WIDE)], plan(location, {}, ()), location)
    known = Known(made, Given(), lambda: 0.0)
    most = 0
    for number in range(1000):
        known.entry(b"\x04%04d\x01z\x04test\x00" % number, Rtype.TXT)
        most = max(most, sum(len(reply[1]) for *_, reply in known.entries.values() if reply))
    assert OCTETS_MAX // 2 < most < OCTETS_MAX * 1.1
