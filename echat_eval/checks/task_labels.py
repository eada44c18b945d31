"""Annotators beside the rows: words against transcripts, labels against the intended ones, quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from echat_eval.checks.labelled import Clip, annotations_of, report_of
from echat_eval.checks.task_finding import Finding
from echat_eval.io.display import number_text
from echat_eval.scorers.error_rate import count_edits
from echat_eval.scorers.normalize import words

if TYPE_CHECKING:
    from echat_eval.checks.labelled import Report
    from echat_eval.checks.task_data import TaskData
    from echat_eval.ports import Annotator, Progress
    from echat_eval.records import Sample
    from echat_eval.stats import Estimate

__all__ = ["FAR_WORDS", "POOR", "annotator_findings"]

#: Percent of words from which a recording does not match its transcript.
FAR_WORDS = 50.0
#: Estimated opinion score, 1 to 5, below which the quality is poor.
POOR = 2.0
_QUALITY = "overall"


def annotator_findings(data: TaskData, annotators: Sequence[Annotator], progress: Progress) -> list[Finding]:
    """Return the findings of annotators of the recordings; what none of them measures is not checked."""
    clips = [_clip(sample) for sample in data.samples]
    found: list[Finding] = []
    for annotator in annotators:
        progress.stage(annotator.name, len(clips), 0)
        annotations = annotations_of(annotator, clips, progress.advance)
        own = _findings(data, annotator.name, clips, annotations)
        found += own or [_absent(annotator.name, f"{annotator.name} returns no words, labels or quality")]
    checks = {finding.check for finding in found}
    missing = [
        ("words-spoken", "transcripts were not compared with a recogniser", "whisper"),
        ("quality", "the quality of the recordings was not estimated", "dnsmos"),
    ]
    labels = any("confusion" in finding.numbers for finding in found)
    for check, text, name in missing:
        if check not in checks:
            found.append(_absent(check, f"{text}; add --annotator {name}"))
    if not labels:
        found.append(
            _absent(
                "intended-label",
                "labels were not compared with a classifier; add --annotator, such as emotion2vec "
                "or transformers-event",
            )
        )
    return found


def _absent(check: str, message: str) -> Finding:
    return Finding(check=check, section="labels", state="not checked", message=message)


def _clip(sample: Sample) -> Clip:
    return Clip(
        audio=sample.audio,
        language=sample.language,
        transcript=sample.transcript,
        speaker=sample.speaker or f"sample {sample.id}",
        labels=sample.cues,
    )


def _findings(
    data: TaskData, name: str, clips: Sequence[Clip], annotations: Sequence[Mapping[str, Any] | None]
) -> list[Finding]:
    report = report_of(clips, annotations)
    found = []
    if report.error_rate is not None:
        found.append(_spoken(data.samples, name, report.error_rate, annotations))
    found += [_intended(data.samples, name, cue, report, annotations) for cue in report.cues]
    found += _quality(data.samples, name, annotations)
    return found


def _spoken(
    samples: Sequence[Sample], name: str, rate: Estimate, annotations: Sequence[Mapping[str, Any] | None]
) -> Finding:
    far = {}
    for sample, values in zip(samples, annotations, strict=True):
        reference = words(sample.transcript, sample.language, sample.error_rate)
        if values is not None and "hypothesis" in values and reference:
            hypothesis = words(values["hypothesis"], sample.language, sample.error_rate)
            percent = count_edits(reference, hypothesis).percent
            if percent > FAR_WORDS:
                far[sample.id] = (
                    f"{name} has {percent:.0f} % of the words wrong: {values['hypothesis'][:60]!r}"
                )
    return Finding(
        check="words-spoken",
        section="labels",
        state="review" if far else "pass",
        message=f"{name}: error rate {_interval(rate)}; {len(far)} recordings above {FAR_WORDS:g} %",
        remedy="listen to them" if far else "",
        samples=far,
        numbers={"error_rate": rate.value, "low": rate.low, "high": rate.high},
    )


def _intended(
    samples: Sequence[Sample],
    name: str,
    cue: str,
    report: Report,
    annotations: Sequence[Mapping[str, Any] | None],
) -> Finding:
    recalls, confusion = report.cues[cue], report.confusion[cue]
    other = {
        sample.id: f"{name} takes {sample.cues[cue]} for {values[cue]}"
        for sample, values in zip(samples, annotations, strict=True)
        if values is not None and cue in sample.cues and values.get(cue, sample.cues[cue]) != sample.cues[cue]
    }
    chance = 100.0 / len(recalls.per_label)
    unsure = recalls.uar.low is None or recalls.uar.low <= chance
    text = f"{name}: macro recall {_interval(recalls.uar)}, chance {number_text(chance, 1)} %"
    return Finding(
        check="intended-label",
        section="labels",
        state="review" if other else "pass",
        cue=cue,
        message=text + ("; not above chance, so it may not suit these voices" if unsure else ""),
        remedy="listen to the samples that differ" if other else "",
        samples=other,
        details=tuple(
            f"{gold} predicted as {label}: {count} of {recalls.per_label[gold][1]}"
            for (gold, label), count in sorted(confusion.items())
        ),
        numbers={
            "uar": recalls.uar.value,
            "low": recalls.uar.low,
            "high": recalls.uar.high,
            "confusion": [[gold, label, count] for (gold, label), count in sorted(confusion.items())],
        },
    )


def _quality(
    samples: Sequence[Sample], name: str, annotations: Sequence[Mapping[str, Any] | None]
) -> list[Finding]:
    scores = {
        sample.id: float(values[_QUALITY])
        for sample, values in zip(samples, annotations, strict=True)
        if values is not None and isinstance(values.get(_QUALITY), float | int)
    }
    if not scores:
        return []
    poor = {ident: f"{name} estimates {score:.1f} of 5" for ident, score in scores.items() if score < POOR}
    found = np.array(list(scores.values()))
    return [
        Finding(
            check="quality",
            section="labels",
            state="review" if poor else "pass",
            message=f"{name}: mean {found.mean():.2f}, lowest {found.min():.2f} of 5; "
            f"{len(poor)} below {POOR:g}",
            remedy="listen to them" if poor else "",
            samples=poor,
            numbers={"mean": float(found.mean()), "lowest": float(found.min())},
        )
    ]


def _interval(estimate: Estimate) -> str:
    value = f"{number_text(estimate.value, 1)} %"
    if estimate.low is None or estimate.high is None:
        return f"{value} (no interval)"
    return f"{value} [{number_text(estimate.low, 1)}, {number_text(estimate.high, 1)}]"
