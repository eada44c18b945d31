"""Live dialogues with programs, servers and chat servers (live systems: test_live_sessions.py); others state that they cannot hold one."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from echat_eval.cli import command_line
from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.errors import UsageError
from echat_eval.records import Response
from echat_eval.systems import build_system
from echat_eval.task import Task, load_task
from tests.support.scripted_run import evaluated
from tests.support.tones import write_dialogues

Serve = Callable[..., Any]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_dialogues(tmp_path, groups=1)
    return tmp_path


@pytest.fixture
def task(data: Path) -> Task:
    """One dialogue of three turns."""
    found = load_task("emotion", data=data)
    return replace(found, samples=(replace(found.samples[0], contrast_group=None),))


def response_of(system: Any, task: Task, out: Path, tries: int = 1) -> Response:
    policy = RetryPolicy(tries=tries, first_wait=0.0)
    (response,) = evaluated(out, task, system, retry_policy=policy).responses().values()
    return response


def words_of(response: Response) -> list[str | None]:
    """Return the words of all replies of a dialogue."""
    assert response.reply is not None, response.reason
    return [*(reply.text for reply in response.turns or ()), response.reply.text]


def test_a_program_gets_its_own_replies(task: Task, tmp_path: Path) -> None:
    script = tmp_path / "infer.py"
    script.write_text(
        f"#!{sys.executable}\nimport sys, json, os\nfor line in sys.stdin:\n    q = json.loads(line)\n"
        "    turns = [[t['role'], t.get('text'), os.path.isfile(t.get('audio', ''))] for t in q.get('history', [])]\n"
        '    print(json.dumps({"id": q["id"], "text": f"{len(turns)}", "think": json.dumps(turns)}), flush=True)\n'
    )
    script.chmod(0o755)
    response = response_of(build_system(f"command:{script}"), task, tmp_path / "run")
    assert words_of(response) == ["0", "2", "4"]
    assert response.reply is not None
    assert json.loads(response.reply.think or "") == [
        ["user", None, True],
        ["assistant", "0", False],
        ["user", None, True],
        ["assistant", "2", False],
    ]


def test_a_server_gets_the_dialogue_so_far_as_json(task: Task, tmp_path: Path, serve: Serve) -> None:
    def answer(h: Any) -> None:
        if h.command != "POST":
            h.reply(status=404)
            return
        h.reply(f"reply {len(json.loads(h.body).get('history', []))}")

    server = serve(answer)
    response = response_of(build_system(server.url, {"send": "json"}), task, tmp_path / "run")
    assert words_of(response) == ["reply 0", "reply 2", "reply 4"]
    last = json.loads(server.received[-1][3])
    assert [(t["role"], t.get("text"), "audio_base64" in t) for t in last["history"]] == [
        ("user", None, True),
        ("assistant", "reply 0", False),
        ("user", None, True),
        ("assistant", "reply 2", False),
    ]
    assert not any("turn 1 of" in str(got) for got in server.received)  # no words of the user


@pytest.mark.parametrize("send", ["audio", "json"])
def test_a_server_that_remembers_the_conversation_gets_each_turn_alone(
    task: Task, tmp_path: Path, serve: Serve, send: str
) -> None:
    counts: dict[str, int] = {}

    def answer(h: Any) -> None:
        if h.command != "POST":
            h.reply(status=404)
            return
        name = h.headers["x-echat-conversation"]
        counts[name] = counts.get(name, 0) + 1
        assert h.headers["x-echat-turn"] == str(counts[name])
        assert b"history" not in h.body
        h.reply(f"turn {counts[name]}")

    system = build_system(serve(answer).url, {"send": send, "conversation": True})
    assert words_of(response_of(system, task, tmp_path / "run")) == ["turn 1", "turn 2", "turn 3"]
    assert len(counts) == 1
    assert system.settings()["conversation"] is True
    assert "conversation" not in build_system("http://127.0.0.1:9/").settings()


@pytest.mark.parametrize("status", [404, 410])
def test_a_conversation_that_expires_is_held_again_whole(
    task: Task, tmp_path: Path, serve: Serve, status: int
) -> None:
    seen: list[tuple[str, str]] = []

    def answer(h: Any) -> None:
        if h.command != "POST":
            h.reply(status=404)
            return
        seen.append((h.headers["x-echat-conversation"], h.headers["x-echat-turn"]))
        gone = len(seen) == 2
        h.reply("no such conversation" if gone else "Yes.", status=status if gone else 200)

    system = build_system(serve(answer).url, {"conversation": True})
    assert response_of(system, task, tmp_path / "run", tries=2).state == "value"
    names = list(dict.fromkeys(name for name, _ in seen))
    assert [(names.index(name), turn) for name, turn in seen] == [
        (0, "1"), (0, "2"), (1, "1"), (1, "2"), (1, "3"),
    ]  # fmt: skip
    seen.clear()
    response = response_of(system, task, tmp_path / "once")
    assert (response.state, response.reason) == (
        "missing",
        f"turn 2 of 3: the server answered turn 2 of a conversation with status {status}: it no longer has the "
        "conversation",
    )


def test_a_chat_server_gets_user_turns_as_audio_and_its_own_words(
    task: Task, tmp_path: Path, serve: Serve
) -> None:
    def answer(h: Any) -> None:
        count = len(json.loads(h.body)["messages"]) if h.body else 0
        message = {"message": {"content": f"reply {count}"}, "finish_reason": "stop"}
        h.reply(json.dumps({"choices": [message]}), "application/json")

    server = serve(answer)
    system = build_system("openai-chat:omni", {"url": f"{server.url}/v1"})
    assert words_of(response_of(system, task, tmp_path / "run")) == ["reply 1", "reply 3", "reply 5"]
    messages = json.loads(server.received[-1][3])["messages"]
    sounds = [
        base64.b64encode(turn.audio.path.read_bytes()).decode()
        for turn in task.samples[0].turns or ()
        if turn.audio is not None
    ]
    assert [m["content"] for m in messages if m["role"] == "assistant"] == ["reply 1", "reply 3"]
    users = [m["content"] for m in messages if m["role"] == "user"]
    assert [content[0]["input_audio"]["data"] for content in users[:2]] == sounds


def test_systems_that_cannot_hold_a_dialogue_get_nothing(task: Task, tmp_path: Path, serve: Serve) -> None:
    server = serve(lambda h: h.reply("Yes.") if h.command == "POST" else h.reply(status=404))
    replies = tmp_path / "replies.jsonl"
    replies.write_text('{"id": "x", "text": "Yes."}\n')
    found = {
        name: response_of(build_system(spec), task, tmp_path / name)
        for name, spec in {
            "audio": server.url,
            "call": "command:/bin/echo {audio}",
            "file": f"replay:{replies}",
        }.items()
    }
    assert {name: (r.state, (r.reason or "").partition(",")[0]) for name, r in found.items()} == {
        "audio": ("not applicable", "send=audio cannot transmit earlier turns or an instruction; set send=json"),
        "call": ("not applicable", "a program called per request gets no earlier turns; use JSON lines instead"),
        "file": ("not applicable", "replies in files cannot answer in a live dialogue"),
    }  # fmt: skip
    assert not [got for got in server.received if got[0] == "POST"]


def test_requests_of_dialogues_are_not_exported(data: Path, tmp_path: Path) -> None:
    words = ["export", "requests", "--data", str(data), "--task", "emotion", "--out", str(tmp_path / "q")]
    done = CliRunner().invoke(command_line, words)
    assert isinstance(done.exception, UsageError)
    assert "task 'emotion': 2 of 2 samples are live dialogues" in str(done.exception)
    assert not (tmp_path / "q").exists()
