"""Check of an annotator against labelled clips: error rate, recall, confusion, calibration."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from echat_eval.checks.calibration import Calibration, calibration
from echat_eval.concurrency import event_loop
from echat_eval.errors import BadData, NotApplicable
from echat_eval.io.audio import audio_ref
from echat_eval.io.inside import Folder
from echat_eval.io.schema import STRING, TEXT, Schema, read_schema_rows, shorten, text
from echat_eval.labels import CUES, SHIPPED, UNKNOWN, check_labels
from echat_eval.leaderboard.attribution import Recognition, recognition
from echat_eval.ports import language_fault
from echat_eval.scorers.error_rate import count_edits
from echat_eval.scorers.normalize import words
from echat_eval.stats import Estimate, cluster_mean

if TYPE_CHECKING:
    from echat_eval.ports import Annotator
    from echat_eval.records import AudioRef

__all__ = ["Clip", "Report", "annotate_clips", "annotations_of", "read_clips", "report_of"]

_ROW = Schema(
    {
        "audio": text("a path inside the file's folder"),
        "language": TEXT,
        "transcript": STRING.optional(),
        "speaker": STRING.optional(),
        **dict.fromkeys(CUES, TEXT.optional()),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A recording with its gold transcript and labels."""

    audio: AudioRef
    language: str
    transcript: str | None
    speaker: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """An annotator's results on labelled clips.

    Attributes:
        error_rate: word error rate in percent (character error rate for languages without spaces).
        cues: cue -> recall.
        confusion: cue -> (gold label, predicted label) -> number of clips.
        calibration: cue -> expected calibration error of its confidence.
        not_applicable: number of clips that the annotator does not cover.
    """

    clips: int
    not_applicable: int
    error_rate: Estimate | None
    cues: Mapping[str, Recognition]
    confusion: Mapping[str, Mapping[tuple[str, str], int]]
    calibration: Mapping[str, Calibration]


def read_clips(path: Path) -> list[Clip]:
    """Return the clips of a JSONL file; audio paths are relative to it and stay in its folder.

    Raises:
        BadData: a row is invalid (the message has file and line), or there is none.
    """
    clips = []
    files = Folder(path.parent, "the file's folder")
    for line, row in read_schema_rows(path, _ROW):
        try:
            audio = files.file(row["audio"])
        except BadData as error:
            raise BadData(f"{path}:{line}: audio {shorten(row['audio'])}: {error}") from error
        labels = {cue: row[cue] for cue in CUES if row.get(cue) is not None}
        check_labels(labels, f"{path}:{line}")
        clips.append(
            Clip(
                audio=audio_ref(audio),
                language=row["language"],
                transcript=row.get("transcript"),
                # A clip without a speaker is its own cluster: an assumption, and the most favourable one.
                speaker=row.get("speaker") or f"clip {line}",
                labels=labels,
            )
        )
    if not clips:
        raise BadData(f"{path}: no clips")
    return clips


def annotate_clips(
    annotator: Annotator, clips: Sequence[Clip], on_result: Callable[[], None] = lambda: None
) -> Report:
    """Return an annotator's results on labelled clips; call `on_result` after each clip."""
    return report_of(clips, annotations_of(annotator, clips, on_result))


def annotations_of(
    annotator: Annotator, clips: Sequence[Clip], on_result: Callable[[], None] = lambda: None
) -> list[Mapping[str, Any] | None]:
    """Return an annotator's values of each clip; None where it is not applicable."""
    found: list[Mapping[str, Any] | None] = []
    for clip in clips:
        found.append(None)
        if language_fault(annotator, clip.language) is None:
            with contextlib.suppress(NotApplicable):
                found[-1] = event_loop.call(annotator.annotate, clip.audio, language=clip.language)
        on_result()
    return found


def report_of(clips: Sequence[Clip], annotations: Sequence[Mapping[str, Any] | None]) -> Report:
    """Return how annotations agree with the transcripts and labels of clips.

    Args:
        clips: the clips.
        annotations: of each clip, as `annotations_of` returns them.
    """
    annotated = [(c, values) for c, values in zip(clips, annotations, strict=True) if values is not None]
    cues, confusion, calibrations = {}, {}, {}
    for cue in CUES:
        rows = [(c, v) for c, v in annotated if cue in c.labels]
        if not any(cue in values for _, values in rows):
            continue
        # A clip for which the annotator names no label is wrong, as a reply that names none is.
        cues[cue] = recognition(
            SHIPPED[cue], [(c.labels[cue], str(v.get(cue, UNKNOWN)), c.speaker) for c, v in rows]
        )
        counts: dict[tuple[str, str], int] = {}
        for clip, values in rows:
            pair = (clip.labels[cue], str(values.get(cue, UNKNOWN)))
            counts[pair] = counts.get(pair, 0) + 1
        confusion[cue] = counts
        confident = [
            (c, v)
            for c, v in rows
            if isinstance(v.get("confidence"), float) and v.get(cue, UNKNOWN) != UNKNOWN
        ]
        if confident:
            calibrations[cue] = _calibration(
                [(float(v["confidence"]), c.labels[cue] == v[cue], c.speaker) for c, v in confident]
            )
    return Report(
        clips=len(clips),
        not_applicable=len(clips) - len(annotated),
        error_rate=_error_rate(annotated),
        cues=cues,
        confusion=confusion,
        calibration=calibrations,
    )


def _calibration(rows: Sequence[tuple[float, bool, str]]) -> Calibration:
    confidence, right = np.array([row[0] for row in rows]), np.array([float(row[1]) for row in rows])
    return calibration(confidence, right, [row[2] for row in rows])


def _error_rate(annotated: Sequence[tuple[Clip, Mapping[str, Any]]]) -> Estimate | None:
    """Return the corpus error rate: errors per reference unit, over all clips."""
    rates, weights, speakers = [], [], []
    for clip, values in annotated:
        reference = words(clip.transcript or "", clip.language)
        if reference and "hypothesis" in values:
            counts = count_edits(reference, words(values["hypothesis"], clip.language))
            rates.append(counts.percent)
            weights.append(float(counts.reference))
            speakers.append(clip.speaker)
    if not rates:
        return None
    codes = {name: n for n, name in enumerate(dict.fromkeys(speakers))}
    return cluster_mean(rates, [codes[s] for s in speakers], weights=weights)
