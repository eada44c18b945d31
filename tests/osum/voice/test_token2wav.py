"""Token2wav: what the public modules say, what a batch must not change, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from echat_eval.errors import BadData, UsageError
from echat_eval.osum.voice.config import TINY_VOICE, mel_frames
from echat_eval.osum.voice.flow_matching import time_grid
from echat_eval.osum.voice.tiny import write_tiny_release
from echat_eval.osum.voice.token2wav import Token2Wav, draw_noise, equal_lengths
from tests.support.tiny_speaker import GOLDEN, build_tiny, draw_ids

COUNTS = (1, 2, 40, 41, 100)


@pytest.fixture(scope="module")
def public() -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / "public_token2wav.safetensors")


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
def test_token_counts_become_the_mel_frames_of_the_table(tokens: int, frames: int) -> None:
    assert mel_frames(tokens) == frames


def test_the_solver_steps_on_the_cosine_grid() -> None:
    expected = [0, 0.01231, 0.04894, 0.10899, 0.19098, 0.29289, 0.41221, 0.54601, 0.69098, 0.84357, 1]
    assert time_grid(10).numpy() == pytest.approx(expected, abs=6e-6)


@pytest.mark.parametrize("count", COUNTS)
def test_mel_and_wave_are_those_of_the_public_modules(tiny: Token2Wav, public: dict, count: int) -> None:
    row, noise = torch.tensor(draw_ids(count)), tiny.noise(count, seed=count)
    (mel,) = tiny.mels([row], [noise])
    (wave,) = tiny.vocode([mel], [noise])
    assert mel.shape == (80, mel_frames(count))
    assert wave.shape == (256 * mel_frames(count),)
    thin = 1 if count <= 2 else 4
    assert (mel[:, ::thin] - public[f"mel.{count}"]).abs().max() <= 1e-4
    assert (wave[:: 1 if thin == 1 else 16] - public[f"wave.{count}"]).abs().max() <= 1e-4


def test_a_batch_sounds_like_its_replies_alone(tiny: Token2Wav) -> None:
    """Odd and even lengths, every kind of stretching, the same length twice, and no tokens at all."""
    replies = [draw_ids(n, seed=i) for i, n in enumerate([1, 2, 40, 0, 41, 100, 41, 3, 15])]
    seeds = list(range(50, 50 + len(replies)))
    together = tiny.synthesise(replies, seeds=seeds)
    for ids, seed, wave in zip(replies, seeds, together, strict=True):
        (alone,) = tiny.synthesise([ids], seeds=[seed])
        if not ids:
            assert wave is None
            assert alone is None
        else:
            assert wave.samples.shape == alone.samples.shape == (256 * mel_frames(len(ids)),)
            assert np.abs(wave.samples - alone.samples).max() <= 1e-5


def test_a_batch_has_the_mels_of_its_replies_alone(tiny: Token2Wav) -> None:
    rows = [torch.tensor(draw_ids(n)) for n in (1, 2, 7, 40, 41, 77)]
    noise = [tiny.noise(len(row), seed=len(row)) for row in rows]
    for row, drawn, mel in zip(rows, noise, tiny.mels(rows, noise), strict=True):
        (alone,) = tiny.mels([row], [drawn])
        assert (mel - alone).abs().max() <= 1e-5


def test_a_bucket_of_the_vocoder_is_its_rows_alone(tiny: Token2Wav) -> None:
    noise = [tiny.noise(20, seed=seed) for seed in range(3)]
    generator = torch.Generator().manual_seed(1)
    mels = [torch.randn(80, mel_frames(20), generator=generator) for _ in range(3)]
    together = tiny.vocode(mels, noise)
    for mel, drawn, wave in zip(mels, noise, together, strict=True):
        assert (wave - tiny.vocode([mel], [drawn])[0]).abs().max() <= 1e-5


def test_small_batches_change_nothing(tiny: Token2Wav) -> None:
    replies = [draw_ids(n, seed=n) for n in (5, 30, 12, 30)]
    narrow = build_tiny(batch_frames=1)
    assert list(narrow.plan([5, 30, 0, 30])) == [[1], [3], [0]]
    assert list(tiny.plan([5, 30, 0, 30])) == [[1, 3, 0]]
    for one, other in zip(
        tiny.synthesise(replies, seeds=range(4)), narrow.synthesise(replies, seeds=range(4)), strict=True
    ):
        assert np.abs(one.samples - other.samples).max() <= 1e-5


def test_the_vocoder_takes_equal_lengths_within_the_limit() -> None:
    assert equal_lengths([5, 3, 5, 5], most=10) == [[0, 2], [3], [1]]
    assert equal_lengths([5, 5], most=1) == [[0], [1]]


def test_the_seed_decides_the_sound(tiny: Token2Wav) -> None:
    ids = draw_ids(10)
    first, again, other = tiny.synthesise([ids] * 3, seeds=[1, 1, 2])
    assert np.abs(first.samples - again.samples).max() <= 1e-6
    assert np.abs(first.samples - other.samples).max() > 1e-2


def test_noise_is_drawn_as_a_seeded_cpu_draws_it() -> None:
    noise = draw_noise(torch.Generator().manual_seed(5), prompt_frames=24, frames=3, harmonics=9)
    torch.manual_seed(5)
    assert torch.equal(noise.start, torch.randn(1, 80, 27)[0])
    phases = torch.distributions.Uniform(low=-np.pi, high=np.pi).sample((1, 9, 1))
    assert torch.allclose(noise.phases, phases[0, :, 0], atol=1e-6)
    assert torch.equal(noise.hiss, torch.randn(1, 9, 768)[0])


def test_a_long_reply_is_spoken_whole(tiny: Token2Wav) -> None:
    (wave,) = tiny.synthesise([draw_ids(2000)], seeds=[0])
    assert wave.sample_rate == 22_050
    assert wave.samples.dtype == np.float32
    assert wave.samples.shape == (256 * 6890,)
    assert np.isfinite(wave.samples).all()
    assert 0.01 < np.abs(wave.samples).max() <= 0.99


@pytest.mark.parametrize("wrong", [-1, 4096, 4098, 10**9])
def test_an_id_that_is_no_speech_token_is_refused_with_the_range(tiny: Token2Wav, wrong: int) -> None:
    with pytest.raises(BadData, match=rf"reply 1: speech id {wrong} at position 2; expected 0 to 4095"):
        tiny.synthesise([[1, 2], [3, 4, wrong]], seeds=[0, 1])


def test_one_seed_a_reply(tiny: Token2Wav) -> None:
    with pytest.raises(UsageError, match="2 replies and 1 seeds"):
        tiny.synthesise([[1], [2]], seeds=[0])


def test_no_reply_has_no_audio(tiny: Token2Wav) -> None:
    assert tiny.synthesise([], seeds=[]) == []
    assert tiny.synthesise([[]], seeds=[0]) == [None]


def test_a_bf16_estimator_says_nearly_the_same() -> None:
    """A guard that the type is honoured, not a parity: bfloat16 has three digits."""
    half, full = build_tiny(estimator_dtype=torch.bfloat16), build_tiny()
    rows = [torch.tensor(draw_ids(n)) for n in (9, 14)]
    noise = [full.noise(len(row), seed=0) for row in rows]
    for coarse, fine in zip(half.mels(rows, noise), full.mels(rows, noise), strict=True):
        assert coarse.dtype == torch.float32
        assert 1e-5 < (coarse - fine).abs().mean() < 0.1


def test_a_release_folder_and_a_voice_file_speak(tmp_path: Path, tiny: Token2Wav) -> None:
    write_tiny_release(tmp_path)
    loaded = Token2Wav.load(tmp_path, tmp_path / "voice.safetensors", config=TINY_VOICE)
    (wave,), (expected,) = (t.synthesise([[5, 6, 7]], seeds=[3]) for t in (loaded, tiny))
    assert np.array_equal(wave.samples, expected.samples)


def test_the_fingerprint_knows_weights_and_voice(tmp_path: Path) -> None:
    prints = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_tiny_release(tmp_path / name, seed=seed)
        prints.append(
            Token2Wav.load(
                tmp_path / name, tmp_path / name / "voice.safetensors", config=TINY_VOICE
            ).fingerprint
        )
    other_voice = Token2Wav.load(tmp_path / "a", tmp_path / "c" / "voice.safetensors", config=TINY_VOICE)
    assert prints[0] == prints[1]
    assert len({prints[0], prints[2], other_voice.fingerprint}) == 3
