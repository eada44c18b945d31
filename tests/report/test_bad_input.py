"""Reports of incomplete runs, with occupied folders, missing fonts and invalid options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.io import jsonl
from echat_eval.ports import Silent
from echat_eval.records import Reply, Request
from echat_eval.report import build_report
from echat_eval.runner.evaluate import evaluate
from echat_eval.store.manifest import RunSettings
from echat_eval.store.run_folder import RunFolder
from tests.support.command_line import call_here
from tests.support.report_runs import data_of
from tests.support.scripted_run import evaluated
from tests.support.scripted_world import make_run, make_task, marks_scorer, scripted_system

ROOT = Path(__file__).resolve().parents[2]


def draw_without_saving(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw every figure in full without writing the slow PDFs."""
    from echat_eval.report import figures

    def draw(figure: Any, outlet: Any, name: str) -> None:
        import matplotlib.pyplot as plt

        figure.canvas.draw()
        plt.close(figure)
        outlet.write(f"figures/{name}.txt", "drawn")

    monkeypatch.setattr(figures, "save", draw)


def test_a_run_without_audio(tmp_path: Path) -> None:
    task = make_task(tmp_path / "tasks", "emotion", 2)
    run = make_run(tmp_path / "run", [task], [scripted_system("words", 0.5, voice=False)])
    build_report([str(run.path)], tmp_path / "out", progress=Silent(), only=["tables", "page"])
    details = data_of(tmp_path / "out/page", "shard-0")
    assert {d["replies"]["words"]["audio"] for d in details} == {None}
    assert all(d["audio"]["file"] for d in details)


def test_a_run_whose_manifest_lacks_its_task(tmp_path: Path) -> None:
    task = make_task(tmp_path / "tasks", "emotion", 2)
    run = make_run(tmp_path / "run", [task], [scripted_system("mine", 0.5, voice=False)])
    manifest = jsonl.loads((run.path / "manifest.json").read_bytes())
    del manifest["tasks"]
    (run.path / "manifest.json").write_text(jsonl.dumps(manifest))
    build_report([str(run.path)], tmp_path / "out", progress=Silent(), only=["page", "tables"])
    assert "emotion" in (tmp_path / "out" / "tables" / "leaderboard.md").read_text().lower()


def test_a_run_with_deleted_audio_files(tmp_path: Path) -> None:
    task = make_task(tmp_path / "tasks", "emotion", 2)
    run = make_run(tmp_path / "run", [task], [scripted_system("voice", 0.5)])
    for path in (run.path / "audio").iterdir():
        path.unlink()
    build_report([str(run.path)], tmp_path / "out", progress=Silent(), only=["page"])
    assert {d["replies"]["voice"]["audio"]["file"] for d in data_of(tmp_path / "out/page", "shard-0")} == {
        None
    }


def test_a_run_without_scores_still_has_a_page(tmp_path: Path) -> None:
    task = make_task(tmp_path / "tasks", "emotion", 2)
    run = make_run(tmp_path / "run", [task], [scripted_system("mine", 0.5)], scorers=[], annotators=[])
    made = build_report([str(run.path)], tmp_path / "out", progress=Silent())
    assert any("no scores yet" in note for note in made.notes)
    assert data_of(tmp_path / "out/page", "board")["metrics"] == []
    assert not (tmp_path / "out" / "tables").exists()


def test_an_unfinished_run_reports_the_number_of_pending_replies(tmp_path: Path) -> None:
    task = make_task(tmp_path / "tasks", "emotion", 2)

    interrupted = scripted_system("mine", 0.5)
    respond = interrupted.answers
    assert callable(respond)

    def respond_five_times(request: Request) -> Reply:
        if len(interrupted.requests) > 5:
            raise KeyboardInterrupt
        reply: Reply = respond(request)
        return reply

    interrupted.answers = respond_five_times
    with RunFolder(tmp_path / "run").writing() as run, pytest.raises(KeyboardInterrupt):
        evaluate(
            run,
            systems=[interrupted],
            tasks=[task],
            annotators=[],
            scorers=[marks_scorer()],
            settings=RunSettings(retry_policy=RetryPolicy(tries=1)),
            progress=Silent(),
        )
    made = build_report([str(tmp_path / "run")], tmp_path / "out", progress=Silent(), only=["page"])
    assert "unfinished run: 'mine' has 5 responses to 8 samples" in made.notes
    assert data_of(tmp_path / "out/page", "index")["replies"]["mine"] == "vvvvv..."


def test_a_run_without_samples(tmp_path: Path) -> None:
    evaluated(
        tmp_path / "run",
        [],
        scripted_system("mine", 0.5),
        scorers=[marks_scorer()],
        retry_policy=RetryPolicy(tries=1),
    )
    made = build_report([str(tmp_path / "run")], tmp_path / "out", progress=Silent())
    assert made.notes[0] == "the runs hold no samples"
    assert data_of(tmp_path / "out/page", "board")["total"] == 0
    assert data_of(tmp_path / "out/page", "index")["rows"] == []


def test_one_sample_has_no_interval_and_no_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    task = make_task(tmp_path / "tasks", "emotion", 1)
    task = replace(task, samples=task.samples[:1])
    run = make_run(
        tmp_path / "run",
        [task],
        [scripted_system("a", 0.9), scripted_system("b", 0.1), scripted_system("canned", 0.0, role="floor")],
    )
    draw_without_saving(monkeypatch)
    made = build_report([str(run.path)], tmp_path / "out", progress=Silent())
    table = (tmp_path / "out/tables/leaderboard.md").read_text(encoding="utf-8")
    assert "one cluster" in table
    assert "**" not in table.split("\n", 2)[2].split("Brackets")[0], "nothing can be bold on one sample"
    assert any("radar" in note for note in made.notes)
    assert (tmp_path / "out/figures/forest-column.txt").is_file()


def test_hostile_names_do_not_become_file_names(hostile_run: RunFolder, tmp_path: Path) -> None:
    build_report([str(hostile_run.path)], tmp_path / "out", progress=Silent(), only=["tables", "page"])
    names = [p.name for p in tmp_path.rglob("*")]
    assert not [n for n in names if "pwned" in n or "长" in n or len(n) > 80]


def test_a_missing_chinese_font_gives_a_note(
    hostile_run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # filterwarnings=error: a glyph that the font does not have would be an error here.
    from echat_eval.report import figure_style, figures

    draw_without_saving(monkeypatch)
    monkeypatch.setattr(figures, "chinese_font", lambda: None)
    made = build_report([str(hostile_run.path)], tmp_path / "out", progress=Silent(), only=["figures"])
    assert any("no installed font has Chinese characters" in note for note in made.notes)
    assert figure_style.shown_name("中文", None) == "U+4E2D U+6587"


def test_figures_are_byte_identical_in_both_widths(usual_run: RunFolder, tmp_path: Path) -> None:
    from echat_eval.report.figure_style import WIDTHS, save, styled
    from echat_eval.report.figure_tasks import draw_forest
    from echat_eval.report.figure_values import metrics_of
    from echat_eval.report.outlet import Outlet
    from echat_eval.report.runs import merge_runs

    merged = merge_runs([usual_run])
    (metric,) = metrics_of(merged)
    for name in "ab":
        with Outlet(tmp_path / name, ["figures"]) as outlet:
            for width, inches in WIDTHS.items():
                with styled(None) as plt:
                    save(draw_forest(plt, merged, inches, None, metric=metric), outlet, f"forest-{width}")
    for path in (tmp_path / "a" / "figures").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / "figures" / path.name).read_bytes()
    from PIL import Image

    for width, inches in WIDTHS.items():
        with Image.open(tmp_path / "a" / "figures" / f"forest-{width}.png") as image:
            assert image.width / 300 == pytest.approx(inches, abs=0.02)


def test_every_figure_of_a_usual_run_is_drawn(
    usual_run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_without_saving(monkeypatch)
    build_report(
        [str(usual_run.path)],
        tmp_path / "out",
        progress=Silent(),
        only=["figures"],
        trend=["average", "careful"],
    )
    made = {p.stem for p in (tmp_path / "out/figures").iterdir()}
    names = (
        "forest",
        "bars",
        "heat-map",
        "where-it-went",
        "score-latency",
        "confusion-emotion",
        "confusion-age",
        "trend",
    )
    assert made == {f"{name}-{width}" for name in names for width in ("column", "page")}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["report", "nowhere", "--out", "{out}"], "nowhere: not a run folder"),
        (["report", "{run}:nobody", "--out", "{out}"], "unknown system in"),
        (["report", "{run}", "--out", "{out}", "--only", "poster"], "parts are tables, figures, page"),
        (["report", "--out", "{out}"], "no run given"),
        (["report", "{run}", "--headline", "warmht", "--out", "{out}"], "unknown metric 'warmht'"),
        (["report", "{run}", "--out", "{out}", "--ablation", "nobody"], "unknown system 'nobody'"),
        (["rate", "export", "{run}", "--out", "{out}", "--ab", "careful"], "expected two different systems"),
        (["rate", "export", "{run}", "--out", "{out}", "--ab", "careful,nobody"], "unknown system 'nobody'"),
    ],
)
def test_misuse_is_one_line_and_exit_code_2(
    usual_run: RunFolder, tmp_path: Path, words: list[str], message: str
) -> None:
    done = call_here(*(w.format(run=usual_run.path, out=tmp_path / "out") for w in words), cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_command_line_writes_a_report_and_a_rating_sheet(usual_run: RunFolder, tmp_path: Path) -> None:
    done = call_here("report", usual_run.path, "--out", tmp_path / "out", "--only", "page,tables", cwd=ROOT)
    assert (done.returncode, done.stdout.split()) == (
        0,
        [
            str(tmp_path / "out" / p)
            for p in ("tables/tables.md", "instruments.md", "provenance.json", "page/index.html")
        ],
    ), done.stderr
    done = call_here(
        "rate", "export", usual_run.path, "--out", tmp_path / "sheet", "--samples", "1", cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "sheet" / "index.html").is_file()
    done = call_here("report", "--published", "--out", tmp_path / "published", cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_an_interrupted_report_can_be_rerun(
    usual_run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from echat_eval.report import pack

    def broken(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pack, "provenance", broken)
    with pytest.raises(KeyboardInterrupt):
        build_report([str(usual_run.path)], tmp_path / "out", progress=Silent(), only=["tables"])
    monkeypatch.undo()
    build_report([str(usual_run.path)], tmp_path / "out", progress=Silent(), only=["tables"])
    assert (tmp_path / "out" / "provenance.json").is_file()
