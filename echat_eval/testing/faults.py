"""Kinds of faults of servers: what a server does, and what its client must make of it.

`docs/faults.md` lists them. `tests/clients/test_fault_kinds.py` runs every kind over every client of the
package.
"""

from __future__ import annotations

import gzip
import itertools
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from echat_eval.testing.raw_server import RawConnection, RawServer

__all__ = ["FAULT_KINDS", "FaultKind", "fault_server", "table"]

Outcome = Literal["value", "missing", "failed", "stop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultKind:
    """A kind of fault, or an unusual but right answer.

    Attributes:
        name: last part of the URL at which `fault_server` shows it.
        does: what the server does.
        outcome: state of a system's row, or "stop" if the run ends with exit code 2. An instrument's row is
            missing where a system's has failed. "stop" is reached with the second answer.
        answer: answers one request; False closes the connection.
        waits: the call lasts as long as its time-out, and at most a second longer.
        chat: only for clients with the chat protocol.
        streams: only for clients that read a stream of events.
        base: beginning of the URL, if it is not the server's.
    """

    name: str
    does: str
    outcome: Outcome
    answer: Callable[[RawConnection], Any]
    waits: bool = False
    chat: bool = False
    streams: bool = False
    base: Callable[[RawServer], str] = lambda server: server.url

    def url(self, server: RawServer) -> str:
        """Return the base URL of this kind on a server of `fault_server`."""
        return f"{self.base(server)}/{self.name}/v1"


def fault_server() -> RawServer:
    """Return a server that shows every kind of `FAULT_KINDS` at the kind's URL."""

    def script(connection: RawConnection) -> Any:
        return FAULT_KINDS[connection.path.split("/")[1]].answer(connection)

    return RawServer(script)


def table() -> Iterator[str]:
    """Yield the lines of the documents' table."""
    yield "| kind | the server | a system's row |"
    yield "| --- | --- | --- |"
    for kind in FAULT_KINDS.values():
        late = ", after the time-out" if kind.waits else ""
        outcome = "the run stops" if kind.outcome == "stop" else kind.outcome
        yield f"| `{kind.name}` | {kind.does} | {outcome}{late} |"


def _kinds() -> Iterator[FaultKind]:
    yield from _right_answers()
    yield from _connections()
    yield from _headers()
    yield from _bodies()
    yield from _wrong_answers()
    yield from _redirects()
    yield from _statuses()
    yield from _reported_errors()
    yield from _streams()


def _right_answers() -> Iterator[FaultKind]:
    def kind(name: str, does: str, answer: Callable[[RawConnection], Any]) -> FaultKind:
        return FaultKind(name=name, does=does, outcome="value", answer=answer)

    yield kind("right", "answers", lambda c: c.answer(c.right_answer()))
    yield kind(
        "gzip",
        "compresses its answer though that was not requested",
        lambda c: c.answer(gzip.compress(c.right_answer()), content_encoding="gzip"),
    )
    yield kind(
        "deflate",
        "compresses it as deflate without the header of zlib",
        lambda c: c.answer(zlib.compress(c.right_answer())[2:-4], content_encoding="deflate"),
    )
    yield kind(
        "chunks",
        "sends its answer in chunks of a byte",
        lambda c: c.write(
            c.head(content_type="application/json", transfer_encoding="chunked")
            + b"".join(b"1\r\n%c\r\n" % byte for byte in c.right_answer())
            + b"0\r\n\r\n"
        ),
    )
    yield kind("no-length", "ends its answer by closing the connection", _without_length)
    yield kind(
        "continue",
        "sends 100 Continue a thousand times, then answers",
        lambda c: (c.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000), c.answer(c.right_answer())),
    )
    yield kind(
        "moved-here",
        "redirects with 308 on the same host, then answers",
        lambda c: (
            c.answer(c.right_answer())
            if "moved=1" in c.path
            else c.answer(b"", "308 Moved", location=f"{c.path}?moved=1")
        ),
    )


def _connections() -> Iterator[FaultKind]:
    def kind(name: str, does: str, answer: Callable[[RawConnection], Any], **more: Any) -> FaultKind:
        return FaultKind(name=name, does=does, outcome="missing", answer=answer, **more)

    yield kind("refused", "does not listen", lambda c: None, base=lambda server: server.closed_url)
    yield kind("closes", "reads the request and closes the connection", lambda c: False)
    yield kind("resets", "reads the request and resets the connection", lambda c: c.reset())
    yield kind("silent", "reads the request and sends nothing", lambda c: c.wait(), waits=True)
    yield kind("not-http", "answers in another protocol", lambda c: (c.write(b"SSH-2.0-x\r\n"), False)[1])
    yield FaultKind(
        name="no-tls",
        does="answers http where the URL is https",
        outcome="stop",
        answer=lambda c: None,
        base=lambda server: server.url.replace("http:", "https:"),
    )


def _headers() -> Iterator[FaultKind]:
    def kind(name: str, does: str, answer: Callable[[RawConnection], Any], **more: Any) -> FaultKind:
        return FaultKind(name=name, does=does, outcome="missing", answer=answer, **more)

    yield kind(
        "dripped-status",
        "sends the status line byte by byte without end",
        lambda c: (c.write(b"HTTP/1.1 200 "), c.drip(itertools.repeat(b"X"))),
        waits=True,
    )
    yield kind(
        "dripped-headers",
        "sends headers line by line without end",
        lambda c: (c.write(b"HTTP/1.1 200 OK\r\n"), c.drip(itertools.repeat(b"X-A: y\r\n"))),
        waits=True,
    )
    yield kind(
        "dripped-continue",
        "sends 100 Continue without end",
        lambda c: c.drip(itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n")),
        waits=True,
    )
    yield kind(
        "many-headers",
        "sends 100,000 headers",
        lambda c: c.write(
            b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(100_000)) + b"\r\n"
        ),
    )
    yield kind(
        "long-header",
        "sends a header of 1 MB",
        lambda c: c.answer(c.right_answer(), x_long="a" * 2**20),
    )
    yield kind("no-status", "sends a status that is no number", lambda c: c.answer(b"{}", "OK OK"))
    yield kind(
        "negative-length",
        "states a negative length",
        lambda c: c.answer(c.right_answer(), content_length=-1),
    )
    yield kind(
        "two-lengths",
        "states two different lengths",
        lambda c: c.answer(c.right_answer(), Content_Length=3),
    )


def _bodies() -> Iterator[FaultKind]:
    def kind(
        name: str,
        does: str,
        answer: Callable[[RawConnection], Any],
        outcome: Outcome = "missing",
        **more: Any,
    ) -> FaultKind:
        return FaultKind(name=name, does=does, outcome=outcome, answer=answer, **more)

    yield kind("torn", "closes the connection in the middle of its answer", lambda c: (_torn(c), False)[1])
    yield kind("stalled", "stops in the middle of its answer", lambda c: (_torn(c), c.wait()), waits=True)
    yield kind(
        "short-length",
        "states a length that cuts its answer off",
        lambda c: (c.answer(c.right_answer(), content_length=len(c.right_answer()) - 9), False)[1],
    )
    yield kind(
        "torn-chunks",
        "closes the connection between two chunks",
        lambda c: (c.write(_chunked(c, c.right_answer())), False)[1],
    )
    yield kind(
        "broken-chunks",
        "sends a chunk without a size",
        lambda c: c.write(_chunked(c, b"{") + b"many\r\n{}\r\n"),
    )
    yield kind(
        "dripped-body",
        "sends its answer byte by byte",
        lambda c: (
            c.write(c.head(content_type="application/json", content_length=10**6)),
            c.drip(itertools.repeat(b" ")),
        ),
        waits=True,
    )
    yield kind(
        "endless-body",
        "sends blanks without end",
        lambda c: (c.write(c.head(content_type="application/json")), _endless(c)),
        "failed",
    )
    yield kind(
        "gzip-bomb",
        "compresses 10 MB of blanks to 10 kB",
        lambda c: c.answer(_bomb(), content_encoding="gzip"),
        "failed",
    )
    yield kind(
        "torn-gzip",
        "cuts a compressed answer off",
        lambda c: c.answer(gzip.compress(c.right_answer())[:-20], content_encoding="gzip"),
    )
    yield kind(
        "no-gzip",
        "declares an answer compressed that is not",
        lambda c: c.answer(c.right_answer(), content_encoding="gzip"),
        "failed",
    )
    yield kind(
        "brotli",
        "compresses in a way that was not requested",
        lambda c: c.answer(c.right_answer(), content_encoding="br"),
        "failed",
    )


def _wrong_answers() -> Iterator[FaultKind]:
    def kind(name: str, does: str, body: bytes, outcome: Outcome, **headers: str) -> FaultKind:
        return FaultKind(name=name, does=does, outcome=outcome, answer=lambda c: c.answer(body, **headers))

    yield kind("empty", "answers 200 with nothing", b"", "missing")
    yield kind(
        "web-page",
        "answers 200 with a page to sign in",
        b"<!doctype html><title>Sign in</title>",
        "missing",
        content_type="text/html",
    )
    yield kind("torn-json", "answers with JSON that breaks off", b'{"text": "I hear', "missing")
    yield kind("no-json", "answers with text in place of JSON", b"I hear you", "failed")
    yield kind("json-list", "answers with a list", b"[1, 2]", "failed")
    yield kind("json-null", "answers with null", b"null", "failed")
    yield kind("deep-json", "answers with 100,000 nested lists", b"[" * 100_000, "failed")
    yield kind("no-utf-8", "answers with bytes that are no UTF-8", b'{"text": "\xff\xfe"}', "failed")
    yield kind("nan", "answers with NaN", b'{"text": "a", "usage": {"n": NaN}}', "failed")
    yield kind("wrong-form", "answers with fields of wrong types", b'{"choices": 5, "text": 5}', "failed")


def _redirects() -> Iterator[FaultKind]:
    def kind(name: str, does: str, status: str, location: str | None) -> FaultKind:
        fields = {} if location is None else {"location": location}
        return FaultKind(
            name=name, does=does, outcome="stop", answer=lambda c: c.answer(b"", status, **fields)
        )

    yield kind("elsewhere", "redirects with 307 to another host", "307 Moved", "http://127.0.0.2:9/v1")
    yield kind("lost-body", "redirects with 302, which drops the body", "302 Found", "/right/v1")
    yield kind("nowhere", "redirects with 301 and names no target", "301 Moved", None)
    yield kind("not-a-url", "redirects to what is no URL", "307 Moved", "ftp://h/x")
    yield kind("loop", "redirects to itself", "307 Moved", "/loop/v1")


#: Status -> effect; the text of the answer adds nothing.
_STATUSES: Mapping[int, Outcome] = {
    400: "failed",
    401: "stop",
    402: "stop",
    403: "stop",
    404: "stop",
    405: "stop",
    407: "stop",
    408: "missing",
    409: "missing",
    410: "stop",
    413: "stop",
    415: "stop",
    422: "failed",
    425: "missing",
    429: "missing",
    500: "missing",
    501: "missing",
    502: "missing",
    503: "missing",
    504: "missing",
    507: "missing",
    520: "missing",
    521: "missing",
    522: "missing",
    523: "missing",
    524: "missing",
    525: "missing",
    526: "missing",
    527: "missing",
    529: "missing",
    599: "missing",
}


def _statuses() -> Iterator[FaultKind]:
    def kind(status: int, outcome: Outcome) -> FaultKind:
        return FaultKind(
            name=f"status-{status}",
            does=f"answers {status}",
            outcome=outcome,
            answer=lambda c: c.answer(b"<html>", f"{status} x", content_type="text/html"),
        )

    for status, outcome in _STATUSES.items():
        yield kind(status, outcome)


def _reported_errors() -> Iterator[FaultKind]:
    def kind(
        name: str, does: str, error: Any, outcome: Outcome, status: int = 200, chat: bool = False
    ) -> FaultKind:
        body = json.dumps({"error": error}).encode()
        return FaultKind(
            name=name, does=does, outcome=outcome, answer=lambda c: c.answer(body, f"{status} x"), chat=chat
        )

    message = {"message": "no"}
    yield kind("reports-429", "reports 429 in a 200", {**message, "code": 429}, "missing")
    yield kind("reports-overloaded", "reports an overload in a 200", {"type": "overloaded_error"}, "missing")
    yield kind("reports-500", "reports an internal error in a 200", {"type": "server_error"}, "missing")
    yield kind(
        "reports-out-of-memory", "reports that its machine is out of memory", "CUDA out of memory", "missing"
    )
    yield kind(
        "quota-resets",
        "reports a quota that resets",
        "Quota exceeded; try again in 20 s",
        "missing",
        429,
    )
    yield kind("reports-401", "reports a wrong key in a 200", {"code": "invalid_api_key"}, "stop")
    yield kind("reports-404", "reports an unknown model in a 400", "model `m` not found", "stop", 400)
    yield kind("no-quota", "reports an exhausted quota in a 429", {"code": "insufficient_quota"}, "stop", 429)
    yield kind("reports-no-quota", "reports it in a 200", {"code": "insufficient_quota"}, "stop")
    yield kind(
        "bad-parameter",
        "answers 400 and names a parameter",
        {"param": "temperature", "message": "unsupported value"},
        "stop",
        400,
        chat=True,
    )
    yield kind(
        "reports-error", "reports an error of its own in a 200", "the model returned nothing", "failed"
    )


def _streams() -> Iterator[FaultKind]:
    begun = b"data: " + json.dumps({"choices": [{"delta": {"content": "I"}}]}).encode() + b"\n\n"

    def kind(name: str, does: str, rest: bytes, outcome: Outcome) -> FaultKind:
        return FaultKind(
            name=name,
            does=does,
            outcome=outcome,
            answer=lambda c: c.answer(begun + rest, content_type="text/event-stream"),
            streams=True,
        )

    yield kind("stream", "sends a stream of events", b"data: [DONE]\n\n", "value")
    yield kind("stream-torn", "breaks a stream off", b"", "missing")
    yield kind("stream-busy", "reports an overload in a stream", _event("overloaded_error"), "missing")
    yield kind(
        "stream-no-quota", "reports an exhausted quota in a stream", _event("insufficient_quota"), "stop"
    )
    yield kind("stream-error", "reports an error of its own in a stream", _event("bad reply"), "failed")
    yield FaultKind(
        name="stream-pings",
        does="sends comments in a stream without end",
        outcome="missing",
        answer=lambda c: (
            c.write(c.head(content_type="text/event-stream") + begun),
            c.drip(itertools.repeat(b": ping\n\n")),
        ),
        waits=True,
        streams=True,
    )


def _event(kind: str) -> bytes:
    return b"data: " + json.dumps({"error": {"type": kind, "message": kind}}).encode() + b"\n\n"


def _without_length(connection: RawConnection) -> bool:
    connection.write(connection.head(content_type="application/json") + connection.right_answer())
    return False


def _torn(connection: RawConnection) -> bool:
    body = connection.right_answer()
    return connection.write(
        connection.head(content_type="application/json", content_length=len(body)) + body[:9]
    )


def _chunked(connection: RawConnection, body: bytes) -> bytes:
    head = connection.head(content_type="application/json", transfer_encoding="chunked")
    return head + f"{len(body):x}\r\n".encode() + body + b"\r\n"


def _endless(connection: RawConnection) -> bool:
    while connection.write(b" " * 2**16):
        pass
    return False


@cache
def _bomb() -> bytes:
    return gzip.compress(b" " * 10**7)


FAULT_KINDS: Mapping[str, FaultKind] = {kind.name: kind for kind in _kinds()}
