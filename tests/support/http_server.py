"""A scripted HTTP server on loopback; each test defines its answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from echat_eval.records import Request
from echat_eval.store.keys import request_for
from echat_eval.task import load_task

Handler = Callable[[Any], None]


class Server:
    """Answers every request by calling `script`, and records the requests.

    Attributes:
        received: method, path, headers and body of each request.
    """

    def __init__(self, script: Handler) -> None:
        self.received: list[tuple[str, str, dict[str, str], bytes]] = []
        outer = self

        class ScriptedHandler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                self.body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {k.lower(): v for k, v in self.headers.items()}
                outer.received.append((self.command, self.path, headers, self.body))
                script(self)

            do_GET = do_POST = do_HEAD = _answer  # noqa: N815

            def reply(
                self, body: bytes | str = b"", kind: str = "text/plain", status: int = 200, **more: str
            ) -> None:
                body = body.encode() if isinstance(body, str) else body
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                for name, value in more.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def chunk(self, body: bytes) -> None:
                self.wfile.write(f"{len(body):x}\r\n".encode() + body + b"\r\n")
                self.wfile.flush()

            def log_message(self, *_: object) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_: object) -> None:
                pass  # some tests close the connection early

        self._server = Quiet(("127.0.0.1", 0), ScriptedHandler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def serve() -> Iterator[Callable[[Handler], Server]]:
    servers: list[Server] = []

    def start(script: Handler) -> Server:
        servers.append(Server(script))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def requests(tones: Path) -> list[Request]:
    return [request_for(sample) for sample in load_task("emotion", data=tones).samples]
