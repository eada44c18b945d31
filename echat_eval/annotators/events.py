"""Sound events in a reply, by an audio tagger of transformers such as AST."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from echat_eval.annotators.transformers_audio import ClassifierAnnotator

if TYPE_CHECKING:
    from echat_eval.records import AudioRef

__all__ = ["AUDIOSET", "EventTagger"]

#: AudioSet's class -> event of the benchmark; a tagger's other classes are listed as unmapped.
AUDIOSET: Mapping[str, str] = {
    "Laughter": "laugh",
    "Baby laughter": "laugh",
    "Giggle": "laugh",
    "Snicker": "laugh",
    "Belly laugh": "laugh",
    "Chuckle, chortle": "laugh",
    "Cough": "cough",
    "Crying, sobbing": "cry",
    "Baby cry, infant cry": "cry",
    "Whimper": "cry",
    "Wail, moan": "cry",
    "Screaming": "scream",
    "Sigh": "sigh",
    "Throat clearing": "throat clearing",
    "Sneeze": "sneeze",
}


class EventTagger(ClassifierAnnotator):
    """Tagger of sound events; classes are independent, so a reply can have several. Speech is no event."""

    name = "transformers-event"
    version = "1"
    cue = "event"
    default_labels = AUDIOSET

    def annotate_batch(self, audios: Sequence[AudioRef], *, language: str) -> Sequence[Mapping[str, Any]]:
        """Return, per reply, event (the likeliest, or "none"), events (label -> probability) and the gaps."""
        labels, distributions = self._classifier.predict(audios, independent=True)
        # "none" applies if nothing is tagged; "other" is no specific sound.
        never = [label for label in labels.never if label not in ("none", "other")]
        annotations = []
        for distribution in distributions:
            events: dict[str, float] = {}
            for name, label in labels.labels.items():
                events[label] = max(events.get(label, 0.0), distribution[name])
            best = max(events, key=lambda label: events[label])
            annotations.append(
                {
                    "event": best if events[best] >= self._classifier.threshold else "none",
                    "events": {label: round(p, 6) for label, p in events.items()},
                    **labels.gaps(),
                    "never": never,
                }
            )
        return annotations

    def settings(self) -> Mapping[str, Any]:
        """Return the settings."""
        return {**self._classifier.settings(), "labels": dict(self._classifier.labels) or "AudioSet"}
