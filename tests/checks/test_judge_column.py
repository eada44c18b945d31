"""The judge of a run that people are compared with: found by its name or by its rubric."""

from __future__ import annotations

from pathlib import Path

import pytest

from echat_eval.errors import UsageError
from echat_eval.report.rating.judge_agreement import judge_column
from echat_eval.store.manifest import RunManifest, ScorerFacts
from echat_eval.store.run_folder import RunFolder


def folder(path: Path, **judges: str) -> RunFolder:
    """Return a run with judges: name -> rubric; the name "unnamed" stands for a judge without one."""
    scorers = {}
    for name, rubric in judges.items():
        stem = f"judge_{rubric if name == 'unnamed' else name}".replace("-", "_")
        scorer = "judged" if name == "unnamed" else f"judged:{name}"
        scorers[scorer] = ScorerFacts(settings={"rubric": rubric}, metrics=(stem, f"{stem}_voice"))
    run = RunFolder(path)
    run.write_manifest(RunManifest(scorers=scorers))
    return run


def test_a_judge_is_found_by_its_name_or_its_rubric(tmp_path: Path) -> None:
    assert judge_column(folder(tmp_path, unnamed="echat-r1"), "echat-r1") == "judge_echat_r1"
    assert judge_column(folder(tmp_path, text="echat-r1", own="mine"), "echat-r1") == "judge_text"
    assert judge_column(folder(tmp_path, text="echat-r1", own="echat-r1"), "own") == "judge_own"


def test_several_judges_of_one_rubric_are_named(tmp_path: Path) -> None:
    run = folder(tmp_path, unnamed="echat-r1", own="echat-r1")
    with pytest.raises(UsageError, match=r"2 judges have the rubric 'echat-r1' \(unnamed, own\)"):
        judge_column(run, "echat-r1")
