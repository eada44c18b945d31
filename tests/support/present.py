"""Values that a test expects to be there, with their types."""

from __future__ import annotations

from typing import TypeVar

from echat_eval.records import Reply, Waveform

Value = TypeVar("Value")


def present(value: Value | None) -> Value:
    """Return the value; a test that got None fails here."""
    assert value is not None
    return value


def waveform_of(reply: Reply) -> Waveform:
    """Return the samples of a reply's voice; a text-only reply or a file fails here."""
    assert isinstance(reply.audio, Waveform)
    return reply.audio
