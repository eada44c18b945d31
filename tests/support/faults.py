"""Servers and systems under fire: each call may go wrong, the more likely the sadder the sample.

Faults are drawn from a hash of what is asked and of how often it was asked, so that they are the same
whatever the order of calls. Because they depend on the label, leaving the faulty rows out moves the mean.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from echat_eval.clients.chat import ChatAnswer
from echat_eval.errors import Unavailable
from echat_eval.records import Reply, Request
from tests.support.scripted_judge import FENCE, parts_of, verdict

#: Fault -> its share of all calls.
SHARES = {"429": 0.10, "time-out": 0.05, "unparsable": 0.03}


def share_of(*what: object) -> float:
    """Return a number from 0 to 1 that depends on what is given alone."""
    return int(hashlib.sha256(repr(what).encode()).hexdigest()[:12], 16) / 16**12


class Faults:
    """Says which call goes wrong, and counts.

    Args:
        seed: None: nothing goes wrong.
        kinds: which of `SHARES` may happen.
    """

    def __init__(self, seed: int | None, kinds: Sequence[str] = tuple(SHARES)) -> None:
        self.seed, self.kinds = seed, kinds
        self.happened: Counter[str] = Counter()
        self._asked: Counter[object] = Counter()
        self._lock = threading.Lock()

    def draw(self, label: str, what: object) -> str | None:
        """Return the fault of the next call about `what`; only a sad sample has any, so those twice as often."""
        with self._lock:
            self._asked[what] += 1
            if self.seed is None or label != "sad":
                return None
            left = share_of(self.seed, what, self._asked[what])
            for kind in self.kinds:
                left -= 2 * SHARES[kind]
                if left < 0:
                    self.happened[kind] += 1
                    return kind
            return None


def graded(prompt: str) -> tuple[str, str]:
    """Return the label a prompt shows, and a verdict that depends on all it shows.

    What shows nothing is the greeting that asks who serves; nothing goes wrong with it.
    """
    if FENCE.search(prompt) is None:
        return "", "Yes."
    shown = parts_of(prompt)
    label = shown["cues"].partition(": ")[2]
    facts = shown["transcript"], shown["cues"], shown["reply"], shown["heard"]
    grades = [int(6 * share_of(name, *facts)) for name in ("content", "cue", "empathy")]
    # Sad samples are judged lower: without them the mean would rise.
    if label == "sad":
        grades = [grade // 2 for grade in grades]
    return label, verdict(*grades)


class FaultyClient:
    """Stands where a chat client stands, in this process."""

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
    """Replies with words that depend on its name and the question's sound, unless the network fails it."""

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
        labels: sha256 of a question's sound -> its gold label.
        late: seconds after which a call that times out is answered.
    """

    def judged(body: bytes) -> tuple[str | None, bytes]:
        request = json.loads(body)
        prompt = request["messages"][0]["content"]
        label, text = graded(prompt)
        fault = judge.draw(label, prompt)
        said = "I would give this a 5." if fault == "unparsable" else text
        return fault, json.dumps(
            {
                "id": "x",
                "object": "chat.completion",
                "created": 0,
                "model": "m",
                "system_fingerprint": "1",
                "choices": [
                    {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}
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
            asked = self.rfile.read(int(self.headers["content-length"]))
            answer: Callable[[bytes], tuple[str | None, bytes]] = spoken if self.path == "/speak" else judged
            fault, body = answer(asked)
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

        def do_GET(self) -> None:  # the fingerprint of a server that says nothing of itself
            self.send_response(404)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: object) -> None:
            pass  # a client that gave up is what this is about

    server = Quiet(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
