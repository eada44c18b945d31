"""A small run whose every part is known: the world that faults are planted into.

The system, the ears and the judge's answers are scripted. Everything else is the product: the runner, a
run folder on disk, audio files, the scorers with their keys, the verdicts' store, the leaderboard.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from echat_eval.annotators.label_map import LabelMap, decide
from echat_eval.checks.labelled import Clip
from echat_eval.checks.scripted_clips import EAR_RATE, PITCH, RATE, Wave, make_probes, voice
from echat_eval.checks.scripted_judge import ScriptedClient, attentive
from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.io.audio import read_mono
from echat_eval.judge import Judge, JudgeClient, load_judge
from echat_eval.leaderboard.build import OVERALL, build_leaderboard
from echat_eval.ports import Silent
from echat_eval.records import AudioRef, Reply, Request, Waveform
from echat_eval.runner.evaluate import evaluate, rescore
from echat_eval.scorers.judged import Judged
from echat_eval.scorers.normalize import words
from echat_eval.scorers.outcome import OutcomeScorer
from echat_eval.scorers.transcription import TranscriptionConsistency
from echat_eval.stats import Estimate
from echat_eval.store.keys import request_for
from echat_eval.store.run_folder import RunFolder
from echat_eval.task import Task

if TYPE_CHECKING:
    from echat_eval.ports import Annotator, Scorer

__all__ = ["Parts", "ScriptedRun", "dominant_hertz", "make_run", "read"]

REPEATS = 2
SYSTEM = "scripted"


def read(path: Path) -> Wave:
    """Return a file's samples at the ear's rate, as the package reads any file."""
    return read_mono(path, rate=EAR_RATE)[0]


def hear(wave: Wave) -> Mapping[str, float]:
    """Return class -> probability: the classifier of the scripted world knows three pitches."""
    peak = dominant_hertz(wave)
    near = {name: float(np.exp(-abs(peak - hertz) / 30)) for name, hertz in PITCH.items()}
    total = sum(near.values()) or 1.0
    spelling = {"anger": "angry"}
    return {spelling.get(name, name): share / total for name, share in near.items()}


def dominant_hertz(wave: Wave, rate: int = EAR_RATE) -> float:
    """Return the loudest frequency, Hz; 0 for silence."""
    if not wave.any():
        return 0.0
    return float(np.fft.rfftfreq(len(wave), 1 / rate)[int(np.abs(np.fft.rfft(wave)).argmax())])


def of_leaderboard(folder: RunFolder, metric: str) -> Estimate | None:
    """Return the mean and interval that the leaderboard prints."""
    return build_leaderboard([folder]).summaries[SYSTEM, OVERALL, metric].estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a run is made of; planting a fault is replacing one of them.

    Attributes:
        reply: (scripted words, sample's number) -> what the system says.
        sound: what becomes of the system's voice.
        read, hear, label_map: how an ear reads a file, what it hears, how its classes are named.
        transcription, judged, jury: the classes that score words, judge, and keep verdicts.
        grade: what the judge's server answers.
        before: the rubric of an earlier command on the same folder, whose verdicts are kept there.
        summarise: what is printed of a metric.
    """

    reply: Callable[[str, int], str] = field(default=lambda text, number: text)
    sound: Callable[[Wave], Wave] = field(default=lambda wave: wave)
    read: Callable[[Path], Wave] = read
    hear: Callable[[Wave], Mapping[str, float]] = hear
    label_map: Mapping[str, str] = field(default_factory=dict)
    transcription: Callable[[], Scorer] = TranscriptionConsistency
    judged: Callable[..., Judged] = Judged
    jury: Callable[..., JudgeClient] = JudgeClient
    grade: Callable[[Mapping[str, str]], tuple[int, int, int]] = attentive
    before: Callable[[Judge], Judge] = field(default=lambda judge: _reworded(judge))
    summarise: Callable[[RunFolder, str], Estimate | None] = of_leaderboard


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedRun:
    """What came of it.

    Attributes:
        folder: the run folder.
        probes: labelled clips that the emotion's ear is tried on.
        metric: the judge's text score.
        reported: the summary of it as it would be printed.
        again: makes the same run in another folder, as a second person would.
    """

    parts: Parts
    folder: RunFolder
    probes: Sequence[Clip]
    ear: Annotator
    metric: str
    reported: Estimate | None
    again: Callable[[Path], RunFolder]

    def jury(self) -> JudgeClient:
        """Return the judge as it is configured now, with nothing kept."""
        return JudgeClient(shipped_judge(), ScriptedClient(self.parts.grade))  # type: ignore[arg-type]


@cache
def shipped_judge() -> Judge:
    """Return the shipped rubric, read once."""
    return load_judge("echat-r1")


class ScriptedSystem:
    """Replies to what it is told is in each recording, in most cases fittingly."""

    name = SYSTEM

    def __init__(self, parts: Parts, task: Task, seed: int) -> None:
        self.seed = seed
        self._parts = parts
        self._asked = {request_for(s).id: (n, s.cues["emotion"]) for n, s in enumerate(task.samples)}

    def respond(self, request: Request) -> Reply:
        """Return words and a voice that depend on the question and the seed alone."""
        number, label = self._asked[request.id]
        dice = random.Random(f"{self.seed} {number}")
        aware, fits, empty = dice.random() < 0.9, dice.random() < 0.9, dice.random() < 0.08
        said = f"{'Lovely' if label == 'happy' else 'So sorry'}, that's number {number}."
        said = "" if empty else said if aware else f"I see, that's number {number}."
        noise = np.random.default_rng([self.seed, number])
        wave = self._parts.sound(voice(label if fits else "anger", noise))
        return Reply(text=self._parts.reply(said, number), audio=Waveform(samples=wave, sample_rate=RATE))

    def fingerprint(self) -> str:
        """Return what decides every reply."""
        return f"scripted {self.seed}"

    def settings(self) -> Mapping[str, Any]:
        """Return the seed."""
        return {"seed": self.seed}


class WordEar:
    """Hears the words of a reply by looking them up, and drops some."""

    name, version = "whisper", "scripted"

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder

    def annotate(self, audio: AudioRef, *, language: str) -> Mapping[str, Any]:
        """Return a hypothesis."""
        replies = (r.reply for r in self._folder.responses().values() if r.reply is not None)
        said = next(
            r.text or "" for r in replies if isinstance(r.audio, AudioRef) and r.audio.sha256 == audio.sha256
        )
        dice = random.Random(audio.sha256)
        return {"hypothesis": " ".join(w for w in words(said, language) if dice.random() > 0.08)}

    def fingerprint(self) -> str:
        """Return the rule's name."""
        return "looks up"

    def settings(self) -> Mapping[str, Any]:
        """Nothing can be set."""
        return {}


class VoiceEar:
    """Hears the emotion of a voice by its pitch."""

    name, version = "emotion2vec", "scripted"

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._labels = LabelMap.of("emotion", ["angry", "happy", "sad"], parts.label_map)

    def annotate(self, audio: AudioRef, *, language: str) -> Mapping[str, Any]:
        """Return emotion and confidence."""
        shares = self._parts.hear(self._parts.read(audio.path))
        decision = decide(shares, self._labels, threshold=0.0)
        return {"emotion": decision.label, "confidence": round(decision.confidence, 6)}

    def fingerprint(self) -> str:
        """Return the rule's name."""
        return "pitch"

    def settings(self) -> Mapping[str, Any]:
        """Return the label map."""
        return {"labels": dict(self._parts.label_map)}


def make_run(parts: Parts, task: Task, place: Path, *, seed: int) -> ScriptedRun:
    """Make a run in a folder of `place` by two commands: the second has the present rubric."""
    folder = _commands(parts, task, place / "run", seed)
    scorer = parts.judged(parts.jury(shipped_judge(), ScriptedClient(parts.grade)), repeats=REPEATS)
    metric = scorer.metrics[0].name
    return ScriptedRun(
        parts=parts,
        folder=folder,
        probes=make_probes(place / "probes", seed),
        ear=VoiceEar(parts),
        metric=metric,
        reported=parts.summarise(folder, metric),
        again=lambda other: _commands(parts, task, other, seed),
    )


def _commands(parts: Parts, task: Task, path: Path, seed: int) -> RunFolder:
    retry_policy = RetryPolicy(tries=1)
    with RunFolder(path).writing() as folder:
        ears: list[Annotator] = [WordEar(folder), VoiceEar(parts)]
        scorers = _scorers(parts, path, parts.before(shipped_judge()))
        evaluate(
            folder,
            systems=[ScriptedSystem(parts, task, seed)],
            tasks=[task],
            annotators=ears,
            scorers=scorers,
            retry_policy=retry_policy,
            progress=Silent(),
        )
        scorers = _scorers(parts, path, shipped_judge())
        rescore(folder, annotators=ears, scorers=scorers, retry_policy=retry_policy, progress=Silent())
    return folder


def _scorers(parts: Parts, path: Path, judge: Judge) -> list[Scorer]:
    jury = parts.jury(judge, ScriptedClient(parts.grade), store=path / "verdicts.jsonl")
    return [parts.transcription(), OutcomeScorer(), parts.judged(jury, repeats=REPEATS, calls_at_once=1)]


def _reworded(judge: Judge) -> Judge:
    from dataclasses import replace

    frames = {language: frame.replace("0 to 5", "0 to 5,") + "\n" for language, frame in judge.frames.items()}
    return replace(judge, frames=frames)
