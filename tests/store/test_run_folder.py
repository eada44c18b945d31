"""The snapshot of samples in a run folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from echat_eval.store.run_folder import RunFolder
from echat_eval.task import load_task


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
