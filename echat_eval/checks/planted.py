"""Ten faults known from published numbers, planted into a healthy run to test the alarms."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile as sf

from echat_eval.checks import alarms
from echat_eval.checks.scripted_clips import make_task
from echat_eval.checks.scripted_run import Parts, make_run
from echat_eval.io.hashing import digest
from echat_eval.judge import JudgeClient, Prompt, Question
from echat_eval.records import JudgeEvidence
from echat_eval.scorers.error_rate import count_edits
from echat_eval.scorers.judge_scorer import build_question, voice_emotion_of
from echat_eval.scorers.judged import Judged
from echat_eval.scorers.transcription import TranscriptionConsistency
from echat_eval.scorers.transcripts import ASR_ANNOTATORS
from echat_eval.stats import Estimate, cluster_mean
from echat_eval.stats.tails import share_limit

if TYPE_CHECKING:
    from echat_eval.ports import Case
    from echat_eval.records import Metric, Score
    from echat_eval.store.run_folder import RunFolder
    from echat_eval.task import Task

__all__ = ["FAULTS", "PlantedFaultResult", "false_alarm_limit", "find_planted", "healthy_alarms"]


def _of_replicates(folder: RunFolder, metric: str) -> Estimate:
    """Estimate as if every repeat of a verdict were an independent sample."""
    scores = [s for s in folder.scores().values() if s.metric == metric]
    judged = [score.evidence for score in scores if isinstance(score.evidence, JudgeEvidence)]
    flat = [points for evidence in judged for points in evidence.points]
    return cluster_mean(flat, list(range(len(flat))))


def _drawn(text: str, number: int) -> str:
    """Return a different reply on every call, like a model that samples without a seed."""
    return f"{text} {random.SystemRandom().randrange(10**9)}"


def _of_words(shown: Mapping[str, str]) -> tuple[int, int, int]:
    """Grade the words alone: any cue word counts, under any label."""
    warm = any(word in shown["reply"].lower() for word in ("sorry", "lovely"))
    return (4, 4, 4) if warm else (4, 2, 2)


class _KeyedByReply(JudgeClient):
    """Omits the rubric from the keys of verdicts."""

    def question_key(self, question: Question, prompt: Prompt, repeat: int) -> str:
        return digest("question", [question.transcript, question.cues, question.reply, repeat])


class _SplitAtSpaces(TranscriptionConsistency):
    """Counts differences in case and punctuation as errors."""

    def _count(self, case: Case, metric: Metric, text: str, hypothesis: str) -> Score:
        units = text.split()
        if not units:
            return case.score(metric, "not applicable")
        counts = count_edits(units, hypothesis.split())
        return case.score(metric, "value", value=counts.percent, weight=float(counts.reference))


class _JudgesEmptyReplies(Judged):
    """Sends replies without words to the judge."""

    def question_of(self, case: Case) -> Question:
        reply = case.response.reply
        text = (reply.text if reply is not None else None) or ""
        hypotheses = [
            case.annotations[n].values.get("hypothesis", "") for n in ASR_ANNOTATORS if n in case.annotations
        ]
        emotion, _ = voice_emotion_of(case)
        return build_question(case, text or "".join(hypotheses), case.sample.cues, emotion)


def _unresampled(path: Path) -> Any:
    return sf.read(path, dtype="float32")[0]


#: Fault -> (change of the parts, the alarm that must be raised).
FAULTS: Mapping[str, tuple[Callable[[Parts], Parts], str]] = MappingProxyType(
    {
        "always-angry classifier": (
            lambda p: replace(p, classify=lambda wave: {"angry": 0.98, "happy": 0.01, "sad": 0.01}),
            "one label",
        ),
        "swapped labels": (
            lambda p: replace(p, label_map={"happy": "sad", "sad": "happy"}),
            "swapped labels",
        ),
        "standard error of replicates": (lambda p: replace(p, summarise=_of_replicates), "standard error"),
        "unseeded answer": (lambda p: replace(p, reply=_drawn), "run again"),
        "silent audio": (lambda p: replace(p, alter_audio=np.zeros_like), "silent audio"),
        "transcript-only judge": (lambda p: replace(p, grade=_of_words), "labels unread"),
        "stale judge cache": (lambda p: replace(p, judge_client=_KeyedByReply), "stale verdicts"),
        "wrong normaliser": (lambda p: replace(p, transcription=_SplitAtSpaces), "normaliser"),
        "resampling error": (lambda p: replace(p, read_audio=_unresampled), "resampling"),
        "empty reply": (
            lambda p: replace(
                p, reply=lambda text, n: "" if n % 5 == 0 else text, judged=_JudgesEmptyReplies
            ),
            "empty replies",
        ),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantedFaultResult:
    """Result of one planted fault.

    Attributes:
        alarm: name of the alarm that must be raised.
        message: its message; None: it was not raised, and the fault was not found.
        other_alarms: other alarms that were raised; a fault may affect several.
    """

    fault: str
    alarm: str
    message: str | None
    other_alarms: tuple[str, ...]


def find_planted(seed: int = 0, on_result: Callable[[], None] = lambda: None) -> list[PlantedFaultResult]:
    """Plant each fault into a healthy run and check its alarm; call `on_result` after each."""
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        task = make_task(Path(scratch) / "task")
        for number, (fault, (plant, alarm)) in enumerate(FAULTS.items()):
            raised = _raised_alarms(plant(Parts()), task, Path(scratch) / str(number), seed)
            results.append(
                PlantedFaultResult(
                    fault=fault,
                    alarm=alarm,
                    message=raised.get(alarm),
                    other_alarms=tuple(name for name in raised if name != alarm),
                )
            )
            on_result()
    return results


def healthy_alarms(
    runs: int = 200, seed: int = 0, on_result: Callable[[], None] = lambda: None
) -> list[tuple[int, str, str]]:
    """Return (seed, alarm, message) of every false alarm in healthy runs; call `on_result` after each."""
    false_alarms = []
    with tempfile.TemporaryDirectory() as scratch:
        task = make_task(Path(scratch) / "task")
        for number in range(seed, seed + runs):
            raised = _raised_alarms(Parts(), task, Path(scratch) / str(number), number)
            false_alarms += [(number, name, message) for name, message in raised.items()]
            on_result()
    return false_alarms


def false_alarm_limit(runs: int, with_alarms: int, *, level: float = 0.95) -> float:
    """Return Clopper and Pearson's one-sided upper limit of the share of healthy runs with an alarm.

    >>> round(false_alarm_limit(200, 0), 4)  # 1 - 0.05 ** (1 / 200)
    0.0149
    """
    return float(share_limit(np.asarray(float(with_alarms)), np.asarray(float(runs)), 1 - level))


def _raised_alarms(parts: Parts, task: Task, folder: Path, seed: int) -> dict[str, str]:
    """Return alarm -> message of one run, and remove its folder."""
    import shutil

    try:
        return alarms.alarms_of(make_run(parts, task, folder, seed=seed))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
