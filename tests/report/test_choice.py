"""Tables of what was chosen: systems, tasks, metrics, names, digits, bold numbers and the ablation's rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from echat_eval.cli.report import report as command
from echat_eval.errors import BadData, EChatError, UnknownName
from echat_eval.leaderboard.table_choice import BOLD, TableChoice
from echat_eval.ports import Silent
from echat_eval.report.choice import read_choice
from echat_eval.report.latex import latex
from echat_eval.report.pack import build_report
from echat_eval.report.runs import merge_runs
from echat_eval.report.tables import ablation_table, overview_table, run_tables, task_table
from echat_eval.store.run_folder import RunFolder
from tests.support.present import present
from tests.support.report_runs import data_of
from tests.support.scripted_world import make_run, make_task, scripted_system

CHOICE = """
tables:
  systems: [text-only, careful, canned]
  tasks: [age, emotion]
  metrics: [judge_r0, cue_contrast]
  names: {careful: "Ours, v2", age: Alter, judge_r0: Grade}
  digits: {judge_r0: 0}
  bold: best
  wide: true
"""


def selected(tmp_path: Path, text: str) -> TableChoice:
    path = tmp_path / "paper.yaml"
    path.write_text(text, encoding="utf-8")
    return read_choice(path)


def test_tables_show_what_was_chosen_with_the_numbers_of_the_run(
    usual_run: RunFolder, tmp_path: Path
) -> None:
    choice = selected(tmp_path, CHOICE)
    merged = merge_runs([usual_run], choice=choice)
    board = present(merged.board)
    table = task_table(merged, board.headline)
    assert table.caption.startswith("Grade, points ↑")
    assert table.columns == ("rank", "all", "Alter", "Emotion")
    assert [row.label for block in table.blocks for row in block.rows] == [
        "text-only",
        "Ours, v2",
        "canned (floor)",
    ]
    whole = present(merge_runs([usual_run], headline="judge_r0").board)
    cell = table.blocks[0].rows[1].cells[2]
    assert cell.value == present(whole.summaries["careful", "age", "judge_r0"].estimate).value
    assert cell.text.split(" ")[0] == f"{cell.value:.0f}"
    assert [m.name for m in board.metrics] == ["judge_r0", "cue_contrast"]
    assert overview_table(merged).columns[3:] == ("Grade, points ↑", "Cue contrast, points ↑")
    assert {t.name for t in run_tables(merged, {})} == {
        "leaderboard",
        "by-task-cue_contrast",
        "overview",
        "understanding",
    }
    assert set(board.ranking.sets) == {"text-only", "Ours, v2"}
    assert r"\begin{table*}" in latex(table, wide=choice.wide)


def test_the_page_has_the_printed_names_and_digits_of_everything(
    usual_run: RunFolder, tmp_path: Path
) -> None:
    choice = selected(tmp_path, CHOICE)
    build_report([str(usual_run.path)], tmp_path / "out", progress=Silent(), only=["page"], choice=choice)
    board = data_of(tmp_path / "out" / "page", "board")
    names = {system["name"] for system in board["systems"]}
    assert {"Ours, v2", "average", "canned"} <= names
    assert "careful" not in names
    assert {task["name"]: task["title"]["en"] for task in board["tasks"]}["age"] == "Alter"
    assert {m["name"]: (m["title"], m["digits"]) for m in board["metrics"]}["judge_r0"] == ("Grade", 0)
    assert set(board["cells"]["judge_r0"]) == names


def test_a_mean_over_all_tasks_is_over_the_chosen_ones(usual_run: RunFolder) -> None:
    board = present(merge_runs([usual_run], choice=TableChoice(tasks=("age",))).board)
    for name in ("careful", "canned"):
        found = [board.summaries[name, column, "judge_r0"].estimate for column in ("all", "age")]
        assert found[0] == found[1]


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("systems: [a]\nsystem: b", BadData, "no section 'tables'"),
        ("tables: {bold: best}\nwide: true", BadData, "paper.yaml:2: unknown key 'wide' beside 'tables'"),
        ("tables: {bolt: best}", BadData, "unknown key 'bolt'; did you mean 'bold'?"),
        ("tables: {digits: 99}", BadData, "'digits' is 99, expected decimals, 0 to 6"),
        ("tables: {systems: [careful, careful]}", BadData, "names 'careful' twice"),
        ("tables: {systems: [carefull]}", UnknownName, "Did you mean 'careful'"),
        ("tables: {tasks: [event]}", UnknownName, "task 'event'"),
        ("tables: {digits: {judge_r9: 1}}", UnknownName, "Did you mean 'judge_r0'"),
        ("tables: {names: {nothing: x}}", UnknownName, "nothing"),
        ("tables: {names: {careful: average}}", BadData, "two systems would be printed as 'average'"),
    ],
)
def test_a_faulty_choice_is_refused_in_one_line(
    usual_run: RunFolder, tmp_path: Path, text: str, kind: type[EChatError], message: str
) -> None:
    with pytest.raises(kind) as caught:
        merge_runs([usual_run], choice=selected(tmp_path, text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bold_by_convention_needs_no_test_but_all_rows(tmp_path: Path) -> None:
    task = make_task(tmp_path / "tasks", "emotion", 4)
    systems = [scripted_system("one", 0.8), scripted_system("two", 0.8), scripted_system("three", 0.7)]
    run = make_run(tmp_path / "run", [task], systems)
    marks = {}
    for bold in BOLD:
        merged = merge_runs([run], choice=TableChoice(bold=bold))
        table = task_table(merged, next(m for m in present(merged.board).metrics if m.name == "judge_r0"))
        marks[bold] = {row.label: row.cells[-1].mark for row in table.blocks[0].rows}
        assert any("without any test" in note for note in table.notes) == (bold == "best")
        assert any("bold" in note.lower() for note in table.notes) == (bold != "none")
        bold_numbers = "best" in marks[bold].values()
        assert any(note.startswith("Bold") for note in table.notes) == bold_numbers
        assert any(note.startswith("No number is bold") for note in table.notes) == (
            bold == "significant" and not bold_numbers
        )
    assert marks["best"] == {"one": "best", "two": "best", "three": "second"}
    assert set(marks["none"].values()) == {""} == set(marks["significant"].values())
    gaps = make_run(
        tmp_path / "gaps", [task], [*systems[:1], scripted_system("holes", 0.1, breaks="missing")]
    )
    merged = merge_runs([gaps], choice=TableChoice(bold="best"))
    table = task_table(merged, present(merged.board).headline)
    assert not any(cell.mark for row in table.blocks[0].rows for cell in row.cells)


def test_an_ablation_has_the_rows_that_were_asked_for(usual_run: RunFolder) -> None:
    merged = merge_runs([usual_run])
    headline = present(merged.board).headline
    named = ablation_table(merged, headline, "careful", variants=["gold-labels", "text-only"])
    assert [row.label for row in named.blocks[0].rows] == ["careful", "gold-labels (ceiling)", "text-only"]
    every = ablation_table(merged, headline, "careful")
    texts = {row.label: row.cells[0].text for row in every.blocks[0].rows}
    assert set(texts) == {"careful", "average", "text-only"}
    # The means are the same; the tests are adjusted over the rows of each table.
    shown = {row.label: row.cells[0].text for row in named.blocks[0].rows}
    assert shown["text-only"].split(" ")[0] == texts["text-only"].split(" ")[0]


def test_the_documented_choice_is_valid(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "publish.md").read_text(encoding="utf-8")
    block = page.partition("```yaml\n")[2].partition("```")[0]
    assert block.startswith("tables:")
    assert selected(tmp_path, block).wide


def test_the_command_offers_every_rule_of_bold_numbers() -> None:
    option = next(p for p in command.params if p.name == "bold")
    assert tuple(option.type.choices) == BOLD  # type: ignore[attr-defined]
    assert replace(TableChoice(), wide=True).restricts is False
