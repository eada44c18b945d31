"""A scripted annotator, a scripted scorer and a scripted reply for tests of the runner."""

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
    """An annotator of the loudness of a reply; it records its calls."""

    name = "loudness"
    version = "1"

    def __init__(self) -> None:
        self.annotated: list[str] = []

    def annotate(self, audio: AudioRef, *, language: str) -> Mapping[str, Any]:
        import soundfile as sf

        self.annotated.append(audio.sha256)
        return {"rms": round(float(np.sqrt(np.mean(sf.read(audio.path)[0] ** 2))), 6)}

    def fingerprint(self) -> str:
        return "rms"

    def settings(self) -> Mapping[str, Any]:
        return {}


class Length:
    """A scorer of the number of characters of the reply."""

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
        self.fingerprint_value = "characters"

    def score(self, cases: Sequence[Case]) -> Sequence[Score]:
        return [self._one(case) for case in cases]

    def _one(self, case: Case) -> Score:
        self.scored.append(case.sample.id)
        pending = Score(
            key="",
            system=case.response.system,
            task=case.sample.task,
            sample_id=case.sample.id,
            metric="length",
            state="missing",
        )
        if case.response.state == "failed":
            return replace(pending, state="failed", value=0.0)
        if case.response.reply is None:
            return replace(pending, state=case.response.state)
        return replace(pending, state="value", value=float(len(case.response.reply.text or "")))

    def fingerprint(self) -> str:
        return self.fingerprint_value

    def settings(self) -> Mapping[str, Any]:
        return {}


def hum(request: Request) -> Reply:
    """Return text and audio that depend on the query only."""
    seed = int(request.audio.sha256[:6], 16)
    samples = np.random.default_rng(seed).normal(0, 0.1, 1600).astype(np.float32)
    return Reply(text="m" * (seed % 7 + 1), audio=Waveform(samples=samples, sample_rate=16_000))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
