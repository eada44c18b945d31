"""A small scripted run, the base that faults are planted into.

The system, the annotators and the judge's answers are scripted. Everything else is the real code: the
runner, the run folder on disk, audio files, the scorers with their keys, the store of verdicts, the
leaderboard.
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
from echat_eval.checks.scripted_clips import ANNOTATOR_RATE, PITCH, RATE, Wave, make_probes, voice
from echat_eval.checks.scripted_judge import attentive, scripted_client
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
from echat_eval.store.manifest import RunSettings
from echat_eval.store.run_folder import RunFolder
from echat_eval.task import Task
from echat_eval.testing import ScriptedAnnotator, ScriptedSystem

if TYPE_CHECKING:
    from echat_eval.ports import Annotator, Scorer

__all__ = ["Parts", "ScriptedRun", "dominant_hertz", "make_run", "read_audio"]

REPEATS = 2
SYSTEM = "scripted"


def read_audio(path: Path) -> Wave:
    """Return a file's samples at the annotator's rate, read by the package's own reader."""
    return read_mono(path, rate=ANNOTATOR_RATE)[0]


def classify(wave: Wave) -> Mapping[str, float]:
    """Return class -> probability; the scripted classifier distinguishes three pitches."""
    peak = dominant_hertz(wave)
    near = {name: float(np.exp(-abs(peak - hertz) / 30)) for name, hertz in PITCH.items()}
    total = sum(near.values()) or 1.0
    spelling = {"anger": "angry"}
    return {spelling.get(name, name): share / total for name, share in near.items()}


def dominant_hertz(wave: Wave, rate: int = ANNOTATOR_RATE) -> float:
    """Return the frequency with the highest magnitude, Hz; 0 for silence."""
    if not wave.any():
        return 0.0
    return float(np.fft.rfftfreq(len(wave), 1 / rate)[int(np.abs(np.fft.rfft(wave)).argmax())])


def of_leaderboard(folder: RunFolder, metric: str) -> Estimate | None:
    """Return the mean and interval that the leaderboard prints."""
    return build_leaderboard([folder]).summaries[SYSTEM, OVERALL, metric].estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Replaceable parts of a run; a planted fault replaces some of them.

    Attributes:
        reply: (scripted words, sample number) -> the system's text.
        alter_audio: applied to the system's audio.
        read_audio, classify, label_map: the emotion annotator's file reader, classifier and class names.
        transcription, judged, judge_client: the classes that score speech, judge, and store verdicts.
        grade: grades by the judge's server.
        earlier_rubric: rubric of an earlier command on the same folder, whose verdicts are in its store.
        summarise: (run folder, metric) -> the estimate that is reported.
    """

    reply: Callable[[str, int], str] = field(default=lambda text, number: text)
    alter_audio: Callable[[Wave], Wave] = field(default=lambda wave: wave)
    read_audio: Callable[[Path], Wave] = read_audio
    classify: Callable[[Wave], Mapping[str, float]] = classify
    label_map: Mapping[str, str] = field(default_factory=dict)
    transcription: Callable[[], Scorer] = TranscriptionConsistency
    judged: Callable[..., Judged] = Judged
    judge_client: Callable[..., JudgeClient] = JudgeClient
    grade: Callable[[Mapping[str, str]], tuple[int, int, int]] = attentive
    earlier_rubric: Callable[[Judge], Judge] = field(default=lambda judge: _reworded(judge))
    summarise: Callable[[RunFolder, str], Estimate | None] = of_leaderboard


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedRun:
    """A finished scripted run.

    Attributes:
        folder: the run folder.
        probes: labelled clips for the emotion annotator.
        metric: name of the judge's text score.
        reported: the estimate of that metric, as reported.
        repeat: makes the same run in another folder.
    """

    parts: Parts
    folder: RunFolder
    probes: Sequence[Clip]
    emotion_annotator: Annotator
    metric: str
    reported: Estimate | None
    repeat: Callable[[Path], RunFolder]

    def judge_client(self) -> JudgeClient:
        """Return a client of the present judge, without stored verdicts."""
        return JudgeClient(shipped_judge(), scripted_client(self.parts.grade))  # type: ignore[arg-type]


@cache
def shipped_judge() -> Judge:
    """Return the shipped rubric; read it once."""
    return load_judge("echat-r1")


def scripted_system(parts: Parts, task: Task, seed: int) -> ScriptedSystem:
    """Return a system that has the labels and mostly replies fittingly, by the request and the seed alone."""
    samples = {request_for(s).id: (n, s.cues["emotion"]) for n, s in enumerate(task.samples)}

    def respond(request: Request) -> Reply:
        number, label = samples[request.id]
        rng = random.Random(f"{seed} {number}")
        text_fits, voice_fits, empty = rng.random() < 0.9, rng.random() < 0.9, rng.random() < 0.08
        text = f"{'Lovely' if label == 'happy' else 'So sorry'}, that's number {number}."
        text = "" if empty else text if text_fits else f"I see, that's number {number}."
        noise = np.random.default_rng([seed, number])
        wave = parts.alter_audio(voice(label if voice_fits else "anger", noise))
        return Reply(text=parts.reply(text, number), audio=Waveform(samples=wave, sample_rate=RATE))

    return ScriptedSystem(respond, SYSTEM, fingerprint=f"scripted {seed}", settings={"seed": seed})


def scripted_asr(folder: RunFolder) -> ScriptedAnnotator:
    """Return a recogniser that looks up the words of a reply in a run folder and drops some."""

    def transcribe(audio: AudioRef, language: str) -> Mapping[str, Any]:
        replies = (r.reply for r in folder.responses().values() if r.reply is not None)
        text = next(
            r.text or "" for r in replies if isinstance(r.audio, AudioRef) and r.audio.sha256 == audio.sha256
        )
        rng = random.Random(audio.sha256)
        return {"hypothesis": " ".join(w for w in words(text, language) if rng.random() > 0.08)}

    return ScriptedAnnotator(transcribe, "whisper", version="scripted", fingerprint="looks up")


def pitch_classifier(parts: Parts) -> ScriptedAnnotator:
    """Return an emotion annotator that classifies a voice by its pitch."""
    labels = LabelMap.of("emotion", ["angry", "happy", "sad"], parts.label_map)

    def classify_voice(audio: AudioRef, language: str) -> Mapping[str, Any]:
        decision = decide(parts.classify(parts.read_audio(audio.path)), labels, threshold=0.0)
        return {"emotion": decision.label, "confidence": round(decision.confidence, 6)}

    return ScriptedAnnotator(
        classify_voice,
        "emotion2vec",
        version="scripted",
        fingerprint="pitch",
        settings={"labels": dict(parts.label_map)},
    )


def make_run(parts: Parts, task: Task, out: Path, *, seed: int) -> ScriptedRun:
    """Make a run in a folder of `out` by two commands; the second uses the present rubric."""
    folder = _run_commands(parts, task, out / "run", seed)
    scorer = parts.judged(parts.judge_client(shipped_judge(), scripted_client(parts.grade)), repeats=REPEATS)
    metric = scorer.metrics[0].name
    return ScriptedRun(
        parts=parts,
        folder=folder,
        probes=make_probes(out / "probes", seed),
        emotion_annotator=pitch_classifier(parts),
        metric=metric,
        reported=parts.summarise(folder, metric),
        repeat=lambda path: _run_commands(parts, task, path, seed),
    )


def _run_commands(parts: Parts, task: Task, path: Path, seed: int) -> RunFolder:
    settings = RunSettings(retry_policy=RetryPolicy(tries=1))
    with RunFolder(path).writing() as folder:
        annotators: list[Annotator] = [scripted_asr(folder), pitch_classifier(parts)]
        scorers = _scorers(parts, path, parts.earlier_rubric(shipped_judge()))
        evaluate(
            folder,
            systems=[scripted_system(parts, task, seed)],
            tasks=[task],
            annotators=annotators,
            scorers=scorers,
            settings=settings,
            progress=Silent(),
        )
        scorers = _scorers(parts, path, shipped_judge())
        rescore(folder, annotators=annotators, scorers=scorers, settings=settings, progress=Silent())
    return folder


def _scorers(parts: Parts, path: Path, judge: Judge) -> list[Scorer]:
    judge_client = parts.judge_client(judge, scripted_client(parts.grade), store=path / "verdicts.jsonl")
    judged = parts.judged(judge_client, repeats=REPEATS, calls_at_once=1)
    return [parts.transcription(), OutcomeScorer(), judged]


def _reworded(judge: Judge) -> Judge:
    from dataclasses import replace

    frames = {language: frame.replace("0 to 5", "0 to 5,") + "\n" for language, frame in judge.frames.items()}
    return replace(judge, frames=frames)
