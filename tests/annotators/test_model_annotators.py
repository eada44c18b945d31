"""Annotators with a model file share one way to release it, to hash it and to list its settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from echat_eval.annotators import local_model
from echat_eval.annotators.emotion2vec import Emotion2vec
from echat_eval.annotators.events import AUDIOSET, EventTagger
from echat_eval.annotators.funasr import FunASR
from echat_eval.annotators.local_model import ModelAnnotator
from echat_eval.annotators.sensevoice import SenseVoice
from echat_eval.annotators.speaker import CHILD_BELOW, OLD_FROM, AgeGenderRegressor, Speaker
from echat_eval.annotators.transformers_asr import TransformersASR
from echat_eval.annotators.transformers_audio import ClassifierAnnotator, EmotionClassifier
from echat_eval.annotators.weights import folder_sha256
from echat_eval.io.hashing import fingerprint_of

FUNASR = {"funasr": "1", "torch": "1"}
TRANSFORMERS = {"transformers": "1", "torch": "1"}
#: Annotator -> arguments, package versions and the rules in its fingerprint.
PARTS: dict[Any, tuple[dict[str, Any], Mapping[str, str], dict[str, Any]]] = {
    FunASR: ({}, FUNASR, {"rule": "2"}),
    SenseVoice: ({}, FUNASR, {"rule": "2"}),
    Emotion2vec: ({"threshold": 0.6}, FUNASR, {"rule": "1", "threshold": 0.6}),
    TransformersASR: ({}, TRANSFORMERS, {"rule": "1", "max_new_tokens": 440}),
    AgeGenderRegressor: (
        {},
        TRANSFORMERS,
        {"rule": "1", "years": [CHILD_BELOW, OLD_FROM], "threshold": 0.5},
    ),
    EmotionClassifier: (
        {"labels": "a=sad"},
        TRANSFORMERS,
        {"rule": "1", "cue": "emotion", "labels": {"a": "sad"}, "threshold": 0.5},
    ),
    EventTagger: (
        {},
        TRANSFORMERS,
        {"rule": "1", "cue": "event", "labels": dict(AUDIOSET), "threshold": 0.5},
    ),
    Speaker: (
        {"cue": "age", "threshold": 0.7},
        TRANSFORMERS,
        {"rule": "1", "cue": "age", "labels": {}, "threshold": 0.7},
    ),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("config.yaml", "config.json", "model.pt"):
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(local_model, "installed_version", lambda _: "1")
    monkeypatch.setattr(local_model, "resampler", lambda: "r")
    return tmp_path


# A changed value invalidates every stored annotation.
@pytest.mark.parametrize("kind", PARTS, ids=lambda kind: kind.__name__)
def test_fingerprint_covers_weights_packages_and_rules(kind: Any, folder: Path) -> None:
    arguments, packages, rules = PARTS[kind]
    annotator = kind(model=str(folder), **arguments)
    assert annotator.fingerprint() == fingerprint_of(
        {"weights": folder_sha256(folder), "resampler": "r", **packages, **rules}
    )


@pytest.mark.parametrize("kind", PARTS, ids=lambda kind: kind.__name__)
def test_close_releases_the_model(kind: Any, folder: Path) -> None:
    annotator = kind(model=str(folder), **PARTS[kind][0])
    classifier = getattr(annotator, "_classifier", None)
    model = annotator._model if classifier is None else classifier.local_model
    model._loaded = object()
    annotator.close()
    assert model._loaded is None


@pytest.mark.parametrize("kind", PARTS, ids=lambda kind: kind.__name__)
def test_settings_name_the_model(kind: Any, folder: Path) -> None:
    settings = kind(model=str(folder), **PARTS[kind][0]).settings()
    assert settings["model"] == str(folder)
    assert settings["licence"]


@pytest.mark.parametrize("kind", PARTS, ids=lambda kind: kind.__name__)
def test_no_annotator_has_its_own_copy(kind: Any) -> None:
    assert issubclass(kind, ModelAnnotator | ClassifierAnnotator)
    assert not {"close", "fingerprint"} & set(vars(kind))
