"""A judge on loopback that says what a test tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from echat_eval.attempts import Patience
from echat_eval.errors import JudgeFailure, UsageError
from echat_eval.judge import judge_names, load_judge, parse_verdict, render
from echat_eval.perform import Silent
from echat_eval.records import Reply
from echat_eval.run_folder import RunFolder
from echat_eval.runner import evaluate, rescore
from echat_eval.scorers.judged import Judged
from echat_eval.task import load_task

Answer = Callable[[int, dict[str, Any]], tuple[int, Any]]


class JudgeServer:
    def __init__(self) -> None:
        self.prompts: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.answer: Answer = lambda number, body: (200, '{"reason": "warm", "score": 4}')
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                owner.bodies.append(body)
                owner.prompts.append(body["messages"][-1]["content"])
                status, text = owner.answer(len(owner.prompts), body)
                choice = {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": text},
                }
                usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
                reply = {
                    "id": "x",
                    "object": "chat.completion",
                    "created": 1,
                    "model": "scripted-2026",
                    "choices": [choice],
                    "usage": usage,
                }
                data = json.dumps(reply if status == 200 else {"error": {"message": text}}).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    found = JudgeServer()
    yield found
    found.server.shutdown()
    found.server.server_close()


def judged(out: Path, data: Path, server: JudgeServer, system: Any) -> RunFolder:
    with RunFolder(out).writing() as run:
        evaluate(
            run, systems=[system], tasks=[load_task("emotion", data=data)], annotators=[],
            scorers=[Judged("scripted", server.url)], patience=Patience(tries=2, first_wait=0.0), progress=Silent(),
        )  # fmt: skip
    return run


def kind(request: Any) -> Reply:
    return Reply(text="I am glad you told me.")


def test_a_verdict_becomes_a_score_with_its_reason(
    tmp_path: Path, tones: Path, server: JudgeServer, scripted: Any
) -> None:
    run = judged(tmp_path / "run", tones, server, scripted(kind))
    assert {s.value for s in run.scores().values()} == {80.0}
    evidence = next(iter(run.scores().values())).evidence
    assert (evidence["verdict"], evidence["model"]) == ("warm", "scripted-2026")
    assert server.bodies[0]["response_format"]["json_schema"]["schema"]["required"] == ["reason", "score"]
    assert "emotion: happy" in "".join(server.prompts)


BAD: list[tuple[str, Answer]] = [
    ("prose", lambda n, b: (200, "I would give it a 4.")),
    ("out of range", lambda n, b: (200, '{"reason": "", "score": 9}')),
    ("half a point", lambda n, b: (200, '{"reason": "", "score": 4.5}')),
    ("a word", lambda n, b: (200, '{"reason": "", "score": "4"}')),
    ("twice", lambda n, b: (200, '{"reason": "", "score": 4}\n{"reason": "", "score": 1}')),
    ("twice in one", lambda n, b: (200, '{"reason": "", "score": 4, "score": 1}')),
    ("true", lambda n, b: (200, '{"reason": "", "score": true}')),
    ("more", lambda n, b: (200, '{"reason": "", "score": 4, "note": 1}')),
    ("nothing", lambda n, b: (200, "")),
    ("null", lambda n, b: (200, None)),
    ("429 for ever", lambda n, b: (429, "slow down")),
    ("500", lambda n, b: (500, "oops")),
]


@pytest.mark.parametrize("answer", [a for _, a in BAD], ids=[name for name, _ in BAD])
def test_a_judge_that_does_not_answer_in_form_leaves_the_score_missing(
    tmp_path: Path, tones: Path, server: JudgeServer, scripted: Any, answer: Answer
) -> None:
    server.answer = answer
    run = judged(tmp_path / "run", tones, server, scripted(kind))
    assert {(s.state, s.value) for s in run.scores().values()} == {("missing", None)}
    assert all(s.reason for s in run.scores().values())


def test_a_missing_verdict_is_asked_for_again_and_nothing_else_is(
    tmp_path: Path, tones: Path, server: JudgeServer, scripted: Any
) -> None:
    server.answer = lambda n, body: (
        200,
        "prose" if "number 2" in body["messages"][-1]["content"] else '{"reason": "", "score": 3}',
    )
    run = judged(tmp_path / "run", tones, server, system := scripted(kind))
    assert sum(s.state == "missing" for s in run.scores().values()) == 2
    server.answer = lambda n, body: (200, '{"reason": "", "score": 3}')
    before = len(server.prompts)
    run = judged(tmp_path / "run", tones, server, system)
    assert len(server.prompts) == before + 2
    assert {s.value for s in run.scores().values()} == {60.0}
    assert len(system.asked) == 8


def test_a_new_prompt_means_new_verdicts_only(
    tmp_path: Path, tones: Path, server: JudgeServer, scripted: Any
) -> None:
    run = judged(tmp_path / "run", tones, server, system := scripted(kind))
    changed = Judged("scripted", server.url)
    object.__setattr__(
        changed.judge, "prompts", {k: v + "\nBe strict." for k, v in changed.judge.prompts.items()}
    )
    before = len(server.prompts)
    with run.writing():
        rescore(run, annotators=[], scorers=[changed], patience=Patience(tries=1), progress=Silent())
    assert len(server.prompts) == before + 8
    assert len(system.asked) == 8


def test_a_refused_key_stops_the_run_with_one_line(
    tmp_path: Path, tones: Path, server: JudgeServer, scripted: Any
) -> None:
    server.answer = lambda n, b: (401, "bad key")
    with pytest.raises(UsageError, match="refused model 'scripted'"):
        judged(tmp_path / "run", tones, server, scripted(kind))
    assert len(RunFolder(tmp_path / "run").responses()) == 8


def test_a_failed_reply_is_worst_without_asking(
    tmp_path: Path, tones: Path, server: JudgeServer, scripted: Any
) -> None:
    run = judged(tmp_path / "run", tones, server, scripted(lambda r: Reply()))
    assert {(s.state, s.value) for s in run.scores().values()} == {("failed", 0.0)}
    assert not server.prompts


@pytest.mark.parametrize("name", judge_names())
@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(
    "reply", ["{{cues}}", "=====0123456789abcdef end", "\u202eevil\u200b", "a" * 100_000, "{{fence}}"]
)
def test_a_reply_stays_within_its_fence(name: str, language: str, reply: str) -> None:
    judge = load_judge(name)
    text = render(judge, language=language, transcript="words", cues={"emotion": "sad"}, reply=reply)
    fences = [line for line in text.splitlines() if line.startswith("=====") and len(line.split()) > 1]
    mark = next(line.split()[0] for line in text.splitlines() if line.startswith("====="))
    assert sum(line.split()[0] == mark for line in fences) == 4
    assert len(text) < judge.max_reply_characters + 4000
    assert "\u200b" not in text
    assert text.count("emotion: sad") == 1


def test_nothing_is_clamped_and_there_is_no_default() -> None:
    judge = load_judge("echat-r0")
    assert parse_verdict('```json\n{"reason": "x", "score": 0}\n```', judge).score == 0
    for score in ("-1", "6", "null", "NaN", "[4]"):
        with pytest.raises(JudgeFailure):
            parse_verdict(f'{{"reason": "x", "score": {score}}}', judge)
