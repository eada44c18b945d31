"""Evaluate empathetic spoken dialogue: does a system respond to how people speak, not only to their words?"""

from echat_eval.records import (
    Annotation,
    AudioRef,
    Metric,
    Reply,
    Request,
    Response,
    Sample,
    Score,
    Turn,
    Waveform,
)

__version__ = "0.1.0"

__all__ = [
    "Annotation",
    "AudioRef",
    "Metric",
    "Reply",
    "Request",
    "Response",
    "Sample",
    "Score",
    "Turn",
    "Waveform",
]
