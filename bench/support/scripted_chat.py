"""A chat server that costs little: every request is answered alike after a fixed wait.

    python bench/support/scripted_chat.py --wait 0.05 --log calls.txt

Prints its base URL. A request for a JSON schema gets one of our verdicts, any other one a grade as
inspect_ai's graders read it. With --varied the verdict depends on the prompt, as a real judge's does.
GET /usage answers with the CPU seconds used so far, the number of calls, the most calls at once and the
seconds from the first call's begin to the last one's end; GET /reset counts from nothing again. With
--log, the hash of the prompt is written down when a call for a verdict begins (not of a mere greeting).
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

#: Stands for the constant field of a schema, which differs from request to request.
TICKET = b"ticket_" + 32 * b"0"
VERDICT = {"reason": "scripted", "content": 4, "cue_awareness": 3, "empathy": 4, TICKET.decode(): 1}
#: A shorter request asks who serves, not for a verdict: it is answered and not counted.
GREETING_BYTES = 500
GRADE = "The answer differs.\n\nGRADE: I"


def answer(text: str) -> bytes:
    """Return a whole HTTP response with a chat completion."""
    body = json.dumps(
        {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": "scripted",
            "system_fingerprint": "1",
            "choices": [
                {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
            ],
            "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12},
        }
    ).encode()
    return response(body)


def response(body: bytes) -> bytes:
    """Return a whole HTTP response with a JSON body."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def varied(body: bytes) -> bytes:
    """Return a verdict that depends on the prompt alone, with a grade of the voice where one is asked for."""
    prompt = json.loads(body)["messages"][0]["content"]
    drawn = hashlib.sha256(prompt.encode()).digest()
    keys = ["content", "cue_awareness", "empathy", *(["voice"] if b'"voice":' in body else [])]
    grades = {key: drawn[n] % 6 for n, key in enumerate(keys)}
    return answer(json.dumps({"reason": "scripted", **grades, TICKET.decode(): 1}))


def ticketed(verdict: bytes, body: bytes) -> bytes:
    """Return a verdict with the constant field of the request's schema."""
    at = body.find(b'"ticket_') + 1
    return verdict.replace(TICKET, body[at : at + len(TICKET)]) if at else verdict


class Counts:
    """Counts of the requests so far."""

    def __init__(self, wait: float, log: Path | None, *, varied: bool) -> None:
        self.wait = wait
        self.varied = varied
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if log else None
        self.now = 0
        self.reset()
        self.verdict, self.grade = answer(json.dumps(VERDICT)), answer(GRADE)

    def reset(self) -> None:
        self.calls = self.most = 0
        self.first = self.last = 0.0

    def usage(self) -> bytes:
        return json.dumps(
            {
                "cpu_seconds": time.process_time(),
                "calls": self.calls,
                "most": self.most,
                "seconds": self.last - self.first,
            }
        ).encode()


class Connection(asyncio.Protocol):
    """One keep-alive connection; requests come one after the other."""

    def __init__(self, counts: Counts) -> None:
        self.counts = counts
        self.received = b""
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, found, rest = self.received.partition(b"\r\n\r\n")
        if not found:
            return
        at = head.lower().find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(rest) < length:
            return
        self.received = rest[length:]
        if head.startswith(b"GET "):
            if head.startswith(b"GET /reset"):
                self.counts.reset()
            self.transport.write(response(self.counts.usage()))
            return
        self._begin(rest[:length])

    def _begin(self, body: bytes) -> None:
        counts = self.counts
        if len(body) >= GREETING_BYTES:
            counts.first = counts.first or time.perf_counter()
            counts.calls += 1
        counts.now += 1
        counts.most = max(counts.most, counts.now)
        wants_verdict = b'"response_format"' in body
        if counts.log is not None and wants_verdict:
            prompt = json.loads(body)["messages"][0]["content"]
            os.write(counts.log, hashlib.sha256(prompt.encode()).hexdigest().encode() + b"\n")
        verdict = varied(body) if counts.varied and wants_verdict else counts.verdict
        said = ticketed(verdict, body) if wants_verdict else counts.grade
        asyncio.get_running_loop().call_later(counts.wait, self._end, said)

    def _end(self, said: bytes) -> None:
        self.counts.now -= 1
        self.counts.last = time.perf_counter()
        if not self.transport.is_closing():
            self.transport.write(said)


async def serve(counts: Counts) -> None:
    """Serve until the process is ended."""
    server = await asyncio.get_running_loop().create_server(lambda: Connection(counts), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--wait", type=float, default=0.05, help="seconds of a call")
    parser.add_argument("--log", type=Path, help="file of the calls that began")
    parser.add_argument("--varied", action="store_true", help="verdicts that depend on the prompt")
    given = parser.parse_args()
    asyncio.run(serve(Counts(given.wait, given.log, varied=given.varied)))


if __name__ == "__main__":
    main()
