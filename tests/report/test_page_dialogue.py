"""The page of a live dialogue: the script with the sample, and each system's own replies with its reply."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from echat_eval.records import Reply, Request
from echat_eval.task import load_task
from echat_eval.testing import ScriptedSystem
from tests.support.report_runs import data_of, make_page
from tests.support.scripted_parts import hum, length
from tests.support.scripted_run import evaluated
from tests.support.tones import write_dialogues


def spoken(request: Request) -> Reply:
    return replace(hum(request), text=f"reply {len(request.history) // 2 + 1}", first_audio_seconds=0.25)


def test_the_page_has_the_script_and_every_systems_own_replies(tmp_path: Path) -> None:
    write_dialogues(tmp_path, groups=1)
    task = load_task("emotion", data=tmp_path)
    systems = [ScriptedSystem(spoken), ScriptedSystem([], "broken")]
    systems[1].answers = NotImplementedError("no model")
    run = evaluated(tmp_path / "run", task, systems, scorers=[length(needs=())])
    page = make_page([run], tmp_path / "out")
    sample = data_of(page, "shard-0")[0]
    assert [(turn["role"], turn["text"]) for turn in sample["history"]] == [
        ("user", "turn 1 of g0"),
        ("user", "turn 2 of g0"),
    ]
    held = sample["replies"]["scripted"]["turns"]
    assert [(turn["role"], turn["text"], turn["first_audio_seconds"]) for turn in held] == [
        ("assistant", "reply 1", 0.25),
        ("assistant", "reply 2", 0.25),
    ]
    assert all((page / turn["audio"]["file"]).is_file() for turn in [*held, *sample["history"]])
    assert "turns" not in sample["replies"]["broken"]
