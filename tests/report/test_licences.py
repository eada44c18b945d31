"""Recordings leave with a page or a sheet only if the task allows it; licences and research-only weights are named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from echat_eval.errors import UsageError
from echat_eval.ports import Silent
from echat_eval.report import export_parquet
from echat_eval.report.licences import research_only, with_licences
from echat_eval.report.methods import methods_files
from echat_eval.report.outlet import Outlet
from echat_eval.report.page import write_page
from echat_eval.report.page_data import board_data
from echat_eval.report.rating.sheet import Dimension, write_sheet
from echat_eval.report.runs import MergedRuns, merge_runs
from echat_eval.report.tables import overview_table
from echat_eval.store.run_folder import RunFolder
from tests.support.report_runs import data_of


def stating(run: RunFolder, **facts: Any) -> MergedRuns:
    merged = merge_runs([run])
    return replace(merged, tasks={name: replace(task, **facts) for name, task in merged.tasks.items()})


def audio_of(runs: MergedRuns, out: Path, **more: Any) -> tuple[set[str], list[dict[str, Any]]]:
    """Return the names of the page's audio files, and its details."""
    with Outlet(out, ["page"]) as outlet:
        write_page(runs, outlet, published=[], progress=Silent(), **more)
    return {path.stem for path in (out / "page" / "audio").iterdir()}, data_of(out / "page", "shard-0")


@pytest.mark.parametrize("stated", [None, False])
def test_page_has_recordings_only_if_they_may_be_passed_on(
    usual_run: RunFolder, tmp_path: Path, stated: bool | None
) -> None:
    runs = stating(usual_run, redistributable=stated)
    recordings = {sample.audio.sha256 for sample in runs.samples.values()}
    names, details = audio_of(runs, tmp_path / "closed")
    assert names
    assert not names & recordings
    assert {d["audio"]["file"] for d in details} == {None}
    assert {d["audio"]["withheld"] for d in details} == {True}
    assert not any(task["audible"] for task in data_of(tmp_path / "closed" / "page", "board")["tasks"])
    names, _ = audio_of(runs, tmp_path / "asked", with_audio=True)
    assert recordings <= names
    names, _ = audio_of(stating(usual_run, redistributable=True), tmp_path / "open")
    assert recordings <= names


def test_a_withheld_recording_is_no_reply_either(usual_run: RunFolder, tmp_path: Path) -> None:
    closed = stating(usual_run, redistributable=False)
    echoed = {
        ident: replace(row, reply=replace(row.reply, audio=closed.samples[ident[1:]].audio))
        for ident, row in closed.responses.items()
        if ident[0] == "careful" and row.reply is not None
    }
    runs = replace(closed, responses={**closed.responses, **echoed})
    names, details = audio_of(runs, tmp_path / "closed")
    recordings = {sample.audio.sha256 for sample in runs.samples.values()}
    assert echoed
    assert names
    assert not names & recordings
    said = [d["replies"]["careful"]["audio"] for d in details if d["replies"]["careful"].get("audio")]
    assert said
    assert all(audio["withheld"] and not audio["outline"] for audio in said)
    assert recordings <= audio_of(runs, tmp_path / "asked", with_audio=True)[0]


def test_sheet_needs_recordings_that_may_be_passed_on(usual_run: RunFolder, tmp_path: Path) -> None:
    runs = stating(usual_run, redistributable=None)

    def sheet(name: str, **more: Any) -> int:
        dimensions = [Dimension(name="care", low=0, high=4)]
        arguments: dict[str, Any] = {"pair": None, "samples": 1, "seed": 0, "progress": Silent()}
        return write_sheet(runs, tmp_path / name, dimensions=dimensions, **arguments, **more)

    with pytest.raises(UsageError, match="task 'emotion' does not state that its audio may be passed on"):
        sheet("closed")
    assert not (tmp_path / "closed").exists()
    assert sheet("asked", with_audio=True) > 0


def test_tables_name_licences_and_research_only_weights(usual_run: RunFolder) -> None:
    runs = stating(usual_run, licence="CC BY 4.0", citation="Doe 2026", voices="recorded people")
    (manifest,) = runs.manifests
    system = manifest.systems["careful"]
    weights = replace(system, settings={"licence": "Qwen research licence"})
    runs = replace(runs, manifests=[replace(manifest, systems={**manifest.systems, "careful": weights})])
    table = with_licences(overview_table(runs), runs)
    assert table.caption == "All metrics over all tasks (weights for research only: careful)"
    assert "Samples of 'emotion', 'age': CC BY 4.0. Voices: recorded people. Cite: Doe 2026" in table.notes


def test_one_note_has_the_licence_of_tasks_that_share_it(usual_run: RunFolder) -> None:
    runs = stating(usual_run, licence="CC0 1.0 (see LICENCE beside this file)")
    facts = runs.tasks["emotion"]
    more = {"age": facts, "event": replace(facts, licence="CC BY 4.0")}
    table = with_licences(overview_table(runs), replace(runs, tasks={"emotion": facts, **more}))
    assert [note for note in table.notes if note.startswith("Samples of")] == [
        "Samples of 'emotion', 'age': CC0 1.0.",
        "Samples of 'event': CC BY 4.0.",
    ]


def test_no_licence_points_at_a_file_of_the_task_folder(usual_run: RunFolder) -> None:
    runs = stating(usual_run, licence="CC0 1.0 (see LICENCE beside this file)")
    methods = methods_files(runs, {}, ratings=False)
    assert "Licence of every task: CC0 1.0." in methods["instruments.md"]
    assert "beside" not in methods["instruments.tex"]
    manifest = replace(runs.manifests[0], tasks=dict(runs.tasks))
    assert "- age: CC0 1.0\n" in export_parquet._card(manifest, ["age"], {})
    assert {task["licence"] for task in board_data(runs, [], ())["tasks"]} == {"CC0 1.0"}
    age = {"age": replace(runs.tasks["age"], licence="CC BY 4.0")}
    methods = methods_files(replace(runs, tasks={**runs.tasks, **age}), {}, ratings=False)
    assert "licence: CC0 1.0. Task age" in methods["instruments.md"]


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("CC BY-NC-SA 4.0: not for commercial use", True),
        ("Qwen2.5-3B research licence: no commercial use", True),
        ("FunASR Model License", False),
        ("MIT", False),
        (None, False),
        (3, False),
    ],
)
def test_research_only_licences_are_recognised(licence: object, expected: bool) -> None:
    assert research_only(licence) is expected
