"""hibari: a small English text-to-speech model whose weights are part of its package."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from echat_eval.errors import NotInstalled
from echat_eval.io.bundled_models import asset_file, installed_version
from echat_eval.io.hashing import unchanged_file_sha256
from echat_eval.records import Waveform

__all__ = ["HibariVoice"]


@dataclass(slots=True, kw_only=True)
class HibariVoice:
    """Speaks English in the voice "heart" (synthetic, female) at 24 kHz; equal text gives equal audio."""

    seed: int = 0
    speed: float = 1.0
    _model: Any = field(default=None, init=False, repr=False)

    def load(self) -> None:
        """Load the model.

        Raises:
            NotInstalled: hibari-tts is not installed.
        """
        if self._model is not None:
            return
        path = asset_file("hibari-heart")
        try:
            from hibari import Hibari
        except ImportError as error:
            raise NotInstalled(
                "the cascade's voice needs hibari-tts; pip install hibari-tts==0.2.1"
            ) from error
        # With a path, hibari does not look for the voice on a hub.
        self._model = Hibari(model=str(path))

    def close(self) -> None:
        """Free the model."""
        self._model = None

    def say(self, text: str) -> Waveform:
        """Return the spoken text."""
        self.load()
        return Waveform(samples=self._model(text, speed=self.speed, seed=self.seed), sample_rate=24000)

    def fingerprint(self) -> str:
        """Return version, hash of the weights and settings."""
        version = installed_version("hibari-tts")
        weights = unchanged_file_sha256(asset_file("hibari-heart"))
        return f"hibari-tts {version} {weights} {self.seed} {self.speed:g}"
