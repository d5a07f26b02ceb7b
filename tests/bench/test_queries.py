"""The realistic mix: what the reference makes of it."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from random import Random

import dns.edns
import dns.message
import pytest

from bench.queries import Mix, cookie, message, option, subnet

NOW = 1_800_000_000.0
NAME = b"\x03www\x07example\x03com\x00"


def test_the_same_seed_gives_the_same_queries() -> None:
    assert list(islice(Mix(1, NOW), 50)) == list(islice(Mix(1, NOW), 50)) != list(islice(Mix(2, NOW), 50))


def test_almost_all_are_questions_and_of_the_kinds_that_they_should_be() -> None:
    seen: Counter[str] = Counter()
    for asked in islice(Mix(3, NOW), 4000):
        try:
            read = dns.message.from_wire(asked.message)
        except Exception:  # noqa: BLE001  what is no DNS fails in many ways
            seen["odd"] += 1
            continue
        kinds = {type(each) for each in read.options}
        seen["edns"] += read.edns == 0
        seen["subnet"] += dns.edns.ECSOption in kinds
        seen["cookie"] += dns.edns.CookieOption in kinds
    assert seen["odd"] < 20
    assert seen["edns"] == pytest.approx(0.95 * 4000, rel=0.05)
    assert seen["subnet"] == pytest.approx(0.24 * 4000, rel=0.15)
    assert seen["cookie"] == pytest.approx(0.14 * 4000, rel=0.2)


def test_a_query_is_as_it_was_asked_for() -> None:
    random = Random(1)
    options = cookie(random, b"\xc0\0\2\1", NOW, known=True) + subnet(b"\x01\x02\x03") + option(3, b"")
    read = dns.message.from_wire(message(NAME, 28, options, size=4096))
    assert str(read.question[0]) == "www.example.com. IN AAAA"
    assert read.payload == 4096
    found = [each.to_text() for each in read.options]
    assert found[1:] == ["ECS 1.2.3.0/24 scope/0", "NSID "]
    server_cookie = read.options[0]
    assert isinstance(server_cookie, dns.edns.CookieOption)
    assert len(server_cookie.server) == 16
