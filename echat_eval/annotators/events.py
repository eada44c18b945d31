"""Sound events in a reply, by any tagger of transformers, such as AST."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from echat_eval.annotators.transformers_audio import AudioClassifier, read_map

if TYPE_CHECKING:
    from echat_eval.records import AudioRef

__all__ = ["AUDIOSET", "EventTagger"]

#: AudioSet's names of the benchmark's events; a tagger's other classes are unmapped and said.
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


class EventTagger:
    """Hears events, each class by itself: a reply may laugh and cough, and speech is no event."""

    name = "transformers-event"
    version = "1"

    def __init__(
        self,
        model: str,
        labels: str | Mapping[str, str] = "",
        revision: str | None = None,
        device: str = "cpu",
        threshold: float = 0.5,
        batch_size: int = 8,
    ) -> None:
        self.batch_size = batch_size
        self._heard = AudioClassifier(
            cue="event",
            model=model,
            labels=read_map(labels),
            known=AUDIOSET,
            revision=revision,
            device=device,
            threshold=threshold,
        )

    def annotate(self, audio: AudioRef, *, language: str) -> Mapping[str, Any]:
        """Return event (the likeliest, or "none"), events (label -> probability) and what is unmapped."""
        return self.annotate_batch([audio], language=language)[0]

    def annotate_batch(self, audios: Sequence[AudioRef], *, language: str) -> Sequence[Mapping[str, Any]]:
        """Return the same for several replies."""
        labels, heard = self._heard.heard(audios, independent=True)
        # "none" is what is left when nothing is tagged, and "other" is no sound.
        never = [label for label in labels.never if label not in ("none", "other")]
        made = []
        for shares in heard:
            events: dict[str, float] = {}
            for name, label in labels.labels.items():
                events[label] = max(events.get(label, 0.0), shares[name])
            best = max(events, key=lambda label: events[label])
            made.append(
                {
                    "event": best if events[best] >= self._heard.threshold else "none",
                    "events": {label: round(p, 6) for label, p in events.items()},
                    **labels.lacks(),
                    "never": never,
                }
            )
        return made

    def close(self) -> None:
        """Let the model go."""
        self._heard.hears.close()

    def fingerprint(self) -> str:
        """Hash of the weights, the packages, the map, the threshold and the rule."""
        return self._heard.fingerprint(rule=self.version)

    def settings(self) -> Mapping[str, Any]:
        """Everything that was set."""
        return {**self._heard.settings(), "labels": dict(self._heard.labels) or "AudioSet"}
