"""Scripted HTTP servers on loopback: a general one, and one with OpenAI's chat protocol."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from echat_eval.clients.chat import texts_of
from echat_eval.judge.client import IDENTITY_PROMPT

__all__ = [
    "Exchange",
    "ScriptedChatServer",
    "ScriptedServer",
    "audio_of",
    "chat_completion",
    "in_schema",
    "prompt_of",
    "schema_of",
    "text_of",
]


class Exchange(BaseHTTPRequestHandler):
    """One request to a scripted server, and the means to answer it.

    Attributes:
        command, path, headers: of the request.
        body: bytes of the request.
    """

    protocol_version = "HTTP/1.1"
    body: bytes

    def reply(
        self, body: bytes | str = b"", kind: str = "text/plain", status: int = 200, **headers: str
    ) -> None:
        """Answer with a whole body. An underscore in a header's name stands for a hyphen."""
        content = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def reply_json(self, value: Any, status: int = 200, **headers: str) -> None:
        """Answer with a JSON body."""
        self.reply(json.dumps(value), "application/json", status, **headers)

    def chunk(self, body: bytes) -> None:
        """Send one chunk of an answer with chunked encoding."""
        self.wfile.write(f"{len(body):x}\r\n".encode() + body + b"\r\n")
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: object) -> None:
        """Ignore connections that the client closed early."""


class ScriptedServer:
    """An HTTP server on loopback that answers every request by a function of the test.

    Use it as a context manager, or call `close`.

    Args:
        script: receives each request as an `Exchange` and answers it.
        port: of the server; 0: any free one.

    Attributes:
        url: "http://127.0.0.1:PORT".
        received: method, path, headers (names in lower case) and body of each request, in order.
    """

    def __init__(self, script: Callable[[Any], None], port: int = 0) -> None:
        self.received: list[tuple[str, str, dict[str, str], bytes]] = []
        received = self.received

        class Handler(Exchange):
            def _answer(self) -> None:
                self.body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                received.append((self.command, self.path, headers, self.body))
                script(self)

            do_GET = do_POST = do_HEAD = _answer  # noqa: N815

        self._server = _QuietServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        """Return the server, which already runs."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server."""
        self.close()


class ScriptedChatServer(ScriptedServer):
    """A chat server with OpenAI's protocol on loopback, for systems and judges.

    Args:
        answer: the text of every answer; an HTTP status; a mapping, sent as the JSON body; or a function
            that returns one of these for the JSON body of a request.
        identity: answer to the request by which a judge's client asks for the server's identity.
        served_suffix: the served model is the requested one with this suffix, as services report an exact
            version.
        fingerprint: system fingerprint in each answer; None: the server sends none.
        usage: prompt and completion tokens, also as a function of the request; None: the server sends none.
        models: names that `GET /v1/models` lists.
        seconds: time until a chat request is answered.
        retry_after: value of the header of that name in an answer with an error status.
        applies_schema: answers of text get the constant fields of the request's schema; see `in_schema`.
        port: of the server; 0: any free one.

    Attributes:
        url: base URL, "http://127.0.0.1:PORT/v1".
        shutdown_dates: model -> its last day, for the list of models.
        requests: JSON bodies of all chat requests, in order.
        max_busy: the most chat requests that were in progress at once.

    A test may replace `answer`, `identity`, `fingerprint`, `served_suffix`, `usage` and `seconds`.
    """

    def __init__(
        self,
        answer: str | int | Mapping[str, Any] | Callable[[dict[str, Any]], Any] = "Yes.",
        *,
        identity: str | int = "Yes.",
        served_suffix: str = "-served",
        fingerprint: str | None = "fp_scripted",
        usage: tuple[int, int] | Callable[[dict[str, Any]], tuple[int, int] | None] | None = (7, 5),
        models: Sequence[str] = ("scripted",),
        seconds: float = 0.0,
        retry_after: str | None = None,
        applies_schema: bool = True,
        port: int = 0,
    ) -> None:
        self.answer, self.identity = answer, identity
        self.applies_schema = applies_schema
        self.served_suffix, self.fingerprint, self.usage = served_suffix, fingerprint, usage
        self.models, self.seconds, self.retry_after = models, seconds, retry_after
        self.shutdown_dates: dict[str, str] = {}
        self.requests: list[dict[str, Any]] = []
        self.max_busy = self._busy = 0
        self._lock = threading.Lock()
        super().__init__(self._exchange, port)
        self.url = f"{self.url}/v1"

    @property
    def prompts(self) -> list[str]:
        """The text of the first message of each request, without the requests for the server's identity."""
        prompts = [text_of(prompt_of(request)) for request in self.requests]
        return [prompt for prompt in prompts if prompt != IDENTITY_PROMPT]

    def _exchange(self, exchange: Exchange) -> None:
        if exchange.command == "GET" and exchange.path == "/v1/models":
            days = self.shutdown_dates
            entries = [
                {"id": m, "object": "model", **({"shutdown_date": days[m]} if m in days else {})}
                for m in self.models
            ]
            exchange.reply_json({"object": "list", "data": entries})
        elif exchange.command != "POST" or exchange.path != "/v1/chat/completions":
            exchange.reply("not found", status=404)
        else:
            with self._lock:
                self._busy += 1
                self.max_busy = max(self.max_busy, self._busy)
            try:
                self._chat(exchange)
            finally:
                with self._lock:
                    self._busy -= 1

    def _chat(self, exchange: Exchange) -> None:
        request = json.loads(exchange.body)
        self.requests.append(request)
        time.sleep(self.seconds)
        greeted = text_of(prompt_of(request)) == IDENTITY_PROMPT
        answer: Any = self.identity if greeted else self.answer
        answer = answer(request) if callable(answer) else answer
        usage = self.usage(request) if callable(self.usage) else self.usage
        if isinstance(answer, int):
            headers = {} if self.retry_after is None else {"retry_after": self.retry_after}
            exchange.reply_json({"error": {"message": f"status {answer}"}}, answer, **headers)
        elif isinstance(answer, Mapping):
            exchange.reply_json(dict(answer))
        else:
            model = f"{request['model']}{self.served_suffix}"
            answer = in_schema(answer, schema_of(request) if self.applies_schema else None)
            exchange.reply_json(
                chat_completion(answer, model=model, fingerprint=self.fingerprint, usage=usage)
            )


def chat_completion(
    answer: str | Mapping[str, Any] | None,
    *,
    model: str = "scripted",
    fingerprint: str | None = "fp_scripted",
    usage: tuple[int, int] | None = (7, 5),
    finish_reason: str = "stop",
) -> dict[str, Any]:
    """Return the body of an answer of a chat server.

    Args:
        answer: the text, or the whole message.
        model: the served model.
        fingerprint: system fingerprint.
        usage: prompt and completion tokens; None: not reported.
        finish_reason: "stop" or "length".
    """
    message = {"content": answer} if answer is None or isinstance(answer, str) else dict(answer)
    tokens = usage and {
        "prompt_tokens": usage[0],
        "completion_tokens": usage[1],
        "total_tokens": sum(usage),
    }
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "system_fingerprint": fingerprint,
        "choices": [
            {"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", **message}}
        ],
        "usage": tokens,
    }


def in_schema(answer: str, schema: Mapping[str, Any] | None) -> str:
    """Return an answer as a server with schemas gives it: an object gets each constant field that it lacks.

    Args:
        answer: text; anything but one JSON object is returned as it is.
        schema: JSON schema of the request; None: the request has none.

    >>> in_schema('{"a": 1}', {"properties": {"a": {"type": "integer"}, "b": {"enum": [2]}}})
    '{"a": 1, "b": 2}'
    """
    constants = {
        name: rule["enum"][0]
        for name, rule in (schema or {}).get("properties", {}).items()
        if len(rule.get("enum", ())) == 1
    }
    if not constants or not answer.endswith("}"):
        return answer
    try:
        missing = constants.keys() - json.loads(answer).keys()
    except (ValueError, AttributeError, RecursionError):
        return answer
    fields = "".join(
        f", {json.dumps(name)}: {json.dumps(constants[name])}" for name in constants if name in missing
    )
    return f"{answer[:-1]}{fields}}}"


def schema_of(request: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the JSON schema of a chat request; None if it has none."""
    schema: Mapping[str, Any] | None = (
        (request.get("response_format") or {}).get("json_schema", {}).get("schema")
    )
    return schema


def text_of(content: str | Sequence[Mapping[str, Any]]) -> str:
    """Return the text of a message's content, or the first text of its parts.

    >>> text_of([{"type": "text", "text": "Hi"}, {"type": "input_audio", "input_audio": {}}])
    'Hi'
    """
    return next(iter(texts_of(content)), "")


def audio_of(content: str | Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the recordings among a message's parts, as base64, in either form.

    >>> audio_of([{"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}}])
    ['UklG']
    >>> audio_of([{"type": "audio_url", "audio_url": {"url": "data:audio/wav;base64,UklG"}}])
    ['UklG']
    """
    found = []
    for part in () if isinstance(content, str) else content:
        if part.get("type") == "input_audio":
            found.append(str(part["input_audio"]["data"]))
        elif part.get("type") == "audio_url":
            found.append(str(part["audio_url"]["url"]).partition(";base64,")[2])
    return found


def prompt_of(request: Mapping[str, Any]) -> Any:
    """Return the content of the first message of a chat request: text, or a list of parts."""
    return request["messages"][0]["content"]
