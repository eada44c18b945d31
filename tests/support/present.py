"""Values that a test expects to be there, with their types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from echat_eval.records import AudioRef, Reply, Score, Waveform

Value = TypeVar("Value")


def present(value: Value | None) -> Value:
    """Return the value; a test that got None fails here."""
    assert value is not None
    return value


def waveform_of(reply: Reply) -> Waveform:
    """Return the samples of a reply's voice; a text-only reply or a file fails here."""
    assert isinstance(reply.audio, Waveform)
    return reply.audio


def evidence_facts(score: Score) -> Mapping[str, Any]:
    """Return what a scorer without a judge states as evidence; a judge's evidence fails here."""
    assert isinstance(score.evidence, Mapping)
    return score.evidence


def recording_of(reply: Reply) -> AudioRef:
    """Return the file of a reply's voice; a text-only reply or samples in memory fail here."""
    assert isinstance(reply.audio, AudioRef)
    return reply.audio
