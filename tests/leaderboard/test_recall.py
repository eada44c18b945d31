"""Recalls of perceived labels: one rule and one function on the leaderboard, in reports, compare and gate."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echat_eval.analysis import load_scored_system
from echat_eval.analysis.compare import compare
from echat_eval.analysis.differences import level
from echat_eval.analysis.metric_rule import MetricRule
from echat_eval.analysis.pairs import pair, table_units
from echat_eval.errors import BadData, SystemFailure, Unavailable
from echat_eval.labels import SHIPPED, UNKNOWN, is_right
from echat_eval.leaderboard.attribution import NAMED, attribution_shares, perceptions_of, recognition
from echat_eval.leaderboard.build import OVERALL, build_leaderboard
from echat_eval.leaderboard.view import view_leaderboard
from echat_eval.records import Reply, Request
from echat_eval.report.figure_attribution import attributions_of, confusion_of
from echat_eval.report.marks import pair_tests
from echat_eval.report.runs import merge_runs
from echat_eval.report.tables import understanding_table
from echat_eval.scorers.understanding import Understanding
from echat_eval.stats import label_strata, macro_mean, stratum_weights
from echat_eval.store.run_folder import RunFolder
from echat_eval.task import load_task
from echat_eval.task.probe import probing
from echat_eval.testing import ScriptedSystem
from tests.support.present import present
from tests.support.scripted_world import make_run, make_task


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return 24 samples: six groups of anger, happy, sad and neutral."""
    return make_task(tmp_path_factory.mktemp("recall"), "emotion", 6)


def naming(task: Any, *, silent: int, broken: int = 0) -> ScriptedSystem:
    """Return a system that names the right label for some samples, and none, or nothing, for others."""
    sounds = [s.audio.sha256 for s in task.samples]
    gold = {s.audio.sha256: s.cues["emotion"] for s in task.samples}

    def respond(request: Request) -> Reply:
        sound = request.audio.sha256
        if sound in sounds[:broken]:
            raise SystemFailure("it broke")
        named = {} if sound in sounds[broken : broken + silent] else {"emotion": gold[sound]}
        return Reply(text="I hear you.", perceived=named)

    return ScriptedSystem(respond, "mine")


def printed_recall(folder: RunFolder) -> float:
    line = next(
        line for line in view_leaderboard([folder]).notes if line.startswith("- mine perceives emotion")
    )
    return float(present(re.search(r"UAR ([\d.]+)", line))[1])


def table_cells(folder: RunFolder) -> dict[str, Any]:
    table = understanding_table(merge_runs([folder]))
    return {row.label.split(",")[1].split()[0]: row.cells[0] for row in present(table).blocks[0].rows}


def test_a_reply_that_names_no_label_is_wrong_everywhere(task: Any, tmp_path: Path) -> None:
    """13 of 24 replies name their label, 11 name none: the leaderboard printed 100.0 and the report 54.2."""
    folder = make_run(tmp_path / "run", [task], [naming(task, silent=11)])
    assert printed_recall(folder) == 54.2
    cells = table_cells(folder)
    assert round(cells["UAR"].value, 1) == 54.2
    assert round(cells["accuracy"].value, 1) == 54.2
    # The interval too, to the last digit.
    runs = merge_runs([folder])
    rates = recognition(
        SHIPPED["emotion"],
        [(r.gold, present(r.perceived), r.cluster) for r in runs.perceptions["mine", "emotion", NAMED]],
    )
    for cell, estimate in ((cells["UAR"], rates.uar), (cells["accuracy"], rates.war)):
        assert (cell.value, cell.low, cell.high) == (estimate.value, estimate.low, estimate.high)
    line = next(line for line in view_leaderboard([folder]).notes if "perceives" in line)
    assert f"UAR {cells['UAR'].text} %, WAR {cells['accuracy'].text} %" in line
    # And the figure: 11 replies without a label are 11 of the confusion.
    confusion = confusion_of(runs, "emotion")["mine"]
    assert sum(confusion.values()) == 24
    assert sum(n for (_, perceived), n in confusion.items() if perceived == UNKNOWN) == 11


def test_a_failed_reply_is_wrong_and_a_missing_one_is_in_no_recall(task: Any, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", [task], [naming(task, silent=5, broken=6)])
    assert printed_recall(folder) == round(table_cells(folder)["UAR"].value, 1) == 54.2

    whole = naming(task, silent=0)
    broken = {s.audio.sha256 for s in task.samples[:6]}

    def respond(request: Request) -> Reply:
        if request.audio.sha256 in broken:
            raise Unavailable("429")
        reply: Reply = whole.respond(request)
        return reply

    lossy = make_run(tmp_path / "lossy", [task], [ScriptedSystem(respond, "mine")])
    assert printed_recall(lossy) == table_cells(lossy)["UAR"].value == 100.0


def test_the_rule_stands_once() -> None:
    assert is_right("sad", "sad")
    assert not any(is_right("sad", named) for named in (None, UNKNOWN, "happy", ""))
    assert not is_right(UNKNOWN, UNKNOWN)
    root = Path(__file__).resolve().parents[2] / "echat_eval"
    compared = re.compile(r"perceived(\.get\([^)]*\))? == |== (row\.)?gold\b|answered == gold")
    copies = [
        path.relative_to(root)
        for room in ("leaderboard", "report", "scorers", "analysis", "gate")
        for path in (root / room).rglob("*.py")
        if compared.search(path.read_text())
    ]
    assert not copies, f"{copies} compare labels on their own; call labels.is_right"


def test_the_figure_draws_the_shares_of_the_leaderboard(task: Any, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", [task], [naming(task, silent=11)])
    runs = merge_runs([folder])
    bars = attributions_of(runs)
    assert list(bars) == [("mine", "emotion")]
    (table,) = view_leaderboard([folder]).attribution
    printed = dict(
        zip(table.titles, present(next(row for row in table.rows if row[3] == "all")), strict=True)
    )
    drawn = {str(s.outcome): f"{s.estimate.value:.1f}" for s in bars["mine", "emotion"] if s.estimate.value}
    assert drawn == {name: printed[name].split()[0] for name in drawn}
    assert sum(s.estimate.value for s in bars["mine", "emotion"]) == pytest.approx(100)
    rows = runs.perceptions["mine", "emotion", NAMED]
    assert bars["mine", "emotion"] == attribution_shares(rows)
    assert sum(s.estimate.value for s in attribution_shares(rows) if s.outcome.perceived) == pytest.approx(
        100 * 13 / 24
    )


def test_oracles_and_silent_systems_have_no_recall(task: Any) -> None:
    samples = {(s.task, s.id): s for s in task.samples}
    clusters = dict.fromkeys(samples, 0)
    assert perceptions_of(samples, {}, [], clusters) == {}


# -- a macro recall over several tasks -------------------------------------------------


def two_probed_tasks(root: Path) -> list[Any]:
    """Return two tasks that ask for the emotion and share one of their labels."""
    found = []
    for name, groups in (("first", 3), ("second", 5)):
        folder = make_task(root / name, "emotion", groups).folder
        rows = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
        labels = {"first": ("sad", "happy"), "second": ("sad", "anger", "neutral")}[name]
        kept = [row for row in rows if row["cues"]["emotion"] in labels]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
        (folder / "samples.jsonl").write_text(text)
        definition = (folder / "task.yaml").read_text()
        (folder / "task.yaml").write_text(definition.replace("name: emotion", f"name: {name}"))
        found.append(probing(load_task(name, data=folder), "emotion"))
    return found


def test_leaderboard_compare_gate_and_report_have_one_macro_recall(tmp_path: Path) -> None:
    tasks = two_probed_tasks(tmp_path)
    gold = {s.audio.sha256: s.cues["emotion"] for task in tasks for s in task.samples}
    sounds = sorted(gold)

    wrong = {"old": set(sounds[:9]), "new": set(sounds[:4])}

    def answering(name: str) -> ScriptedSystem:
        return ScriptedSystem(
            lambda r: "fear" if r.audio.sha256 in wrong[name] else gold[r.audio.sha256], name
        )

    systems = [answering("old"), answering("new")]
    folder = make_run(tmp_path / "run", tasks, systems, scorers=[Understanding()], annotators=[])
    board = build_leaderboard([folder])
    metric = next(m for m in board.metrics if m.name == "understanding_uar")
    rule = MetricRule(higher_is_better=True, low=0, high=100, average="macro")
    loaded = {name: load_scored_system(f"{folder.path}:{name}") for name in ("old", "new")}
    pairs = pair(loaded["new"].frame, loaded["old"].frame, metrics=[metric.name])
    new = board.summaries["new", OVERALL, metric.name].estimate
    old = board.summaries["old", OVERALL, metric.name].estimate
    # By hand: the mean over the four labels of the share that is right, pooled over both tasks.
    samples = [s for task in tasks for s in task.samples]
    right: dict[str, list[bool]] = {label: [] for label in sorted(set(gold.values()))}
    for sample in samples:
        right[sample.cues["emotion"]].append(sample.audio.sha256 not in wrong["new"])
    assert new is not None
    assert old is not None
    assert new.value == pytest.approx(100 * np.mean([np.mean(found) for found in right.values()]))
    gated = level(pairs.frame, rule, coverage=0.95, min_clusters=2).observed
    assert gated is not None
    assert (gated.value, gated.low, gated.high) == (new.value, new.low, new.high)
    pooled = compare(loaded["old"], loaded["new"], metrics={metric.name: rule}).cells[0]
    assert pooled.difference is not None
    assert pooled.difference.value == pytest.approx(new.value - old.value)
    runs = merge_runs([folder])
    test = pair_tests(runs, metric, ["old", "new"], [OVERALL])[0]
    assert test.better == "new"
    assert test.difference == pytest.approx(pooled.difference.value)
    assert test.p == pytest.approx(pooled.p)
    assert table_units(loaded["new"].frame) is not None


def test_strata_are_labels_and_a_row_without_one_is_refused() -> None:
    strata = label_strata(["sad", "other", "other", "sad", "sad", "happy"])
    assert strata.tolist() == [0, 1, 1, 0, 0, 2]
    values = [1.0, 0.0, 1.0, 1.0, 0.0, 1.0]
    mean = macro_mean(values, strata, list(range(6))).value
    assert mean == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert np.average(values, weights=stratum_weights(strata)) == pytest.approx(mean)
    for absent in (None, float("nan")):
        with pytest.raises(BadData, match="needs one in every row"):
            label_strata(["sad", absent])  # type: ignore[list-item]
