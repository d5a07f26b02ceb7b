"""Errors of the API as problem documents.

Standards: RFC 9457 (`application/problem+json`), RFC 9110 section 15 (status codes).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import web

CONTENT_TYPE = "application/problem+json"


class Problem(Exception):
    """A request that is refused.  `detail` says what is wrong with it, what was expected, and what to do."""

    def __init__(
        self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None, **more: object
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = more


def response(problem: Problem, path: str) -> web.Response:
    """The document.  `about:blank`: the status code says the kind of problem (RFC 9457 section 4.2.1)."""
    body = {
        "type": "about:blank",
        "title": problem.status.phrase,
        "status": problem.status.value,
        "detail": problem.detail,
        "instance": path,
        **problem.more,
    }
    return web.Response(
        status=problem.status,
        body=json.dumps(body, ensure_ascii=True).encode(),
        headers={**problem.headers, "Content-Type": CONTENT_TYPE},
    )


def of_http(error: web.HTTPException) -> Problem:
    """The problem that aiohttp found."""
    status = HTTPStatus(error.status)
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    return Problem(status, _DETAILS.get(status) or error.reason, headers)


_DETAILS = {
    HTTPStatus.NOT_FOUND: "there is no such path; docs/api.md lists them",
    HTTPStatus.METHOD_NOT_ALLOWED: "this path does not take that method; the Allow header names those that it takes",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "the body is larger than 64 kB",
}
