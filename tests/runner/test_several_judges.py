"""Several judges in one run: columns, verdicts and controls of their own, over one file of verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import echat_eval as ev
from echat_eval.api.prepared import prepared_experiment
from echat_eval.errors import UsageError
from echat_eval.experiment.record import read_recorded
from echat_eval.judge.client import IDENTITY_PROMPT
from echat_eval.ports import Silent
from echat_eval.scorers.judge_settings import parse_judges
from echat_eval.scorers.run_controls import control_notes
from echat_eval.testing import ScriptedChatServer, judge_verdict
from tests.support.scripted_judge import fitting


def by_model(request: dict[str, Any]) -> str:
    """Return a verdict that is high for one model and low for the other."""
    return judge_verdict(5, 5, 5) if request["model"].startswith("kind") else judge_verdict(1, 1, 1)


def evaluate(tones: Path, out: Path, judges: Any, **more: Any) -> ev.Run:
    given: dict[str, Any] = {
        "data": tones,
        "tasks": "emotion",
        "annotators": [],
        "scorers": "outcome",
        "cache": False,
    }
    return ev.evaluate("reference", judges=judges, out=out, progress=Silent(), **given, **more)


def questions_to(server: ScriptedChatServer) -> int:
    """Return the number of questions without those for the served model."""
    prompts = [request["messages"][0]["content"] for request in server.requests]
    return sum(prompt != IDENTITY_PROMPT for prompt in prompts)


def test_each_judge_fills_columns_of_its_own(tones: Path, tmp_path: Path) -> None:
    with ScriptedChatServer(by_model) as server:
        judges = {
            "soft": {"model": "kind-2026-01-01", "url": server.url},
            "hard": {"model": "stern-2026-01-01", "url": server.url, "repeats": 2},
        }
        run = evaluate(tones, tmp_path / "run", judges)
        sent = questions_to(server)
        evaluate(tones, tmp_path / "run", judges)
        assert questions_to(server) == sent
    means = run.scores().groupby("metric")["value"].mean()
    assert (means["judge_soft"], means["judge_hard"]) == (100, 20)
    assert {"judge_soft_cue_contrast", "judge_hard_voice"} <= set(run.scores()["metric"])
    verdicts = run.verdicts().groupby("metric")
    assert verdicts.size().to_dict() == {"judge_soft": 8, "judge_hard": 16}
    assert verdicts["model"].nunique().to_dict() == {"judge_soft": 1, "judge_hard": 1}
    assert set(run.folder.manifest().scorers) == {
        "outcome",
        "judged:soft",
        "judged-contrast:soft",
        "judged:hard",
        "judged-contrast:hard",
    }


def test_a_run_with_one_unnamed_judge_keeps_its_names(tones: Path, tmp_path: Path) -> None:
    with ScriptedChatServer(by_model) as server:
        one = {"model": "kind-2026-01-01", "url": server.url}
        run = evaluate(tones, tmp_path / "run", one)
        keys = {ident: score.key for ident, score in run.folder.scores().items()}
        second = {"hard": {"model": "stern-2026-01-01", "url": server.url}}
        more = evaluate(tones, tmp_path / "run", [one, {"name": "hard", **second["hard"]}])
    assert {"judged", "judged-contrast", "judged:hard"} <= set(more.folder.manifest().scorers)
    assert {ident: more.folder.scores()[ident].key for ident in keys} == keys
    assert {"judge_echat_r1", "judge_hard"} <= set(more.scores()["metric"])


def test_each_judge_has_controls_of_its_own(tones: Path, tmp_path: Path) -> None:
    with ScriptedChatServer(fitting) as server:
        judges = {name: {"model": f"{name}-2026-01-01", "url": server.url} for name in ("a", "b")}
        run = evaluate(tones, tmp_path / "run", judges, controls=4)
    assert {path.name for path in run.path.glob("controls*")} == {"controls-a.jsonl", "controls-b.jsonl"}
    notes = control_notes(run.folder)
    for name in ("a", "b"):
        lines = [line for line in notes if line.startswith(f"Judge {name}: ")]
        assert lines
        assert not any("do not apply" in line for line in lines)


def test_too_few_controls_are_refused_before_anything_is_sent(tones: Path, tmp_path: Path) -> None:
    with ScriptedChatServer(fitting) as server:
        judge = {"model": "a-2026-01-01", "url": server.url}
        with pytest.raises(UsageError, match=r"--controls 1 is smaller .*; give 2 or more"):
            evaluate(tones, tmp_path / "run", judge, controls=1)
        assert not server.requests
        evaluate(tones, tmp_path / "run", judge, controls=2)
        assert server.requests


def test_the_scorers_of_a_judge_are_recorded_with_the_judge(tones: Path, tmp_path: Path) -> None:
    with ScriptedChatServer(by_model) as server:
        judge = {"model": "kind-2026-01-01", "url": server.url, "match": True}
        run = evaluate(tones, tmp_path / "run", judge, limit=2, tries=1)
    recorded = read_recorded(run.path)
    assert recorded is not None
    assert "judged-match" in run.folder.manifest().scorers
    assert recorded.scorers == {"outcome": {}}
    assert recorded.judges == [judge]


def test_settings_of_a_command_hold_for_the_judges_that_it_names(tones: Path, tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "run", "http://127.0.0.1:9/v1"
    with ScriptedChatServer(by_model) as server:
        evaluate(tones, out, {"soft": {"model": "kind-2026-01-01", "url": server.url}}, limit=2)

        def planned(*judges: str) -> tuple[dict[str | None, str | None], str]:
            notes: list[str] = []
            prepared = prepared_experiment(str(out), {"judge.url": elsewhere}, judges=list(judges) or None)
            with prepared.planned(notes.append):
                judged = parse_judges(prepared.experiment.judges)
            return {judge.name: judge.url for judge in judged}, "\n".join(notes)

        urls, notes = planned("new=m-2026-01-01")
        assert urls == {"soft": server.url, "new": elsewhere}
        assert "replaced" not in notes
        for named in ([], ["soft=kind-2026-01-01"]):
            urls, notes = planned(*named)
            assert urls == {"soft": elsewhere}
            assert f"judge_soft: the scores of kind-2026-01-01 at {server.url} are replaced by those" in notes
