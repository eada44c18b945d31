"""Features of a voice recording, against torchaudio, transformers, the public mel and known values."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from echat_eval.osum.model.features import resample
from echat_eval.osum.voice.features import speaker_features, tokenizer_features, voice_mel
from tests.support.tiny_speaker import GOLDEN


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = load_file(GOLDEN / "public_features.safetensors")
    return tensors


@pytest.fixture(scope="module")
def waves() -> tuple[torch.Tensor, torch.Tensor]:
    """A fading chirp in noise, one second, at 22.05 and 16 kHz."""
    n = np.arange(48_000)
    t = n / 48_000
    chirp = 0.4 * np.sin(2 * np.pi * (200 + 300 * t) * t) * np.exp(-t)
    wave = torch.from_numpy((chirp + 0.1 * ((n * 7919) % 104_729 / 104_729 - 0.5)).astype(np.float32))
    voice = resample(wave, 48_000, 22_050)
    return voice, resample(voice, 22_050, 16_000)


def test_resampling_matches_torchaudio(
    waves: tuple[torch.Tensor, torch.Tensor], golden: dict[str, torch.Tensor]
) -> None:
    assert [len(wave) for wave in waves] == [22_050, 16_000]
    assert (waves[0][::8] - golden["resampled_22050"]).abs().max() <= 1e-6
    assert (waves[1][::8] - golden["resampled_16000"]).abs().max() <= 3e-6


@pytest.mark.parametrize("rate", [24_000, 44_100, 44_101, 96_000])
def test_resampled_tone_equals_tone_at_new_rate(rate: int) -> None:
    """Rates with and without a common factor, through more than one chunk."""
    tone = np.sin(2 * np.pi * 440 * np.arange(4 * rate) / rate).astype(np.float32)
    resampled = resample(torch.from_numpy(tone), rate, 22_050).numpy()
    assert len(resampled) == math.ceil(len(tone) * 22_050 / rate)
    expected = np.sin(2 * np.pi * 440 * np.arange(len(resampled)) / 22_050)
    assert np.abs(resampled - expected)[100:-100].max() < 3e-3


def test_voice_mel_matches_the_public_code(
    waves: tuple[torch.Tensor, torch.Tensor], golden: dict[str, torch.Tensor]
) -> None:
    mel = voice_mel(waves[0])
    assert mel.shape == (86, 80)
    assert (mel[::8] - golden["mel"]).abs().max() <= 5e-4


def test_voice_mel_of_a_tone_matches_known_values() -> None:
    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(22_050) / 22_050)).astype(np.float32)
    mel = voice_mel(torch.from_numpy(tone))
    assert float(mel.mean()) == pytest.approx(-9.195173, abs=1e-4)
    assert float(mel.max()) == pytest.approx(1.442796, abs=1e-5)
    expected = [-3.93076, -2.41221, 0.72161, 1.4428, -0.23263, -2.97074, -4.33663, -5.29293]
    assert mel[40, 8:16].tolist() == pytest.approx(expected, abs=1e-4)


def test_tokenizer_features_match_whisper(
    waves: tuple[torch.Tensor, torch.Tensor], golden: dict[str, torch.Tensor]
) -> None:
    features = tokenizer_features(waves[1])
    assert features.shape == (128, 100)
    assert (features[:, ::8] - golden["tokenizer"]).abs().max() <= 1e-4


def test_speaker_features_match_kaldi(
    waves: tuple[torch.Tensor, torch.Tensor], golden: dict[str, torch.Tensor]
) -> None:
    features = speaker_features(waves[1])
    assert features.shape == (98, 80)
    assert (features[::8] - golden["fbank"]).abs().max() <= 1e-3
