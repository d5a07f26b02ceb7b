"""What the API changes: overrides and pushed loads, over real sockets, and every way to get them wrong."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gslb.control.endings import endings
from tests.api.desk import NOW, FakeDesk
from tests.api.served import TOKEN, Served

DRAIN = {"target": "site/iad", "state": "drain", "why": "CHG-7", "who": "alice", "for": "2h"}
JSON = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}


def test_an_override_is_written_and_its_effect_told(api: Served) -> None:
    got = api.write("POST", "/v1/overrides", DRAIN)
    assert got.status == 200
    assert got.json["override"] == {
        "target": "site/iad",
        "state": "drain",
        "who": "alice",
        "why": "CHG-7",
        "since": NOW,
        "until": NOW + 7200,
        "force": False,
        "node": got.json["override"]["node"],
        "holds": True,
    }
    assert got.json["replaced"] is None
    assert [(move["policy"], move["rtype"]) for move in got.json["moves"]] == [("web", "A")]
    assert got.json["backends"] == []
    (stored,) = api.desk.store.load_overrides().overrides or ()
    assert stored.node == got.json["override"]["node"] == api.desk.store.folder.name
    assert (stored.target, stored.who, stored.until) == ("site/iad", "alice", NOW + 7200)
    assert api.desk.written == 1
    assert api.get("/v1/overrides").json == {"overrides": [got.json["override"]], "note": None}


def test_a_later_word_replaces_and_auto_ends(api: Served) -> None:
    api.write("POST", "/v1/overrides", DRAIN)
    again = api.write("POST", "/v1/overrides", {"target": "site/iad", "state": "down", "why": "worse"})
    assert (again.json["replaced"]["why"], again.json["override"]["who"]) == ("CHG-7", "api")
    ended = api.write("DELETE", "/v1/overrides?target=site/iad&who=bob")
    assert (ended.status, ended.json["override"], ended.json["replaced"]["why"]) == (200, None, "worse")
    assert api.desk.store.load_overrides().overrides == ()
    assert [(one.target, one.who) for one in endings(api.desk.store.folder)] == [("site/iad", "bob")]
    gone = api.write("DELETE", "/v1/overrides?target=site/iad")
    assert (gone.status, gone.json["detail"]) == (404, "site/iad: there is no override")
    assert api.desk.written == 3


def test_an_override_that_would_harm_needs_force(api: Served) -> None:
    body = {"target": "pool/web-fra", "state": "down", "why": "x"}
    refused = api.write("POST", "/v1/overrides", body)
    assert refused.status == 409
    assert "leave nothing else to answer for policy web AAAA" in refused.json["detail"]
    assert '"force": true' in refused.json["detail"]
    assert (api.desk.store.load_overrides().overrides, api.desk.written) == ((), 0)
    assert api.write("POST", "/v1/overrides", {**body, "force": True}).status == 200


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({**DRAIN, "target": "site/frq"}, 422, "field target: site/frq: did you mean fra?"),
        ({**DRAIN, "target": "web-fra"}, 422, "did you mean pool/web-fra?"),
        ({**DRAIN, "state": "auto"}, 400, "field state: 'auto' - expected one of up, down, drain"),
        ({**DRAIN, "for": "soon"}, 400, "field for: 'soon' - expected"),
        ({**DRAIN, "for": "400d"}, 400, "at most 366d"),
        ({**DRAIN, "why": " "}, 400, "field why: expected some words on one line"),
        ({**DRAIN, "why": "a\nb"}, 400, "field why: expected some words on one line"),
        ({**DRAIN, "why": "x" * 600}, 400, "at most 500 characters"),
        ({**DRAIN, "who": "\ud800"}, 400, "expected Unicode without lone surrogates"),
        ({**DRAIN, "force": 1}, 400, "field force: 1 - expected true or false"),
        ({**DRAIN, "wy": "x"}, 400, "field 'wy': did you mean why?"),
        ({"target": "site/iad", "state": "drain"}, 400, "field why: missing"),
        ([DRAIN], 400, "the body is a list - expected a JSON object"),
        ({**DRAIN, "target": ["site/iad"]}, 400, "field target: a list - expected a text"),
    ],
)
def test_a_wrong_override_changes_nothing(api: Served, body: object, status: int, said: str) -> None:
    got = api.write("POST", "/v1/overrides", body)
    assert (got.status, said in got.json["detail"]) == (status, True), got.json
    assert (api.desk.store.load_overrides().overrides, api.desk.written) == ((), 0)


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (b"", "the body is not JSON"),
        (b"{", "the body is not JSON"),
        (b"\xff", "the body is not JSON"),
        (b'{"pool": "web-fra", "value": NaN}', "NaN is no number of JSON"),
        (b'{"pool": "web-fra", "value": -Infinity}', "-Infinity is no number of JSON"),
        (b'{"pool": "web-fra", "value": 1e999}', "field value: inf - expected a finite number"),
        (b'{"pool": "web-fra", "value": 1' + b"0" * 400 + b"}", "expected a finite number"),
        (b'{"pool": "web-fra", "value": 1' + b"0" * 5000 + b"}", "the body is not JSON"),
        (b'{"pool": "web-fra", "value": true}', "field value: True - expected a number"),
        (b'{"pool": "web-fra", "value": "1"}', "field value: '1' - expected a number"),
        (b'{"pool": "web-fra", "value": 1, "value": 2}', "the name 'value' is there twice"),
        (b"[" * 60_000, "the body is not JSON"),
        (b'{"a":' * 10_000, "the body is not JSON"),
        (b'{"pool": "web-fra"}', "field value: missing"),
    ],
)
def test_bodies_that_are_no_load(api: Served, octets: bytes, said: str) -> None:
    got = api.ask("POST", "/v1/load", octets, JSON)
    assert (got.status, said in got.json["detail"]) == (400, True), got.json
    assert api.desk.pushed == []


def test_a_load_is_pushed(api: Served) -> None:
    assert api.write("POST", "/v1/load", {"pool": "web-cloud", "value": 12.5}).status == 204
    assert api.write("POST", "/v1/load", {"pool": "web-cloud", "value": 13, "at": NOW}).status == 204
    assert api.desk.pushed == [("web-cloud", 12.5, None), ("web-cloud", 13.0, NOW)]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"pool": "web-clod", "value": 1}, "field pool: 'web-clod' - did you mean web-cloud?"),
        ({"pool": "web-cloud", "value": -1}, "load of web-cloud: -1.0 - expected 0 or more"),
    ],
)
def test_a_load_that_is_not_taken(api: Served, body: object, said: str) -> None:
    got = api.write("POST", "/v1/load", body)
    assert (got.status, got.json["detail"]) == (422, said)


def test_media_types_other_than_json_are_refused(api: Served) -> None:
    body = json.dumps(DRAIN).encode()
    for headers in (
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ):
        got = api.ask("POST", "/v1/overrides", body, {**JSON, **headers})
        assert got.status == 415, headers
    assert (
        api.ask("POST", "/v1/overrides", body, {**JSON, "Content-Type": "application/json; charset=utf-8"}).status
        == 200
    )


def test_a_body_that_is_too_large(api: Served) -> None:
    got = api.ask("POST", "/v1/overrides", b'{"why": "' + b"x" * 70_000 + b'"}', JSON)
    assert (got.status, got.json["detail"]) == (413, "the body is larger than 64 kB")
    assert got.headers["Content-Type"] == "application/problem+json"


def test_a_full_disk_is_said_and_changes_nothing(api: Served, desk: FakeDesk) -> None:
    (desk.store.folder / ".overrides.json.new").mkdir()
    got = api.write("POST", "/v1/overrides", DRAIN)
    assert (got.status, got.json["detail"].endswith("; nothing was changed")) == (503, True)
    assert desk.written == 0


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_BODIES = (
    st.dictionaries(st.sampled_from([*DRAIN, "force", "pool", "value", "at", "x"]), _VALUES, max_size=6).map(
        lambda body: json.dumps(body).encode()
    )
    | st.binary(max_size=60)
    | _VALUES.map(lambda value: json.dumps(value).encode())
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(["/v1/overrides", "/v1/load"]), body=_BODIES)
def test_no_body_is_a_defect(api: Served, path: str, body: bytes) -> None:
    got = api.ask("POST", path, body, JSON)
    assert got.status in (200, 204, 400, 409, 422, 429), got.body
    if got.status >= 400:
        assert {"type", "title", "status", "detail", "instance"} <= got.json.keys()
