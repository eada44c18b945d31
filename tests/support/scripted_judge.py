"""A scripted judge: an OpenAI-compatible server on loopback with answers from the test."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FENCE = re.compile(r"={5}[0-9a-f]{16}")


def parts_of(prompt: str) -> dict[str, str]:
    """Return the data between the fences, and the text outside, as a judge sees them."""
    fence = FENCE.search(prompt).group()  # its first mention names it
    pieces = re.split(rf"^{fence} [^\n]*\n", prompt, flags=re.MULTILINE)
    assert len(pieces) == 6, f"the fence was broken: {len(pieces)} pieces"
    before, transcript, cues, reply, voice, after = pieces
    return {
        "outside": before.replace(fence, "FENCE") + after,
        "transcript": transcript.rstrip("\n"),
        "cues": cues.rstrip("\n"),
        "reply": reply.rstrip("\n"),
        "heard": voice.rstrip("\n"),
    }


def verdict(content: int, cue: int, empathy: int, **more: Any) -> str:
    return json.dumps(
        {"reason": "scripted", "content": content, "cue_awareness": cue, "empathy": empathy, **more}
    )


class ScriptedJudge:
    """Answers with `answer(prompt, request)`; a number is an HTTP status.

    Attributes:
        requests: bodies of all requests.
        server_name: system fingerprint in each answer.
        served_suffix: the served model is the requested one with this suffix.
        identity_answer: answer to a prompt without a fence, which only asks for the server's identity.
    """

    def __init__(self, answer: Callable[[str, dict[str, Any]], str | int]) -> None:
        self.answer = answer
        self.requests: list[dict[str, Any]] = []
        self.server_name: str | None = "fp_scripted"
        self.usage: Callable[[dict[str, Any]], tuple[int, int] | None] = lambda request: (7, 5)
        self.served_suffix = "-served"
        self.identity_answer: str | int = "Yes."
        self.url = ""

    def prompts(self) -> list[str]:
        """Return the prompts about replies."""
        texts = [request["messages"][0]["content"] for request in self.requests]
        return [text for text in texts if FENCE.search(text)]


@contextmanager
def serving(judge: ScriptedJudge) -> Iterator[ScriptedJudge]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            judge.requests.append(request)
            prompt = request["messages"][0]["content"]
            answer = judge.answer(prompt, request) if FENCE.search(prompt) else judge.identity_answer
            status = answer if isinstance(answer, int) else 200
            tokens = judge.usage(request)
            usage = tokens and {
                "prompt_tokens": tokens[0],
                "completion_tokens": tokens[1],
                "total_tokens": sum(tokens),
            }
            body = json.dumps(
                {"error": {"message": f"status {status}"}}
                if isinstance(answer, int)
                else {
                    "id": "x",
                    "object": "chat.completion",
                    "created": 0,
                    "model": request["model"] + judge.served_suffix,
                    "system_fingerprint": judge.server_name,
                    "choices": [
                        {
                            "index": 0,
                            "finish_reason": "stop",
                            "message": {"role": "assistant", "content": answer},
                        }
                    ],
                    "usage": usage,
                }
            ).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    judge.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield judge
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def fitting(prompt: str, request: dict[str, Any]) -> str:
    """Return a verdict that is high if the reply has the gold label's word."""
    parts = parts_of(prompt)
    word = {"sad": "sorry", "happy": "lovely"}[parts["cues"].partition(": ")[2]]
    noise = sum(map(ord, parts["transcript"])) % 2
    return verdict(4 - noise, 5 if word in parts["reply"].lower() else 1, 3)
