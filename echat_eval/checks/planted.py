"""Ten faults that have spoiled published numbers, planted into a healthy run, and their alarms."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from echat_eval import loop
from echat_eval.checks.scripted_run import (
    EAR_RATE,
    RATE,
    Parts,
    ScriptedRun,
    dominant_hertz,
    make_run,
    word_errors,
)
from echat_eval.controls import Asked, run_controls
from echat_eval.judge import Heard, Question, render
from echat_eval.keys import digest
from echat_eval.scorers.judged import Judged
from echat_eval.stats import Estimate, cluster_mean
from echat_eval.text import words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echat_eval.judge import Judge

__all__ = ["ALARMS", "FAULTS", "Finding", "alarms_of", "find_planted", "healthy_alarms"]


# -- alarms: run -> what is wrong, or None ---------------------------------------


def one_label(run: ScriptedRun) -> str | None:
    """An ear that hears one label on clips that carry several hears nothing."""
    gold, heard = ({pair[n] for pair in run.probes} for n in (0, 1))
    if len(heard) == 1 and len(gold) > 1:
        return f"the classifier hears '{min(heard)}' in all {len(run.probes)} clips of {len(gold)} emotions"
    return None


def swapped_labels(run: ScriptedRun) -> str | None:
    """Two labels that are heard as each other more often than as themselves are swapped."""
    counts: dict[tuple[str, str], int] = {}
    for pair in run.probes:
        counts[pair] = counts.get(pair, 0) + 1
    labels = sorted({gold for gold, _ in run.probes})
    for n, a in enumerate(labels):
        for b in labels[n + 1 :]:
            if counts.get((a, b), 0) > counts.get((a, a), 0) and counts.get((b, a), 0) > counts.get(
                (b, b), 0
            ):
                return f"'{a}' is heard as '{b}' and '{b}' as '{a}'"
    return None


def standard_error(run: ScriptedRun) -> str | None:
    """The interval must come from samples and their clusters, whatever was repeated."""
    values = [s.value for s in run.scores if s.value is not None]
    true = cluster_mean(values, run.clusters)
    if run.reported.n != true.n or run.reported.clusters != true.clusters:
        return (
            f"the summary counts {run.reported.n} values in {run.reported.clusters} clusters; "
            f"there are {true.n} samples in {true.clusters}"
        )
    if not np.isclose(run.reported.se or 0.0, true.se or 0.0, rtol=0.01):
        return f"the summary's standard error is {run.reported.se}, that of the samples {true.se}"
    return None


def unseeded(run: ScriptedRun) -> str | None:
    """Scored twice, a run must have the same scores."""
    scorer = Judged(run.jury(), repeats=len(run.scores[0].evidence["points"]))
    again = loop.run(scorer.score(run.cases))
    second = {s.sample_id: s.value for s in again if s.metric == run.scores[0].metric}
    changed = [s.sample_id for s in run.scores if second[s.sample_id] != s.value]
    return f"{len(changed)} of {len(second)} scores change when scored again" if changed else None


def silent_audio(run: ScriptedRun) -> str | None:
    """A reply of zeros is no voice, whatever was heard in it."""
    silent = [ident for ident, wave in run.waves.items() if not wave.any()]
    return f"{len(silent)} replies are silent and were heard as a voice" if silent else None


def unread_labels(run: ScriptedRun) -> str | None:
    """A judge whose scores do not fall under other labels does not read them."""
    asked = [Asked(question=_question(case), cluster=case.sample.contrast_group) for case in run.cases]
    control = run_controls(run.jury(), asked, names=["labels shuffled"], at_once=1)[0]
    if control.verdict == "falls":
        return None
    drop = control.drop.value if control.drop is not None else float("nan")
    return f"under shuffled labels the judge's scores: {control.verdict} (drop {drop:.1f} points)"


def stale_verdicts(run: ScriptedRun) -> str | None:
    """A verdict belongs to the very prompt the present rubric makes."""
    jury = run.jury()
    stale = [
        case.sample.id
        for case, score in zip(run.cases, run.scores, strict=True)
        for turn, sha256 in enumerate(score.evidence["prompt_sha256"])
        if sha256 != digest("prompt", render(jury.judge, _question(case), turn=turn).text)
    ]
    return f"{len(stale)} verdicts were given to another prompt than this rubric's" if stale else None


def other_normaliser(run: ScriptedRun) -> str | None:
    """Recorded error rates must be those of the shipped normaliser."""
    wrong = []
    for case in run.cases:
        said = (case.response.reply.text if case.response.reply else None) or ""
        hypothesis = case.annotations["whisper"].values["hypothesis"]
        if (
            abs(run.error_rates[case.sample.id] - word_errors(words(said, "en"), words(hypothesis, "en")))
            > 1e-9
        ):
            wrong.append(case.sample.id)
    return f"{len(wrong)} error rates are not those of the shipped normaliser" if wrong else None


def pitch_shift(run: ScriptedRun) -> str | None:
    """A tone of 440 Hz must be one of 440 Hz, and as long, after resampling."""
    time = np.arange(RATE) / RATE
    tone = run.parts.resample(np.sin(2 * np.pi * 440 * time).astype(np.float32), RATE)
    hertz, seconds = dominant_hertz(tone), len(tone) / EAR_RATE
    if abs(hertz - 440) > 5 or abs(seconds - 1) > 0.01:
        return f"a tone of 440 Hz and 1 s comes out of resampling with {hertz:.0f} Hz and {seconds:.2f} s"
    return None


def scored_empty(run: ScriptedRun) -> str | None:
    """An empty reply is the system's failure, never a value."""
    values = {s.sample_id for s in run.scores if s.state == "value"}
    empty = [
        c.sample.id for c in run.cases
        if c.sample.id in values and not ((c.response.reply.text if c.response.reply else None) or "").strip()
    ]  # fmt: skip
    return f"{len(empty)} empty replies were scored" if empty else None


def _question(case: object) -> Question:
    from echat_eval.ports import Case

    assert isinstance(case, Case)
    reply, heard = case.response.reply, case.annotations["emotion2vec"].values
    return Question(
        task=case.sample.task, language=case.sample.language, transcript=case.sample.transcript,
        cues=case.sample.cues,
        # What the scorer judges where a system wrote nothing: the words that were heard.
        reply=(reply.text if reply else None) or case.annotations["whisper"].values["hypothesis"],
        heard=Heard(emotion=heard["emotion"], confidence=heard["confidence"]),
    )  # fmt: skip


ALARMS: Mapping[str, Callable[[ScriptedRun], str | None]] = MappingProxyType(
    {
        "one label": one_label,
        "swapped labels": swapped_labels,
        "standard error": standard_error,
        "scored again": unseeded,
        "silent audio": silent_audio,
        "labels unread": unread_labels,
        "stale verdicts": stale_verdicts,
        "normaliser": other_normaliser,
        "resampling": pitch_shift,
        "empty replies": scored_empty,
    }
)


# -- faults: parts of a healthy run -> parts with one of them broken -----------------


def _of_replicates(points: Sequence[Sequence[float]], clusters: Sequence[int]) -> Estimate:
    flat = [value for repeats in points for value in repeats]
    return cluster_mean(flat, list(range(len(flat))))


def _of_dice(shown: Mapping[str, str]) -> tuple[int, int, int]:
    dice = random.SystemRandom()
    return dice.randrange(6), dice.randrange(6), dice.randrange(6)


def _of_words(shown: Mapping[str, str]) -> tuple[int, int, int]:
    """Grade the words alone: any cue word will do, whatever the labels say."""
    warm = any(word in shown["reply"].lower() for word in ("sorry", "lovely"))
    return (4, 4, 4) if warm else (4, 2, 2)


def _older(judge: Judge) -> Judge:
    frames = {language: frame.replace("0 to 5", "0 to 5,") + "\n" for language, frame in judge.frames.items()}
    return replace(judge, frames=frames)


#: Fault -> (what it does to the parts, the alarm that must ring).
FAULTS: Mapping[str, tuple[Callable[[Parts], Parts], str]] = MappingProxyType(
    {
        "always-angry classifier": (
            lambda p: replace(p, hear=lambda wave: {"angry": 0.98, "happy": 0.01, "sad": 0.01}), "one label",
        ),
        "swapped labels": (
            lambda p: replace(p, label_map={"happy": "sad", "sad": "happy"}), "swapped labels",
        ),
        "standard error of replicates": (lambda p: replace(p, summarise=_of_replicates), "standard error"),
        "unseeded answer": (lambda p: replace(p, grade=_of_dice), "scored again"),
        "silent audio": (lambda p: replace(p, sound=np.zeros_like), "silent audio"),
        "transcript-only judge": (lambda p: replace(p, grade=_of_words), "labels unread"),
        "stale judge cache": (lambda p: replace(p, rubric=_older), "stale verdicts"),
        "wrong normaliser": (lambda p: replace(p, units=lambda text, _: text.split()), "normaliser"),
        "resampling error": (lambda p: replace(p, resample=lambda wave, rate: wave), "resampling"),
        "empty reply": (
            lambda p: replace(p, reply=lambda text, n: "" if n % 5 == 0 else text), "empty replies",
        ),
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
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


def alarms_of(run: ScriptedRun) -> dict[str, str]:
    """Return alarm -> what it says, for those that ring."""
    return {name: said for name, alarm in ALARMS.items() if (said := alarm(run)) is not None}


def find_planted(seed: int = 0) -> list[Finding]:
    """Plant each fault into a healthy run, and look for it."""
    findings = []
    for fault, (plant, alarm) in FAULTS.items():
        rung = alarms_of(make_run(plant(Parts()), seed=seed))
        findings.append(
            Finding(
                fault=fault, alarm=alarm, said=rung.get(alarm),
                others=tuple(name for name in rung if name != alarm),
            )
        )  # fmt: skip
    return findings


def healthy_alarms(runs: int = 200, seed: int = 0) -> list[tuple[int, str, str]]:
    """Return (seed, alarm, what it said) of every alarm that rings in healthy runs: none should."""
    return [
        (number, name, said)
        for number in range(seed, seed + runs)
        for name, said in alarms_of(make_run(Parts(), seed=number)).items()
    ]
