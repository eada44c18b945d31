"""Servers and systems with random faults, which only sad samples have.

Faults are drawn from a hash of the request and the number of times it was made, so that they do not depend on the
order of calls. Because they depend on the label, leaving out the faulty rows would move the mean.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from echat_eval.clients.chat import ChatAnswer
from echat_eval.errors import Unavailable
from echat_eval.records import Reply, Request
from tests.support.scripted_judge import FENCE, parts_of, verdict

#: Fault -> share of all calls.
SHARES = {"429": 0.10, "time-out": 0.05, "unparsable": 0.03}


def share_of(*parts: object) -> float:
    """Return a reproducible number from 0 to 1 for the arguments."""
    return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:12], 16) / 16**12


class Faults:
    """Draws the fault of each call and counts the faults.

    Args:
        seed: None for no faults.
        kinds: the kinds from `SHARES` to draw.
    """

    def __init__(self, seed: int | None, kinds: Sequence[str] = tuple(SHARES)) -> None:
        self.seed, self.kinds = seed, kinds
        self.happened: Counter[str] = Counter()
        self._calls: Counter[object] = Counter()
        self._lock = threading.Lock()

    def draw(self, label: str, request: object) -> str | None:
        """Return the fault of the next call with `request`: none or, for sad samples, one at twice its share."""
        with self._lock:
            self._calls[request] += 1
            if self.seed is None or label != "sad":
                return None
            left = share_of(self.seed, request, self._calls[request])
            for kind in self.kinds:
                left -= 2 * SHARES[kind]
                if left < 0:
                    self.happened[kind] += 1
                    return kind
            return None


@cache  # the same prompts come back for every seed
def graded(prompt: str) -> tuple[str, str]:
    """Return the label in a prompt, and a verdict that depends on the whole prompt.

    A prompt without a sample is the request that identifies the server; it has no faults.
    """
    if FENCE.search(prompt) is None:
        return "", "Yes."
    shown = parts_of(prompt)
    label = shown["cues"].partition(": ")[2]
    facts = shown["transcript"], shown["cues"], shown["reply"], shown["heard"]
    grades = [int(6 * share_of(name, *facts)) for name in ("content", "cue", "empathy")]
    # Sad samples get lower grades: without them the mean would rise.
    if label == "sad":
        grades = [grade // 2 for grade in grades]
    return label, verdict(*grades)


class FaultyClient:
    """A chat client in this process, with faults."""

    model, base_url = "m-2026-01-01", None

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.prompts: list[str] = []

    async def ask(self, messages: Sequence[Mapping[str, str]], **_: Any) -> ChatAnswer:
        prompt = messages[0]["content"]
        self.prompts.append(prompt)
        label, text = graded(prompt)
        fault = self.faults.draw(label, prompt)
        if fault in ("429", "time-out"):
            raise Unavailable(str(fault), retry_after=0.0)
        if fault == "unparsable":
            text = "I would give this a 5."
        return ChatAnswer(text=text, model="m", server="1", prompt_tokens=1, completion_tokens=1)

    def close(self) -> None:
        pass


class FaultySystem:
    """A system whose reply depends on its name and the query audio, with network faults."""

    calls_at_once = 4

    def __init__(self, name: str, labels: Mapping[str, str], faults: Faults) -> None:
        self.name = name
        self._labels, self._faults = labels, faults

    async def respond(self, request: Request) -> Reply:
        digest = request.audio.sha256
        if fault := self._faults.draw(self._labels[digest], (self.name, digest)):
            raise Unavailable(fault, retry_after=0.0)
        return Reply(text=f"{self.name} says {share_of(self.name, digest):.6f}.")

    def fingerprint(self) -> str:
        return self.name

    def settings(self) -> Mapping[str, Any]:
        return {}


@contextmanager
def faulty_server(judge: Faults, system: Faults, labels: Mapping[str, str], *, late: float) -> Iterator[str]:
    """Serve a judge at /v1/chat/completions and a system at /speak; yield the address.

    Args:
        labels: sha256 of the query audio -> gold label.
        late: seconds until a call with a timeout is answered.
    """

    def judged(body: bytes) -> tuple[str | None, bytes]:
        request = json.loads(body)
        prompt = request["messages"][0]["content"]
        label, text = graded(prompt)
        fault = judge.draw(label, prompt)
        content = "I would give this a 5." if fault == "unparsable" else text
        return fault, json.dumps(
            {
                "id": "x",
                "object": "chat.completion",
                "created": 0,
                "model": "m",
                "system_fingerprint": "1",
                "choices": [
                    {
                        "index": 0,
                        "finish_reason": "stop",
                        "message": {"role": "assistant", "content": content},
                    }
                ],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            }
        ).encode()

    def spoken(body: bytes) -> tuple[str | None, bytes]:
        digest = hashlib.sha256(body).hexdigest()
        return system.draw(labels[digest], digest), json.dumps({"text": f"I hear {digest[:9]}."}).encode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = self.rfile.read(int(self.headers["content-length"]))
            answer: Callable[[bytes], tuple[str | None, bytes]] = spoken if self.path == "/speak" else judged
            fault, body = answer(request)
            if fault == "time-out":
                time.sleep(late)
            status = 429 if fault == "429" else 200
            self.send_response(status)
            self.send_header("content-type", "application/json")
            if status == 429:
                body = b'{"error": {"message": "too many"}}'
                self.send_header("retry-after", "0.02")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:  # the fingerprint request; this server does not support it
            self.send_response(404)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: object) -> None:
            pass  # clients close the connection after a timeout

    server = Quiet(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
