"""A run whose judge was held against people: its tables, page, figure and provenance before and after."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from echat_eval.errors import BadData
from echat_eval.io.jsonl import loads
from echat_eval.io.ratings import Rating, ratings_csv
from echat_eval.leaderboard.table_choice import TableChoice
from echat_eval.leaderboard.view import view_leaderboard
from echat_eval.ports import Silent
from echat_eval.report.figure_people import draw_people
from echat_eval.report.figure_style import styled
from echat_eval.report.pack import build_report
from echat_eval.report.people_tables import agreement_tables, with_judge_table
from echat_eval.report.rating.judge_agreement import STATISTICS
from echat_eval.report.rating.sheet import rubric_of
from echat_eval.report.rating.validate import rated_scores, validate_run
from echat_eval.report.runs import merge_runs
from echat_eval.store.run_folder import RunFolder
from echat_eval.store.validation import read_validation, validations
from tests.support.present import present
from tests.support.report_runs import data_of, english

NO, YES = "Judge r0: validated against people: no", "Judge r0: validated against people: yes"


@pytest.fixture
def run(usual_run: RunFolder, tmp_path: Path) -> RunFolder:
    """Return a run folder of one's own, because validations are written into it."""
    shutil.copytree(usual_run.path, tmp_path / "run")
    return RunFolder(tmp_path / "run")


@pytest.fixture
def ratings(run: RunFolder, tmp_path: Path) -> Path:
    """Return ratings of the judged dimension by three raters, who see the judge's quality through noise."""
    rng = np.random.default_rng(1)
    rows = [
        Rating(
            rater=rater,
            system=score.system,
            task=score.task,
            sample_id=score.sample_id,
            dimension="cue_awareness",
            value=float(np.clip(np.rint(present(score.value) / 20 + rng.normal(0, 1)), 0, 5)),
            low=0,
            high=5,
        )
        for score in run.scores().values()
        if score.metric == "judge_r0" and score.state == "value" and score.task == "emotion"
        for rater in ("ann", "ben", "cat")
    ]
    path = tmp_path / "ratings.csv"
    path.write_text(ratings_csv(rows), encoding="utf-8")
    return path


def test_a_judge_is_not_validated_until_ratings_are_imported(
    run: RunFolder, ratings: Path, tmp_path: Path
) -> None:
    before = view_leaderboard([run])
    assert NO in str(before)
    assert NO in before._repr_markdown_()
    frame = before.to_frame()
    assert set(frame.query("metric == 'judge_r0'")["validated_against_people"]) == {"no"}
    assert frame.query("metric != 'judge_r0'")["validated_against_people"].isna().all()
    (found,) = validate_run(ratings, run)
    after = view_leaderboard([run])
    assert f"{YES} (cue_awareness, Spearman 0." in str(after)
    assert NO not in str(after)
    assert f"{found.replies} replies, 3 raters" in str(after)
    assert set(after.to_frame().query("metric == 'judge_r0'")["validated_against_people"]) == {"yes"}


def test_tables_page_and_provenance_state_the_validation(
    run: RunFolder, ratings: Path, tmp_path: Path
) -> None:
    def reported(out: Path) -> tuple[str, str, object, object]:
        build_report([str(run.path)], out, progress=Silent(), only=["tables", "page"])
        facts = loads((out / "provenance.json").read_bytes())
        tables = out / "tables"
        people = data_of(out / "page", "board")["people"]
        return (
            (tables / "by-task-judge_r0.md").read_text(encoding="utf-8"),
            (tables / "overview.md").read_text(encoding="utf-8"),
            {name: [*map(english, lines)] for name, lines in people.items()},
            facts["validated_against_people"],
        )

    by_task, overview, page, facts = reported(tmp_path / "before")
    assert NO in by_task
    assert NO in overview
    assert page == {"cue_contrast": [], "judge_r0": [NO], "reply_wer": []}
    assert facts == {"judge_r0": None}
    validate_run(ratings, run)
    by_task, overview, page, facts = reported(tmp_path / "after")
    assert YES in by_task
    assert YES in overview
    assert YES in str(page)
    assert isinstance(facts, dict)
    assert facts["judge_r0"]["raters"] == 3


def test_the_agreement_is_spearmans_with_the_mean_rating(run: RunFolder, ratings: Path) -> None:
    (found,) = validate_run(ratings, run)
    with ratings.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    of_reply: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        of_reply.setdefault((row["system"], row["sample_id"]), []).append(float(row["value"]))
    judged = {
        (s.system, s.sample_id): s.value
        for s in run.scores().values()
        if s.metric == "judge_r0" and s.task == "emotion" and s.value is not None
    }
    people, judge = zip(*((np.mean(of_reply[i]), judged[i]) for i in of_reply), strict=True)
    assert found.value == pytest.approx(scipy_stats.spearmanr(people, judge).statistic)
    assert present(found.low) < present(found.value) < present(found.high)


def test_ratings_count_for_no_other_judge(run: RunFolder, ratings: Path) -> None:
    (found,) = validate_run(ratings, run)
    assert validations(run) == {"judge_r0": found}
    assert read_validation(run.path, "judge_r0", "another judge") is None
    (run.path / "people-judge_r0.json").write_text("{}")
    with pytest.raises(BadData, match="not an agreement that `rate import --run` writes"):
        validations(run)


def test_ratings_of_what_no_judge_graded_validate_nothing(run: RunFolder, ratings: Path) -> None:
    text = ratings.read_text(encoding="utf-8").replace("cue_awareness", "naturalness")
    ratings.write_text(text, encoding="utf-8")
    with pytest.raises(BadData, match=r"what people rated \(naturalness\); judge_r0 has cue_awareness"):
        validate_run(ratings, run)
    assert validations(run) == {"judge_r0": None}
    # Comparisons by people stand alone beside judges that compare nothing.
    ratings.write_text(text.replace("naturalness", "match"), encoding="utf-8")
    assert validate_run(ratings, run) == []


def test_the_line_states_raters_who_have_not_answered(run: RunFolder, ratings: Path) -> None:
    (found,) = validate_run(ratings, run)
    assert str(replace(found, assigned=5)).endswith(" replies, 3 of 5 raters")
    assert str(replace(found, assigned=3)).endswith(" replies, 3 raters")


def test_a_sheet_asks_what_the_only_judge_of_a_run_graded() -> None:
    def manifest(*rubrics: str) -> Any:
        scorers = {r: SimpleNamespace(settings={"rubric": r}) for r in rubrics}
        return SimpleNamespace(scorers={**scorers, "outcome": SimpleNamespace(settings={})})

    assert rubric_of([manifest("echat-voice-r1")]) == "echat-voice-r1"
    assert rubric_of([manifest("echat-voice-r1", "echat-r2")]) == rubric_of([manifest()]) == "echat-r1"


def test_answers_to_the_match_question_go_with_match_rates(run: RunFolder) -> None:
    score = next(s for s in run.scores().values() if s.metric == "judge_r0" and s.value is not None)
    answer = Rating(
        rater="ann",
        system=score.system,
        task=score.task,
        sample_id=score.sample_id,
        dimension="match",
        value=1.0,
        low=0,
        high=1,
    )
    assert rated_scores([answer], [score]) == []
    (found,) = rated_scores([answer], [replace(score, metric="judge_r0_match_rate")])
    assert (found.people, found.judge) == (100, score.value)


def test_tables_of_people_and_judge(run: RunFolder, ratings: Path) -> None:
    merged = merge_runs([run], choice=TableChoice(names={"emotion": "Mood"}))
    agreement, correlation = agreement_tables(ratings, merged)
    assert agreement.blocks[0].rows[0].label == "cue_awareness, all"
    assert agreement.columns == ("replies", "raters", "judge", "one rater", "judge - rater", "alpha")
    assert correlation.columns == ("replies", *STATISTICS)
    for one, other in zip(agreement.blocks[0].rows, correlation.blocks[0].rows, strict=True):
        assert (one.label, one.cells[2]) == (other.label, other.cells[1])
    both = present(with_judge_table(ratings, merged))
    rows = {row.label: row.cells for row in both.blocks[0].rows}
    counts, people, _, _ = rows["careful, Mood"]
    assert counts.value == int(counts.text.split(" of ")[1])
    assert 0 <= present(people.low) < present(people.value) < present(people.high) <= 100
    for label, cells in rows.items():
        used = cells[2].value is not None
        assert used != any(note.startswith(f"{label}: the judge is not used") for note in both.notes)
        assert not used or 0 < present(cells[3].value) < 1


def test_a_report_with_ratings_draws_people_against_the_judge(
    run: RunFolder, ratings: Path, tmp_path: Path
) -> None:
    merged = merge_runs([run])
    with styled(None) as plt:
        figure = draw_people(plt, merged, 3.35, None, ratings=ratings)
        (panel,) = figure.axes
        points = sum(len(drawn.get_offsets()) for drawn in panel.collections)
        assert points == len(rated_scores_of(run, ratings))
        assert draw_people(plt, merged, 3.35, None, ratings=None) == ""
        plt.close(figure)
    choice = TableChoice(names={"emotion": "Mood"})
    build_report(
        [str(run.path)], tmp_path / "out", progress=Silent(), only=["tables"], ratings=ratings, choice=choice
    )
    tables = (tmp_path / "out" / "tables" / "tables.md").read_text(encoding="utf-8")
    assert "Mood, human" in tables
    assert "Agreement of Judge r0 with people" in tables
    assert "People's ratings, alone and with Judge r0" in tables
    cells = json.loads((tmp_path / "out" / "provenance.json").read_text())["cells"]
    assert {c["table"] for c in cells} >= {"people-agreement", "people-with-judge"}


def rated_scores_of(run: RunFolder, ratings: Path) -> set[tuple[str, str]]:
    with ratings.open(encoding="utf-8", newline="") as file:
        return {(row["system"], row["sample_id"]) for row in csv.DictReader(file)}
