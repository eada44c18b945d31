"""An accepted baseline keeps its replies: a new judge, annotator or normaliser scores them again."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import echat_eval as ev
from echat_eval.analysis.runs import load_scored_system
from echat_eval.api import baseline_changes
from echat_eval.cli.compare_gate import gate_command
from echat_eval.errors import BadData, UsageError
from echat_eval.io.hashing import file_sha256
from echat_eval.records import Reply, Request, Waveform
from echat_eval.testing import ScriptedAnnotator, ScriptedChatServer, ScriptedScorer, ScriptedSystem
from tests.support.scripted_judge import fitting
from tests.support.tones import write_task

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_task(tmp_path / "data")


def spoken(request: Request) -> Reply:
    wave = np.full(800, 0.1 if "sad" in str(request.audio.path) else 0.2, dtype=np.float32)
    return Reply(text="I am sorry.", audio=Waveform(samples=wave, sample_rate=16000))


def run_of(out: Path, data: Path, **more: Any) -> ev.Run:
    arguments: dict[str, Any] = {"annotators": [], "scorers": [ScriptedScorer(lambda _: 50.0, "fixed")]}
    system = ScriptedSystem(spoken, "ours")
    return ev.evaluate(
        system, tasks="emotion", data=data.parent, out=out, cache=False, **{**arguments, **more}
    )


def judge(server: ScriptedChatServer, model: str) -> dict[str, Any]:
    return {"model": model, "url": server.url}


def test_a_new_judge_strands_no_baseline(tmp_path: Path, data: Path) -> None:
    policy = {"margin": 60, "metrics": {"judge_echat_r1": {}}}
    kept = tmp_path / "kept"
    with ScriptedChatServer(fitting) as old:
        first = run_of(tmp_path / "old", data, judges=judge(old, "old-2025-01-01"), scorers="outcome")
        ev.accept(first, kept, now=NOON)
    with ScriptedChatServer(fitting) as new:  # and the old server is gone
        candidate = run_of(tmp_path / "new", data, judges=judge(new, "new-2026-01-01"), scorers="outcome")
        stranded = ev.gate(candidate, kept, policy)
        assert stranded.outcome == "cannot tell"
        assert any("scorer 'judged' differs" in reason for reason in stranded.reasons)
        before = json.loads((kept / "accepted.json").read_text())
        questions = len(new.prompts)
        ev.evaluate(kept, judges=judge(new, "new-2026-01-01"), cache=False)
        assert len(new.prompts) > questions
    found = ev.gate(candidate, kept, policy)
    assert not [reason for reason in found.reasons if "differs" in reason]
    assert found.difference is not None
    assert found.difference.value == 0
    after = json.loads((kept / "accepted.json").read_text())
    assert after["judges"][0]["model"] == "new-2026-01-01"
    assert [before[name] == after[name] for name in ("id", "accepted_at", "hashes")] == [True, True, False]
    assert load_scored_system(str(kept)).changed is False
    assert found.tries.startswith("try 1 of 'ours' at this baseline (seen before)")


def test_a_new_annotator_and_normaliser_strand_no_baseline(tmp_path: Path, data: Path) -> None:
    kept = tmp_path / "kept"
    ev.accept(run_of(tmp_path / "old", data), kept, now=NOON)
    assert load_scored_system(str(kept)).frame.query("metric == 'fixed'")["value"].eq(50).all()
    new: dict[str, Any] = {
        "annotators": ScriptedAnnotator({"loud": 0.5}, "mine"),
        "scorers": [
            ScriptedScorer(
                lambda case: 100 * case.annotations["mine"].values["loud"] + 1, "fixed", needs=("mine",)
            )
        ],
    }
    assert ev.score(kept, **new, cache=False).path == kept / "replies"
    assert load_scored_system(str(kept)).frame.query("metric == 'fixed'")["value"].eq(51).all()


def test_recordings_are_kept_once_and_only_new_ones_are_copied(tmp_path: Path, data: Path) -> None:
    first, kept = run_of(tmp_path / "a", data), tmp_path / "kept"
    ev.accept(first, kept, now=NOON)
    recordings = {path: path.stat().st_ino for path in kept.glob("replies/*/*.wav")}
    assert recordings
    assert all(file_sha256(path) == path.stem for path in recordings)
    assert {path.name for path in recordings} == {path.name for path in first.path.glob("*/*.wav")}
    (kept / "replies" / "audio" / "left-over.wav").write_bytes(b"")
    ev.accept(first, kept, now=NOON)
    assert {path: path.stat().st_ino for path in kept.glob("replies/*/*.wav")} == recordings
    ev.accept(kept, tmp_path / "copy", now=NOON)
    assert len(list(tmp_path.glob("copy/replies/*/*.wav"))) == len(recordings)
    ev.accept(first, kept, replies=False, now=NOON)
    assert sorted(path.name for path in kept.iterdir()) == ["accepted.json", "table.jsonl", "tries.jsonl"]


def test_one_system_of_several_is_kept_under_its_new_name(tmp_path: Path, data: Path) -> None:
    systems = [ScriptedSystem(spoken, name) for name in ("ours", "theirs")]
    scorers = [ScriptedScorer(lambda case: 50.0 + (case.response.system == "theirs"), "fixed")]
    both = ev.evaluate(
        systems, tasks="emotion", data=data.parent, out=tmp_path / "both", annotators=[], scorers=scorers
    )
    ev.accept(f"main={both.path}:theirs", tmp_path / "kept", now=NOON)
    again = ev.load_run(tmp_path / "kept" / "replies")
    assert set(again.responses()["system"]) == {"main"}
    assert set(again.scores().query("metric == 'fixed'")["value"]) == {51.0}
    ev.score(tmp_path / "kept", annotators=[], scorers=scorers)
    assert load_scored_system(str(tmp_path / "kept")).system == "main"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda kept: (kept / "replies" / "manifest.json").unlink(), "holds scores without replies"),
        (
            lambda kept: (kept / "replies" / "responses.jsonl").write_text(""),
            "the replies were changed since",
        ),
    ],
)
def test_lost_or_changed_replies_are_one_line(tmp_path: Path, data: Path, damage: Any, message: str) -> None:
    kept = tmp_path / "kept"
    ev.accept(run_of(tmp_path / "a", data), kept, now=NOON)
    damage(kept)
    with pytest.raises(BadData, match=message):
        ev.evaluate(kept, annotators=[])


def test_a_lost_recording_leaves_the_old_baseline(tmp_path: Path, data: Path) -> None:
    run, kept = run_of(tmp_path / "a", data), tmp_path / "kept"
    ev.accept(run, kept, now=NOON)
    next(run.path.glob("audio/*.wav")).write_bytes(b"other")
    with pytest.raises(BadData, match="keep the scores alone: --no-replies"):
        ev.accept(run, kept, now=NOON)
    assert load_scored_system(str(kept)).changed is False


def test_a_baseline_has_its_tasks_and_place(tmp_path: Path, data: Path) -> None:
    kept = tmp_path / "kept"
    ev.accept(run_of(tmp_path / "a", data), kept, now=NOON)
    with pytest.raises(UsageError, match="scored again as they are; leave out --limit"):
        ev.evaluate(kept, limit=2)


def test_a_diff_names_what_would_change_and_writes_nothing(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    old = run_of(tmp_path / "a", write_task(tmp_path / "old"))
    ev.accept(old, kept, now=NOON)
    before = {path: path.stat().st_mtime_ns for path in kept.rglob("*")}

    def graded(name: str) -> ScriptedScorer:
        values = count()
        return ScriptedScorer(lambda _: 60.0 + next(values) % 3, name)

    scorers = [graded("fixed"), graded("other")]
    new = run_of(tmp_path / "b", write_task(tmp_path / "new", groups=5), scorers=scorers)
    done = CliRunner().invoke(gate_command, ["accept", str(new.path), "--to", str(kept), "--diff"])
    lines = done.output.splitlines()
    assert lines[0].endswith(f"before: {kept} (ours, accepted on 2026-11-30)")
    assert "scorer 'other': new" in lines
    assert "metric 'other': new" in lines
    assert any(line.startswith("task 'emotion': another version (") for line in lines)
    assert "samples: 8 in both, 2 new, 0 no longer there" in lines
    assert any(line.startswith("  all tasks") and "+10." in line for line in lines), lines
    assert {path: path.stat().st_mtime_ns for path in kept.rglob("*")} == before
    with pytest.raises(BadData, match="no baseline of `gate accept` yet"):
        baseline_changes(new.path, tmp_path / "absent")


def test_a_run_whose_replies_all_failed_is_no_baseline(tmp_path: Path) -> None:
    table = tmp_path / "failed.csv"
    rows = [f"emotion,s{n},ours,failed,{value}" for n, value in enumerate((100, 100))]
    table.write_text("\n".join(["task,sample_id,system,metric,value", *rows]) + "\n")
    with pytest.raises(BadData, match="all 2 replies failed"):
        ev.accept(table, tmp_path / "accepted", now=NOON)
    assert not (tmp_path / "accepted").exists()
    table.write_text(table.read_text().replace("failed,100", "failed,0", 1))
    ev.accept(table, tmp_path / "accepted", now=NOON)
