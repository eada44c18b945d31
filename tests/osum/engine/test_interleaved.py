"""Interleaved replies (experimental): six text ids, then eighteen speech ids; blocks, ends, first sound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from echat_eval.osum.engine.engine import Engine
from echat_eval.osum.engine.engine_pool import EnginePool, EngineWorker
from echat_eval.osum.engine.job_source import ListedRequests
from echat_eval.osum.engine.types import OsumReply, ReplyPart
from echat_eval.osum.model.config import TINY
from echat_eval.osum.prompts.modes import (
    MODES,
    Profile,
    SpeechIdPrompt,
    TextPrompt,
    layout,
    rules_of,
)
from echat_eval.osum.prompts.prompts import system
from echat_eval.osum.voice.tiny import write_tiny_release
from echat_eval.osum.voice.token2wav import Token2Wav
from echat_eval.records import Waveform
from tests.support.osum_requests import ids_of, make_requests

END, BOS_EOS = TINY.text.end, TINY.speech.bos_eos


def pack(text: int, speech: int) -> tuple[list[int], list[bool]]:
    """Return a reply as the training data is described to be packed: its ids, and which of them are speech.

    Up to 6 text ids, up to 18 speech ids, and so on until the text and its end token are used up; then the rest
    of the speech. The begin and end tokens of the speech count like any other.
    """
    words = [*range(100, 100 + text - 1), END]
    sounds = [BOS_EOS, *range(1000, 1000 + speech), BOS_EOS]
    ids: list[int] = []
    spoken: list[bool] = []
    while words:
        for source, count, kind in ((words, 6, False), (sounds, 18, True)):
            taken, source[:] = source[:count], source[count:]
            ids += taken
            spoken += [kind] * len(taken)
    return ids + sounds, spoken + [True] * len(sounds)


def scripted(
    engine: Engine,
    script: list[int],
    *,
    profile: Profile = "fixed",
) -> tuple[OsumReply, list[bool], list[bool]]:
    """Return the reply, and for every step whether it used the speech head and the speech table."""
    decoder = engine.model.decoder
    heads: list[bool] = []
    tables: list[bool] = []

    def hook(step: int, logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        heads.append(logits.shape[1] == TINY.speech.tokens)
        return torch.full_like(ids, script[step])

    usual = decoder.embed

    def noting(ids: torch.Tensor, speech: torch.Tensor) -> torch.Tensor:
        tables.append(bool(speech[0]))
        return usual(ids, speech)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoder, "embed", noting)
        with_profile = Engine(engine.model, engine.tokenizer, profile=profile)
        kind = with_profile.kind("s2s-stream", max_new_tokens=len(script))
        requests = ListedRequests(enumerate(make_requests(1)), streamed=True)
        text: list[int] = []
        speech: list[int] = []
        for event in with_profile.serve(requests, kind, hook=hook, slots=1):
            if isinstance(event, ReplyPart):
                text += event.text
                speech += event.speech
                # Every id is handed out in the step that draws it.
                assert script[len(heads) - 1] == (*event.text, *event.speech)[0]
            else:
                reply = event[1]
    assert (with_profile.tokenizer.decode(text), tuple(speech)) == (reply.raw, reply.speech)
    return reply, heads, tables


@pytest.mark.parametrize("text", [1, 5, 6, 7, 12, 13, 20])
def test_blocks_follow_the_training_data(tiny_engine: Engine, text: int) -> None:
    ids, spoken = pack(text, speech=3 * text + 25)
    reply, heads, tables = scripted(tiny_engine, [*ids, 7, 7, 7])
    assert list(reply.ids) == ids
    assert heads == spoken
    assert tables == spoken[:-1]
    assert reply.speech == tuple(range(1000, 1000 + 3 * text + 25))
    assert reply.finish_reason == "stop"
    assert reply.raw == tiny_engine.tokenizer.decode(range(100, 100 + text - 1))


def test_the_upstream_first_block_excludes_the_begin_token(tiny_engine: Engine) -> None:
    """The second text block follows 19 speech ids, not 18."""
    words = [*range(100, 106)]
    script = [*words, BOS_EOS, *range(1000, 1018), 106, END, *range(1018, 1030), BOS_EOS]
    reply, heads, _ = scripted(tiny_engine, script, profile="upstream")
    assert heads == [False] * 6 + [True] * 19 + [False] * 2 + [True] * 13
    assert list(reply.ids) == script
    assert reply.speech == tuple(range(1000, 1030))
    assert rules_of(MODES["s2s-stream"], "upstream").max_new_tokens == 300


def test_a_reply_cut_off_within_a_block_is_split(tiny_engine: Engine) -> None:
    ids, _ = pack(13, speech=64)
    reply, *_ = scripted(tiny_engine, ids[:30])
    assert (reply.finish_reason, len(reply.ids)) == ("length", 30)
    assert reply.speech == tuple(range(1000, 1017))
    assert reply.raw == tiny_engine.tokenizer.decode(range(100, 112))


def test_the_prompt_equals_that_of_training_or_of_the_public_code() -> None:
    (request,) = make_requests(1)
    words, begin, *_ = layout(MODES["s2s-stream"], request, profile="fixed", config=TINY)
    assert words == TextPrompt(system("s2s-stream") + "<|im_start|>user\n")
    assert begin == SpeechIdPrompt((TINY.speech.query_begin,))
    words, *_ = layout(MODES["s2s-stream"], request, profile="upstream", config=TINY)
    assert isinstance(words, TextPrompt)
    assert words.text.startswith(system("qwen"))
    assert words.text.endswith("每回复6个文字,就转化为18个语音token。")


def test_interleaved_replies_equal_those_of_each_request_alone(brisk_engine: Engine) -> None:
    engine = Engine(brisk_engine.model, brisk_engine.tokenizer, slots=3)
    together = ids_of(engine.reply(make_requests(8), mode="s2s-stream", max_new_tokens=60))
    single = Engine(brisk_engine.model, brisk_engine.tokenizer, slots=1)
    assert together == ids_of(single.reply(make_requests(8), mode="s2s-stream", max_new_tokens=60))
    assert len(set(map(len, together))) > 2


def test_the_first_sound_comes_before_the_reply_is_complete(
    tiny_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny_release(tmp_path)
    speaker = Token2Wav.load(tmp_path, tmp_path / "voice.safetensors")
    engine = Engine(tiny_engine.model, tiny_engine.tokenizer)
    script, _ = pack(13, speech=70)
    serve, clock = engine.serve, iter(range(1000))

    def hooked(requests: Any, kind: Any, **options: Any) -> Any:
        return serve(
            requests, kind, hook=lambda step, logits, ids: torch.full_like(ids, script[step]), **options
        )

    monkeypatch.setattr(engine, "serve", hooked)
    monkeypatch.setattr("echat_eval.osum.engine.engine_pool.time.perf_counter", lambda: float(next(clock)))
    spoken: list[int] = []
    usual = speaker.synthesise

    def noting(tokens: Sequence[Sequence[int]], *, seeds: Sequence[int]) -> list[Waveform | None]:
        spoken.append(len(tokens[0]))
        return usual(tokens, seeds=seeds)

    monkeypatch.setattr(speaker, "synthesise", noting)
    pool = EnginePool([EngineWorker(engine=engine, speaker=speaker)])
    (answer,) = pool.answer(make_requests(1), mode="s2s-stream", max_new_tokens=len(script))
    pool.close()
    assert spoken == [17, 70]
    # The clock is read at the request and at the first sound, and not again.
    assert answer.first_audio_seconds == 1.0
    (early,), (whole,) = (usual([list(range(1000, 1000 + n))], seeds=[100]) for n in (17, 70))
    assert early is not None
    assert whole is not None
    assert answer.wave is not None
    ends = len(early.samples) - int(0.02 * 22_050)
    assert len(answer.wave.samples) == len(whole.samples)
    assert (answer.wave.samples[:ends] == early.samples[:ends]).all()
    assert (answer.wave.samples[len(early.samples) :] == whole.samples[len(early.samples) :]).all()
    silent = EnginePool([EngineWorker(engine=engine)])
    (mute,) = silent.answer(make_requests(1), mode="s2s-stream", max_new_tokens=len(script))
    silent.close()
    assert (mute.wave, mute.first_audio_seconds) == (None, None)
    assert mute.reply == answer.reply


def test_only_this_mode_is_interleaved() -> None:
    for name, mode in MODES.items():
        for profile in ("fixed", "upstream"):
            rules = rules_of(mode, profile)
            assert mode.interleaved == (rules.blocks is not None) == (name == "s2s-stream")
            assert replace(rules, blocks=None, max_new_tokens=1).blocks is None
