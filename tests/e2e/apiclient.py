"""The HTTP API of a running node, asked by the standard library's client.  IO."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Got:
    """One answer."""

    status: int
    kind: str
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)


class ApiClient:
    """The API at a port of loopback.  Every request carries the token."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._headers = {"Authorization": f"Bearer {token}"}

    def get(self, path: str) -> Got:
        """Read `path`."""
        return self._ask("GET", path)

    def post(self, path: str, body: Mapping[str, object]) -> Got:
        """Send `body` as JSON; NaN and infinities as Python writes them, which is no JSON."""
        return self._ask("POST", path, json.dumps(body).encode())

    def delete(self, path: str) -> Got:
        """Delete `path`."""
        return self._ask("DELETE", path)

    def listens(self) -> bool:
        """Whether it answers."""
        try:
            return self.get("/healthz").status == 200
        except OSError:
            return False

    def samples(self) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
        """`/metrics` as its own parser reads it: values by the name of a sample and its sorted labels."""
        got = self.get("/metrics")
        assert got.status == 200, got
        found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
        for family in text_string_to_metric_families(got.body.decode()):
            for sample in family.samples:
                found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
        return found

    @contextmanager
    def events(self, path: str = "/v1/events") -> Iterator[list[dict[str, Any]]]:
        """What `/v1/events` tells during a block: a list that grows."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_S)
        connection.request("GET", path, headers=self._headers)
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.readline().startswith(b"retry:")  # it follows from here on
        told: list[dict[str, Any]] = []
        reading = threading.Thread(target=_read_events, args=(answer, told))
        reading.start()
        try:
            yield told
        finally:
            if connection.sock is not None:
                connection.sock.shutdown(2)
            reading.join(TIMEOUT_S)
            answer.close()
            connection.close()

    def _ask(self, method: str, path: str, body: bytes | None = None) -> Got:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT_S)
        try:
            kind = {"Content-Type": "application/json"} if body is not None else {}
            connection.request(method, path, body, {**self._headers, **kind})
            answer = connection.getresponse()
            return Got(answer.status, answer.headers.get_content_type(), answer.read())
        finally:
            connection.close()


def _read_events(answer: http.client.HTTPResponse, told: list[dict[str, Any]]) -> None:
    try:
        while line := answer.readline():
            if line.startswith(b"data:"):
                told.append(json.loads(line.removeprefix(b"data:")))
    except (OSError, http.client.HTTPException, ValueError):
        return
