from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scipy import stats as scipy_stats

from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.errors import BadData, Unavailable, UsageError
from echat_eval.leaderboard.build import OVERALL, Leaderboard, Summary, build_leaderboard
from echat_eval.leaderboard.by_voice import reference_value
from echat_eval.leaderboard.plot import drawn_columns, plot
from echat_eval.leaderboard.published import of_same_measure, published, published_names, words_judge
from echat_eval.leaderboard.rank_text import RANK_NOTE, rank_lines, rank_text
from echat_eval.leaderboard.render import cap_lines, cell_text, markdown, reading_notes
from echat_eval.leaderboard.table_rows import csv_text
from echat_eval.leaderboard.view import view_leaderboard
from echat_eval.records import Metric, Reply, Request
from echat_eval.stats import Bounds, cluster_mean
from echat_eval.store.run_folder import RunFolder
from echat_eval.testing import ScriptedScorer, ScriptedSystem
from tests.support.present import present
from tests.support.scripted_run import evaluated
from tests.support.scripted_world import make_task

METRIC = Metric(
    name="points",
    title="Points",
    unit="points",
    low=0,
    high=100,
    higher_is_better=True,
    worst=0,
    headline=True,
)


def number_scorer() -> ScriptedScorer:
    """Return a scorer by the number in the text of a reply."""
    return ScriptedScorer(
        lambda case: float(case.response.reply.text or 0),  # type: ignore[union-attr]
        "said",
        metrics=[METRIC],
    )


def run_of(out: Path, data: Path, *systems: Any) -> RunFolder:
    return evaluated(out, data, list(systems), scorers=[number_scorer()], retry_policy=RetryPolicy(tries=1))


def constant(value: float) -> Any:
    return lambda request: Reply(text=str(value))


def by_audio(request: Request) -> Reply:
    return Reply(text=str(int(request.audio.sha256[:4], 16) % 100))


def test_mean_and_interval_match_the_cluster_means(tmp_path: Path, tones: Path) -> None:
    run = run_of(tmp_path / "run", tones, ScriptedSystem(by_audio))
    summary = build_leaderboard([run]).summaries["scripted", "emotion", "points"]
    groups: dict[str, list[float]] = {}
    for score in run.scores().values():
        groups.setdefault(score.sample_id[:2], []).append(score.value or 0.0)
    means = [sum(g) / 2 for g in groups.values()]
    low, high = scipy_stats.t.interval(0.95, len(means) - 1, sum(means) / len(means), scipy_stats.sem(means))
    assert summary.estimate is not None
    assert summary.estimate.value == pytest.approx(sum(means) / len(means))
    assert (summary.estimate.low, summary.estimate.high) == pytest.approx((max(low, 0), min(high, 100)))
    assert (summary.estimate.n, summary.estimate.clusters) == (8, 4)


def test_failed_rows_count_as_worst_and_missing_rows_give_bounds(tmp_path: Path, tones: Path) -> None:
    def sometimes(request: Request) -> Reply:
        number = len(system.requests)
        if number == 1:
            return Reply()
        if number == 2:
            raise Unavailable("429")
        return Reply(text="80")

    system = ScriptedSystem(sometimes)
    summary = build_leaderboard([run_of(tmp_path / "run", tones, system)]).summaries[
        "scripted", OVERALL, "points"
    ]
    assert summary.counts == {"failed": 1, "missing": 1, "value": 6}
    assert summary.estimate is not None
    assert summary.estimate.value == pytest.approx(6 * 80 / 7)
    assert summary.bounds is not None
    assert (summary.bounds.low, summary.bounds.high) == (6 * 80 / 8, (6 * 80 + 100) / 8)


def test_a_headline_with_a_scale_of_its_own_in_every_task_has_no_mean_and_no_ranks(
    tmp_path: Path,
) -> None:
    tasks = [make_task(tmp_path / "tasks", name, 2) for name in ("emotion", "age")]
    scorer = ScriptedScorer(
        lambda case: float(case.response.reply.text or 0),  # type: ignore[union-attr]
        "said",
        metrics=[replace(METRIC, pooled=False), replace(METRIC, name="other", title="Other", headline=False)],
    )
    systems = [ScriptedSystem(constant(70), "a"), ScriptedSystem(constant(10), "b")]
    board = build_leaderboard([evaluated(tmp_path / "run", tasks, systems, scorers=[scorer])])
    cells = {task for (_, task, metric) in board.summaries if metric == "points"}
    assert cells == {"emotion", "age"} == set(board.columns(METRIC))
    assert ("a", OVERALL, "other") in board.summaries
    assert (board.ranking.sets, rank_text(board, "a")) == ({}, "?")
    text = markdown(board)
    assert "| rank | system | Emotion | Age |" in text
    assert "by task only. Each task has a scale of its own" in text
    assert "systems have no ranks" in text
    assert not [row for row in csv.reader(io.StringIO(csv_text(board))) if row[2:4] == ["all", "points"]]


def test_missing_rows_of_a_metric_without_an_upper_end_have_a_printed_cap(
    tmp_path: Path, tones: Path
) -> None:
    def sometimes(request: Request) -> Reply:
        if len(system.requests) == 1:
            raise Unavailable("429")
        return Reply(text="30")

    system, other = ScriptedSystem(sometimes), ScriptedSystem(constant(70), name="other")
    metric = replace(METRIC, name="delay", title="Delay", unit="s", high=None, worst=None)
    scorer = ScriptedScorer(
        lambda case: float(case.response.reply.text or 0),  # type: ignore[union-attr]
        "said",
        metrics=[metric],
    )
    run = evaluated(
        tmp_path / "run", tones, [system, other], scorers=[scorer], retry_policy=RetryPolicy(tries=1)
    )
    board = build_leaderboard([run])
    assert board.caps == {"delay": 140}
    bounds = board.summaries["scripted", OVERALL, "delay"].bounds
    assert bounds is not None
    assert (bounds.low, bounds.high) == pytest.approx((7 * 30 / 8, (7 * 30 + 140) / 8))
    (line,) = cap_lines(board)
    assert line == (
        "Delay, s ↑: it has no upper end; in {a..b} and in the ranks each missing value counts as at most "
        "140.0, 2 x the largest value seen."
    )
    assert line in reading_notes(board)


@pytest.mark.parametrize(
    ("low", "high", "bounds"), [(0.0, None, "{1.0..?}"), (None, 9.0, "{?..2.0}"), (None, None, "{?..?}")]
)
def test_a_metric_without_an_end_has_an_unknown_bound(
    low: float | None, high: float | None, bounds: str
) -> None:
    known = Bounds(low=None if low is None else 1.0, high=None if high is None else 2.0, n=3, missing=1)
    summary = Summary(
        system="a",
        task=OVERALL,
        metric="points",
        estimate=cluster_mean([1.0, 2.0], ["a", "b"]),
        bounds=known,
        counts={"value": 2, "missing": 1},
    )
    assert cell_text(summary, replace(METRIC, low=low, high=high)).endswith(f" {bounds}")


def test_a_missing_row_of_a_ratio_has_the_largest_weight_seen(tmp_path: Path, tones: Path) -> None:
    """The reply that would give the weight, such as its number of words, does not exist."""

    def sometimes(request: Request) -> Reply:
        if len(system.requests) == 1:
            raise Unavailable("429")
        return Reply(text="30")

    system = ScriptedSystem(sometimes)
    metric = replace(METRIC, name="delay", high=None, worst=None, average="ratio")

    scorer = ScriptedScorer(
        lambda case: case.score(metric, "value", value=30.0, weight=5.0), "said", metrics=[metric]
    )
    run = evaluated(tmp_path / "run", tones, [system], scorers=[scorer], retry_policy=RetryPolicy(tries=1))
    board = build_leaderboard([run])
    bounds = board.summaries["scripted", OVERALL, "delay"].bounds
    assert bounds is not None
    assert (bounds.low, bounds.high) == pytest.approx((7 * 30 / 8, (7 * 30 + 60) / 8))
    (line,) = cap_lines(board)
    assert line.endswith("2 x the largest value seen, with the largest weight seen.")
    assert "in {a..b} and in the ranks" in line


def around(value: float, name: str, *, gap: bool = False) -> ScriptedSystem:
    """Return a system with scores around a value; with a gap, one of its replies is missing."""

    def answer(request: Request) -> Reply:
        if gap and len(system.requests) == 1:
            raise Unavailable("429")
        return Reply(text=str(value + int(request.audio.sha256[:4] + name.encode().hex()[:2], 16) % 3))

    system = ScriptedSystem(answer, name=name)
    return system


def ranks_of(board: Leaderboard) -> dict[str, str]:
    return {name: str(found) for name, found in board.ranking.sets.items()}


@pytest.mark.parametrize(("gap", "ranks"), [(False, ("3", "2", "1")), (True, ("2 to 3", "2 to 3", "1"))])
def test_a_missing_row_widens_the_sets_of_those_whose_order_it_may_change(
    tmp_path: Path, tones: Path, gap: bool, ranks: tuple[str, ...]
) -> None:
    systems = [around(2, "low", gap=gap), around(20, "near"), around(97, "far")]
    board = build_leaderboard([run_of(tmp_path / "run", tones, *systems)])
    # "low" lies around 3, and with its gap between 2.6 and 15.1, where the interval includes 21.
    assert ranks_of(board) == dict(zip(("low", "near", "far"), ranks, strict=True))
    for name, shown in zip(("low", "near", "far"), ranks, strict=True):
        assert f"| {shown} | {name} |" in markdown(board)


def test_equal_systems_have_every_rank_and_no_single_first(tmp_path: Path, tones: Path) -> None:
    systems = [ScriptedSystem(constant(v), name=n) for n, v in (("a", 5), ("b", 5), ("c", 1))]
    board = build_leaderboard([run_of(tmp_path / "run", tones, *systems)])
    assert ranks_of(board) == {"a": "1 to 3", "b": "1 to 3", "c": "1 to 3"}
    rows = [row for row in csv.DictReader(io.StringIO(csv_text(board))) if row["task"] == OVERALL]
    assert [(row["rank"], row["rank_low"], row["rank_high"]) for row in rows] == [("", "1", "3")] * 3


def test_systems_within_a_margin_are_listed_and_a_bad_margin_is_refused(tmp_path: Path, tones: Path) -> None:
    run = run_of(tmp_path / "run", tones, around(50, "a"), around(50, "b"), around(90, "c"))
    assert "Within ±6.5 points of each other (95 % for all pairs at once, Holm): a and b." in rank_lines(
        build_leaderboard([run], within=6.5)
    )
    assert rank_lines(build_leaderboard([run], within=0.01))[-1].startswith("No two systems are shown")
    assert rank_lines(build_leaderboard([run]))[-1] == RANK_NOTE
    with pytest.raises(UsageError, match="margin of equivalence is 0; expected a number above 0"):
        build_leaderboard([run], within=0)


def test_a_system_that_failed_everywhere_has_no_rank(tmp_path: Path, tones: Path) -> None:
    run = run_of(tmp_path / "run", tones, around(50, "a"), ScriptedSystem(Reply(), "silent"))
    board = build_leaderboard([run])
    assert ranks_of(board) == {"a": "1"}
    assert (rank_text(board, "silent"), rank_lines(board)) == ("?", [])


def test_floors_and_ceilings_are_listed_apart_and_not_ranked(tmp_path: Path, tones: Path) -> None:
    floor = ScriptedSystem(constant(99), name="kind", role="floor")
    board = build_leaderboard(
        [run_of(tmp_path / "run", tones, floor, ScriptedSystem(constant(10), name="mine"))]
    )
    assert ranks_of(board) == {"mine": "1"}
    text = markdown(board)
    assert text.index("| 1 | mine |") < text.index("kind (floor)")


def test_published_rows_are_never_ranked_among_measured_ones(tmp_path: Path, tones: Path) -> None:
    board = build_leaderboard([run_of(tmp_path / "run", tones, ScriptedSystem(constant(1)))])
    text = markdown(board, [published("echat-automatic")])
    block = text[text.index("**Published, not measured here") :]
    assert "| OSUM-EChat † | 58.0 | 63.1 | 62.7 | 87.1 | 72.0 |" in block
    assert "| Qwen2.5-Omni † | 44.8 | 52.6 | 43.3 | - | 63.7 |" in block
    assert "†" not in text[: text.index("**Published")]


def test_a_published_table_needs_a_metric_of_its_measure(tmp_path: Path, tones: Path) -> None:
    run = run_of(tmp_path / "run", tones, ScriptedSystem(constant(1)))
    view = view_leaderboard([run], tables=["echat-automatic", "synthesis"])
    assert not view.published
    assert [note for note in view.notes if "is not shown" in note] == [
        "- published table echat-automatic is not shown: nothing here has its measure, a judge's grade of the "
        "words (--judge MODEL); `echat-eval report --published --out FOLDER` writes it alone",
        "- published table synthesis is not shown: nothing here has its measure, word or character error rate of "
        "synthesised speech; `echat-eval report --published --out FOLDER` writes it alone",
    ]
    judge, voice = replace(METRIC, name="judge_voice"), replace(METRIC, name="judge_voice_voice")
    tables = [published("echat-automatic"), published("echat-human")]
    assert words_judge([voice, METRIC, judge]) == judge
    assert words_judge([METRIC]) is None
    assert of_same_measure(tables, [judge], people=True) == (tables, [])


def test_runs_of_different_tasks_are_refused(tmp_path: Path, tones: Path) -> None:
    first = run_of(tmp_path / "a", tones, ScriptedSystem(constant(1), name="x"))
    (index := tones / "emotion" / "samples.jsonl").write_text(
        index.read_text().replace("sentence number 1", "another one")
    )
    second = run_of(tmp_path / "b", tones, ScriptedSystem(constant(1), name="y"))
    with pytest.raises(BadData, match="not comparable: task 'emotion' differs"):
        build_leaderboard([first, second])


@pytest.mark.parametrize("name", ["=HYPERLINK(1)", "a|b", "<script>x</script>", "$x_1$", "x" * 120])
def test_markup_in_a_name_is_escaped(tmp_path: Path, tones: Path, name: str) -> None:
    board = build_leaderboard([run_of(tmp_path / "run", tones, ScriptedSystem(by_audio, name=name))])
    text = markdown(board)
    assert "<script" not in text
    header = next(line for line in text.splitlines() if line.startswith("| rank"))
    row = next(line for line in text.splitlines() if line.startswith("| 1 |"))
    assert row.replace("\\|", "").count("|") == header.count("|")
    cells = list(csv.reader(io.StringIO(csv_text(board))))
    assert not any(cell.startswith(("=", "+", "@")) for line in cells for cell in line)
    plot(board, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_the_plot_has_its_line_at_chance_and_one_panel_for_one_task(tmp_path: Path, tones: Path) -> None:
    board = build_leaderboard([run_of(tmp_path / "run", tones, ScriptedSystem(by_audio))])
    assert drawn_columns(board, METRIC) == ("emotion",)
    another = board.summaries["scripted", "emotion", "points"]
    estimate = replace(present(another.estimate), value=1.0)
    other = {("scripted", OVERALL, "points"): replace(another, estimate=estimate)}
    board = replace(board, summaries={**board.summaries, **other})
    assert drawn_columns(board, METRIC) == (OVERALL, "emotion")
    lines = [replace(METRIC, by_voice=True), replace(METRIC, by_voice=True, low=-100), METRIC]
    assert [reference_value(metric) for metric in lines] == [50, 0, 0]


def test_the_plot_is_redrawn_only_if_the_board_changes(tmp_path: Path, tones: Path) -> None:
    board = build_leaderboard([run_of(tmp_path / "run", tones, ScriptedSystem(by_audio))])
    picture = tmp_path / "plot.png"
    plot(board, picture)
    first, inode = picture.read_bytes(), picture.stat().st_ino
    plot(board, picture)
    assert picture.stat().st_ino == inode
    plot(replace(board, titles={**board.titles, "emotion": "Other tones"}), picture)
    assert picture.read_bytes() != first
    plot(build_leaderboard([run_of(tmp_path / "other", tones, ScriptedSystem(constant(3)))]), picture)
    assert picture.read_bytes() != first


def test_the_csv_matches_the_summary(tmp_path: Path, tones: Path) -> None:
    board = build_leaderboard([run_of(tmp_path / "run", tones, ScriptedSystem(by_audio))])
    rows = list(csv.DictReader(io.StringIO(csv_text(board))))
    estimate = board.summaries["scripted", "emotion", "points"].estimate
    row = next(row for row in rows if row["task"] == "emotion")
    assert estimate is not None
    assert float(row["value"]) == estimate.value
    assert (row["n"], row["clusters"], row["failed"], row["missing"]) == ("8", "4", "0", "0")


@pytest.mark.parametrize("name", published_names())
def test_every_published_table_has_its_source(name: str) -> None:
    table = published(name)
    assert "2508.09600" in table.source
    assert all(len(row["values"]) == len(table.columns) for row in table.rows)


def test_a_score_of_a_metric_without_a_definition_is_refused(tmp_path: Path, tones: Path) -> None:
    run = run_of(tmp_path / "run", tones, ScriptedSystem(constant(1.0), "x"))
    path = run.path / "scores.jsonl"
    first, *rest = path.read_text().splitlines(keepends=True)
    path.write_text(
        first.replace(f'"metric":"{run.manifest().metrics[0].name}"', '"metric":"other"') + "".join(rest)
    )
    with pytest.raises(BadData, match="scores of a metric 'other', which no manifest"):
        build_leaderboard([RunFolder(run.path)])
