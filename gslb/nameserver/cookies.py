"""DNS cookies: what a client must return to show that it hears us at its address.  Pure; the time is an argument.

Rule 1: every node of a deployment makes and takes the same cookies, since an anycast client may come to any of them: keys
are made from the deployment's secret and the day.
Rule 2: a cookie's own timestamp says of which day its key is, so at a change of keys no cookie is lost, and one hash is
enough to check it.  Keys of two days are held: at any time those of every timestamp that is taken.
Standards: RFC 7873 (cookies), RFC 9018 (interoperable server cookies, version 1).
"""

from __future__ import annotations

from hashlib import blake2b
from struct import Struct

from siphash24 import siphash24

CLIENT_OCTETS = 8
SERVER_OCTETS = 16
COOKIE_OCTETS = CLIENT_OCTETS + SERVER_OCTETS
KEY_OCTETS = 16
DAY_S = 86_400
AGE_MOST_S = 3600  # RFC 9018 section 4.3
AHEAD_MOST_S = 300
RENEWED_S = 1800  # a cookie that is older is renewed
_HEAD = Struct(">B3xI")  # version, reserved, timestamp
_VERSION = 1
_MAPPED = bytes(10) + b"\xff\xff"

Keys = tuple[bytes, bytes]  # of the timestamps in even days since the epoch, and in odd ones
Cookie = tuple[
    bytes, bool
]  # the data of a COOKIE option for the reply, and whether the query had a valid server cookie


def keys_of(secret: bytes, now: float) -> Keys:
    """The keys to hold at `now`, seconds since the epoch: of this day and, until noon (UTC) of the day before, then of the
    day after.
    """
    first = int(now - DAY_S / 2) // DAY_S
    made = (_key(secret, first), _key(secret, first + 1))
    return made if first % 2 == 0 else (made[1], made[0])


def next_keys_at(now: float) -> float:
    """When other keys are to be held, in seconds since the epoch."""
    return (int(now - DAY_S / 2) // DAY_S + 1) * DAY_S + DAY_S / 2


def answer(asked: bytes, source: bytes, keys: Keys, now: int) -> Cookie:
    """The cookie that answers `asked`, the data of a COOKIE option of a good length.

    `source` is the client's address in 4 or 16 octets, `now` whole seconds since the epoch.
    """
    client = asked[:CLIENT_OCTETS]
    valid = False
    if len(asked) == COOKIE_OCTETS and asked[CLIENT_OCTETS] == _VERSION:
        made = int.from_bytes(asked[12:16], "big")
        age = _age(made, now)
        valid = -AHEAD_MOST_S <= age <= AGE_MOST_S and _hash(asked[:16], source, keys, made) == asked[16:]
        if valid and age <= RENEWED_S:
            return asked, valid
    made = now & 0xFFFFFFFF
    head = client + _HEAD.pack(_VERSION, made)
    return head + _hash(head, source, keys, made), valid


def _age(made: int, now: int) -> int:
    """Seconds from `made` to `now` in the arithmetic of RFC 1982: both go round."""
    return (now - made + (1 << 31)) % (1 << 32) - (1 << 31)


def _hash(head: bytes, source: bytes, keys: Keys, made: int) -> bytes:
    """The last 8 octets of a server cookie; `head` is all that stands before them, the client's part too.

    IPv4 inside IPv6, as sockets of both families see it, is IPv4.
    """
    address = source[12:] if source.startswith(_MAPPED) else source
    digest: bytes = siphash24(head + address, key=keys[made // DAY_S & 1]).digest()
    return digest


def _key(secret: bytes, day: int) -> bytes:
    return blake2b(day.to_bytes(8, "big"), key=secret[:64], digest_size=KEY_OCTETS, person=b"gslb cookie").digest()
