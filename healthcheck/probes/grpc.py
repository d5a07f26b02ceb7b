"""`grpc`: grpc.health.v1.Health/Check says SERVING.  IO around a sans-IO talk over HTTP/2 (by h2).

Sources: the gRPC health checking protocol (grpc/doc/health-checking.md), gRPC over HTTP/2 (PROTOCOL-HTTP2.md).  Its two
messages have one field each, so they are read and written here: field 1 of the request is the service (a string), of the
response the status (an enum).
"""

from __future__ import annotations

import time

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from healthcheck.check import Check, Sample
from healthcheck.probes.connection import Failed, converse
from healthcheck.probes.marks import mark_of
from healthcheck.probes.shown import shown, shown_octets
from healthcheck.probes.tls import certificate_warning, secured

MOST_OCTETS = 64 * 1024  # of the whole conversation
_MESSAGE_OCTETS = 1024
_TYPE, _SETTINGS = 3, b"\4"  # of the first frame (RFC 9113 sections 3.4 and 4.1)
_PREFIX_OCTETS = 5  # compressed or not, and a length of four octets
_STATUSES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
SERVING = 1
_CODES = {1: "CANCELLED", 2: "UNKNOWN", 4: "DEADLINE_EXCEEDED", 5: "NOT_FOUND", 7: "PERMISSION_DENIED"}
_CODES |= {8: "RESOURCE_EXHAUSTED", 12: "UNIMPLEMENTED", 13: "INTERNAL", 14: "UNAVAILABLE", 16: "UNAUTHENTICATED"}


async def probe(check: Check) -> tuple[Sample, ...]:
    """One sample."""
    safe = secured(check.settings, check.address, "h2") if check.settings.get("tls") else None
    began = time.perf_counter()
    why = warning = ""
    try:
        if check.port is None:
            raise Failed("no port to connect to")
        authority = str(check.settings.get("host") or _authority(check.address, check.port))
        talk = HealthTalk(str(check.settings.get("service") or ""), authority, "http" if safe is None else "https")
        session = await converse(talk, check.address, check.port, check.timeout_s, safe, mark_of(check))
        if session is not None and safe is not None:
            now = time.time()  # noqa: TID251  # certificates end by the calendar
            warning = certificate_warning(session, check.settings, safe.name, now)
        talk.judge()
    except Failed as failed:
        why = str(failed)
    return (Sample(not why, time.perf_counter() - began, why, warning=warning),)


def _authority(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class HealthTalk:
    """One call of Check.  Sans-IO; raises Failed for whatever is not HTTP/2 or not gRPC."""

    def __init__(self, service: str, authority: str, scheme: str) -> None:
        self.done = False
        self._service = service.encode()
        self._headers = [
            (":method", "POST"),
            (":scheme", scheme),
            (":path", "/grpc.health.v1.Health/Check"),
            (":authority", authority),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", "gslb-healthcheck"),
        ]
        self._line = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self._answer: dict[str, str] = {}
        self._message = b""
        self._octets = 0
        self._first = b""

    def begin(self) -> bytes:
        """The preface, the headers and the message."""
        stream = 1
        field = b"\x0a" + _varint(len(self._service)) + self._service if self._service else b""
        self._line.initiate_connection()
        self._line.send_headers(stream, self._headers)
        self._line.send_data(stream, b"\0" + len(field).to_bytes(4, "big") + field, end_stream=True)
        return self._line.data_to_send()

    def receive(self, data: bytes) -> bytes:
        """Frames; gives what HTTP/2 wants acknowledged."""
        self._first = (self._first + data[:40])[:40]
        self._octets += len(data)
        if self._first[_TYPE : _TYPE + 1] not in (b"", _SETTINGS):  # h2 would wait for 4.7 MB of frame "HTTP"
            raise Failed(f"not HTTP/2: {shown_octets(self._first)}")
        if self._octets > MOST_OCTETS:
            raise Failed(f"more than {MOST_OCTETS // 1024} kB came, and no whole answer")
        try:
            events = self._line.receive_data(data)
        except (h2.exceptions.H2Error, UnicodeDecodeError) as error:
            raise Failed(f"not HTTP/2: {shown_octets(self._first)}") from error
        for event in events:
            self._take(event)
        return self._line.data_to_send()

    def ended(self) -> None:
        """Raises Failed: the answer is not whole."""
        raise Failed("closed without an answer" if not self._first else "closed within the answer")

    def judge(self) -> None:
        """Raises Failed unless the service is SERVING."""
        status = self._answer.get(":status", "")
        if status != "200":
            raise Failed(f"HTTP status {shown(status, 20)}, expected 200")
        code = self._answer.get("grpc-status", "")
        if code != "0":
            name = (
                _CODES.get(int(code), code) if code.isascii() and code.isdigit() and len(code) < 4 else shown(code, 20)
            )
            text = shown(self._answer.get("grpc-message", ""), 100)
            raise Failed(f"gRPC status {name or 'missing'}" + (f": {text}" if text else ""))
        serving = _serving(self._message)
        if serving != SERVING:
            raise Failed(f"{_STATUSES.get(serving, serving)}, expected SERVING")

    def _take(self, event: h2.events.Event) -> None:
        match event:
            case h2.events.ResponseReceived() | h2.events.TrailersReceived():
                self._answer |= {str(name): str(value) for name, value in event.headers or ()}
            case h2.events.DataReceived():
                self._message += event.data or b""
                if len(self._message) > _MESSAGE_OCTETS:
                    raise Failed(f"a message of more than {_MESSAGE_OCTETS} octets")
            case h2.events.StreamEnded():
                self.done = True
            case _ if self.done:
                pass  # the call is over, and the server may end the connection
            case h2.events.StreamReset() | h2.events.ConnectionTerminated():
                raise Failed(f"the call was refused by HTTP/2 (error {event.error_code})")
            case _:
                pass  # settings, windows, pings


def _serving(message: bytes) -> int:
    """The status in a length-prefixed HealthCheckResponse; 0 where the field is left out, as protobuf does for 0."""
    if (
        len(message) < _PREFIX_OCTETS
        or message[0]
        or len(message) != _PREFIX_OCTETS + int.from_bytes(message[1:5], "big")
    ):
        raise Failed("the answer is no gRPC message")
    field = message[_PREFIX_OCTETS:]
    if not field:
        return 0
    if len(field) != 2 or field[0] != 0x08:
        raise Failed("the answer is no HealthCheckResponse")
    return field[1]


def _varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 0x7F | 0x80]) + _varint(value >> 7)
