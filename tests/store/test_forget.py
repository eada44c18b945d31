"""A speaker who is forgotten leaves no row, no audio and no entry of the cache; the others keep theirs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from click.testing import CliRunner

from echat_eval.cli import command_line
from echat_eval.errors import UsageError
from echat_eval.leaderboard.view import view_leaderboard
from echat_eval.records import AudioRef
from echat_eval.store.cache import Cache, audio_paths
from echat_eval.store.forget import forget_speaker
from echat_eval.store.run_folder import RunFolder
from tests.support.scripted_run import evaluated
from tests.support.scripted_world import make_run, make_task, scripted_asr, scripted_system

if TYPE_CHECKING:
    import pytest


def text_of(folder: Path) -> str:
    files = [path for path in folder.rglob("*") if path.suffix in (".jsonl", ".js", ".json", ".csv", ".md")]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def test_rows_audio_and_cache_entries_of_a_speaker_are_removed(tmp_path: Path) -> None:
    task = make_task(tmp_path / "tasks", "emotion", 3)
    with Cache(tmp_path / "cache") as cache:
        evaluated(
            tmp_path / "run",
            [task],
            [scripted_system("mine", 0.5)],
            annotators=[scripted_asr()],
            scorers=[],
            cache=cache,
        )
        run = RunFolder(tmp_path / "run")
        before = run.responses()
        gone = {ident for ident in before if ident[2].startswith("g1-")}
        with run.writing():
            done = forget_speaker(run, "s1", cache)
        assert (done.samples, len(gone)) == (4, 4)
        assert set(run.responses()) == set(before) - gone
        assert {sample.speaker for sample in run.samples()} == {"s0", "s2"}
        assert not {ident for ident in run.annotations() if ident[2].startswith("g1-")}
        assert run.manifest().tasks["emotion"].samples == 8
        for ident, response in before.items():
            assert cache.has("response", response.key) == (ident not in gone)
        kept = {
            r.reply.audio.sha256
            for i, r in before.items()
            if i not in gone
            if r.reply and isinstance(r.reply.audio, AudioRef)
        }
        assert {path.stem for path in (run.path / "audio").iterdir()} == kept
        assert {path.name for path in audio_paths(tmp_path / "cache")} == kept
        assert len(list((run.path / "requests").iterdir())) == 8
        with run.writing():
            assert forget_speaker(run, "s1", cache).rows == 0


def test_report_is_made_again_without_the_speaker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECHAT_EVAL_CACHE", str(tmp_path / "cache"))
    task = make_task(tmp_path / "tasks", "emotion", 3)
    run = make_run(tmp_path / "run", [task], [scripted_system("mine", 0.5)])
    out = tmp_path / "out"
    arguments = ["report", str(run.path), "--out", str(out), "--only", "page"]
    CliRunner().invoke(command_line, arguments, catch_exceptions=False, standalone_mode=False)
    audio = {path.name for path in (out / "page" / "audio").iterdir()}
    assert "g1-sad" in text_of(out)
    done = CliRunner().invoke(
        command_line, [*arguments, "--forget", "s1"], catch_exceptions=False, standalone_mode=False
    )
    assert f"{run.path}: removed 4 samples of 's1', " in done.output
    assert "g1-sad" not in text_of(out)
    assert "g1-sad" not in text_of(run.path)
    assert {path.name for path in (out / "page" / "audio").iterdir()} < audio


def test_forget_needs_a_run() -> None:
    done = CliRunner().invoke(command_line, ["report", "--forget", "s1"], standalone_mode=False)
    assert isinstance(done.exception, UsageError)
    assert "name every run folder with this speaker" in str(done.exception)


def test_the_gap_and_the_times_of_a_forgotten_speaker_are_made_again(
    asked_run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECHAT_EVAL_CACHE", str(tmp_path / "cache"))
    run = tmp_path / "run"
    shutil.copytree(asked_run.path, run)
    view_leaderboard([RunFolder(run)]).write(run)
    (run / "reply_times.csv").write_text("earlier\n")
    (run / ".shown.json").write_text("{}")
    out = tmp_path / "out"
    words = ["report", str(run), "--out", str(out), "--only", "tables,page"]

    def report(*more: str) -> str:
        done = CliRunner().invoke(
            command_line, [*words, *more], catch_exceptions=False, standalone_mode=False
        )
        assert done.exit_code == 0
        return (out / "tables" / "listening-gap.csv").read_text()

    assert ",16," in report()
    assert "g1-" in text_of(out)
    assert ",12," in report("--forget", "s1")
    assert "g1-" not in text_of(out)
    assert not (run / "listening_gap.csv").exists()
    assert not (run / ".shown.json").exists()
    assert not (run / "reply_times.csv").exists()
