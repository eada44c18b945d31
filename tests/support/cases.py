"""Cases for scorers."""

from __future__ import annotations

from pathlib import Path

from echat_eval.ports import Case
from echat_eval.records import Annotation, AudioRef, Reply, Response, Sample

SOUND = AudioRef(path=Path("x.wav"), sha256="0" * 64, seconds=1.0)


def case(
    id: str,
    reply: str | None,
    reference: str | None = None,
    *,
    state: str = "value",
    group: str | None = "g",
    heard: str | None = None,
    heard_state: str = "value",
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
    answer = Reply(text=reply, audio=SOUND if audio else None) if state == "value" else None
    response = Response(
        key="k",
        system="s",
        task="emotion",
        sample_id=id,
        state=state,
        reason=reason,
        reply=answer,
        seconds=seconds,
    )
    notes: dict[str, Annotation] = {}
    if heard is not None or heard_state != "value":
        notes["whisper"] = Annotation(
            key="a",
            system="s",
            task="emotion",
            sample_id=id,
            annotator="whisper",
            state=heard_state,
            reason=None if heard_state == "value" else "why",
            values={"hypothesis": heard} if heard is not None else {},
        )
    return Case(sample=sample, response=response, annotations=notes)
