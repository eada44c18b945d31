"""Does an annotator hear what people say is there? Error rates, recall, confusion, calibration."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from echat_eval.checks.agreement import Agreement, calibration_error, jackknifed
from echat_eval.concurrency import event_loop
from echat_eval.errors import BadData, NotApplicable
from echat_eval.io.audio import audio_ref
from echat_eval.io.jsonl import read_rows
from echat_eval.labels import CUES, UNKNOWN, check_label
from echat_eval.leaderboard.attribution import Recognition, recognition
from echat_eval.scorers.normalize import words
from echat_eval.stats import Estimate, cluster_mean

if TYPE_CHECKING:
    from echat_eval.ports import Annotator
    from echat_eval.records import AudioRef

__all__ = ["Clip", "Report", "hear_clips", "read_clips"]

_KEYS = {"audio", "language", "transcript", "speaker", *CUES}


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A recording and what people say is in it."""

    audio: AudioRef
    language: str
    transcript: str | None
    speaker: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an annotator made of the clips.

    Attributes:
        error_rate: word error rate in percent (characters where a language has no spaces).
        cues: cue -> recall; confusion: cue -> (gold, heard) -> clips.
        calibration: cue -> expected calibration error of its confidence.
        not_applicable: clips it does not hear.
    """

    clips: int
    not_applicable: int
    error_rate: Estimate | None
    cues: Mapping[str, Recognition]
    confusion: Mapping[str, Mapping[tuple[str, str], int]]
    calibration: Mapping[str, Agreement]


def read_clips(path: Path) -> list[Clip]:
    """Return the clips of a JSONL file; audio paths are relative to it and stay in its folder.

    Raises:
        BadData: with file and line.
    """
    clips = []
    for line, row in read_rows(path):
        if not {"audio", "language"} <= set(row) <= _KEYS:
            raise BadData(
                f"{path}:{line}: keys are {sorted(row)}, expected audio, language and any of {sorted(_KEYS)}"
            )
        audio = (path.parent / row["audio"]).resolve()
        if not audio.is_relative_to(path.parent.resolve()):
            raise BadData(f"{path}:{line}: audio '{row['audio']}' leaves the file's folder")
        labels = {cue: row[cue] for cue in CUES if cue in row}
        for cue, label in labels.items():
            check_label(cue, label)
        clips.append(
            Clip(
                audio=audio_ref(audio),
                language=row["language"],
                transcript=row.get("transcript"),
                # Without a name every clip is a cluster of its own: an assumption, and the kindest one.
                speaker=row.get("speaker") or f"clip {line}",
                labels=labels,
            )
        )
    if not clips:
        raise BadData(f"{path}: no clips")
    return clips


def hear_clips(
    annotator: Annotator, clips: Sequence[Clip], told: Callable[[], None] = lambda: None
) -> Report:
    """Return what an annotator makes of labelled clips; `told` is called after each."""
    heard: list[tuple[Clip, Mapping[str, Any]]] = []
    for clip in clips:
        with contextlib.suppress(NotApplicable):
            heard.append((clip, event_loop.call(annotator.annotate, clip.audio, language=clip.language)))
        told()
    cues, confusion, calibration = {}, {}, {}
    for cue in CUES:
        rows = [(c, v) for c, v in heard if cue in c.labels and cue in v]
        if not rows:
            continue
        cues[cue] = recognition(cue, [(c.labels[cue], str(v[cue]), c.speaker) for c, v in rows])
        counts: dict[tuple[str, str], int] = {}
        for clip, values in rows:
            pair = (clip.labels[cue], str(values[cue]))
            counts[pair] = counts.get(pair, 0) + 1
        confusion[cue] = counts
        sure = [(c, v) for c, v in rows if isinstance(v.get("confidence"), float) and v[cue] != UNKNOWN]
        if sure:
            calibration[cue] = _calibration(
                [(float(v["confidence"]), c.labels[cue] == v[cue], c.speaker) for c, v in sure]
            )
    return Report(
        clips=len(clips),
        not_applicable=len(clips) - len(heard),
        error_rate=_error_rate(heard),
        cues=cues,
        confusion=confusion,
        calibration=calibration,
    )


def _calibration(rows: Sequence[tuple[float, bool, str]]) -> Agreement:
    confidence, right = np.array([row[0] for row in rows]), np.array([float(row[1]) for row in rows])
    return jackknifed(lambda i: calibration_error(confidence[i], right[i]), [row[2] for row in rows])


def _error_rate(heard: Sequence[tuple[Clip, Mapping[str, Any]]]) -> Estimate | None:
    """Return the corpus error rate: errors over reference units, clips weighted by their length."""
    rates, weights, speakers = [], [], []
    for clip, values in heard:
        reference = words(clip.transcript or "", clip.language)
        if reference and "hypothesis" in values:
            errors = _edits(reference, words(values["hypothesis"], clip.language))
            rates.append(100.0 * errors / len(reference))
            weights.append(float(len(reference)))
            speakers.append(clip.speaker)
    if not rates:
        return None
    codes = {name: n for n, name in enumerate(dict.fromkeys(speakers))}
    return cluster_mean(rates, [codes[s] for s in speakers], weights=weights)


def _edits(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    row = list(range(len(hypothesis) + 1))
    for i, unit in enumerate(reference, 1):
        row, above = [i], row
        for j, other in enumerate(hypothesis, 1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (unit != other)))
    return row[-1]
