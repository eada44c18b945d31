"""A scripted annotator, a scripted scorer and a scripted reply, shared by tests of the runner."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.ports import Case
from echat_eval.records import AudioRef, Metric, Reply, Request, Score, Waveform

IMPATIENT = RetryPolicy(tries=2, first_wait=0.0)


class Loudness:
    """An annotator that hears how loud a reply is, and counts."""

    name = "loudness"
    version = "1"

    def __init__(self) -> None:
        self.heard: list[str] = []

    def annotate(self, audio: AudioRef, *, language: str) -> Mapping[str, Any]:
        import soundfile as sf

        self.heard.append(audio.sha256)
        return {"rms": round(float(np.sqrt(np.mean(sf.read(audio.path)[0] ** 2))), 6)}

    def fingerprint(self) -> str:
        return "rms"

    def settings(self) -> Mapping[str, Any]:
        return {}


class Length:
    """A scorer of one number: characters of the reply."""

    name = "length"
    version = "1"
    metrics = (
        Metric(
            name="length",
            title="Length",
            unit="",
            low=0,
            high=1000,
            higher_is_better=True,
            worst=0,
            headline=True,
        ),
    )
    needs: tuple[str, ...] = ("loudness",)
    scope: Literal["sample", "contrast group"] = "sample"

    def __init__(self) -> None:
        self.scored: list[str] = []
        self.print = "characters"

    def score(self, cases: Sequence[Case]) -> Sequence[Score]:
        return [self._one(case) for case in cases]

    def _one(self, case: Case) -> Score:
        self.scored.append(case.sample.id)
        blank = Score(
            key="",
            system=case.response.system,
            task=case.sample.task,
            sample_id=case.sample.id,
            metric="length",
            state="missing",
        )
        if case.response.state == "failed":
            return replace(blank, state="failed", value=0.0)
        if case.response.reply is None:
            return replace(blank, state=case.response.state)
        return replace(blank, state="value", value=float(len(case.response.reply.text or "")))

    def fingerprint(self) -> str:
        return self.print

    def settings(self) -> Mapping[str, Any]:
        return {}


def hum(request: Request) -> Reply:
    """Reply with words and a voice that depend on the query alone."""
    seed = int(request.audio.sha256[:6], 16)
    samples = np.random.default_rng(seed).normal(0, 0.1, 1600).astype(np.float32)
    return Reply(text="m" * (seed % 7 + 1), audio=Waveform(samples=samples, sample_rate=16_000))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
