"""Alarms: checks of a run's instruments. Each returns a message, or None if it finds no fault."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile as sf

from echat_eval.checks.labelled import annotate_clips
from echat_eval.checks.scripted_clips import ANNOTATOR_RATE, RATE
from echat_eval.checks.scripted_run import ScriptedRun, dominant_hertz
from echat_eval.errors import SystemFailure
from echat_eval.io.audio import read_mono
from echat_eval.io.hashing import digest
from echat_eval.judge import render
from echat_eval.records import AudioRef, JudgeEvidence
from echat_eval.scorers.controls import run_controls
from echat_eval.scorers.error_rate import count_edits
from echat_eval.scorers.judge_scorer import question_of
from echat_eval.scorers.normalize import words
from echat_eval.scorers.run_controls import questions_of
from echat_eval.scorers.transcription import WER
from echat_eval.stats import cluster_mean
from echat_eval.stats.factors import units_of
from echat_eval.store.cases import cases_of

if TYPE_CHECKING:
    from echat_eval.store.run_folder import RunFolder

__all__ = ["ALARMS", "alarms_of"]


def one_label(run: ScriptedRun) -> str | None:
    """Check that the classifier does not predict one label for clips with several labels."""
    pairs = annotate_clips(run.emotion_annotator, run.probes).confusion["emotion"]
    gold, predicted = ({pair[n] for pair in pairs} for n in (0, 1))
    if len(predicted) == 1 and len(gold) > 1:
        return (
            f"the classifier predicts '{min(predicted)}' for all {len(run.probes)} clips "
            f"of {len(gold)} emotions"
        )
    return None


def swapped_labels(run: ScriptedRun) -> str | None:
    """Check that no two labels are predicted as each other more often than as themselves."""
    counts = annotate_clips(run.emotion_annotator, run.probes).confusion["emotion"]
    labels = sorted({gold for gold, _ in counts})
    for n, a in enumerate(labels):
        for b in labels[n + 1 :]:
            crossed = counts.get((a, b), 0) > counts.get((a, a), 0)
            if crossed and counts.get((b, a), 0) > counts.get((b, b), 0):
                return f"'{a}' is predicted as '{b}' and '{b}' as '{a}'"
    return None


def standard_error(run: ScriptedRun) -> str | None:
    """Check that the reported interval comes from samples and their clusters, not from repeats."""
    samples = run.folder.samples()
    cluster = units_of(samples)
    scored = [
        (s.value, cluster[s.task, s.sample_id])
        for s in run.folder.scores().values()
        if s.metric == run.metric and s.value is not None
    ]
    reported = run.reported
    if reported is None or not scored:
        return f"{0 if reported is None else reported.n} of {len(scored)} scores are reported"
    true = cluster_mean([value for value, _ in scored], [code for _, code in scored])
    if (reported.n, reported.clusters) != (true.n, true.clusters):
        return (
            f"the summary counts {reported.n} values in {reported.clusters} clusters; "
            f"there are {true.n} samples in {true.clusters}"
        )
    if not np.isclose(reported.se or 0.0, true.se or 0.0, rtol=0.01):
        return f"the summary's standard error is {reported.se}, that of the samples {true.se}"
    return None


def run_again(run: ScriptedRun) -> str | None:
    """Check that the same run in another folder has the same replies, annotations and scores."""
    with tempfile.TemporaryDirectory() as scratch:
        first, second = (_facts(folder) for folder in (run.folder, run.repeat(Path(scratch) / "run")))
    for kind, rows in first.items():
        changed = sum(rows[ident] != second[kind].get(ident) for ident in rows)
        if changed:
            return f"{changed} of {len(rows)} {kind} change when the run is made again"
    return None


def _facts(folder: RunFolder) -> dict[str, dict[Any, Any]]:
    """Return the results of a run without times and cost."""

    def reply_facts(response: Any) -> Any:
        audio = response.reply.audio if response.reply is not None else None
        return response.reply and (response.reply.text, audio and audio.sha256), response.state

    return {
        "replies": {ident: reply_facts(r) for ident, r in folder.responses().items()},
        "annotations": {ident: (a.state, dict(a.values)) for ident, a in folder.annotations().items()},
        "scores": {i: (s.state, s.value) for i, s in folder.scores().items() if s.metric != "seconds"},
    }


def silent_audio(run: ScriptedRun) -> str | None:
    """Check that no stored reply is digital silence."""
    silent = [
        r.sample_id
        for r in run.folder.responses().values()
        if r.reply is not None
        and isinstance(r.reply.audio, AudioRef)
        and not read_mono(r.reply.audio.path, rate=None)[0].any()
    ]
    return f"{len(silent)} replies are silent and were annotated as voices" if silent else None


def unread_labels(run: ScriptedRun) -> str | None:
    """Check that the judge's scores fall under shuffled labels."""
    control = run_controls(
        run.judge_client(), questions_of(run.folder), names=["labels shuffled"], at_once=1
    )[0]
    if control.verdict == "falls":
        return None
    drop = control.drop.value if control.drop is not None else float("nan")
    return f"under shuffled labels the judge's scores: {control.verdict} (drop {drop:.1f} points)"


def stale_verdicts(run: ScriptedRun) -> str | None:
    """Check that each score's verdicts were given to prompts of the present rubric."""
    judge, scores, stale = run.judge_client().judge, run.folder.scores(), 0
    for case in cases_of(run.folder):
        score = scores[case.response.system, case.sample.task, case.sample.id, run.metric]
        try:
            question = question_of(case)
        except SystemFailure:
            continue
        if isinstance(score.evidence, JudgeEvidence):
            stale += sum(
                sha256 != digest("prompt", render(judge, question, turn=turn).text)
                for turn, sha256 in enumerate(score.evidence.prompt_sha256)
            )
    return f"{stale} verdicts were given to another prompt than this rubric's" if stale else None


def other_normaliser(run: ScriptedRun) -> str | None:
    """Check recorded error rates against a count with the shipped normaliser."""
    scores, wrong = run.folder.scores(), 0
    for case in cases_of(run.folder):
        score = scores[case.response.system, case.sample.task, case.sample.id, WER.name]
        if score.state == "value" and case.response.reply is not None:
            reference = words(case.response.reply.text or "", "en")
            hypothesis = words(case.annotations["whisper"].values["hypothesis"], "en")
            wrong += not reference or (
                abs((score.value or 0.0) - count_edits(reference, hypothesis).percent) > 1e-9
            )
    return f"{wrong} error rates are not those of the shipped normaliser" if wrong else None


def pitch_shift(run: ScriptedRun) -> str | None:
    """Check that the annotator reads a tone with its true frequency and length."""
    time = np.arange(RATE) / RATE
    with tempfile.TemporaryDirectory() as scratch:
        sf.write(Path(scratch) / "tone.wav", 0.5 * np.sin(2 * np.pi * 440 * time), RATE)
        tone = run.parts.read_audio(Path(scratch) / "tone.wav")
    hertz, seconds = dominant_hertz(tone), len(tone) / ANNOTATOR_RATE
    if abs(hertz - 440) > 5 or abs(seconds - 1) > 0.01:
        return f"a tone of 440 Hz and 1 s is read as one of {hertz:.0f} Hz and {seconds:.2f} s"
    return None


def scored_empty(run: ScriptedRun) -> str | None:
    """Check that replies without words count as failed and have no value."""
    scores, empty = run.folder.scores(), 0
    for case in cases_of(run.folder):
        try:
            question_of(case)
        except SystemFailure:
            score = scores[case.response.system, case.sample.task, case.sample.id, run.metric]
            empty += score.state == "value"
    return f"{empty} empty replies were scored" if empty else None


ALARMS: Mapping[str, Callable[[ScriptedRun], str | None]] = MappingProxyType(
    {
        "one label": one_label,
        "swapped labels": swapped_labels,
        "standard error": standard_error,
        "run again": run_again,
        "silent audio": silent_audio,
        "labels unread": unread_labels,
        "stale verdicts": stale_verdicts,
        "normaliser": other_normaliser,
        "resampling": pitch_shift,
        "empty replies": scored_empty,
    }
)


def alarms_of(run: ScriptedRun) -> dict[str, str]:
    """Return alarm -> message, for the alarms that are raised."""
    return {name: message for name, alarm in ALARMS.items() if (message := alarm(run)) is not None}
