"""A reply that is spoken while it is decoded: its first sound, the whole of it, failures and replies given up."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from echat_eval.errors import SystemFailure
from echat_eval.osum.engine.background_voice import ReplyVoice, VoiceThread
from echat_eval.osum.engine.engine import Engine
from echat_eval.osum.engine.engine_pool import EnginePool, EngineWorker
from echat_eval.osum.model.config import TINY
from echat_eval.osum.voice.stream import StreamWindows, VoiceStream
from tests.support.osum_requests import make_requests
from tests.support.present import present
from tests.support.tiny_speaker import build_tiny

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from echat_eval.osum.voice.token2wav import Token2Wav
    from echat_eval.records import Waveform

WINDOWS = StreamWindows(first=5, hop=10, overlap=4, context=8)
CODEC = list(range(1000, 1030))


@pytest.fixture
def speaker(monkeypatch: pytest.MonkeyPatch) -> Token2Wav:
    made = build_tiny()
    monkeypatch.setattr(made, "stream", lambda *, seed: VoiceStream(made, seed=seed, windows=WINDOWS))
    return made


@pytest.fixture
def thread(speaker: Token2Wav) -> Iterator[VoiceThread]:
    made = VoiceThread(speaker, torch.device("cpu"))
    yield made
    made.close()


def sound(speaker: Token2Wav, ids: Sequence[int], *, seed: int) -> Any:
    stream = speaker.stream(seed=seed)
    return np.concatenate([piece.samples for piece in stream.feed(ids) + stream.finish()])


def test_the_first_sound_is_there_while_the_reply_is_decoded(
    tiny_engine: Engine, speaker: Token2Wav, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decoding waits, after the codec ids of one window, until there is sound: without a stream, for ever."""
    script = [100, 101, TINY.text.end, TINY.speech.bos_eos, *CODEC, TINY.speech.bos_eos]
    engine, spoke, waited = Engine(tiny_engine.model, tiny_engine.tokenizer), threading.Event(), []
    serve, compute = engine.serve, ReplyVoice._compute

    def hook(step: int, logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        if step == 20:
            waited.append(spoke.wait(60))
        return torch.full_like(ids, script[step])

    def computing(self: ReplyVoice, tokens: Sequence[int], *, last: bool) -> None:
        compute(self, tokens, last=last)
        if self.pieces:
            spoke.set()

    monkeypatch.setattr(engine, "serve", lambda *given, **named: serve(*given, hook=hook, **named))
    monkeypatch.setattr(ReplyVoice, "_compute", computing)
    pool = EnginePool([EngineWorker(engine=engine, speaker=speaker)], stream=True)
    (answer,) = pool.answer(make_requests(1), mode="s2s", max_new_tokens=len(script))
    pool.close()
    assert waited == [True]
    assert list(answer.reply.speech) == CODEC
    assert np.array_equal(present(answer.wave).samples, sound(speaker, CODEC, seed=100))
    assert present(answer.first_audio_seconds) > 0


def test_replies_of_a_batch_have_the_sound_of_each_alone(brisk_engine: Engine, speaker: Token2Wav) -> None:
    engine, requests = Engine(brisk_engine.model, brisk_engine.tokenizer, slots=3), make_requests(5)
    pool = EnginePool([EngineWorker(engine=engine, speaker=speaker)], stream=True)
    for mode in ("s2s-think", "tts", "s2t"):
        for answer, request in zip(
            pool.answer(requests, mode=mode, max_new_tokens=40), requests, strict=True
        ):
            ids = [token for token in answer.reply.speech if token < 4096]
            assert (answer.wave is None) == (answer.first_audio_seconds is None) == (not ids)
            if ids:
                assert np.array_equal(present(answer.wave).samples, sound(speaker, ids, seed=request.seed))
    pool.close()


def test_pieces_are_handed_out_and_a_dropped_reply_is_not_computed(thread: VoiceThread) -> None:
    pieces: list[Waveform] = []
    voice = ReplyVoice(thread, seed=1, on_piece=pieces.append)
    for token in CODEC:
        voice.feed([token])
    whole = voice.finish().result()
    assert len(pieces) == 4
    assert np.array_equal(np.concatenate([piece.samples for piece in pieces]), present(whole).samples)
    dropped = ReplyVoice(thread, seed=1, on_piece=pieces.append)
    dropped.drop()
    dropped.feed(CODEC)
    assert dropped.finish().result() is None
    assert len(pieces) == 4
    assert ReplyVoice(thread, seed=1).finish().result() is None


def test_the_failure_of_a_piece_is_that_of_the_reply(
    thread: VoiceThread, speaker: Token2Wav, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(speaker, "flow_mels", full)
    voice = ReplyVoice(thread, seed=1)
    voice.feed(CODEC[:10])
    voice.feed(CODEC[10:])
    with pytest.raises(SystemFailure, match="out of memory speaking one reply of 22 speech tokens on cpu"):
        voice.finish().result()
