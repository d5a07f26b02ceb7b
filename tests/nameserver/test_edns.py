"""The OPT record, read and written, against dnspython."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

import dns.edns
import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gslb.nameserver.edns import Edns, Subnet, opt, read_opt, read_options, read_subnet, without_cookie
from gslb.nameserver.wire import Malformed
from tests.nameserver import make

networks: st.SearchStrategy[IPv4Network | IPv6Network] = st.one_of(
    st.builds(
        lambda address, bits: IPv4Network((address, bits), strict=False), st.integers(0, 2**32 - 1), st.integers(1, 32)
    ),
    st.builds(
        lambda address, bits: IPv6Network((address, bits), strict=False),
        st.integers(0, 2**128 - 1),
        st.integers(1, 128),
    ),
)


def read(octets: bytes) -> Edns:
    return read_options(read_opt(octets), octets)


@given(networks, st.integers(0, 65535), st.booleans(), st.booleans())
def test_reads_what_dnspython_writes(subnet: IPv4Network | IPv6Network, payload: int, do: bool, nsid: bool) -> None:  # noqa: FBT001
    options: list[dns.edns.Option] = [dns.edns.ECSOption(str(subnet.network_address), subnet.prefixlen)]
    if nsid:
        options.append(dns.edns.NSIDOption(b""))
    message = dns.message.make_query(".", "A", use_edns=0, payload=payload, want_dnssec=do, options=options)
    edns = read(message.to_wire()[12 + 5 :])
    assert (edns.payload, edns.version, edns.do, edns.nsid, edns.keepalive) == (payload, 0, do, nsid, False)
    assert edns.options == len(options)
    assert edns.subnet is not None
    assert edns.subnet.packed == subnet.network_address.packed
    assert edns.subnet.source == subnet.prefixlen


@given(networks, st.integers(0, 128), st.binary(max_size=50), st.booleans())
def test_dnspython_reads_what_is_written(subnet: IPv4Network | IPv6Network, scope: int, nsid: bytes, do: bool) -> None:  # noqa: FBT001
    scope = min(scope, subnet.max_prefixlen)
    asked = read(make.opt(make.ecs(str(subnet)), (3, b""), (11, b""), flags=0x8000 if do else 0))
    record = opt(asked, scope=scope, nsid=nsid, keepalive_s=12.34)
    reply = dns.message.from_wire(b"\0\0\x80\0\0\0\0\0\0\0\0\x01" + record)
    assert reply.payload == 1232
    assert bool(reply.ednsflags & 0x8000) == do
    assert [option.to_wire() for option in reply.options[:2]] == [nsid, b"\0\x7b"]
    ecs = reply.options[2]
    assert isinstance(ecs, dns.edns.ECSOption)
    assert (ip_network(f"{ecs.address}/{ecs.srclen}"), ecs.scopelen) == (subnet, scope)


def test_a_later_version_is_not_looked_into() -> None:
    assert read_opt(make.opt(version=7)).version == 7


@pytest.mark.parametrize(
    ("payload", "room"), [(0, 512), (1, 512), (511, 512), (512, 512), (900, 900), (1232, 1232), (65535, 1232)]
)
def test_room(payload: int, room: int) -> None:
    assert read_opt(make.opt(payload=payload)).room == room


def test_nobody_in_particular_has_no_address() -> None:
    assert read_subnet(b"\0\1\0\0") == Subnet(1, 0, b"")
    assert read_subnet(b"\0\1\0\0").packed is None
    assert read_subnet(b"\0\0\0\0").packed is None


def test_octets_beyond_the_source_are_zero() -> None:
    assert read_subnet(b"\0\1\x0a\0\xc0\x40").packed == b"\xc0\x40\0\0"
    assert read_subnet(b"\0\2\x08\0\x20").packed == b"\x20" + bytes(15)


@given(st.binary(max_size=60))
def test_any_octets_are_read_or_malformed(octets: bytes) -> None:
    head = b"\0\0\x29\x04\xd0\0\0\0\0" + len(octets).to_bytes(2, "big")
    try:
        edns = read(head + octets)
    except Malformed:
        return
    assert edns.options <= len(octets) // 4


@pytest.mark.parametrize("length", range(50))
def test_lengths_of_cookies(length: int) -> None:
    octets = make.opt((10, bytes(range(length))))
    if length == 8 or 16 <= length <= 40:
        assert read(octets).cookie == bytes(range(length))
    else:
        with pytest.raises(Malformed, match=f"a cookie of {length} octets"):
            read(octets)


def test_of_two_cookies_the_first_counts() -> None:
    assert read(make.opt((10, b"12345678"), (10, b"x"))).cookie == b"12345678"


ECS_OPTION = make.ecs("192.0.2.0/24")


@pytest.mark.parametrize(
    ("options", "rest"),
    [
        ([(10, b"12345678")], []),
        ([(10, bytes(24)), ECS_OPTION], [ECS_OPTION]),
        ([ECS_OPTION, (10, bytes(40))], [ECS_OPTION]),
        ([(3, b""), (10, bytes(16))], [(3, b"")]),
    ],
)
def test_a_cookie_is_taken_off(options: list[tuple[int, bytes]], rest: list[tuple[int, bytes]]) -> None:
    (cookie,) = (data for code, data in options if code == 10)
    assert without_cookie(make.opt(*options)) == (make.opt(*rest), cookie)


@pytest.mark.parametrize(
    "record",
    [
        make.opt(),
        make.opt(ECS_OPTION),
        make.opt((10, bytes(9))),
        make.opt(ECS_OPTION, (3, b""), (10, bytes(8))),
        make.opt((10, bytes(8)))[:-1],
        make.opt((10, bytes(8))) + b"\0",
        make.opt(ECS_OPTION, (10, bytes(8)))[:-1],
        make.opt(ECS_OPTION, (10, bytes(8))) + b"\0",
        make.opt((10, bytes(8)))[:14],
        b"",
    ],
)
def test_no_cookie_is_taken_off(record: bytes) -> None:
    assert without_cookie(record) is None


@given(st.binary(max_size=60))
def test_taking_off_never_raises(octets: bytes) -> None:
    record = make.opt((10, bytes(8)))[:9] + octets
    parts = without_cookie(record)
    assert parts is None or len(parts[0]) + len(parts[1]) + 4 == len(record)
