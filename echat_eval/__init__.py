"""Evaluate empathetic spoken dialogue: does a system hear how people speak, not only what they say?"""

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
