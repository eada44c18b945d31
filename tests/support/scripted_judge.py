"""A judge that does as it is told: an OpenAI-compatible server on loopback whose answers a test scripts."""

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
    """Return what stands behind the fence, and what is left outside it, as a judge would see it."""
    fence = FENCE.search(prompt).group()  # its first mention names it
    pieces = re.split(rf"^{fence} [^\n]*\n", prompt, flags=re.MULTILINE)
    assert len(pieces) == 6, f"the fence was broken: {len(pieces)} pieces"
    before, transcript, cues, reply, heard, after = pieces
    return {
        "outside": before.replace(fence, "FENCE") + after,
        "transcript": transcript.rstrip("\n"),
        "cues": cues.rstrip("\n"),
        "reply": reply.rstrip("\n"),
        "heard": heard.rstrip("\n"),
    }


def verdict(content: int, cue: int, empathy: int, **more: Any) -> str:
    return json.dumps(
        {"reason": "scripted", "content": content, "cue_awareness": cue, "empathy": empathy, **more}
    )


class ScriptedJudge:
    """Answers with `answer(prompt, request)`; a number is an HTTP status instead."""

    def __init__(self, answer: Callable[[str, dict[str, Any]], str | int]) -> None:
        self.answer = answer
        self.asked: list[dict[str, Any]] = []
        self.server_name: str | None = "fp_scripted"
        self.usage: Callable[[dict[str, Any]], tuple[int, int] | None] = lambda request: (7, 5)
        self.served_suffix = "-served"
        self.greeting: str | int = "Yes."
        self.url = ""

    def prompts(self) -> list[str]:
        """Return what was asked about replies."""
        texts = [request["messages"][0]["content"] for request in self.asked]
        return [text for text in texts if FENCE.search(text)]


@contextmanager
def serving(judge: ScriptedJudge) -> Iterator[ScriptedJudge]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            judge.asked.append(request)
            prompt = request["messages"][0]["content"]
            # Who asks only who is served shows no reply.
            said = judge.answer(prompt, request) if FENCE.search(prompt) else judge.greeting
            status = said if isinstance(said, int) else 200
            used = judge.usage(request)
            usage = used and {
                "prompt_tokens": used[0],
                "completion_tokens": used[1],
                "total_tokens": sum(used),
            }
            body = json.dumps(
                {"error": {"message": f"status {status}"}}
                if isinstance(said, int)
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
                            "message": {"role": "assistant", "content": said},
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
    found = parts_of(prompt)
    word = {"sad": "sorry", "happy": "lovely"}[found["cues"].partition(": ")[2]]
    noise = sum(map(ord, found["transcript"])) % 2
    return verdict(4 - noise, 5 if word in found["reply"].lower() else 1, 3)
