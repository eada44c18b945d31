"""A reply is the same alone and in any batch; the check detects a broken mask, phase or position."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from echat_eval.osum.decoding.sampling import GREEDY, Sampling
from echat_eval.osum.decoding.state import DecodingState
from echat_eval.osum.engine.engine import Engine
from echat_eval.osum.model import decoder as decoder_module
from echat_eval.osum.model import encoder as encoder_module
from echat_eval.osum.model.decoder import Decoder
from echat_eval.osum.model.kv_cache import KVCache
from echat_eval.osum.prompts.modes import GenerationRequest, PastTurn
from tests.support.osum_requests import make_requests
from tests.support.present import present

MAX_NEW_TOKENS = 40


def alone(
    engine: Engine, request: GenerationRequest, mode: str, sampling: Sampling | None
) -> tuple[int, ...]:
    return engine.reply([request], mode=mode, sampling=sampling, max_new_tokens=MAX_NEW_TOKENS)[0].ids


def reply_with_logits(
    engine: Engine, batch: list[GenerationRequest], **options: Any
) -> tuple[list[tuple[int, ...]], torch.Tensor]:
    """Return every row's ids, and the logits (rows, V) of its first id."""
    first: list[torch.Tensor] = []

    def keep(step: int, logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        if step == 0:
            first.append(logits.clone())
        return ids

    replies = engine.reply(batch, max_new_tokens=MAX_NEW_TOKENS, hook=keep, **options)
    return [reply.ids for reply in replies], first[0]


def check(engine: Engine, size: int, *, mode: str = "s2s", sampling: Sampling | None = None) -> None:
    """Compare the first, the last and one more row of a batch with the same requests alone.

    A tiny random model hardly depends on its input: two queries may get the same ids. Their logits differ.
    """
    batch = make_requests(size)
    together, logits = reply_with_logits(engine, batch, mode=mode, sampling=sampling)
    for row in sorted({0, size - 1, size // 2}):
        single, expected = reply_with_logits(engine, [batch[row]], mode=mode, sampling=sampling)
        assert together[row] == single[0], f"row {row} of {size}"
        assert (logits[row] - expected[0])[torch.isfinite(expected[0])].abs().max() < 1e-5, (
            f"row {row} of {size}"
        )


@pytest.mark.parametrize("size", [3, 8, 32])
@pytest.mark.parametrize("sampling", [GREEDY, None], ids=["greedy", "sampled"])
def test_a_reply_in_a_batch_equals_the_reply_alone(
    tiny_engine: Engine, size: int, sampling: Sampling | None
) -> None:
    check(tiny_engine, size, sampling=sampling)


@pytest.mark.parametrize("mode", ["s2s-think", "s2t", "understand", "tts", "t2t"])
def test_every_mode_replies_the_same_in_a_batch(tiny_engine: Engine, mode: str) -> None:
    check(tiny_engine, 3, mode=mode)


@pytest.mark.parametrize("sampling", [GREEDY, None], ids=["greedy", "sampled"])
def test_the_order_of_a_batch_makes_no_difference(tiny_engine: Engine, sampling: Sampling | None) -> None:
    batch = make_requests(3)
    forward = tiny_engine.reply(batch, sampling=sampling, max_new_tokens=MAX_NEW_TOKENS)
    backward = tiny_engine.reply(batch[::-1], sampling=sampling, max_new_tokens=MAX_NEW_TOKENS)[::-1]
    assert [r.ids for r in forward] == [r.ids for r in backward]


def test_dialogues_of_different_length_share_a_batch(tiny_engine: Engine) -> None:
    first, second, third = make_requests(3)
    past = PastTurn(wave=present(second.wave), text="hm", speech=(5, 6))
    batch = [first, GenerationRequest(wave=third.wave, history=(past,) * 6, seed=1), second]
    together = tiny_engine.reply(batch, max_new_tokens=MAX_NEW_TOKENS)
    assert together[1].ids == alone(tiny_engine, batch[1], "s2s", None)
    assert together[1].prompt_positions > together[0].prompt_positions


def test_another_seed_gives_another_reply(tiny_engine: Engine) -> None:
    (request,) = make_requests(1)
    other = GenerationRequest(wave=request.wave, seed=request.seed + 1)
    assert alone(tiny_engine, request, "s2s", None) != alone(tiny_engine, other, "s2s", None)


def test_audio_embeddings_do_not_depend_on_the_batch(tiny_engine: Engine) -> None:
    waves = [present(request.wave) for request in make_requests(12)]
    together = tiny_engine.model.embed_audio(waves)
    for wave, row in zip(waves, together, strict=True):
        (single,) = tiny_engine.model.embed_audio([wave])
        assert row.shape == single.shape
        assert (row - single).abs().max() < 1e-5


def test_logits_depend_on_the_audio(tiny_engine: Engine) -> None:
    _, logits = reply_with_logits(tiny_engine, make_requests(2), mode="s2t")
    assert (logits[0] - logits[1])[torch.isfinite(logits[0])].abs().max() > 100 * 1e-5


def no_key_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = encoder_module._valid
    monkeypatch.setattr(encoder_module, "_valid", lambda lengths, size: torch.ones_like(usual(lengths, size)))


def no_cache_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    def all_seen(positions: torch.Tensor, kv_length: int) -> torch.Tensor:
        return torch.ones(positions.shape[0], 1, positions.shape[1], kv_length, dtype=torch.bool)

    monkeypatch.setattr(decoder_module, "causal_mask", all_seen)


def shared_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = DecodingState.accept

    def as_the_first_row(self: DecodingState, ids: torch.Tensor) -> torch.Tensor:
        embed_as_speech = usual(self, ids)
        self.speech = self.speech[:1].expand_as(self.speech).clone()
        return embed_as_speech

    monkeypatch.setattr(DecodingState, "accept", as_the_first_row)


def shared_position(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = Decoder.forward

    def from_the_longest(
        self: Decoder,
        x: torch.Tensor,
        positions: torch.Tensor,
        cache: KVCache,
        *,
        kv_length: int,
        **options: Any,
    ) -> torch.Tensor:
        if x.shape[1] == 1:
            positions = torch.full_like(positions, kv_length - 1)
        return usual(self, x, positions, cache, kv_length=kv_length, **options)

    monkeypatch.setattr(Decoder, "forward", from_the_longest)


@pytest.mark.parametrize("fault", [no_key_mask, no_cache_mask, shared_phase, shared_position])
def test_the_check_detects_a_fault(
    tiny_engine: Engine, monkeypatch: pytest.MonkeyPatch, fault: Callable[[pytest.MonkeyPatch], None]
) -> None:
    fault(monkeypatch)
    with pytest.raises((AssertionError, IndexError)):
        check(tiny_engine, 8)
