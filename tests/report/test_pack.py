"""Tables, their marks, their formats and their provenance."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.errors import BadData, NotInstalled, UnknownName, UsageError
from echat_eval.ports import Silent
from echat_eval.report.cells import Block, Table, TableCell, TableRow
from echat_eval.report.formats import csv_text, markdown
from echat_eval.report.latex import latex
from echat_eval.report.marks import marks_of, pair_tests
from echat_eval.report.pack import build_published, build_report
from echat_eval.report.published import published_blocks, published_tables
from echat_eval.report.runs import merge_runs
from echat_eval.report.tables import run_tables
from echat_eval.runner.evaluate import rescore
from echat_eval.store.manifest import RunSettings
from echat_eval.store.run_folder import RunFolder
from echat_eval.store.select import open_run
from tests.support.present import present
from tests.support.report_runs import data_of
from tests.support.scripted_world import (
    make_run,
    make_task,
    marks_scorer,
    scripted_asr,
    scripted_system,
)

HERE = Path(__file__).parent


def cells_of(out: Path) -> dict[tuple[str, int, str, str], dict[str, Any]]:
    facts = json.loads((out / "provenance.json").read_text(encoding="utf-8"))
    return {(c["table"], c["block"], c["row"], c["column"]): c for c in facts["cells"]}


def tables_of(run: RunFolder) -> dict[str, Any]:
    merged = merge_runs([run])
    return {t.name: t for t in run_tables(merged, published_blocks(list(merged.tasks)), "careful")}


# -- published ---------------------------------------------------------------------------------------


def transcribed() -> dict[int, list[list[str]]]:
    """Return table number -> rows of cells, from the transcription of the paper's tables."""
    text = (HERE / "published-results.md").read_text(encoding="utf-8")
    found: dict[int, list[list[str]]] = {}
    for part in re.split(r"^## Table ", text, flags=re.M)[1:]:
        lines = [line for line in part.splitlines() if line.startswith("|")]
        found[int(part[0])] = [
            [c.strip().strip("*") for c in line.strip("|").split("|")] for line in lines[2:]
        ]
    return found


def numbers(cells: list[str]) -> list[float | None]:
    return [None if c == "-" else float(c) for c in cells]


@pytest.mark.parametrize("number", [1, 2, 3, 5])
def test_published_tables_match_the_paper_to_the_digit(number: int) -> None:
    made = next(t for t in published_tables() if t.name.startswith(f"table-{number}-"))
    expected = transcribed()[number]
    rows = made.blocks[0].rows
    assert [[c.value for c in row.cells] for row in rows] == [numbers(row[1:]) for row in expected]
    for row, (name, *_) in zip(rows, expected, strict=True):
        first = name.lstrip("- ").split(" (")[0].split(" - ")[0]
        assert first.removeprefix("U-Driven") in row.label or first in row.label


def test_published_understanding_table_matches_the_paper() -> None:
    made = next(t for t in published_tables() if t.name.startswith("table-4-"))
    expected: list[list[float | None]] = [[], [], [], []]
    for row in transcribed()[4]:
        sets = len(re.split(r" / |; ", row[2]))
        for system, cell in enumerate(row[3:]):
            expected[system] += numbers(re.split(r" / |; ", cell) if cell else ["-"] * sets)
    columns = [[row.cells[system].value for row in made.blocks[0].rows] for system in range(4)]
    assert columns == expected


def test_published_tables_are_written_without_a_run(tmp_path: Path) -> None:
    build_published(tmp_path / "out", progress=Silent())
    names = {p.name for p in (tmp_path / "out" / "tables").glob("*.tex")}
    assert {n[:7] for n in names if n.startswith("table-")} == {f"table-{i}" for i in range(1, 6)}
    for cell in cells_of(tmp_path / "out").values():
        assert "published" in cell or cell["text"] == "-"
    assert "†" in (tmp_path / "out/tables/tables.md").read_text(encoding="utf-8")


# -- numbers and marks -------------------------------------------------------------------------------


def test_cells_are_means_of_the_scores(usual_run: RunFolder) -> None:
    table = tables_of(usual_run)["leaderboard"]
    scores = usual_run.scores().values()
    for row in table.blocks[0].rows:
        for column, cell in zip(("all", "emotion", "age"), row.cells[1:], strict=True):
            own = [
                s.value
                for s in scores
                if s.system == row.label
                and s.metric == "cue_contrast"
                and s.value is not None
                and column in ("all", s.task)
            ]
            assert cell.value == pytest.approx(math.fsum(own) / len(own))


def test_the_leaderboard_table_begins_with_the_sets_of_ranks(usual_run: RunFolder) -> None:
    merged = merge_runs([usual_run])
    sets = merged.board.ranking.sets  # type: ignore[union-attr]
    for table in run_tables(merged, published_blocks(list(merged.tasks))):
        assert (table.columns[0] == "rank") == (table.name == "leaderboard")
        for row in (row for block in table.blocks for row in block.rows):
            assert len(row.cells) == len(table.columns)
            if table.name == "leaderboard" and (found := sets.get(row.label)) is not None:
                cell = row.cells[0]
                assert (cell.text, cell.low, cell.high) == (str(found), found.low, found.high)
                assert cell.sources["scores"]["systems"] == list(sets)
            elif table.name == "leaderboard":
                assert row.cells[0].text == ""


def test_a_set_of_ranks_is_one_number_in_latex_and_markdown() -> None:
    rows = (TableRow(label="a", cells=(TableCell(text="1 to 3"), TableCell(text="5.0 [4.0, 6.0]"))),)
    table = Table(name="t", caption="", columns=("rank", "all"), blocks=(Block(rows=rows),))
    assert r"a & 1 to 3 & \EChatCell{5.0}{{[}4.0, 6.0{]}} \\" in latex(table)
    assert r"| a | 1 to 3 | 5.0 \[4.0, 6.0\] |" in markdown(table)


def test_floors_ceilings_and_published_rows_are_separate_blocks(usual_run: RunFolder) -> None:
    judged = tables_of(usual_run)["by-task-judge_r0"]
    assert [b.title[:9] for b in judged.blocks] == ["", "Floors an", "Published"]
    assert [r.label for r in judged.blocks[1].rows] == ["canned (floor)", "gold-labels (ceiling)"]
    published = judged.blocks[2]
    assert published.published
    assert "2508.09600" in published.title
    assert published.rows[0].cells[1].value == 44.8
    assert all(cell.mark == "" for row in (*judged.blocks[1].rows, *published.rows) for cell in row.cells)


def test_published_rows_stand_only_below_their_own_measure_and_only_if_asked_for(
    usual_run: RunFolder, tmp_path: Path
) -> None:
    blocks = published_blocks(list(merge_runs([usual_run]).tasks))
    for headline, base in (("cue_contrast", False), ("judge_r0", True)):
        merged = merge_runs([usual_run], headline=headline)
        tables = {t.name: t for t in run_tables(merged, blocks, "careful")}
        published = {name for name, t in tables.items() if any(block.published for block in t.blocks)}
        judged = {"leaderboard", "ablation"} if base else {"by-task-judge_r0"}
        assert published == judged
        assert tables["ablation"].caption.startswith("Judge r0" if base else "Cue contrast")
    spec = str(usual_run.path)
    for requested in (False, True):
        out = tmp_path / f"out-{requested}"
        made = build_report([spec], out, progress=Silent(), only=["tables", "page"], with_published=requested)
        text = (out / "tables/tables.md").read_text(encoding="utf-8")
        shown = [table["title"] for table in data_of(out / "page", "board")["published"]]
        assert ("2508.09600" in text) == requested
        assert shown == (["EChat-eval, automatic (GPT-4o), 0-100"] if requested else [])
        # Nobody rated the replies, so the published ratings have nothing to stand below.
        assert any("echat-human is not shown" in note for note in made.notes) == requested


def test_a_text_only_system_has_a_dash_on_a_voice_metric(usual_run: RunFolder) -> None:
    row = next(r for r in tables_of(usual_run)["by-task-reply_wer"].blocks[0].rows if r.label == "text-only")
    assert {(c.text, c.state) for c in row.cells} == {("-", "not applicable")}


def test_pair_test_is_the_t_test_of_equal_clusters(tmp_path: Path) -> None:
    # Clusters of equal size: the oracle is scipy's t test on the cluster means.
    task = make_task(tmp_path / "tasks", "emotion", 6)
    run = make_run(tmp_path / "run", [task], [scripted_system("a", 0.9), scripted_system("b", 0.3)])
    merged = merge_runs([run])
    metric = next(m for m in merged.board.metrics if m.name == "judge_r0")  # type: ignore[union-attr]
    (test,) = pair_tests(merged, metric, ["a", "b"], ["emotion"])
    scores = run.scores()
    means = [
        np.mean(
            [
                present(scores["a", "emotion", s.id, "judge_r0"].value)
                - present(scores["b", "emotion", s.id, "judge_r0"].value)
                for s in run.samples()
                if s.contrast_group == f"g{g}"
            ]
        )
        for g in range(6)
    ]
    assert test.p == pytest.approx(scipy_stats.ttest_1samp(means, 0).pvalue)
    assert test.better == "a"


def test_marks_are_adjusted_over_the_whole_table(usual_run: RunFolder) -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    merged = merge_runs([usual_run])
    metric = next(m for m in merged.board.metrics if m.name == "judge_r0")  # type: ignore[union-attr]
    tests = pair_tests(merged, metric, ["careful", "average", "text-only"], ["all", "emotion", "age"])
    assert len(tests) == 9
    expected = multitest.multipletests([t.p for t in tests], method="holm")[1]
    assert [t.adjusted for t in tests] == pytest.approx(list(expected))


def test_marks_require_a_significant_test(tmp_path: Path) -> None:
    task = make_task(tmp_path / "tasks", "emotion", 8)
    twins = [scripted_system("one", 0.8), scripted_system("two", 0.8)]
    merged = merge_runs([make_run(tmp_path / "twins", [task], twins)])
    assert not any(c.mark for t in run_tables(merged, {}) for b in t.blocks for r in b.rows for c in r.cells)
    three = [scripted_system("high", 0.95), scripted_system("middle", 0.55), scripted_system("low", 0.0)]
    merged = merge_runs([make_run(tmp_path / "three", [task], three)])
    table = next(t for t in run_tables(merged, {}) if t.name == "leaderboard")
    assert {r.label: r.cells[1].mark for r in table.blocks[0].rows} == {
        "high": "best",
        "middle": "second",
        "low": "",
    }
    assert r"\textbf{" in latex(table)
    assert r"\underline{" in latex(table)


def test_a_missing_row_prevents_a_mark(tmp_path: Path) -> None:
    task = make_task(tmp_path / "tasks", "emotion", 8)
    run = make_run(
        tmp_path / "run",
        [task],
        [scripted_system("high", 0.95, breaks="missing"), scripted_system("low", 0.0)],
    )
    merged = merge_runs([run])
    metric = merged.board.headline  # type: ignore[union-attr]
    tests = pair_tests(merged, metric, ["high", "low"], ["emotion"])
    assert [t.p for t in tests] == [None]
    assert marks_of(tests, ["high", "low"]) == {}


# -- formats -----------------------------------------------------------------------------------------


def test_no_csv_cell_is_a_formula(tmp_path: Path) -> None:
    task = make_task(tmp_path / "tasks", "emotion", 3)
    names = ["=cmd|' /C calc'!A0", "+1", "-2+3", "@SUM(A1)", "\t=1", 'a,b"c']
    run = make_run(tmp_path / "run", [task], [scripted_system(name, 0.5) for name in names])
    for table in tables_of_any(run):
        for row in csv.reader(io.StringIO(csv_text(table))):
            for cell in row:
                assert not cell.lstrip().startswith(("=", "+", "@", "-")) or re.fullmatch(
                    r"-\d+(\.\d+)?(e-\d+)?", cell
                )


def tables_of_any(run: RunFolder) -> list[Any]:
    return run_tables(merge_runs([run]), {})


def test_markdown_columns_survive_hostile_names(hostile_run: RunFolder) -> None:
    for table in tables_of_any(hostile_run):
        rows = [line for line in markdown(table).splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in rows}) == 1
        assert "<script" not in markdown(table).replace("\\<script", "")


def test_a_refused_report_leaves_no_folder(
    usual_run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, ratings, spec = tmp_path / "out", tmp_path / "ratings.csv", [str(usual_run.path)]
    ratings.write_text("")
    with pytest.raises(BadData, match=r"ratings\.csv: an empty file, expected rater,"):
        build_report(spec, out, progress=Silent(), only=["tables"], ratings=ratings)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(NotInstalled, match="matplotlib, or leave them out: --only tables,page"):
        build_report(spec, out, progress=Silent())
    assert not out.exists()
    build_report(spec, out, progress=Silent(), only=["tables"])


# -- provenance --------------------------------------------------------------------------------------


def test_every_cell_is_traced_to_samples_keys_and_hashes(usual_run: RunFolder, tmp_path: Path) -> None:
    build_report([str(usual_run.path)], tmp_path / "out", progress=Silent(), only=["tables"])
    facts = json.loads((tmp_path / "out/provenance.json").read_text(encoding="utf-8"))
    cell = cells_of(tmp_path / "out")["leaderboard", 0, "careful", "Age"]
    rows = [
        dict(zip(facts["score_columns"], facts["scores"][n], strict=True))
        for a, b in cell["scores"]
        for n in range(a, b)
    ]
    traced = {facts["responses"][row["response"]][2]: row for row in rows}
    scores = {
        s.sample_id: s
        for s in usual_run.scores().values()
        if (s.system, s.task, s.metric) == ("careful", "age", "cue_contrast")
    }
    assert {i: row["key"] for i, row in traced.items()} == {i: s.key for i, s in scores.items()}
    assert cell["value"] == pytest.approx(math.fsum(row["value"] for row in rows) / len(rows))
    response = dict(zip(facts["response_columns"], facts["responses"][rows[0]["response"]], strict=True))
    real = usual_run.responses()["careful", "age", response["sample_id"]]
    assert response["key"] == real.key
    assert response["reply_audio_sha256"] == real.reply.audio.sha256  # type: ignore[union-attr]
    assert all(len(c["sha256"]) == 64 for c in cells_of(tmp_path / "out").values())


def test_tables_and_provenance_are_byte_identical(usual_run: RunFolder, tmp_path: Path) -> None:
    for name in "ab":
        build_report(
            [str(usual_run.path)], tmp_path / name, progress=Silent(), only=["tables"], ablation=["careful"]
        )
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert len(files) > 15
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


def test_a_changed_verdict_changes_exactly_its_cells(usual_run: RunFolder, tmp_path: Path) -> None:
    shutil.copytree(usual_run.path, tmp_path / "run", ignore=shutil.ignore_patterns(".lock"))
    scores = tmp_path / "run" / "scores.jsonl"
    gone = [
        line
        for line in scores.read_text(encoding="utf-8").splitlines(keepends=True)
        if not all(part in line for part in ('"careful"', '"emotion"', '"g1-sad"', '"judge_r0"'))
    ]
    scores.write_text("".join(gone), encoding="utf-8")
    with RunFolder(tmp_path / "run").writing() as run:
        # The same judge by name and prompt returns another score for this reply.
        rescore(
            run,
            annotators=[scripted_asr()],
            scorers=[marks_scorer(nudge=0.5)],
            settings=RunSettings(retry_policy=RetryPolicy(tries=1)),
            progress=Silent(),
        )
    before, after = usual_run.scores(), RunFolder(tmp_path / "run").scores()
    assert [k for k in before if before[k] != after[k]] == [("careful", "emotion", "g1-sad", "judge_r0")]
    for name, path in (("a", usual_run.path), ("b", tmp_path / "run")):
        build_report([str(path)], tmp_path / name, progress=Silent(), only=["tables"])
    a, b = cells_of(tmp_path / "a"), cells_of(tmp_path / "b")
    assert a.keys() == b.keys()
    title = "Judge r0, points ↑"
    expected = {
        ("by-task-judge_r0", 0, "careful", "all"),
        ("by-task-judge_r0", 0, "careful", "Emotion"),
        ("overview", 0, "careful", title),
    }
    assert {k for k in a if a[k]["sha256"] != b[k]["sha256"]} == expected
    assert {k for k in a if a[k]["value"] != b[k]["value"]} == expected
    marks = {k for k in a if a[k].get("mark") != b[k].get("mark")}
    assert marks == {k for k in a if k[0] == "by-task-judge_r0" and "mark" in a[k]}
    lines = [(tmp_path / n / "tables" / "leaderboard.csv").read_bytes() for n in "ab"]
    assert lines[0] == lines[1]


# -- runs and output folders -------------------------------------------------------------------------


def test_one_system_of_a_run_can_be_selected(usual_run: RunFolder, tmp_path: Path) -> None:
    merged = merge_runs([open_run(f"{usual_run.path}:careful")])
    assert list(merged.roles) == ["careful"]
    assert {key[0] for key in merged.scores} == {"careful"}
    with pytest.raises(UnknownName, match="Did you mean 'careful'"):
        open_run(f"{usual_run.path}:carefull")
    with pytest.raises(BadData, match="not a run folder"):
        open_run(str(tmp_path / "nowhere"))
    with pytest.raises(BadData, match="two runs have a system 'careful'"):
        merge_runs([usual_run, open_run(f"{usual_run.path}:careful")])


def test_user_files_are_never_overwritten(usual_run: RunFolder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "tables").mkdir(parents=True)
    (out / "tables" / "tables.md").write_text("mine")
    with pytest.raises(UsageError, match="not empty and not made by"):
        build_report([str(usual_run.path)], out, progress=Silent(), only=["tables"])
    assert [p.read_text() for p in out.rglob("*") if p.is_file()] == ["mine"]
    build_report([str(usual_run.path)], tmp_path / "again", progress=Silent(), only=["tables"])
    build_report([str(usual_run.path)], tmp_path / "again", progress=Silent(), only=["tables"])
    notes = tmp_path / "again" / "tables" / "notes.txt"
    notes.write_text("mine too")
    edited = tmp_path / "again" / "tables" / "leaderboard.tex"
    edited.write_text("edited by hand")
    with pytest.raises(
        UsageError, match=r"leaderboard\.tex: not written by an earlier report, or changed since"
    ):
        build_report([str(usual_run.path)], tmp_path / "again", progress=Silent(), only=["tables"])
    assert (edited.read_text(), notes.read_text()) == ("edited by hand", "mine too")


def test_paths_in_the_contents_list_cannot_leave_the_folder(usual_run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    out = tmp_path / "out"
    out.mkdir()
    (out / "contents.json").write_text(json.dumps({"files": {"tables/../../victim": "0" * 64}}))
    with pytest.raises(UsageError, match="cannot be read as a list of files"):
        build_report([str(usual_run.path)], out, progress=Silent(), only=["tables"])
    assert (tmp_path / "victim").read_text() == "mine"
