"""Tables state what their means leave out, and name tasks as their columns do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from echat_eval.leaderboard.build import OVERALL
from echat_eval.leaderboard.table_choice import TableChoice
from echat_eval.report.export_hub import HubTarget, model_card
from echat_eval.report.licences import with_licences
from echat_eval.report.methods import methods_files
from echat_eval.report.runs import MergedRuns, merge_runs
from echat_eval.report.tables import ablation_table, overview_table, task_table, understanding_table
from echat_eval.store.run_folder import RunFolder
from tests.support.present import present

APART = "Samples whose only cues are age and gender (in Alter) are not in"


@pytest.fixture
def apart(usual_run: RunFolder) -> MergedRuns:
    """Return a run whose headline rewards suiting the voice: "all" has the samples of one of two tasks."""
    choice = TableChoice(names={"age": "Alter"})
    runs = merge_runs([usual_run], headline="judge_r0", choice=choice)
    board = present(runs.board)
    headline = replace(board.headline, by_voice=True)
    emotion = {
        (s, OVERALL, headline.name): replace(board.summaries[s, "emotion", headline.name], task=OVERALL)
        for s in board.roles
    }
    board = replace(
        board,
        headline=headline,
        metrics=tuple(headline if m.name == headline.name else m for m in board.metrics),
        apart=("age",),
        summaries={**board.summaries, **emotion},
    )
    return replace(runs, board=board)


def test_means_over_all_tasks_state_the_samples_that_they_leave_out(apart: MergedRuns) -> None:
    board = present(apart.board)
    other = next(m for m in board.metrics if not m.by_voice)
    here = f'{APART} "all": a reply that suits these may be a stereotype.'
    assert here in task_table(apart, board.headline).notes
    assert here in ablation_table(apart, board.headline, "careful").notes
    assert not any(APART in note for note in task_table(apart, other).notes)
    elsewhere = f"{APART} the means of {board.headline.title} over all tasks"
    assert any(note.startswith(elsewhere) for note in overview_table(apart).notes)
    methods = methods_files(apart, {}, ratings=False)
    assert elsewhere in methods["instruments.md"]
    assert elsewhere in methods["instruments.tex"]
    assert elsewhere in model_card(apart, "careful", HubTarget(dataset="me/demo"))
    alone = replace(apart, board=replace(board, tasks_only=frozenset({board.headline.name})))
    assert not any(APART in note for note in task_table(alone, board.headline).notes)


def test_the_overview_counts_the_samples_behind_the_mean(apart: MergedRuns, usual_run: RunFolder) -> None:
    board = present(apart.board)
    table = overview_table(apart)
    assert table.columns[:4] == ("samples", "in the mean", "failed", "missing")
    for row in table.blocks[0].rows:
        mean = present(board.summaries[row.label, OVERALL, "judge_r0"].estimate)
        assert row.cells[1].value == mean.n < present(row.cells[0].value)
    assert "In the mean: samples behind the mean of Judge r0." in table.notes
    assert "in the mean" not in overview_table(merge_runs([usual_run], headline="judge_r0")).columns


def test_notes_and_rows_name_tasks_as_chosen(apart: MergedRuns) -> None:
    facts = {name: replace(task, licence="CC0 1.0") for name, task in apart.tasks.items()}
    runs = replace(apart, tasks=facts)
    assert "Samples of 'emotion', 'Alter': CC0 1.0." in with_licences(overview_table(runs), runs).notes
    table = present(understanding_table(runs))
    assert any(row.label.endswith("%, Alter") for row in table.blocks[0].rows)
    assert "Task Alter" in methods_files(runs, {}, ratings=False)["instruments.md"]
