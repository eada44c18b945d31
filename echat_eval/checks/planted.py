"""Ten faults that have spoiled published numbers, planted into a healthy run and looked for."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import jiwer
import numpy as np
import soundfile as sf

from echat_eval.checks import alarms
from echat_eval.checks.scripted_clips import make_task
from echat_eval.checks.scripted_run import Parts, make_run
from echat_eval.io.hashing import digest
from echat_eval.judge import JudgeClient, Prompt, Question
from echat_eval.scorers.judge_scorer import question_under, voice_of
from echat_eval.scorers.judged import Judged
from echat_eval.scorers.transcription import TranscriptionConsistency
from echat_eval.scorers.transcripts import ASR_ANNOTATORS
from echat_eval.stats import Estimate, cluster_mean

if TYPE_CHECKING:
    from echat_eval.ports import Case
    from echat_eval.records import Metric, Score
    from echat_eval.store.run_folder import RunFolder
    from echat_eval.task import Task

__all__ = ["FAULTS", "PlantedFaultResult", "find_planted", "healthy_alarms"]


def _of_replicates(folder: RunFolder, metric: str) -> Estimate:
    """Take every repeat of a verdict for a sample of its own."""
    scores = [s for s in folder.scores().values() if s.metric == metric]
    flat = [points for score in scores for points in score.evidence.get("points", ())]
    return cluster_mean(flat, list(range(len(flat))))


def _drawn(text: str, number: int) -> str:
    """Answer otherwise every time it is asked, as a sampling model does without a seed."""
    return f"{text} {random.SystemRandom().randrange(10**9)}"


def _of_words(shown: Mapping[str, str]) -> tuple[int, int, int]:
    """Grade the words alone: any cue word will do, whatever the labels say."""
    warm = any(word in shown["reply"].lower() for word in ("sorry", "lovely"))
    return (4, 4, 4) if warm else (4, 2, 2)


class _KeyedByReply(JudgeClient):
    """Keeps verdicts under what was said and what was replied, and forgets by which rubric."""

    def question_key(self, question: Question, prompt: Prompt, repeat: int) -> str:
        return digest("question", [question.transcript, question.cues, question.reply, repeat])


class _SplitAtSpaces(TranscriptionConsistency):
    """Counts case and punctuation as errors."""

    def _count(self, case: Case, metric: Metric, said: str, heard: str) -> Score:
        from echat_eval.scorers.transcription import _score

        units = said.split()
        if not units:
            return _score(case, metric, "not applicable")
        counts = jiwer.process_words(" ".join(units), " ".join(heard.split()))
        wrong = counts.substitutions + counts.deletions + counts.insertions
        return _score(case, metric, "value", value=100.0 * wrong / len(units), weight=float(len(units)))


class _JudgesNothing(Judged):
    """Has the judge grade replies in which there is no word."""

    def question_of(self, case: Case) -> Question:
        reply = case.response.reply
        said = (reply.text if reply is not None else None) or ""
        heard = [
            case.annotations[n].values.get("hypothesis", "") for n in ASR_ANNOTATORS if n in case.annotations
        ]
        return question_under(case, said or "".join(heard), case.sample.cues, voice_of(case)[0])


def _unresampled(path: Path) -> Any:
    return sf.read(path, dtype="float32")[0]


#: Fault -> (what it does to the parts, the alarm that must ring).
FAULTS: Mapping[str, tuple[Callable[[Parts], Parts], str]] = MappingProxyType(
    {
        "always-angry classifier": (
            lambda p: replace(p, hear=lambda wave: {"angry": 0.98, "happy": 0.01, "sad": 0.01}),
            "one label",
        ),
        "swapped labels": (
            lambda p: replace(p, label_map={"happy": "sad", "sad": "happy"}),
            "swapped labels",
        ),
        "standard error of replicates": (lambda p: replace(p, summarise=_of_replicates), "standard error"),
        "unseeded answer": (lambda p: replace(p, reply=_drawn), "run again"),
        "silent audio": (lambda p: replace(p, sound=np.zeros_like), "silent audio"),
        "transcript-only judge": (lambda p: replace(p, grade=_of_words), "labels unread"),
        "stale judge cache": (lambda p: replace(p, jury=_KeyedByReply), "stale verdicts"),
        "wrong normaliser": (lambda p: replace(p, transcription=_SplitAtSpaces), "normaliser"),
        "resampling error": (lambda p: replace(p, read=_unresampled), "resampling"),
        "empty reply": (
            lambda p: replace(p, reply=lambda text, n: "" if n % 5 == 0 else text, judged=_JudgesNothing),
            "empty replies",
        ),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantedFaultResult:
    """What became of one planted fault.

    Attributes:
        alarm: the one that has to ring.
        said: what it said; None: it stayed silent, and the fault was not found.
        others: alarms that rang as well, as a fault may spoil more than one thing.
    """

    fault: str
    alarm: str
    said: str | None
    others: tuple[str, ...]


def find_planted(seed: int = 0, told: Callable[[], None] = lambda: None) -> list[PlantedFaultResult]:
    """Plant each fault into a healthy run, and look for it; `told` is called after each."""
    findings = []
    with tempfile.TemporaryDirectory() as place:
        task = make_task(Path(place) / "task")
        for number, (fault, (plant, alarm)) in enumerate(FAULTS.items()):
            rung = _rung(plant(Parts()), task, Path(place) / str(number), seed)
            others = tuple(name for name in rung if name != alarm)
            findings.append(PlantedFaultResult(fault=fault, alarm=alarm, said=rung.get(alarm), others=others))
            told()
    return findings


def healthy_alarms(
    runs: int = 200, seed: int = 0, told: Callable[[], None] = lambda: None
) -> list[tuple[int, str, str]]:
    """Return (seed, alarm, what it said) of every alarm that rings in healthy runs: none should."""
    found = []
    with tempfile.TemporaryDirectory() as place:
        task = make_task(Path(place) / "task")
        for number in range(seed, seed + runs):
            rung = _rung(Parts(), task, Path(place) / str(number), number)
            found += [(number, name, said) for name, said in rung.items()]
            told()
    return found


def _rung(parts: Parts, task: Task, place: Path, seed: int) -> dict[str, str]:
    """Return alarm -> what it says in one run, whose folder is then removed."""
    import shutil

    try:
        return alarms.alarms_of(make_run(parts, task, place, seed=seed))
    finally:
        shutil.rmtree(place, ignore_errors=True)
