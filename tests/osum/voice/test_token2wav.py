"""Token2wav: parity with the public modules, independence of the batch, and refused input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from echat_eval.errors import BadData, UsageError
from echat_eval.osum.voice.config import TINY_VOICE, mel_frames
from echat_eval.osum.voice.flow_matching import time_grid
from echat_eval.osum.voice.noise import draw_noise
from echat_eval.osum.voice.tiny import write_tiny_release
from echat_eval.osum.voice.token2wav import Token2Wav, group_equal_lengths
from tests.support.present import present
from tests.support.tiny_speaker import GOLDEN, build_tiny, draw_ids

COUNTS = (1, 2, 40, 41, 100)


@pytest.fixture(scope="module")
def public() -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = load_file(GOLDEN / "public_token2wav.safetensors")
    return tensors


@pytest.mark.parametrize(
    ("tokens", "frames"),
    [
        (1, 3),
        (2, 6),
        (25, 86),
        (40, 137),
        (41, 141),
        (50, 172),
        (100, 344),
        (125, 430),
        (250, 861),
        (421, 1450),
    ],
)
def test_mel_frames_of_token_counts(tokens: int, frames: int) -> None:
    assert mel_frames(tokens) == frames


def test_solver_uses_the_cosine_grid() -> None:
    expected = [0, 0.01231, 0.04894, 0.10899, 0.19098, 0.29289, 0.41221, 0.54601, 0.69098, 0.84357, 1]
    assert time_grid(10).numpy() == pytest.approx(expected, abs=6e-6)


@pytest.mark.parametrize("count", COUNTS)
def test_mel_and_waveform_match_the_public_modules(
    tiny_upstream: Token2Wav, public: dict[str, torch.Tensor], count: int
) -> None:
    tiny = tiny_upstream
    row, noise = torch.tensor(draw_ids(count)), tiny.noise(count, seed=count)
    (mel,) = tiny.mels([row], [noise])
    (wave,) = tiny.vocode([mel], [noise])
    assert mel.shape == (80, mel_frames(count))
    assert wave.shape == (256 * mel_frames(count),)
    stride = 1 if count <= 2 else 4
    assert (mel[:, ::stride] - public[f"mel.{count}"]).abs().max() <= 1e-4
    assert (wave[:: 1 if stride == 1 else 16] - public[f"wave.{count}"]).abs().max() <= 1e-4


def test_batched_audio_equals_single_replies(tiny: Token2Wav) -> None:
    """Odd and even lengths, every kind of stretching, a repeated length, and no tokens."""
    replies = [draw_ids(n, seed=i) for i, n in enumerate([1, 2, 40, 0, 41, 100, 41, 3, 15])]
    seeds = list(range(50, 50 + len(replies)))
    together = tiny.synthesise(replies, seeds=seeds)
    for ids, seed, wave in zip(replies, seeds, together, strict=True):
        (alone,) = tiny.synthesise([ids], seeds=[seed])
        if not ids:
            assert wave is None
            assert alone is None
        else:
            assert wave is not None
            assert alone is not None
            assert wave.samples.shape == alone.samples.shape == (256 * mel_frames(len(ids)),)
            assert np.abs(wave.samples - alone.samples).max() <= 1e-5


def test_batched_mels_equal_single_replies(tiny: Token2Wav) -> None:
    rows = [torch.tensor(draw_ids(n)) for n in (1, 2, 7, 40, 41, 77)]
    noise = [tiny.noise(len(row), seed=len(row)) for row in rows]
    for row, drawn, mel in zip(rows, noise, tiny.mels(rows, noise), strict=True):
        (alone,) = tiny.mels([row], [drawn])
        assert (mel - alone).abs().max() <= 1e-5


def test_batched_vocoder_equals_single_rows(tiny: Token2Wav) -> None:
    noise = [tiny.noise(20, seed=seed) for seed in range(3)]
    generator = torch.Generator().manual_seed(1)
    mels = [torch.randn(80, mel_frames(20), generator=generator) for _ in range(3)]
    together = tiny.vocode(mels, noise)
    for mel, drawn, wave in zip(mels, noise, together, strict=True):
        assert (wave - tiny.vocode([mel], [drawn])[0]).abs().max() <= 1e-5


def test_batch_size_does_not_change_the_audio(tiny: Token2Wav) -> None:
    replies = [draw_ids(n, seed=n) for n in (5, 30, 12, 30)]
    narrow = build_tiny(batch_frames=1)
    assert list(narrow.plan([5, 30, 0, 30])) == [[1], [3], [0]]
    assert list(tiny.plan([5, 30, 0, 30])) == [[1, 3, 0]]
    wide = tiny.synthesise(replies, seeds=range(4))
    for expected, wave in zip(wide, narrow.synthesise(replies, seeds=range(4)), strict=True):
        assert np.abs(present(wave).samples - present(expected).samples).max() <= 1e-5


def test_equal_lengths_are_grouped_within_the_limit() -> None:
    assert group_equal_lengths([5, 3, 5, 5], max_frames=10) == [[0, 2], [3], [1]]
    assert group_equal_lengths([5, 5], max_frames=1) == [[0], [1]]


def test_seed_determines_the_audio(tiny: Token2Wav) -> None:
    ids = draw_ids(10)
    first, again, other = map(present, tiny.synthesise([ids] * 3, seeds=[1, 1, 2]))
    assert np.abs(first.samples - again.samples).max() <= 1e-6
    assert np.abs(first.samples - other.samples).max() > 1e-2


def test_noise_matches_the_seeded_cpu_generator() -> None:
    noise = draw_noise(torch.Generator().manual_seed(5), prompt_frames=24, frames=3, harmonics=9)
    torch.manual_seed(5)
    assert torch.equal(noise.start, torch.randn(1, 80, 27)[0])
    phases = torch.distributions.Uniform(low=-np.pi, high=np.pi).sample((1, 9, 1))
    assert torch.allclose(noise.phases, phases[0, :, 0], atol=1e-6)
    assert torch.equal(noise.hiss, torch.randn(1, 9, 768)[0])


@pytest.mark.slow
def test_long_reply_is_synthesised_completely(tiny: Token2Wav) -> None:
    (wave,) = map(present, tiny.synthesise([draw_ids(600)], seeds=[0]))
    assert wave.sample_rate == 22_050
    assert wave.samples.dtype == np.float32
    assert wave.samples.shape == (256 * int(600 / 25 * 22_050 / 256),)
    assert np.isfinite(wave.samples).all()
    assert 0.01 < np.abs(wave.samples).max() <= 0.99


@pytest.mark.parametrize("wrong", [-1, 4096, 4098, 10**9])
def test_id_out_of_range_is_refused(tiny: Token2Wav, wrong: int) -> None:
    with pytest.raises(BadData, match=rf"reply 1: speech id {wrong} at position 2; expected 0 to 4095"):
        tiny.synthesise([[1, 2], [3, 4, wrong]], seeds=[0, 1])


def test_one_seed_per_reply_is_required(tiny: Token2Wav) -> None:
    with pytest.raises(UsageError, match="2 replies and 1 seeds"):
        tiny.synthesise([[1], [2]], seeds=[0])


def test_empty_reply_has_no_audio(tiny: Token2Wav) -> None:
    assert tiny.synthesise([], seeds=[]) == []
    assert tiny.synthesise([[]], seeds=[0]) == [None]


def test_bf16_estimator_is_close_to_float32() -> None:
    """Checks that the dtype is used, not parity: bfloat16 has three digits."""
    half, full = build_tiny(estimator_dtype=torch.bfloat16), build_tiny()
    rows = [torch.tensor(draw_ids(n)) for n in (9, 14)]
    noise = [full.noise(len(row), seed=0) for row in rows]
    for coarse, fine in zip(half.mels(rows, noise), full.mels(rows, noise), strict=True):
        assert coarse.dtype == torch.float32
        assert 1e-5 < (coarse - fine).abs().mean() < 0.1


def test_loaded_release_gives_the_same_audio(tmp_path: Path, tiny: Token2Wav) -> None:
    write_tiny_release(tmp_path)
    loaded = Token2Wav.load(tmp_path, tmp_path / "voice.safetensors", config=TINY_VOICE)
    (wave,), (expected,) = (t.synthesise([[5, 6, 7]], seeds=[3]) for t in (loaded, tiny))
    assert np.array_equal(present(wave).samples, present(expected).samples)


def test_fingerprint_depends_on_weights_and_voice(tmp_path: Path) -> None:
    fingerprints = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_tiny_release(tmp_path / name, seed=seed)
        fingerprints.append(
            Token2Wav.load(
                tmp_path / name, tmp_path / name / "voice.safetensors", config=TINY_VOICE
            ).fingerprint
        )
    other_voice = Token2Wav.load(tmp_path / "a", tmp_path / "c" / "voice.safetensors", config=TINY_VOICE)
    assert fingerprints[0] == fingerprints[1]
    assert len({fingerprints[0], fingerprints[2], other_voice.fingerprint}) == 3
