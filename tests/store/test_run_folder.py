"""The snapshot of samples in a run folder, also damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from echat_eval.cli import command_line
from echat_eval.errors import BadData
from echat_eval.store.run_folder import RunFolder
from echat_eval.task import load_task
from echat_eval.testing import ScriptedSystem
from tests.support.scripted_run import evaluated


def test_stored_samples_are_those_that_another_reader_finds(tones: Path, tmp_path: Path) -> None:
    samples = load_task("emotion", data=tones).samples
    with RunFolder(tmp_path / "run").writing() as run:
        stored = run.store_samples(samples)
        assert run.samples() == stored == RunFolder(tmp_path / "run").samples()
        other = [replace(sample, task="other") for sample in samples[:2]]
        fewer = run.store_samples(samples[:3])
        both = [*fewer, *run.store_samples(other)]
        assert run.samples() == both == RunFolder(tmp_path / "run").samples()
    assert all(sample.audio.path.parent == tmp_path / "run" / "requests" for sample in both)


def lose_last(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def zeros(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-700] + b"\0" * 512)


def lack_keys(path: Path) -> None:
    path.write_text("".join(["{}\n", *path.read_text().splitlines(keepends=True)[1:]]))


def wrong_types(path: Path) -> None:
    first, *rest = path.read_text().splitlines(keepends=True)
    path.write_text(json.dumps({name: [1] for name in json.loads(first)}) + "\n" + "".join(rest))


DAMAGES = [lose_last, cut, zeros, lack_keys, wrong_types, Path.unlink]


@pytest.mark.parametrize("damage", DAMAGES)
def test_samples_are_restored_from_those_of_the_command(
    damage: Callable[[Path], None], tones: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = evaluated(tmp_path / "run", tones, ScriptedSystem(lambda _: "hm"))
    before = {s.id: s for s in run.samples()}
    damage(run.path / "samples.jsonl")
    damaged = RunFolder(run.path)
    with pytest.raises(BadData, match=r"samples\.jsonl.*run the same `echat-eval run` command again"):
        damaged.responses()
    with damaged.writing():
        damaged.mend_samples(load_task("emotion", data=tones).samples)
    assert {s.id: s for s in RunFolder(run.path).samples()} == before
    assert len(damaged.responses()) == len(before)
    assert "damaged" in caplog.text


def test_a_sound_snapshot_is_not_written_again(tones: Path, tmp_path: Path) -> None:
    run = evaluated(tmp_path / "run", tones, ScriptedSystem(lambda _: "hm"))
    before = (run.path / "samples.jsonl").stat()
    with run.writing():
        run.mend_samples(load_task("emotion", data=tones).samples)
    after = (run.path / "samples.jsonl").stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)


def call(*words: object) -> object:
    result = CliRunner().invoke(command_line, [*map(str, words)], standalone_mode=False)
    return result.exception or result.return_value


def test_the_same_command_mends_what_others_refuse(tones: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = ["run", "--data", tones, "--system", "canned", "--annotator", "acoustics", "--out", out]
    assert call(*command) == 0
    lose_last(out / "samples.jsonl")
    for other in (
        ["leaderboard"],
        ["score", "--annotator", "acoustics"],
        ["report", "--out", tmp_path / "r"],
    ):
        refused = call(*other, out)
        assert isinstance(refused, BadData)
        assert "run the same `echat-eval run` command again, which restores it" in str(refused)
    assert call(*command) == 0
    assert call("leaderboard", out) == 0
