"""Zones in octoDNS's layout: every type in presentation form, TTLs, dynamic records, the SOA that is made."""

from __future__ import annotations

import pytest

from gslb.config.problem import Problems
from gslb.config.source import parse
from gslb.config.zonedraft import SOA, ZoneDraft, name_text
from gslb.config.zonefile import rdata_text, type_text
from gslb.config.zoneyaml import read_yaml


def read(text: str, name: str = "example.com") -> ZoneDraft:
    problems = Problems()
    draft = read_yaml(parse(text, "f", problems), "f", name, problems)
    assert problems.sorted() == ()
    assert draft is not None
    return draft


def values(text: str) -> list[str]:
    """`TYPE data` of each record below `www`."""
    records = read(f"www: {text}").records
    return [f"{type_text(r.rtype)} {rdata_text(r.rtype, r.rdata)}" for r in records if r.rtype != SOA]


SHA = "ab" * 32


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ("{type: A, value: 192.0.2.1}", ["A 192.0.2.1"]),
        ("{type: A, values: [192.0.2.1, 192.0.2.2]}", ["A 192.0.2.1", "A 192.0.2.2"]),
        ("{type: AAAA, value: '2001:DB8::1'}", ["AAAA 2001:db8::1"]),
        ("{type: CAA, value: {tag: iodef, value: 'mailto:a@example.com'}}", ['CAA 0 iodef "mailto:a@example.com"']),
        ("{type: CAA, value: {flags: 128, tag: issue, value: ';'}}", ['CAA 128 issue ";"']),
        ("{type: CNAME, value: a.example.com.}", ["CNAME a.example.com."]),
        ("{type: DNAME, value: a.example.com.}", ["DNAME a.example.com."]),
        (
            f"{{type: DS, value: {{key_tag: 1, algorithm: 13, digest_type: 2, digest: {SHA}}}}}",
            [f"DS 1 13 2 {SHA}"],
        ),
        ("{type: HTTPS, value: {svcpriority: 0, targetname: a.example.com.}}", ["HTTPS 0 a.example.com."]),
        (
            "{type: HTTPS, value: {svcpriority: 1, targetname: ., svcparams: {alpn: [h2, h3], no-default-alpn: ,"
            " port: 8443, ipv4hint: [192.0.2.1, 192.0.2.2], ipv6hint: '2001:db8::1'}}}",
            [
                'HTTPS 1 . alpn="h2,h3" no-default-alpn port="8443" ipv4hint="192.0.2.1,192.0.2.2" ipv6hint="2001:db8::1"'
            ],
        ),
        ("{type: SVCB, value: {svcpriority: 1, targetname: a.}}", ["SVCB 1 a."]),
        ("{type: MX, value: {preference: 10, exchange: a.}}", ["MX 10 a."]),
        ("{type: MX, value: {priority: 10, value: a.}}", ["MX 10 a."]),
        (
            "{type: NAPTR, value: {order: 1, preference: 2, flags: U, service: SIP+D2U, regexp: '!^.*$!sip:a@b\\1!',"
            " replacement: .}}",
            ['NAPTR 1 2 "U" "SIP+D2U" "!^.*$!sip:a@b\\\\1!" .'],
        ),
        ("{type: NS, values: [a., b.]}", ["NS a.", "NS b."]),
        ("{type: PTR, value: a.}", ["PTR a."]),
        ("{type: SRV, value: {priority: 1, weight: 2, port: 3, target: a.}}", ["SRV 1 2 3 a."]),
        (f"{{type: SSHFP, value: {{algorithm: 4, fingerprint_type: 2, fingerprint: {SHA}}}}}", [f"SSHFP 4 2 {SHA}"]),
        (
            "{type: TLSA, value: {certificate_usage: 3, selector: 1, matching_type: 1,"
            f" certificate_association_data: {SHA}}}}}",
            [f"TLSA 3 1 1 {SHA}"],
        ),
        (r"{type: TXT, value: 'v=DKIM1\; p=abc'}", ['TXT "v=DKIM1; p=abc"']),
        (r"""{type: TXT, value: 'a \ b " c'}""", [r'TXT "a \\ b \" c"']),
        ("""{type: TXT, value: '"abc" "def"'}""", ['TXT "abcdef"']),
        (f"{{type: TXT, value: {'x' * 300}}}", [f'TXT "{"x" * 255}" "{"x" * 45}"']),
        ("{type: TXT, value: ''}", ['TXT ""']),
        ("{type: TXT, value: 0123}", ['TXT "0123"']),
        ("[{type: A, value: 192.0.2.1}, {type: TXT, value: x}]", ["A 192.0.2.1", 'TXT "x"']),
        ("{type: A, value: 192.0.2.1, octodns: {cloudflare: {proxied: true}}}", ["A 192.0.2.1"]),
    ],
)
def test_types(record: str, expected: list[str]) -> None:
    assert values(record) == expected


def test_names_and_ttls() -> None:
    draft = read(
        "'': {type: A, value: 192.0.2.1}\nWWW: {type: A, ttl: 60, value: 192.0.2.1}\n'*.a.b': {type: A, value: 192.0.2.1}"
    )
    found = [(name_text(record.owner), record.ttl) for record in draft.records]
    assert found[:3] == [("example.com.", 3600), ("WWW.example.com.", 60), ("*.a.b.example.com.", 3600)]


def test_words_of_yaml_1_1_are_names() -> None:
    draft = read("no: {type: A, value: 192.0.2.1}\non: {type: A, value: 192.0.2.1}\n10: {type: A, value: 192.0.2.1}")
    assert [name_text(record.owner) for record in draft.records][:3] == [
        "no.example.com.",
        "on.example.com.",
        "10.example.com.",
    ]


def test_dynamic() -> None:
    draft = read("www: [{policy: web, ttl: 30, types: [AAAA]}, {type: TXT, value: x}]\n'*.app': {policy: web}")
    found = [(name_text(r.owner), r.types, r.policy, r.ttl) for r in draft.dynamic]
    assert found == [("www.example.com.", (28,), "web", 30), ("*.app.example.com.", (1, 28), "web", None)]


def soa(draft: ZoneDraft) -> list[str]:
    return [rdata_text(SOA, record.rdata) for record in draft.records if record.rtype == SOA]


def test_soa_is_made_where_none_is_written() -> None:
    made = "ns1.example.net. hostmaster.example.com. 1 7200 900 1209600 30"
    assert soa(read("'': {type: NS, values: [ns1.example.net., ns2.example.net.]}")) == [made]


def test_soa_as_written() -> None:
    written = "'': {type: SOA, value: {mname: a., rname: b.c., serial: 7, minimum: 5}}"
    assert soa(read(written)) == ["a. b.c. 7 7200 900 1209600 5"]
