"""A compact description of a reply's voice in words and numbers, for a judge that only reads.

One line per measure, from the annotations that exist. It holds numbers and known labels only: no text of a
reply or of a model comes into it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from echat_eval.io.schema import is_number
from echat_eval.labels import LABELS

if TYPE_CHECKING:
    from echat_eval.ports import Case

__all__ = ["VOICE_ANNOTATORS", "describe_voice", "emotion_distribution"]

#: Annotators whose measures are described.
VOICE_ANNOTATORS: tuple[str, ...] = ("emotion2vec", "transformers-emotion", "acoustics", "dnsmos")
#: Classes of emotions below this probability are left out.
MIN_PROBABILITY = 0.05
#: Class of an emotion annotator -> label of the benchmark.
_CLASSES = {"angry": "anger", "disgusted": "disgust", "fearful": "fear", "surprised": "surprise"}


def describe_voice(case: Case) -> str | None:
    """Return the description of a reply's voice; None if no annotator measured it."""
    values = {
        name: case.annotations[name].values
        for name in VOICE_ANNOTATORS
        if name in case.annotations and case.annotations[name].state == "value"
    }
    lines = [
        _emotions(emotion_distribution(case)),
        *_acoustics(values.get("acoustics", {})),
        _quality(values.get("dnsmos", {})),
    ]
    return "\n".join(line for line in lines if line) or None


def emotion_distribution(case: Case) -> dict[str, float] | None:
    """Return label -> probability of a reply's voice, by the first annotator that gave it; None if none did.

    Classes that are no label of the benchmark are left out.
    """
    for name in ("emotion2vec", "transformers-emotion"):
        annotation = case.annotations.get(name)
        given = annotation.values.get("distribution") if annotation and annotation.state == "value" else None
        if not isinstance(given, Mapping):
            continue
        found: dict[str, float] = {}
        for key, probability in given.items():
            label = _CLASSES.get(str(key), str(key))
            if label in LABELS["emotion"] and is_number(probability, low=0, high=1):
                found[label] = found.get(label, 0.0) + float(probability)
        if found:
            return found
    return None


def _emotions(found: Mapping[str, float] | None) -> str | None:
    if found is None:
        return None
    shown = [
        f"{label} {probability:.2f}"
        for label, probability in sorted(found.items(), key=lambda item: -item[1])
        if probability >= MIN_PROBABILITY
    ]
    return f"emotions: {', '.join(shown)}" if shown else None


def _acoustics(values: Mapping[str, Any]) -> list[str | None]:
    def number(name: str) -> float | None:
        value = values.get(name)
        return float(value) if isinstance(value, int | float) and is_number(value) else None

    def line(title: str, *parts: tuple[str, str, float]) -> str | None:
        texts = [
            form.format(factor * value) for name, form, factor in parts if (value := number(name)) is not None
        ]
        return f"{title}: {', '.join(texts)}" if texts else None

    return [
        line("length", ("seconds", "{:.1f} s", 1)),
        line(
            "pitch (F0)",
            ("f0_median_hz", "median {:.0f} Hz", 1),
            ("f0_range_semitones", "range {:.1f} semitones", 1),
        ),
        line(
            "loudness",
            ("energy_db", "{:.0f} dB re full scale", 1),
            ("energy_range_db", "range {:.0f} dB", 1),
        ),
        line("pace", ("energy_peaks_per_second", "{:.1f} energy peaks per second", 1)),
        line(
            "pauses",
            ("pause_share", "{:.0f} % of the time", 100),
            ("pauses_per_second", "{:.2f} per second", 1),
        ),
    ]


def _quality(values: Mapping[str, Any]) -> str | None:
    overall = values.get("overall")
    return f"quality (DNSMOS): {overall:.1f} of 5" if is_number(overall, low=1, high=5) else None
