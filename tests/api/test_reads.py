"""What the API tells, asked over real sockets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gslb.control.store import OverridesRead
from gslb.model.plan import from_bytes
from gslb.model.world import Forced, Override
from tests.api.desk import NOW, REPORT, FakeDesk
from tests.api.figures import SHARING
from tests.api.served import Served

DRAIN = Override("site/fra", Forced.DRAIN, "alice", "CHG-7", NOW - 10)


def test_status_is_the_report(api: Served) -> None:
    got = api.get("/v1/status")
    assert (got.status, got.json, got.headers["Content-Type"]) == (200, REPORT, "application/json")


def test_plan_is_the_stored_form(api: Served) -> None:
    assert from_bytes(api.get("/v1/plan").body) == api.desk.plan


def test_without_a_plan_there_is_none(api: Served) -> None:
    api.desk.plan = None
    got = api.get("/v1/plan")
    assert (got.status, got.json["detail"]) == (404, "there is no plan yet")


def test_explain_answers_as_the_nameserver_would(api: Served) -> None:
    told = api.get("/v1/explain?name=www.example.com&client=10.20.3.0/24").json
    assert told["answer"] == {"rcode": "NOERROR", "records": ["www.example.com. 30 IN A 198.51.100.10"], "scope": 16}
    assert [pool["pool"] for pool in told["decision"]["pools"] if pool["chosen"]] == ["web-iad"]


def test_explain_for_a_resolver_and_a_type(api: Served) -> None:
    told = api.get("/v1/explain?name=www.example.com&type=AAAA&resolver=2001:db8::53").json
    assert (told["type"], told["resolver"], told["client"]) == ("AAAA", "2001:db8::53", None)
    assert told["answer"]["records"] == ["www.example.com. 30 IN AAAA 2001:db8:1::10"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", "parameter name: missing"),
        ("name=a..b", "parameter name: 'a..b'"),
        ("name=a.example.com&type=NO", "parameter type: "),
        ("name=a.example.com&client=x", "parameter client: 'x' - expected an address or a subnet"),
        ("name=a.example.com&resolver=1.2.3", "parameter resolver: '1.2.3' - expected an address"),
        ("name=a.example.com&clint=x", "parameter 'clint': did you mean client?"),
        ("name=a.example.com&name=b.example.com", "parameter 'name': given twice"),
    ],
)
def test_explain_refuses_with_what_was_expected(api: Served, query: str, said: str) -> None:
    got = api.get(f"/v1/explain?{query}")
    assert (got.status, said in got.json["detail"]) == (400, True), got.json


def test_overrides_are_told_from_memory(desk: FakeDesk, api: Served) -> None:
    ended = replace(DRAIN, target="site/iad", until=NOW - 1)
    desk.stored, desk.read_at = OverridesRead((DRAIN, ended), "overrides.json: damaged"), desk.written
    assert not desk.store.overrides_path.exists()
    told = api.get("/v1/overrides").json
    assert [(one["target"], one["state"], one["holds"]) for one in told["overrides"]] == [
        ("site/fra", "drain", True),
        ("site/iad", "drain", False),
    ]
    assert told["note"] == "overrides.json: damaged"


def test_before_a_configuration_is_in_force(desk: FakeDesk, api: Served) -> None:
    desk.model = None
    got = api.get("/v1/explain?name=www.example.com")
    assert (got.status, got.json["detail"]) == (503, "no configuration is in force yet")
    assert got.headers["Retry-After"] == "5"


def test_alive_and_ready(api: Served) -> None:
    assert api.get("/healthz").json == {"status": "ok"}
    assert api.get("/readyz").json == {"status": "ready"}


@pytest.mark.parametrize(
    ("lacking", "said"),
    [
        ({"generation": None}, "no plan is in force"),
        ({"workers": []}, "no worker that answers over UDP is alive"),
        ({"workers": [{"kind": "udp", "alive": False}, {"kind": "tcp", "alive": True}]}, "no worker that answers"),
    ],
)
def test_unready_says_what_lacks(api: Served, lacking: dict[str, object], said: str) -> None:
    api.desk.told = {**REPORT, **lacking}
    got = api.get("/readyz")
    assert (got.status, said in got.json["detail"]) == (503, True)
    assert api.get("/healthz").status == 200


def test_a_node_that_knows_nothing_new_of_the_others_is_ready(api: Served) -> None:
    gone = {**SHARING, "bus": {"connected": False, "since": 0.0, "why": "refused"}}
    api.desk.told = {**REPORT, "sharing": gone, "problems": {"bus": ["no bus"], "nodes": ["iad1 is not heard"]}}
    assert api.get("/readyz").json == {"status": "ready"}


def test_unready_says_who_does_not_answer(api: Served) -> None:
    api.desk.hushed = ("the worker with pid 7 was asked",)
    got = api.get("/readyz")
    assert (got.status, got.json["detail"]) == (503, "the worker with pid 7 was asked")


def test_head_is_a_get_without_its_body(api: Served) -> None:
    got = api.ask("HEAD", "/v1/status")
    assert (got.status, got.body) == (200, b"")
    assert int(got.headers["Content-Length"]) == len(api.get("/v1/status").body)


def test_the_page_and_its_files(api: Served) -> None:
    for path, kind in (("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript")):
        got = api.get(path)
        assert (got.status, got.headers["Content-Type"]) == (200, f"{kind}; charset=utf-8")
        assert "default-src 'none'" in got.headers["Content-Security-Policy"]
        assert "Access-Control-Allow-Origin" not in got.headers
    page = api.get("/").body.decode()
    assert "<script>" not in page
    assert " style=" not in page
    assert "CC BY 4.0" in page


def test_the_script_makes_no_markup_of_what_it_is_told(api: Served) -> None:
    script = api.get("/page.js").body.decode()
    for dangerous in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert dangerous not in script


def test_an_explanation_that_fails_leaves_the_next_ones_alone(api: Served) -> None:
    model = api.desk.model
    assert model is not None
    api.desk.model = replace(model, located=replace(model.located, path=model.located.path.with_suffix(".gone")))
    assert api.get("/v1/explain?name=www.example.com").status == 503
    api.desk.model = model
    assert api.get("/v1/explain?name=www.example.com").status == 200
