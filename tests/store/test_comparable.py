"""Which runs may be compared: `leaderboard`, `report`, `compare` and `gate` ask one function."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from echat_eval.analysis import ScoredSystem, load_scored_system
from echat_eval.analysis.compare import require_comparable
from echat_eval.analysis.runs import JudgeModel, differences
from echat_eval.errors import BadData, UsageError
from echat_eval.gate.provenance import provenance
from echat_eval.leaderboard.build import build_leaderboard
from echat_eval.report.runs import merge_runs
from echat_eval.store.comparable import refuse_duplicate_systems, version_differences
from echat_eval.store.manifest import RunManifest, ScorerFacts
from echat_eval.store.run_folder import RunFolder
from tests.support.scripted_world import make_run, make_task, scripted_system


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[RunFolder]:
    """Return three runs of one task; the second and third have scorers of other versions."""
    root = tmp_path_factory.mktemp("comparable")
    task = make_task(root / "tasks", "emotion", 2)
    found = [make_run(root / name, [task], [scripted_system(name, 0.5)]) for name in ("a", "b", "c")]
    for folder, fingerprint in zip(found[1:], ("1" * 64, "2" * 64), strict=True):
        path = folder.path / "manifest.json"
        manifest = json.loads(path.read_text())
        (scorer,) = manifest["scorers"].values()
        scorer["fingerprint"] = fingerprint
        path.write_text(json.dumps(manifest))
    return found


def sentences(error: BaseException | str) -> set[str]:
    text = str(error).partition("not comparable: ")[2].partition(". Run one of them again")[0]
    assert text, error
    return set(text.split("; "))


def test_every_command_gives_the_same_reasons(folders: list[RunFolder]) -> None:
    runs = [load_scored_system(str(folder.path)) for folder in folders]
    expected = set(version_differences([(run.name, run.hashes) for run in runs]))
    assert len(expected) == 3  # a and b, a and c, and b and c, which differ from each other
    with pytest.raises(BadData) as on_leaderboard:
        build_leaderboard(folders)
    with pytest.raises(BadData) as in_report:
        merge_runs(folders)
    with pytest.raises(UsageError) as in_compare:
        require_comparable(runs, anyway=False)
    assert sentences(on_leaderboard.value) == sentences(in_report.value) == expected
    assert sentences(in_compare.value) == expected
    assert set(require_comparable(runs, anyway=True)) == expected


def test_the_gate_blocks_for_the_same_reason(folders: list[RunFolder]) -> None:
    from datetime import UTC, datetime
    from types import SimpleNamespace

    candidate, baseline = (load_scored_system(str(folder.path)) for folder in folders[:2])
    policy: Any = SimpleNamespace(max_age_days=None, metrics={}, latency={})
    blockers = provenance(candidate, baseline, policy, now=datetime.now(UTC)).blockers
    assert [blocker.text for blocker in blockers] == version_differences(
        [(candidate.name, candidate.hashes), (baseline.name, baseline.hashes)]
    )


def test_judges_are_named_by_their_models() -> None:
    table = pd.DataFrame({"system": ["s"]})
    scorer = ("scorers", "judged")
    facts = ScorerFacts(settings={"model": "new-2026-09-22"}, fingerprint="b" * 64)
    run = ScoredSystem(
        name="run",
        system="s",
        frame=table,
        hashes={scorer: "b" * 64},
        manifest=RunManifest(
            scorers={"judged": facts, "outcome": ScorerFacts(settings={"model": "no judge"})}
        ),
    )
    baseline = ScoredSystem(
        name="main",
        system="s",
        frame=table,
        hashes={scorer: "a" * 64},
        judges=(JudgeModel(model="old-2024-11-20", url=None),),
    )
    assert differences(run, baseline) == [
        "scorer 'judged' differs (judge new-2026-09-22, bbbbbbbb, in run, and judge old-2024-11-20, aaaaaaaa, "
        "in main)"
    ]
    unknown = replace(baseline, judges=())
    assert "and judge unknown, aaaaaaaa, in main" in differences(run, unknown)[0]


def test_parts_of_only_one_run_are_not_compared() -> None:
    assert version_differences([("a", {("tasks", "x"): "1"}), ("b", {("tasks", "y"): "2"})]) == []
    assert version_differences([("a", {("tasks", "x"): "1"}), ("b", {("scorers", "x"): "2"})]) == []


def test_a_system_in_two_runs_is_refused_with_the_spec_that_renames_it(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"two runs have a system 'mine': a and c; .*NEW=c:mine"):
        refuse_duplicate_systems([("a", ["mine"]), ("b", ["yours"]), ("c", ["mine"])])
