"""FunASR's and transformers' own classes, loading tiny checkpoints in the official formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import tiny_models

from echat_eval.audio import audio_ref
from echat_eval.errors import BadData, NotApplicable
from echat_eval.labels import LABELS, UNKNOWN
from echat_eval.records import AudioRef

torch = pytest.importorskip("torch", reason="torch is an extra: pip install 'echat-eval[osum]'")
pytest.importorskip("transformers", reason="transformers is an extra: pip install 'echat-eval[osum]'")

pytestmark = [
    pytest.mark.torch,
    # The libraries' own notices; ours are still errors.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::SyntaxWarning"),
]


def clip(path: Path, seed: int, seconds: float | None = None) -> AudioRef:
    """Write a little voice-like sound: two moving tones and noise."""
    rng = np.random.default_rng(seed)
    seconds = seconds if seconds is not None else float(rng.uniform(0.15, 0.9))
    time = np.arange(int(16000 * seconds)) / 16000
    tones = sum(
        rng.uniform(0.05, 0.3)
        * np.sin(2 * np.pi * (rng.uniform(80, 900) * time + rng.uniform(0, 40) * time**2))
        for _ in range(2)
    )
    sf.write(path, tones + rng.normal(0, rng.uniform(0.001, 0.1), time.size), 16000, subtype="PCM_16")
    return audio_ref(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture(scope="module")
def clips(folder: Path) -> list[AudioRef]:
    return [clip(folder / f"{n}.wav", n) for n in range(40)]


@pytest.fixture(scope="module")
def funasr() -> None:
    pytest.importorskip("funasr", reason="funasr is an extra: pip install 'echat-eval[funasr]'")


@pytest.fixture(scope="module")
def e2v(folder: Path, funasr: None) -> Path:
    return tiny_models.emotion2vec(folder / "emotion2vec")


def test_emotion2vec_keeps_all_nine_classes(e2v: Path, clips: list[AudioRef]) -> None:
    from echat_eval.annotators.emotion2vec import Emotion2vec

    ear = Emotion2vec(model=str(e2v), threshold=0.0)
    found = [ear.annotate(c, language="en") for c in clips]
    for values in found:
        assert len(values["distribution"]) == 9
        assert sum(values["distribution"].values()) == pytest.approx(1, abs=1e-4)
        assert values["emotion"] in (*LABELS["emotion"], UNKNOWN)
    assert len({values["emotion"] for values in found}) > 1
    assert ear.annotate(clips[0], language="en") == found[0]  # heard twice, heard alike
    shy = Emotion2vec(model=str(e2v), threshold=0.9999)
    assert shy.annotate(clips[0], language="en")["emotion"] == UNKNOWN
    assert shy.annotate(clips[0], language="en")["distribution"] == found[0]["distribution"]
    assert shy.fingerprint() != ear.fingerprint()


def test_a_padded_batch_hears_what_each_clip_alone_is_heard_as(e2v: Path, clips: list[AudioRef]) -> None:
    from echat_eval.annotators.emotion2vec import Emotion2vec

    ear = Emotion2vec(model=str(e2v), threshold=0.0)
    alone = [ear.annotate(c, language="en") for c in clips]
    for size in (2, 7, 40):
        together = [
            v for n in range(0, 40, size) for v in ear.annotate_batch(clips[n : n + size], language="en")
        ]
        assert [v["emotion"] for v in together] == [v["emotion"] for v in alone]
        for a, b in zip(alone, together, strict=True):
            assert a["distribution"] == pytest.approx(b["distribution"], abs=1e-5)


def test_emotion2vec_with_a_missing_weight_is_refused(
    e2v: Path, tmp_path: Path, clips: list[AudioRef]
) -> None:
    import shutil

    from echat_eval.annotators.emotion2vec import Emotion2vec

    broken = tmp_path / "broken"
    shutil.copytree(e2v, broken)
    state = torch.load(broken / "model.pt", weights_only=True)["state_dict"]
    del state["proj.weight"]
    torch.save({"state_dict": state}, broken / "model.pt")
    with pytest.raises(BadData, match=r"proj\.weight"):
        Emotion2vec(model=str(broken)).annotate(clips[0], language="en")


def test_sensevoice_tags_and_paraformer_words(folder: Path, funasr: None, clips: list[AudioRef]) -> None:
    from echat_eval.annotators.funasr import FunASR
    from echat_eval.annotators.sensevoice import SenseVoice

    sense = SenseVoice(model=str(tiny_models.sensevoice(folder / "sensevoice")))
    values = sense.annotate(clips[0], language="en")
    assert set(values) == {"hypothesis", "emotion", "event", "tags", "unmapped", "never"}
    assert sense.annotate(clips[0], language="en") == values  # no dither
    words = FunASR(model=str(tiny_models.paraformer(folder / "paraformer")))
    assert isinstance(words.annotate(clips[0], language="zh")["hypothesis"], str)
    with pytest.raises(NotApplicable, match="'en'"):
        words.annotate(clips[0], language="en")
    with pytest.raises(NotApplicable, match=r"0\.020 s"):
        words.annotate(clip(folder / "short.wav", 99, 0.02), language="zh")


@pytest.mark.parametrize("masked", [True, False])
def test_any_classifier_hears_emotions_alone_and_together(
    folder: Path, clips: list[AudioRef], masked: bool
) -> None:
    from echat_eval.annotators.transformers_audio import EmotionClassifier

    model = tiny_models.classifier(
        folder / f"ser-{masked}", ["ang", "happy", "neu", "sad", "sing"], masked=masked
    )
    ear = EmotionClassifier(str(model), labels="ang=anger;neu=neutral", threshold=0.0)
    alone = [ear.annotate(c, language="en") for c in clips[:16]]
    together = list(ear.annotate_batch(clips[:16], language="en"))
    assert [v["emotion"] for v in alone] == [v["emotion"] for v in together]
    assert {v["emotion"] for v in alone} <= {"anger", "happy", "neutral", "sad"}
    assert alone[0]["unmapped"] == ["sing"]
    assert "fear" in alone[0]["never"]
    assert EmotionClassifier(str(model), labels="ang=anger;neu=sad").fingerprint() != ear.fingerprint()


def test_events_are_tagged_each_by_itself_and_the_rest_is_said(folder: Path, clips: list[AudioRef]) -> None:
    from echat_eval.annotators.events import EventTagger

    model = tiny_models.tagger(folder / "ast", ["Speech", "Cough", "Laughter", "Crying, sobbing", "Sneeze"])
    ear = EventTagger(str(model), threshold=0.999)
    values = ear.annotate(clips[0], language="en")
    assert values["event"] == "none"
    assert set(values["events"]) == {"cough", "laugh", "cry", "sneeze"}
    assert values["unmapped"] == ["Speech"]
    assert values["never"] == ["scream", "sigh", "throat clearing"]
    together = ear.annotate_batch(clips[:5], language="en")
    assert list(together) == [ear.annotate(c, language="en") for c in clips[:5]]


def test_speaker_by_classifier_and_by_regressor(folder: Path, clips: list[AudioRef]) -> None:
    from echat_eval.annotators.speaker import AgeGenderRegressor, Speaker

    genders = Speaker(str(tiny_models.classifier(folder / "gender", ["female", "male"])), threshold=0.0)
    assert genders.annotate(clips[0], language="en")["gender"] in LABELS["gender"]
    ages = Speaker(
        str(tiny_models.classifier(folder / "age", ["teens", "twenties", "seventies"])),
        cue="age", labels="teens=child;twenties=adult;seventies=old", threshold=0.0,
    )  # fmt: skip
    assert ages.annotate(clips[0], language="en")["age"] in LABELS["age"]
    model = tiny_models.age_gender(folder / "age-gender")
    both = AgeGenderRegressor(str(model))
    values = both.annotate(clips[0], language="en")
    assert values["age"] in LABELS["age"]
    assert set(values["distribution"]) == {"female", "male", "child"}
    assert "not for commercial use" in both.settings()["licence"]
    (model / "model.safetensors").rename(model / "gone")
    with pytest.raises(FileNotFoundError):
        AgeGenderRegressor(str(model)).annotate(clips[0], language="en")


def test_a_ctc_model_hears_words(folder: Path, clips: list[AudioRef]) -> None:
    from echat_eval.annotators.transformers_asr import TransformersASR

    ear = TransformersASR(str(tiny_models.ctc(folder / "ctc")), languages="en")
    values = ear.annotate(clips[0], language="en")
    assert isinstance(values["hypothesis"], str)
    assert values == ear.annotate(clips[0], language="en")
    with pytest.raises(NotApplicable):
        ear.annotate(clips[0], language="zh")
    assert ear.settings()["licence"] == "not stated"
