"""A small run in memory whose every part is known: the world that faults are planted into.

Samples, voices, ear, normaliser, judge and summary are scripted; what scores, renders, parses, resamples
and estimates is the real code.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echat_eval import loop
from echat_eval.annotators.label_map import LabelMap, decide
from echat_eval.chat_client import Answer
from echat_eval.judge import Judge, Jury, load_judge
from echat_eval.ports import Case
from echat_eval.records import Annotation, AudioRef, Reply, Response, Sample, Score
from echat_eval.scorers.judged import Judged
from echat_eval.stats import Estimate, cluster_mean
from echat_eval.text import words

__all__ = ["PITCH", "RATE", "REPEATS", "Parts", "ScriptedRun", "hear", "make_run", "word_errors"]

RATE, EAR_RATE = 24_000, 16_000
REPEATS = 2
#: Emotion -> Hz of the tone that stands for a voice with it.
PITCH: Mapping[str, float] = {"anger": 250.0, "happy": 400.0, "sad": 150.0}
_WORD = {"sad": "sorry", "happy": "lovely"}
Wave = NDArray[np.float32]


def resample(wave: Wave, own_rate: int) -> Wave:
    """Return a wave at the ear's rate, as the package's own reading does it."""
    from echat_eval.audio import _resampled

    return _resampled(wave, own_rate, EAR_RATE)


def hear(wave: Wave) -> Mapping[str, float]:
    """Return class -> probability: the classifier of the scripted world knows three pitches."""
    peak = dominant_hertz(wave)
    near = {name: np.exp(-abs(peak - hertz) / 30) for name, hertz in PITCH.items()}
    total = sum(near.values()) or 1.0
    spelling = {"anger": "angry"}
    return {spelling.get(name, name): float(share / total) for name, share in near.items()}


def dominant_hertz(wave: Wave, rate: int = EAR_RATE) -> float:
    """Return the loudest frequency, Hz; 0 for silence."""
    if not wave.any():
        return 0.0
    return float(np.fft.rfftfreq(len(wave), 1 / rate)[int(np.abs(np.fft.rfft(wave)).argmax())])


def attentive(shown: Mapping[str, str]) -> tuple[int, int, int]:
    """Grade as a judge that reads the labels: high where the reply's word fits them."""
    label = shown["cues"].partition(": ")[2]
    fits = _WORD.get(label, "?") in shown["reply"].lower()
    # Harmless noise that depends on nothing but the question.
    noise = hashlib.sha256(json.dumps(dict(shown), sort_keys=True).encode()).digest()[0] % 2
    return (4, 4 + noise, 4) if fits else (4, 1, 2 + noise)


def by_sample(points: Sequence[Sequence[float]], clusters: Sequence[int]) -> Estimate:
    """Return the mean over samples, repeats averaged first."""
    return cluster_mean([float(np.mean(p)) for p in points], list(clusters))


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a run is made of; planting a fault is replacing one of them."""

    reply: Callable[[str, int], str] = field(
        default=lambda text, number: text  # (scripted words, sample's number) -> words
    )
    sound: Callable[[Wave], Wave] = field(default=lambda wave: wave)
    resample: Callable[[Wave, int], Wave] = resample
    hear: Callable[[Wave], Mapping[str, float]] = hear
    label_map: Mapping[str, str] = field(default_factory=dict)
    units: Callable[[str, str], list[str]] = words
    grade: Callable[[Mapping[str, str]], tuple[int, int, int]] = attentive
    rubric: Callable[[Judge], Judge] = field(default=lambda judge: judge)
    summarise: Callable[[Sequence[Sequence[float]], Sequence[int]], Estimate] = by_sample


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedRun:
    """What came of it.

    Attributes:
        probes: (gold emotion, heard emotion) of labelled clips that the ear was tried on.
        waves: sample id -> the reply's sound as it was stored.
        error_rates: sample id -> recorded word error rate of the reply's transcription.
        scores: the judge's text scores.
        reported: the summary as it would be printed.
    """

    parts: Parts
    cases: tuple[Case, ...]
    probes: tuple[tuple[str, str], ...]
    waves: Mapping[str, Wave]
    error_rates: Mapping[str, float]
    scores: tuple[Score, ...]
    reported: Estimate
    clusters: tuple[int, ...]

    def jury(self) -> Jury:
        """Return a fresh jury under the shipped rubric, with the run's judge behind it."""
        return Jury(shipped_judge(), ScriptedClient(self.parts.grade))  # type: ignore[arg-type]


@cache
def shipped_judge() -> Judge:
    """Return the shipped rubric, read once."""
    return load_judge("echat-r1")


class ScriptedClient:
    """Stands where a chat client stands, and answers in this process."""

    model, base_url = "scripted", None

    def __init__(self, grade: Callable[[Mapping[str, str]], tuple[int, int, int]]) -> None:
        self._grade = grade

    async def ask(self, messages: Sequence[Mapping[str, str]], **_: Any) -> Answer:
        """Return a verdict on what stands behind the fence."""
        prompt = messages[0]["content"]
        fence = re.search(r"={5}[0-9a-f]{16}", prompt)
        assert fence is not None
        pieces = re.split(rf"^{fence.group()} [^\n]*\n", prompt, flags=re.MULTILINE)
        shown = dict(zip(("transcript", "cues", "reply", "heard"), map(str.strip, pieces[1:5]), strict=True))
        content, cue, empathy = self._grade(shown)
        verdict: dict[str, Any] = {
            "reason": "scripted", "content": content, "cue_awareness": cue, "empathy": empathy,
        }  # fmt: skip
        if shown["heard"] != "not heard":
            verdict["voice"] = 4
        return Answer(
            text=json.dumps(verdict), model="scripted", server="1", prompt_tokens=0, completion_tokens=0
        )

    def close(self) -> None:
        """Hold nothing."""


def make_run(parts: Parts, *, seed: int, groups: int = 6) -> ScriptedRun:
    """Return a run of `groups` contrast groups of two samples, happy and sad."""
    dice = random.Random(seed)
    noise = np.random.default_rng(seed)
    labels = LabelMap.of("emotion", ["angry", "happy", "sad"], parts.label_map)

    def heard(wave: Wave) -> tuple[str, float]:
        decision = decide(parts.hear(parts.resample(wave, RATE)), labels, threshold=0.0)
        return decision.label, decision.confidence

    probes = tuple(
        (emotion, heard(parts.sound(_voice(emotion, noise)))[0])
        for emotion in sorted(PITCH)
        for _ in range(6)
    )
    cases, waves, rates = [], {}, {}
    for number in range(2 * groups):
        label = ("happy", "sad")[number % 2]
        aware = dice.random() < 0.85
        said = parts.reply(
            f"{'Lovely' if label == 'happy' else 'So sorry'}, that's number {number}." if aware
            else f"I see, that's number {number}.", number,
        )  # fmt: skip
        voiced = label if dice.random() < 0.9 else "anger"
        ident = f"s{number}"
        waves[ident] = parts.sound(_voice(voiced, noise))
        hypothesis = " ".join(w for w in words(said, "en") if dice.random() > 0.08)
        rates[ident] = word_errors(parts.units(said, "en"), parts.units(hypothesis, "en"))
        cases.append(_case(ident, label, number // 2, said, hypothesis, *heard(waves[ident])))
    judge = parts.rubric(shipped_judge())
    scorer = Judged(Jury(judge, ScriptedClient(parts.grade)), repeats=REPEATS)  # type: ignore[arg-type]
    scores = tuple(s for s in loop.run(scorer.score(cases)) if s.metric == scorer.metrics[0].name)
    clusters = tuple(n // 2 for n in range(2 * groups))
    return ScriptedRun(
        parts=parts, cases=tuple(cases), probes=probes, waves=waves, error_rates=rates, scores=scores,
        reported=parts.summarise([s.evidence["points"] for s in scores], clusters), clusters=clusters,
    )  # fmt: skip


def word_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> float:
    """Return the edit distance over the reference's length."""
    row = list(range(len(hypothesis) + 1))
    for i, unit in enumerate(reference, 1):
        row, above = [i], row
        for j, other in enumerate(hypothesis, 1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (unit != other)))
    return row[-1] / max(1, len(reference))


def _voice(emotion: str, noise: np.random.Generator) -> Wave:
    time = np.arange(RATE // 8) / RATE
    hertz = PITCH[emotion] + noise.normal(0, 5)
    wave: Wave = (0.3 * np.sin(2 * np.pi * hertz * time) + noise.normal(0, 0.02, time.size)).astype(
        np.float32
    )
    return wave


def _case(
    ident: str, label: str, group: int, said: str, hypothesis: str, emotion: str, confidence: float
) -> Case:
    audio = AudioRef(
        path=Path(f"{ident}.wav"), sha256=hashlib.sha256(ident.encode()).hexdigest(), seconds=0.25
    )
    sample = Sample(
        task="emotion", id=ident, audio=audio, transcript=f"Sentence {group}.", cues={"emotion": label},
        language="en", source="synthetic", speaker=f"v{group}", contrast_group=f"g{group}",
    )  # fmt: skip
    response = Response(
        key=ident, system="scripted", task="emotion", sample_id=ident, state="value",
        reply=Reply(text=said, audio=audio),
    )  # fmt: skip

    def row(annotator: str, **values: Any) -> Annotation:
        return Annotation(
            key=f"{annotator}-{ident}", system="scripted", task="emotion", sample_id=ident,
            annotator=annotator, state="value", values=values,
        )  # fmt: skip

    return Case(
        sample=sample,
        response=response,
        annotations={
            "whisper": row("whisper", hypothesis=hypothesis),
            "emotion2vec": row("emotion2vec", emotion=emotion, confidence=round(confidence, 6)),
        },
    )
