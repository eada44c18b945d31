"""Mapping from an annotator's classes to the benchmark's labels; unmapped classes are listed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from echat_eval.errors import BadData
from echat_eval.labels import LABELS, UNKNOWN, to_label

__all__ = ["Decision", "LabelMap", "decide"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMap:
    """Mapping from the classes of an annotator to the labels of a cue.

    Attributes:
        labels: class -> the benchmark's label, or `UNKNOWN` for a class without information.
        unmapped: classes without a label; they stay in the distribution but cannot be the decision.
        never: labels of the benchmark that this annotator cannot return.
    """

    cue: str
    labels: Mapping[str, str]
    unmapped: tuple[str, ...]
    never: tuple[str, ...]

    @classmethod
    def of(cls, cue: str, classes: Sequence[str], declared: Mapping[str, str] | None = None) -> LabelMap:
        """Return the map of an annotator's classes.

        Args:
            declared: class -> label; other classes are looked up among the known spellings.
                A spelling such as "生气/angry" is looked up part by part.

        Raises:
            BadData: it declares an unknown class or label, or no class is mapped.
        """
        declared = dict(declared or {})
        for name, label in declared.items():
            if name not in classes:
                raise BadData(f"label map names class '{name}'; classes are {', '.join(classes)}")
            if label not in (*LABELS[cue], UNKNOWN):
                raise BadData(f"label map: '{label}' is no {cue}; labels are {', '.join(LABELS[cue])}")
        mapped = {name: declared.get(name) or _known_label(cue, name) for name in classes}
        labels = {name: label for name, label in mapped.items() if label is not None}
        if not set(labels.values()) - {UNKNOWN}:
            raise BadData(
                f"none of the classes {', '.join(classes[:9])} is a known {cue}; declare a label map"
            )
        return cls(
            cue=cue,
            labels=labels,
            unmapped=tuple(name for name, label in mapped.items() if label is None),
            never=tuple(label for label in LABELS[cue] if label not in labels.values()),
        )

    def gaps(self) -> dict[str, list[str]]:
        """Return classes without a label and labels without a class, as values of an annotation."""
        return {"unmapped": list(self.unmapped), "never": list(self.never)}


def _known_label(cue: str, name: str) -> str | None:
    for part in (name, *name.split("/"), *name.split(",")):
        if (label := to_label(cue, part.strip().lower())) is not None:
            return label
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Label chosen from a distribution.

    Attributes:
        label: the benchmark's label, or `UNKNOWN` if the annotator abstains.
        confidence: the label's probability, summed over its classes.
    """

    label: str
    confidence: float


def decide(distribution: Mapping[str, float], labels: LabelMap, *, threshold: float) -> Decision:
    """Return the likeliest label, or `UNKNOWN` below the threshold. Ties go to the earlier class.

    >>> emotions = LabelMap.of("emotion", ["angry", "sad", "<unk>"])
    >>> decide({"angry": 0.3, "sad": 0.6, "<unk>": 0.1}, emotions, threshold=0.5).label
    'sad'
    >>> decide({"angry": 0.3, "sad": 0.4, "<unk>": 0.3}, emotions, threshold=0.5).label
    'unknown'
    """
    sums: dict[str, float] = {}
    for name, probability in distribution.items():
        if name in labels.labels:
            sums[labels.labels[name]] = sums.get(labels.labels[name], 0.0) + probability
    best = max(sums, key=lambda label: sums[label])
    return Decision(label=best if sums[best] >= threshold else UNKNOWN, confidence=sums[best])
