"""Whisper through CTranslate2: transcripts of replies."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echat_eval.errors import NotInstalled
from echat_eval.io.audio import read_mono, resampler
from echat_eval.io.bundled_models import asset_file, installed_version
from echat_eval.io.hashing import fingerprint_of, unchanged_file_sha256
from echat_eval.languages import base_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from echat_eval.records import AudioRef

__all__ = ["Whisper"]

EMBEDDED = "whisper-tiny.en"
_RATE = 16000


@dataclass(slots=True, kw_only=True)
class Whisper:
    """Recogniser with greedy decoding and no fallback, so that equal audio gives equal transcripts.

    Attributes:
        model: a folder in CTranslate2's format, or a hub name that is already in the local cache;
            None is the embedded English tiny model. Nothing is downloaded.
        beam_size: hypotheses kept while decoding; 1 is greedy.
        compute_type: CTranslate2's type of the weights, such as int8, float16 or float32.
        languages: None means English for the embedded model and for names that end in ".en",
            English and Chinese for any other model.
        calls_at_once: replies transcribed in parallel, each with its own `threads`.
    """

    model: str | None = None
    beam_size: int = 1
    threads: int = 1
    device: str = "cpu"
    compute_type: str = "int8"
    languages: tuple[str, ...] | None = None
    calls_at_once: int = 2
    name: str = field(default="whisper", init=False)
    version: str = field(default="1", init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)
    _loaded: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.languages is None:
            english = self.model is None or self.model.rstrip("/").endswith(".en")
            self.languages = ("en",) if english else ("en", "zh")

    def annotate(self, audio: AudioRef, *, language: str) -> Mapping[str, Any]:
        """Return hypothesis (text, "" if no speech is recognised), language, and seconds of audio.

        Raises:
            NotInstalled: faster-whisper or the model is absent.
            BadData: the file is no readable audio.
        """
        mono, _ = read_mono(audio.path, rate=_RATE)
        with self._lock:
            model = self._ready()
        segments, _ = model.transcribe(
            mono,
            language=base_of(language),
            beam_size=self.beam_size,
            # One temperature and no thresholds on the text: nothing is sampled or retried.
            temperature=0.0,
            compression_ratio_threshold=None,
            log_prob_threshold=None,
            no_speech_threshold=0.6,
            condition_on_previous_text=False,
            vad_filter=False,
        )
        hypothesis = " ".join(segment.text.strip() for segment in segments)
        return {"hypothesis": hypothesis, "language": language, "seconds": len(mono) / _RATE}

    def load(self) -> None:
        """Load the model now instead of at the first reply."""
        with self._lock:
            self._ready()

    def close(self) -> None:
        """Release the model."""
        with self._lock:
            self._loaded = None

    def fingerprint(self) -> str:
        """Return the hash of the weights and the tokenizer, the engine's versions and the settings."""
        folder = self._folder()
        parts = {
            "weights": unchanged_file_sha256(folder / "model.bin"),
            "tokenizer": unchanged_file_sha256(folder / "tokenizer.json"),
            "faster-whisper": installed_version("faster-whisper"),
            "ctranslate2": installed_version("ctranslate2"),
            "resampler": resampler(),
            "rule": self.version,
            "settings": {k: v for k, v in self.settings().items() if k not in ("model", "threads")},
        }
        return fingerprint_of(parts)

    def settings(self) -> Mapping[str, Any]:
        """Return the settings."""
        return {
            "model": self.model or EMBEDDED,
            "beam_size": self.beam_size,
            "threads": self.threads,
            "device": self.device,
            "compute_type": self.compute_type,
            "languages": list(self.languages or ()),
        }

    def _ready(self) -> Any:
        if self._loaded is None:
            folder = self._folder()
            try:
                from faster_whisper import WhisperModel
            except ImportError as error:
                raise NotInstalled(
                    "Whisper needs faster-whisper; pip install 'echat-eval[whisper]'"
                ) from error
            self._loaded = WhisperModel(
                str(folder),
                device=self.device,
                compute_type=self.compute_type,
                cpu_threads=self.threads,
                num_workers=self.calls_at_once,
                local_files_only=True,
            )
        return self._loaded

    def _folder(self) -> Path:
        if self.model is None:
            return asset_file(EMBEDDED).parent
        folder = Path(self.model).expanduser()
        if not folder.is_dir():
            folder = _cached(self.model)
        # Without a tokenizer, faster-whisper would download one.
        for file in ("model.bin", "tokenizer.json"):
            if not (folder / file).is_file():
                raise NotInstalled(f"{folder}: no {file}; expected a Whisper model in CTranslate2's format")
        return folder


def _cached(name: str) -> Path:
    """Return a model's folder in the local hub cache, without network access."""
    missing = NotInstalled(
        f"whisper model '{name}' is neither a folder nor in the local hub cache; "
        f"download it once with: python -c \"import faster_whisper as f; f.download_model('{name}')\""
    )
    try:
        from faster_whisper import download_model
    except ImportError as error:
        raise NotInstalled("Whisper needs faster-whisper; pip install 'echat-eval[whisper]'") from error
    try:
        return Path(download_model(name, local_files_only=True))
    except (OSError, ValueError) as error:  # not cached, or no such name
        raise missing from error
