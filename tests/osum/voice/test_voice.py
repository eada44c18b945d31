"""Voices: preparation with two tiny graphs, storage in a file, and refused recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from safetensors.numpy import save_file

from echat_eval.errors import BadData
from echat_eval.osum.voice.tiny import random_voice
from echat_eval.osum.voice.voice import Voice, consent_of, load_voice, prepare_voice, save_voice
from tests.support.tiny_graphs import MIX, record, write_speaker, write_tokenizer


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("graphs")
    return {"tokenizer": write_tokenizer(folder), "speaker": write_speaker(folder)}


@pytest.mark.parametrize(("seconds", "rate"), [(1.0, 24_000), (1.0, 22_050), (0.1, 48_000), (30.0, 44_100)])
def test_voice_is_prepared_from_a_recording(
    tmp_path: Path, graphs: dict[str, Path], seconds: float, rate: int
) -> None:
    voice = prepare_voice(record(tmp_path / "a.wav", seconds=seconds, rate=rate), **graphs)
    assert voice.mel.shape == (round(seconds * rate) * 22_050 // rate // 256, 80)
    assert voice.tokens.shape == (int(seconds * 100) // 4,)
    assert voice.embedding.shape == (192,)
    assert np.abs(voice.embedding).max() > 0


def test_graphs_receive_whisper_and_kaldi_features(tmp_path: Path, graphs: dict[str, Path]) -> None:
    """Compute the stand-in graphs again with numpy, from features that other tests verify."""
    import torch

    from echat_eval.osum.model.features import resample
    from echat_eval.osum.voice.features import speaker_features, tokenizer_features

    path = record(tmp_path / "a.wav", seconds=1.3, rate=22_050)
    voice = prepare_voice(path, **graphs)
    wave = resample(torch.from_numpy(soundfile.read(path, dtype="float32")[0]), 22_050, 16_000)
    loud = tokenizer_features(wave).numpy().max(axis=0)
    ids = np.abs(loud[: len(loud) // 4 * 4].reshape(-1, 4).max(axis=1) * 1000).astype(int)
    assert np.abs(voice.tokens - ids).max() <= 1
    bank = speaker_features(wave).numpy()
    assert voice.embedding == pytest.approx((bank**2).mean(axis=0) @ MIX, rel=1e-3, abs=1e-3)


def test_channels_are_averaged(tmp_path: Path, graphs: dict[str, Path]) -> None:
    mono = prepare_voice(record(tmp_path / "mono.wav", seconds=1), **graphs)
    wave, rate = soundfile.read(tmp_path / "mono.wav")
    soundfile.write(tmp_path / "stereo.wav", np.stack([2 * wave, 0 * wave], axis=1), rate, subtype="FLOAT")
    stereo = prepare_voice(tmp_path / "stereo.wav", **graphs)
    assert np.abs(stereo.mel - mono.mel).max() < 1e-3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seconds": 300}, r"300\.00 s; a voice needs 0\.1 to 30 s"),
        ({"seconds": 30.01}, r"30\.01 s; a voice needs 0\.1 to 30 s"),
        ({"seconds": 0.05}, r"0\.05 s; a voice needs 0\.1 to 30 s"),
        ({"seconds": 0}, r"0\.00 s; a voice needs"),
        ({"seconds": 2, "rate": 8000}, "8000 Hz; a voice needs at least 22050 Hz"),
        ({"seconds": 2, "rate": 16_000, "channels": 2}, "16000 Hz; a voice needs at least 22050 Hz"),
    ],
)
def test_recording_outside_the_limits_is_refused(
    settings: dict[str, Any], message: str, tmp_path: Path, graphs: dict[str, Path]
) -> None:
    with pytest.raises(BadData, match=message):
        prepare_voice(record(tmp_path / "a.wav", **settings), **graphs)


def test_other_files_are_refused_as_recordings(tmp_path: Path, graphs: dict[str, Path]) -> None:
    (tmp_path / "a.wav").write_text("hello")
    for name in ("a.wav", "none.wav"):
        with pytest.raises(BadData, match="not a sound file"):
            prepare_voice(tmp_path / name, **graphs)
    soundfile.write(tmp_path / "nan.wav", np.full(24_000, np.nan), 24_000, subtype="FLOAT")
    with pytest.raises(BadData, match="not finite"):
        prepare_voice(tmp_path / "nan.wav", **graphs)


def test_wrong_graphs_are_refused(tmp_path: Path, graphs: dict[str, Path]) -> None:
    path = record(tmp_path / "a.wav", seconds=1)
    with pytest.raises(BadData, match=r"takes 1 inputs, expected 2; are the graphs swapped\?"):
        prepare_voice(path, tokenizer=graphs["speaker"], speaker=graphs["tokenizer"])
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    for name in ("broken.onnx", "none.onnx"):
        with pytest.raises(BadData, match="cannot be run") as refused:
            prepare_voice(path, tokenizer=tmp_path / name, speaker=graphs["speaker"])
        assert "\n" not in str(refused.value)


def test_tokenizer_with_another_codebook_is_refused(tmp_path: Path, graphs: dict[str, Path]) -> None:
    path = record(tmp_path / "a.wav", seconds=1)
    with pytest.raises(BadData, match="expected 0 to 4095"):
        prepare_voice(path, tokenizer=write_tokenizer(tmp_path, scale=100_000), speaker=graphs["speaker"])


def test_saved_voice_loads_unchanged(tmp_path: Path) -> None:
    voice = random_voice(seed=3)
    save_voice(voice, tmp_path / "v.safetensors", consent="signed form 7")
    assert consent_of(tmp_path / "v.safetensors") == "signed form 7"
    loaded = load_voice(tmp_path / "v.safetensors")
    for name in ("tokens", "mel", "embedding"):
        assert np.array_equal(getattr(loaded, name), getattr(voice, name))


FORMAT = {"format": "echat-eval voice 1"}


@pytest.mark.parametrize(
    ("change", "metadata", "message"),
    [
        ({}, None, "'None' with embedding, mel, tokens; expected 'echat-eval voice 1'"),
        ({}, {"format": "echat-eval voice 2"}, "'echat-eval voice 2' with"),
        ({"more": np.ones(1)}, FORMAT, "embedding, mel, more, tokens; expected"),
        ({f"w{n}": np.ones(1) for n in range(9)}, None, "w0 and 8 more; expected"),
        ({"mel": None}, FORMAT, "with embedding, tokens; expected"),
        (
            {"mel": np.ones((4, 81), np.float32)},
            FORMAT,
            r"'mel' is float32 \(4, 81\); expected float32 \('n', 80\)",
        ),
        ({"mel": np.ones((4, 80))}, FORMAT, "'mel' is float64"),
        ({"mel": np.full((4, 80), np.nan, np.float32)}, FORMAT, "'mel' holds numbers that are not finite"),
        ({"embedding": np.ones(191, np.float32)}, FORMAT, "'embedding' is float32"),
        ({"tokens": np.zeros(0, np.int64)}, FORMAT, "'tokens' is int64"),
        ({"tokens": np.array([4096])}, FORMAT, "speech ids from 4096 to 4096; expected 0 to 4095"),
    ],
)
def test_incomplete_or_changed_voice_file_is_refused(
    change: dict[str, Any], metadata: dict[str, str] | None, message: str, tmp_path: Path
) -> None:
    voice = random_voice()
    values = {"tokens": voice.tokens, "mel": voice.mel, "embedding": voice.embedding} | change
    save_file(
        {k: v for k, v in values.items() if v is not None}, tmp_path / "v.safetensors", metadata=metadata
    )
    with pytest.raises(BadData, match=message):
        load_voice(tmp_path / "v.safetensors")


def test_missing_or_damaged_voice_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "v").write_bytes(b"no safetensors")
    for name in ("v", "none"):
        with pytest.raises(BadData, match="not a voice file"):
            load_voice(tmp_path / name)


def test_voice_built_in_memory_is_checked() -> None:
    voice = random_voice()
    with pytest.raises(BadData, match="speech ids from -1"):
        Voice(tokens=np.array([-1, 3]), mel=voice.mel, embedding=voice.embedding)
