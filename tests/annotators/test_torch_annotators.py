"""Annotators of FunASR and transformers with tiny checkpoints in the official formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from echat_eval.errors import BadData, NotApplicable
from echat_eval.io.audio import audio_ref
from echat_eval.labels import LABELS, UNKNOWN
from echat_eval.ports import language_fault
from echat_eval.records import AudioRef
from tests.support import tiny_models

torch = pytest.importorskip("torch", reason="torch is an extra: pip install 'echat-eval[osum]'")
pytest.importorskip("transformers", reason="transformers is an extra: pip install 'echat-eval[osum]'")

pytestmark = [
    pytest.mark.torch,
    # Warnings of the libraries; the project's own are still errors.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::SyntaxWarning"),
]


def clip(path: Path, seed: int, seconds: float | None = None) -> AudioRef:
    """Write a short voice-like sound: two sweeping tones and noise."""
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

    annotator = Emotion2vec(model=str(e2v), threshold=0.0)
    annotations = [annotator.annotate(c, language="en") for c in clips]
    for values in annotations:
        assert len(values["distribution"]) == 9
        assert sum(values["distribution"].values()) == pytest.approx(1, abs=1e-4)
        assert values["emotion"] in (*LABELS["emotion"], UNKNOWN)
    assert len({values["emotion"] for values in annotations}) > 1
    assert annotator.annotate(clips[0], language="en") == annotations[0]  # deterministic
    strict = Emotion2vec(model=str(e2v), threshold=0.9999)
    assert strict.annotate(clips[0], language="en")["emotion"] == UNKNOWN
    assert strict.annotate(clips[0], language="en")["distribution"] == annotations[0]["distribution"]
    assert strict.fingerprint() != annotator.fingerprint()


def test_padded_batch_matches_single_clips(e2v: Path, clips: list[AudioRef]) -> None:
    from echat_eval.annotators.emotion2vec import Emotion2vec

    annotator = Emotion2vec(model=str(e2v), threshold=0.0)
    alone = [annotator.annotate(c, language="en") for c in clips]
    for size in (2, 7, 40):
        together = [
            v
            for n in range(0, 40, size)
            for v in annotator.annotate_batch(clips[n : n + size], language="en")
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
    assert sense.annotate(clips[0], language="en") == values
    words = FunASR(model=str(tiny_models.paraformer(folder / "paraformer")))
    assert isinstance(words.annotate(clips[0], language="zh")["hypothesis"], str)
    assert language_fault(words, "en") == "'funasr' is set to zh, not 'en'"
    with pytest.raises(NotApplicable, match=r"0\.020 s"):
        words.annotate(clip(folder / "short.wav", 99, 0.02), language="zh")
    alone = [sense.annotate(c, language="en") for c in clips]
    assert len({v["hypothesis"] for v in alone}) > 1
    together = [v for n in range(0, 40, 7) for v in sense.annotate_batch(clips[n : n + 7], language="en")]
    assert together == alone


def test_funasr_adds_no_noise_to_its_input(
    folder: Path, funasr: None, clips: list[AudioRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from echat_eval.annotators.sensevoice import SenseVoice

    sense = SenseVoice(model=str(tiny_models.sensevoice(folder / "still")))
    sense.annotate(clips[0], language="en")
    network = sense._model.ready().model.ctc
    outputs: list[torch.Tensor] = []
    log_softmax = network.log_softmax

    def noting(x: torch.Tensor) -> torch.Tensor:
        outputs.append(log_softmax(x))
        return outputs[-1]

    monkeypatch.setattr(network, "log_softmax", noting)
    for _ in range(3):
        sense.annotate(clips[0], language="en")
    sense.annotate_batch(clips[:3], language="en")
    assert torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[0], outputs[2])
    assert torch.allclose(outputs[0][0], outputs[3][0, : outputs[0].shape[1]], atol=1e-5)


@pytest.mark.parametrize("masked", [True, False])
def test_emotion_classifier_batch_matches_single_clips(
    folder: Path, clips: list[AudioRef], masked: bool
) -> None:
    from echat_eval.annotators.transformers_audio import EmotionClassifier

    model = tiny_models.classifier(
        folder / f"ser-{masked}", ["ang", "happy", "neu", "sad", "sing"], masked=masked
    )
    annotator = EmotionClassifier(str(model), labels="ang=anger;neu=neutral", threshold=0.0)
    alone = [annotator.annotate(c, language="en") for c in clips[:16]]
    together = list(annotator.annotate_batch(clips[:16], language="en"))
    assert [v["emotion"] for v in alone] == [v["emotion"] for v in together]
    assert {v["emotion"] for v in alone} <= {"anger", "happy", "neutral", "sad"}
    assert alone[0]["unmapped"] == ["sing"]
    assert "fear" in alone[0]["never"]
    assert EmotionClassifier(str(model), labels="ang=anger;neu=sad").fingerprint() != annotator.fingerprint()


def test_event_tagger_lists_independent_events_and_unmapped_classes(
    folder: Path, clips: list[AudioRef]
) -> None:
    from echat_eval.annotators.events import EventTagger

    model = tiny_models.tagger(folder / "ast", ["Speech", "Cough", "Laughter", "Crying, sobbing", "Sneeze"])
    annotator = EventTagger(str(model), threshold=0.999)
    values = annotator.annotate(clips[0], language="en")
    assert values["event"] == "none"
    assert set(values["events"]) == {"cough", "laugh", "cry", "sneeze"}
    assert values["unmapped"] == ["Speech"]
    assert values["never"] == ["scream", "sigh", "throat clearing"]
    together = annotator.annotate_batch(clips[:5], language="en")
    assert list(together) == [annotator.annotate(c, language="en") for c in clips[:5]]


def test_speaker_classifier_and_regressor(folder: Path, clips: list[AudioRef]) -> None:
    from echat_eval.annotators.speaker import AgeGenderRegressor, Speaker

    genders = Speaker(str(tiny_models.classifier(folder / "gender", ["female", "male"])), threshold=0.0)
    assert genders.annotate(clips[0], language="en")["gender"] in LABELS["gender"]
    ages = Speaker(
        str(tiny_models.classifier(folder / "age", ["teens", "twenties", "seventies"])),
        cue="age",
        labels="teens=child;twenties=adult;seventies=old",
        threshold=0.0,
    )
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


def test_ctc_model_transcribes(folder: Path, clips: list[AudioRef]) -> None:
    from echat_eval.annotators.transformers_asr import TransformersASR

    annotator = TransformersASR(str(tiny_models.ctc(folder / "ctc")), languages="en")
    values = annotator.annotate(clips[0], language="en")
    assert isinstance(values["hypothesis"], str)
    assert values == annotator.annotate(clips[0], language="en")
    assert language_fault(annotator, "zh") is not None
    assert annotator.settings()["licence"] == "not stated"


def test_whisper_transcribes_single_clips_batches_and_long_clips(folder: Path, clips: list[AudioRef]) -> None:
    from echat_eval.annotators.transformers_asr import TransformersASR

    annotator = TransformersASR(str(tiny_models.whisper(folder / "whisper")))
    alone = [annotator.annotate(c, language="en") for c in clips]
    assert len({values["hypothesis"] for values in alone}) > 5  # the transcript depends on the audio
    assert not any("<|" in values["hypothesis"] for values in alone)
    together = [v for n in range(0, 40, 7) for v in annotator.annotate_batch(clips[n : n + 7], language="en")]
    assert together == alone
    # The language is passed to the model and changes the transcript; other languages are not applicable.
    assert [annotator.annotate(c, language="zh")["hypothesis"] for c in clips[:9]] != [
        v["hypothesis"] for v in alone[:9]
    ]
    assert language_fault(annotator, "de") is not None
    long = clip(folder / "long.wav", 7, 4.5)  # the model's window is 2 s
    from echat_eval.annotators.local_model import mono_of
    from echat_eval.annotators.transformers_asr import windows

    parts = windows(mono_of(long), 32_000)
    assert len(parts) >= 3
    hypotheses = []
    for n, part in enumerate(parts):
        sf.write(folder / f"part{n}.wav", part, 16000, subtype="FLOAT")
        hypotheses.append(annotator.annotate(audio_ref(folder / f"part{n}.wav"), language="en")["hypothesis"])
    assert annotator.annotate(long, language="en")["hypothesis"] == " ".join(hypotheses).strip()


def test_english_only_whisper_gets_no_language(folder: Path, clips: list[AudioRef]) -> None:
    from echat_eval.annotators.transformers_asr import TransformersASR

    model = tiny_models.whisper(folder / "whisper.en", multilingual=False)
    annotator = TransformersASR(str(model), languages="en")
    assert annotator.annotate(clips[0], language="en")["hypothesis"]
    other = TransformersASR(str(tiny_models.whisper(folder / "whisper.many")), languages="en")
    assert annotator.fingerprint() != other.fingerprint()


def test_long_clip_is_cut_at_the_quietest_place() -> None:
    from echat_eval.annotators.transformers_asr import windows

    mono = np.ones(50_000, np.float32)
    mono[28_000:28_640] = 0
    first, second = windows(mono, 32_000)
    assert 27_680 <= len(first) <= 28_640
    assert np.array_equal(np.concatenate([first, second]), mono)


def test_classifier_with_a_fixed_window(folder: Path, clips: list[AudioRef]) -> None:
    from echat_eval.annotators.transformers_audio import EmotionClassifier

    model = tiny_models.whisper_classifier(folder / "whisper-ser", ["angry", "happy", "sad"])
    annotator = EmotionClassifier(str(model), threshold=0.0)
    alone = [annotator.annotate(c, language="en") for c in clips[:16]]
    assert len({str(v["distribution"]) for v in alone}) == 16
    for a, b in zip(alone, annotator.annotate_batch(clips[:16], language="en"), strict=True):
        assert a["emotion"] == b["emotion"]
        assert a["distribution"] == pytest.approx(b["distribution"], abs=1e-5)


@pytest.mark.parametrize("masked", [True, False])
def test_ctc_and_speaker_batches_match_single_clips(
    folder: Path, clips: list[AudioRef], masked: bool
) -> None:
    from echat_eval.annotators.speaker import Speaker
    from echat_eval.annotators.transformers_asr import TransformersASR

    annotators: list[TransformersASR | Speaker] = [
        TransformersASR(str(tiny_models.ctc(folder / f"ctc-{masked}", masked=masked)), languages="en"),
        Speaker(
            str(tiny_models.classifier(folder / f"sex-{masked}", ["f", "m"], masked=masked)), threshold=0.0
        ),
    ]
    for annotator in annotators:
        alone = [annotator.annotate(c, language="en") for c in clips]
        together = [
            v for n in range(0, 40, 7) for v in annotator.annotate_batch(clips[n : n + 7], language="en")
        ]
        for key in ("hypothesis", "gender"):
            assert [v.get(key) for v in together] == [v.get(key) for v in alone]
            assert len({v.get(key) for v in alone}) > 1 or key not in alone[0]


def test_modelscope_model_is_loaded_from_its_cache(
    folder: Path, e2v: Path, clips: list[AudioRef], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    from echat_eval.annotators.emotion2vec import Emotion2vec

    shutil.copytree(e2v, tmp_path / "hub" / "models" / "iic" / "emotion2vec_plus_large")
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path))
    named, local = Emotion2vec(threshold=0.0), Emotion2vec(model=str(e2v), threshold=0.0)
    assert named.annotate(clips[0], language="zh") == local.annotate(clips[0], language="zh")
    assert named.fingerprint() == local.fingerprint()  # depends on the weights, not on their location
