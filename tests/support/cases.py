"""Scorer cases built from plain values, and an embedder of known cosines."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from echat_eval.ports import Case
from echat_eval.records import Annotation, AudioRef, Reply, Response, Sample, State

SOUND = AudioRef(path=Path("x.wav"), sha256="0" * 64, seconds=1.0)


@dataclass
class Angles:
    """Maps texts to points on the unit circle: "30" to 30 degrees."""

    seen: list[str] = field(default_factory=list)

    def embed(self, text: str) -> np.ndarray:
        self.seen.append(text)
        return np.array([math.cos(math.radians(float(text))), math.sin(math.radians(float(text)))])

    def fingerprint(self) -> str:
        return "angles 1"


def case(
    id: str,
    reply: str | None,
    reference: str | None = None,
    *,
    state: State = "value",
    group: str | None = "g",
    hypothesis: str | None = None,
    annotation_state: State = "value",
    audio: bool = True,
    language: str = "en",
    seconds: float | None = 1.5,
    reason: str | None = None,
) -> Case:
    sample = Sample(
        task="emotion",
        id=id,
        audio=SOUND,
        transcript="words",
        cues={"emotion": "sad"},
        language=language,
        source="synthetic",
        contrast_group=group,
        references=(reference,) if reference is not None else (),
    )
    reply_record = Reply(text=reply, audio=SOUND if audio else None) if state == "value" else None
    response = Response(
        key="k",
        system="s",
        task="emotion",
        sample_id=id,
        state=state,
        reason=reason,
        reply=reply_record,
        seconds=seconds,
    )
    annotations: dict[str, Annotation] = {}
    if hypothesis is not None or annotation_state != "value":
        annotations["whisper"] = Annotation(
            key="a",
            system="s",
            task="emotion",
            sample_id=id,
            annotator="whisper",
            state=annotation_state,
            reason=None if annotation_state == "value" else "why",
            values={"hypothesis": hypothesis} if hypothesis is not None else {},
        )
    return Case(sample=sample, response=response, annotations=annotations)
