"""Dialogue history reaches every adapter that supports it; for the others the row is not applicable."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import echat_eval as ev
from echat_eval.cli import command_line
from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.importers import importer
from echat_eval.importers.draft import ImportOptions
from echat_eval.importers.facts import TaskFacts
from echat_eval.importers.writing import write_task
from echat_eval.ports import Silent
from echat_eval.systems import build_system
from echat_eval.task import load_task
from echat_eval.testing import ScriptedChatServer, judge_verdict, shown_to_judge
from tests.support.scripted_run import evaluated
from tests.support.tones import write_tone


@pytest.fixture
def dialogues(tmp_path: Path) -> Path:
    """A task of two dialogues of three turns, imported from HumDial's form."""
    rows = []
    for d in range(2):
        turns = []
        for t in (1, 2, 3):
            write_tone(tmp_path / "src" / "en" / f"{d}_{t}.wav", 150 + 40 * t + d)
            turns.append(
                {"turn_id": t, "text": f"turn {t}", "emotion": "sad", "split_audio_file": f"{d}_{t}.wav"}
                | ({"response_text": "I see."} if t == 1 else {})
            )
        rows.append({"dialogue_id": f"d{d}", "turns": turns})
    (tmp_path / "src" / "en" / "task.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    write_task(
        importer("humdial")(tmp_path / "src", ImportOptions(source="real")),
        tmp_path / "dialogues",
        name="dialogues",
        facts=TaskFacts(title="T", licence="L", description="D"),
    )
    return tmp_path / "dialogues"


def states(system: Any, data: Path, out: Path) -> tuple[set[str], list[Any]]:
    run = evaluated(out, [load_task("dialogues", data=data)], system, retry_policy=RetryPolicy(tries=1))
    found = list(run.responses().values())
    return {r.state for r in found}, found


SEEN = [("user", "turn 1", True), ("assistant", "I see.", False), ("user", "turn 2", True)]


def test_a_program_gets_the_whole_dialogue(dialogues: Path, tmp_path: Path) -> None:
    script = tmp_path / "infer.py"
    script.write_text(
        f"#!{sys.executable}\nimport sys, json, os\nfor line in sys.stdin:\n    q = json.loads(line)\n"
        "    seen = [[t['role'], t.get('text'), os.path.isfile(t.get('audio', ''))] for t in q['history']]\n"
        '    print(json.dumps({"id": q["id"], "text": json.dumps(seen)}), flush=True)\n'
    )
    script.chmod(0o755)
    found_states, found = states(build_system(f"command:{script}"), dialogues, tmp_path / "run")
    assert found_states == {"value"}
    assert all([tuple(t) for t in json.loads(r.reply.text)] == SEEN for r in found)


def test_a_server_gets_history_as_json_only(
    dialogues: Path, tmp_path: Path, serve: Callable[..., Any]
) -> None:
    server = serve(lambda h: h.reply("ok") if h.command == "POST" else h.reply(status=404))
    assert states(build_system(server.url, {"send": "json"}), dialogues, tmp_path / "json")[0] == {"value"}
    body = json.loads(next(got[3] for got in server.received if got[0] == "POST"))
    assert [(t["role"], t.get("text"), "audio_base64" in t) for t in body["history"]] == SEEN
    found_states, found = states(build_system(server.url), dialogues, tmp_path / "audio")
    assert found_states == {"not applicable"}
    assert "set send=json" in found[0].reason


def test_a_chat_server_gets_earlier_user_turns_as_audio(
    dialogues: Path, tmp_path: Path, serve: Callable[..., Any]
) -> None:
    answer = json.dumps({"choices": [{"message": {"content": "ok"}, "finish_reason": "stop"}]})
    server = serve(lambda h: h.reply(answer, "application/json"))
    system = build_system("openai-chat:omni", {"url": f"{server.url}/v1"})
    assert states(system, dialogues, tmp_path / "run")[0] == {"value"}
    messages = json.loads(next(got[3] for got in server.received if got[0] == "POST"))["messages"]
    assert [m["role"] for m in messages] == ["user", "assistant", "user", "user"]
    assert [isinstance(m["content"], list) for m in messages] == [True, False, True, True]


def test_requests_differ_by_history_and_are_exported_with_it(dialogues: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        command_line,
        ["export", "requests", "--data", str(dialogues), "--task", "dialogues", "--out", str(tmp_path / "q")],
        catch_exceptions=False,
    )
    assert "2 requests" in done.output
    rows = [json.loads(line) for line in (tmp_path / "q" / "requests.jsonl").read_text().splitlines()]
    for row in rows:
        assert [(t["role"], t.get("text"), "audio" in t) for t in row["history"]] == SEEN
        assert all((tmp_path / "q" / t["audio"]).is_file() for t in [row, *row["history"]] if "audio" in t)
    assert len(list((tmp_path / "q").glob("*.wav"))) == 6
    assert '"d0"' not in json.dumps(rows)


@pytest.mark.parametrize(("rubric", "shows"), [("echat-r1", False), ("echat-r2", True)])
def test_a_judge_gets_earlier_turns_or_the_run_notes_that_it_does_not(
    dialogues: Path, tmp_path: Path, rubric: str, shows: bool
) -> None:
    class Notes(Silent):
        def note(self, text: str) -> None:
            notes.append(text)

    notes: list[str] = []
    with ScriptedChatServer(lambda _: judge_verdict(4, 3, 4)) as judge:
        ev.evaluate(
            "canned",
            tasks="dialogues",
            data=dialogues,
            annotators=[],
            scorers="outcome",
            judges={"model": "m", "url": judge.url, "rubric": rubric, "match": True},
            out=tmp_path / "run",
            progress=Notes(),
        )
        prompts = [shown_to_judge(request) for request in judge.requests if len(str(request)) > 500]
    assert prompts  # the two samples have equal questions
    assert {part.get("history") for part in prompts} == (
        {"[1] user: turn 1\n[2] assistant: I see.\n[3] user: turn 2"} if shows else {None}
    )
    assert any("does not show the 2 samples' earlier turns to the judge" in note for note in notes) != shows
