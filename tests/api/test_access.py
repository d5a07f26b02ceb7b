"""Who may do what, over real sockets: token, Host, rate; and that every error is a problem document."""

from __future__ import annotations

from dataclasses import replace
from http.client import HTTPConnection
from ipaddress import ip_address
from pathlib import Path

import pytest

from gslb.api.auth import Asking, Doorman, peer_address
from gslb.api.gate import BURST
from gslb.api.problem import Problem
from gslb.api.token import token_of
from gslb.model.deployment import Api, Socket
from tests.api.desk import LISTEN
from tests.api.served import TOKEN, Served, wait_for, with_api

LOOPBACK, ELSEWHERE = ip_address("127.0.0.1"), ip_address("192.0.2.1")
READ = Asking(LOOPBACK, "localhost:8053", None, writes=False)


def status_of(asking: Asking, token: bytes | None = TOKEN.encode(), listen: Socket = LISTEN) -> int:
    try:
        Doorman(listen, token).admit(asking)
    except Problem as problem:
        return problem.status
    return 200


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8053", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:8053"])
def test_reads_on_loopback_are_open_to_our_own_names(host: str) -> None:
    assert status_of(replace(READ, host=host)) == 200


@pytest.mark.parametrize(
    "host", [None, "", "evil.example", "localhost.evil.example", "127.0.0.1.nip.io:8053", "[::2]", "[", "0"]
)
def test_another_host_name_is_rebinding(host: str | None) -> None:
    assert status_of(replace(READ, host=host)) == 421


def test_the_address_that_is_listened_on_is_a_name_of_ours() -> None:
    listen = Socket(ELSEWHERE, 8053)
    assert status_of(replace(READ, host="192.0.2.1:8053"), listen=listen) == 200
    assert status_of(replace(READ, host="0.0.0.0:8053"), listen=Socket(ip_address("0.0.0.0"), 8053)) == 421


def test_writes_and_reads_from_elsewhere_need_the_token() -> None:
    for asking in (replace(READ, writes=True), replace(READ, peer=ELSEWHERE)):
        assert status_of(asking) == 401
        assert status_of(asking, token=None) == 403
        for right in (f"Bearer {TOKEN}", f"bearer  {TOKEN} "):
            assert status_of(replace(asking, authorization=right, host="any.example")) == 200
        for wrong in ("", "Bearer", "Bearer x", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer \udcff"):
            assert status_of(replace(asking, authorization=wrong)) == 401, wrong
        assert status_of(replace(asking, authorization="Bearer x"), token=None) == 403


def test_a_wrong_token_is_not_forgiven_on_loopback() -> None:
    assert status_of(replace(READ, authorization="Bearer x")) == 401


def test_an_ipv4_peer_of_an_ipv6_socket() -> None:
    assert peer_address("::ffff:127.0.0.1") == LOOPBACK
    assert peer_address("fe80::1%eth0") == ip_address("fe80::1")
    assert not peer_address(None).is_loopback


def test_where_the_token_is_read(tmp_path: Path) -> None:
    config, listen = tmp_path / "gslb.yaml", LISTEN
    (tmp_path / "token").write_text(" secret\n")
    (tmp_path / "empty").write_text("\n")
    assert token_of(Api(listen), {}, config) == (None, None)
    assert token_of(Api(listen, token_file="token"), {}, config) == (b"secret", None)
    assert token_of(Api(listen, token_env="T"), {"T": "secret"}, config) == (b"secret", None)
    for api, said in (
        (Api(listen, token_file="absent"), "No such file or directory"),
        (Api(listen, token_file="empty"), "expected 1 to 4096 octets"),
        (Api(listen, token_env="T"), "the environment has no T"),
    ):
        token, problem = token_of(api, {}, config)
        assert token is None
        assert said in (problem or "")


def test_a_write_without_the_token_changes_nothing(api: Served) -> None:
    got = api.ask("POST", "/v1/overrides", b"{}", {"Content-Type": "application/json"})
    assert (got.status, got.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert api.ask("DELETE", "/v1/overrides?target=site/iad").status == 401
    assert api.desk.written == 0


def test_a_token_that_is_not_configured_says_what_to_do(api: Served) -> None:
    model = api.desk.model
    assert model is not None
    api.want(with_api(model.deployment, Api(LISTEN)))
    wait_for(lambda: api.ask("DELETE", "/v1/overrides?target=site/iad").status == 403)
    assert "set api.token_env or api.token_file" in api.ask("DELETE", "/v1/overrides?target=site/iad").json["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/v1/status/", 404),
        ("POST", "/v1/status", 401),
        ("PUT", "/v1/overrides", 401),
        ("OPTIONS", "/v1/status", 401),
        ("GET", "/v1/status?x=1", 400),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/%2e%2e/page.js", 404),
        ("HEAD", "/v1/events", 405),
    ],
)
def test_every_error_is_a_problem_document(api: Served, method: str, path: str, status: int) -> None:
    got = api.ask(method, path)
    assert (got.status, got.headers["Content-Type"]) == (status, "application/problem+json")
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    if method != "HEAD":
        assert (got.json["status"], got.json["type"]) == (status, "about:blank")


def test_a_method_that_a_path_does_not_take(api: Served) -> None:
    got = api.write("PUT", "/v1/overrides", {})
    assert (got.status, got.headers["Allow"]) == (405, "DELETE,GET,HEAD,POST")


def test_a_defect_is_a_problem_and_one_log_line(api: Served, caplog: pytest.LogCaptureFixture) -> None:
    del api.desk.told["workers"]
    got = api.get("/readyz")
    assert (got.status, "KeyError" in got.body.decode()) == (500, False)
    assert [record.getMessage() for record in caplog.records if record.name == "gslb.api"] == ["a request failed"]
    assert api.get("/healthz").status == 200


def test_a_client_that_asks_too_often_waits(api: Served) -> None:
    client = HTTPConnection("127.0.0.1", api.port, timeout=5)
    answers = []
    for _ in range(int(BURST) * 20):  # the bucket fills again meanwhile, but not so fast
        client.request("GET", "/healthz")
        answers.append(client.getresponse())
        answers[-1].read()
        if answers[-1].status != 200:
            break
    client.close()
    assert answers[-1].status == 429
    assert len(answers) > BURST
    assert answers[-1].headers["Retry-After"] == "1"


def test_a_wrong_token_costs_more(api: Served) -> None:
    wrong = {"Authorization": "Bearer guess"}
    statuses = [api.ask("GET", "/v1/status", headers=wrong).status for _ in range(20)]
    assert statuses[0] == 401
    assert statuses[-1] == 429
