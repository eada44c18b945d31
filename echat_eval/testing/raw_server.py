"""A scripted server of raw sockets on loopback, which may break every rule of HTTP."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from typing import Any, Self

from echat_eval.testing.servers import chat_completion

__all__ = ["RawConnection", "RawServer"]

#: Seconds between the pieces of a dripped answer.
DRIP = 0.02


class RawConnection:
    """One connection to a `RawServer`, after its request was read.

    Attributes:
        method, path: of the request.
        headers: of the request; names in lower case.
        body: of the request.
        server: the base URL of the server.
    """

    def __init__(self, connection: socket.socket, stopped: threading.Event, server: str) -> None:
        self.server = server
        self._connection, self._stopped = connection, stopped
        self._received = b""
        self.method = self.path = ""
        self.headers: dict[str, str] = {}
        self.body = b""

    def read_request(self) -> bool:
        """Read the next request; return whether there is one."""
        while b"\r\n\r\n" not in self._received:
            if not self._receive():
                return False
            if self._received.startswith(b"\x16"):  # TLS
                self.write(self.head("400 Bad Request"))
                return False
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.method, self.path, _ = first.split(" ", 2)
        pairs = [line.partition(":") for line in lines]
        self.headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        length = int(self.headers.get("content-length", "0"))
        while len(self._received) < length:
            if not self._receive():
                return False
        self.body, self._received = self._received[:length], self._received[length:]
        return True

    def _receive(self) -> bool:
        received = self._connection.recv(2**16)
        self._received += received
        return bool(received)

    def right_answer(self, text: str = "I hear you.") -> bytes:
        """Return the JSON of a right answer: of a chat server, or of an HTTP system, after the path."""
        if self.path.partition("?")[0].endswith("/chat/completions"):
            return json.dumps(chat_completion(text, model="m")).encode()
        return json.dumps({"text": text}).encode()

    def write(self, content: bytes) -> bool:
        """Send bytes as they are; return True, which keeps the connection, as all these methods."""
        self._connection.sendall(content)
        return True

    def drip(self, pieces: Iterable[bytes]) -> bool:
        """Send pieces slowly, until the client or the test has enough."""
        for piece in pieces:
            if self._stopped.wait(DRIP):
                break
            self._connection.sendall(piece)
        return True

    def wait(self) -> bool:
        """Send nothing until the client closes the connection or the test ends."""
        self._connection.settimeout(0.05)
        while not self._stopped.is_set():
            try:
                if not self._connection.recv(2**16):
                    break
            except TimeoutError:
                continue
        return True

    def head(self, status: object = "200 OK", **headers: object) -> bytes:
        """Return status line and headers. An underscore in a name stands for a hyphen."""
        lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {v}" for name, v in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode()

    def answer(self, body: bytes, status: object = "200 OK", **headers: object) -> bool:
        """Send a whole answer, by default of JSON."""
        fields = {"content_type": "application/json", "content_length": len(body), **headers}
        return self.write(self.head(status, **fields) + body)

    def reset(self) -> bool:
        """Close the connection with a TCP reset."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.close()
        return False


class RawServer:
    """A server on loopback whose answers are bytes of the test's choice. Use it as a context manager.

    Args:
        script: answers each request; the connection closes when it returns False.

    Attributes:
        url: "http://127.0.0.1:PORT".
        closed_url: the same with a port that nothing listens to.
        paths: paths of the requests, in order.
    """

    def __init__(self, script: Callable[[RawConnection], Any]) -> None:
        self._script, self._stopped = script, threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._closed = socket.socket()  # bound, and not listening
        self._closed.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.closed_url = f"http://127.0.0.1:{self._closed.getsockname()[1]}"
        self.paths: list[str] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        served = RawConnection(connection, self._stopped, self.url)
        with connection:
            try:
                while served.read_request():
                    self.paths.append(served.path)
                    if self._script(served) is False:
                        return
            except (OSError, ValueError):  # the client closed, or sent no HTTP, such as TLS
                return

    def close(self) -> None:
        """Stop the server and every drip."""
        self._stopped.set()
        self._socket.shutdown(socket.SHUT_RDWR)  # ends `accept`
        self._socket.close()
        self._closed.close()

    def __enter__(self) -> Self:
        """Return the server, which already runs."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server."""
        self.close()
