"""An annotator of loudness, a scorer of length and a humming reply for tests of the runner."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from echat_eval.records import AudioRef, Metric, Reply, Request, Waveform
from echat_eval.testing import ScriptedAnnotator, ScriptedScorer


def loudness(**settings: Any) -> ScriptedAnnotator:
    """Return an annotator of the loudness of a reply."""
    return ScriptedAnnotator(rms, "loudness", **{"fingerprint": "rms", **settings})


def rms(audio: AudioRef, language: str) -> dict[str, float]:
    import soundfile as sf

    return {"rms": round(float(np.sqrt(np.mean(sf.read(audio.path)[0] ** 2))), 6)}


def length(name: str = "length", **settings: Any) -> ScriptedScorer:
    """Return a scorer of the number of characters of the reply, which needs the loudness."""
    metric = Metric(
        name=name,
        title="Length",
        unit="",
        low=0,
        high=1000,
        higher_is_better=True,
        worst=0,
        headline=name == "length",
    )
    return ScriptedScorer(
        lambda case: len(case.response.reply.text or ""),  # type: ignore[union-attr]
        name,
        **{"metrics": (metric,), "needs": ("loudness",), "fingerprint": "characters", **settings},
    )


def scored_ids(scorer: ScriptedScorer) -> list[str]:
    """Return the ids of the samples that a scorer received."""
    return [case.sample.id for case in scorer.cases]


def hum(request: Request) -> Reply:
    """Return text and audio that depend on the query only."""
    seed = int(request.audio.sha256[:6], 16)
    samples = np.random.default_rng(seed).normal(0, 0.1, 1600).astype(np.float32)
    return Reply(text="m" * (seed % 7 + 1), audio=Waveform(samples=samples, sample_rate=16_000))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]
