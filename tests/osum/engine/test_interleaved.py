"""Six ids of text, eighteen of speech, in turn (experimental): blocks, ends, heads, and the first sound."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from echat_eval.osum.engine.engine import Engine
from echat_eval.osum.engine.engine_pool import EnginePool, EngineWorker
from echat_eval.osum.model.config import TINY
from echat_eval.osum.prompts.modes import MODES, Spoken, Words, layout, rules_of
from echat_eval.osum.prompts.prompts import system
from echat_eval.osum.voice.tiny import write_tiny_release
from echat_eval.osum.voice.token2wav import Token2Wav
from tests.support.osum_requests import asks, ids_of

END, EDGE = TINY.text.end, TINY.speech.edge


def pack(text: int, speech: int) -> tuple[list[int], list[bool]]:
    """A reply as the training data are packed, by their description: ids, and which are speech.

    Up to 6 text ids, up to 18 speech ids, and so on until the text with its end is used up; then the rest of the
    speech. The speech's begin and end tokens count like any other.
    """
    words = [*range(100, 100 + text - 1), END]
    sounds = [EDGE, *range(1000, 1000 + speech), EDGE]
    ids: list[int] = []
    spoken: list[bool] = []
    while words:
        for source, count, kind in ((words, 6, False), (sounds, 18, True)):
            taken, source[:] = source[:count], source[count:]
            ids += taken
            spoken += [kind] * len(taken)
    return ids + sounds, spoken + [True] * len(sounds)


def scripted(engine: Engine, script: list[int], *, profile: str = "fixed", begun=None):
    """Return the reply, which head every step used, and which table every id was looked up in."""
    heads, tables, decoder = [], [], engine.model.decoder

    def hook(step: int, logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        heads.append(logits.shape[1] == TINY.speech.tokens)
        return torch.full_like(ids, script[step])

    usual = decoder.embed
    decoder.embed = lambda ids, speech: (tables.append(bool(speech[0])), usual(ids, speech))[1]
    try:
        other = Engine(engine.model, engine.tokenizer, profile=profile)
        made = other.stream(
            enumerate(asks(1)),
            mode="s2s-stream",
            cap=len(script),
            hook=hook,
            slots=1,
            begun=None if begun is None else lambda number, speech: begun(number, speech, len(heads)),
        )
        ((_, reply),) = made
    finally:
        del decoder.embed
    return reply, heads, tables


@pytest.mark.parametrize("text", [1, 5, 6, 7, 12, 13, 20])
def test_blocks_follow_the_training_data(tiny_engine, text: int) -> None:
    ids, spoken = pack(text, speech=3 * text + 25)
    reply, heads, tables = scripted(tiny_engine, [*ids, 7, 7, 7])
    assert list(reply.ids) == ids
    assert heads == spoken
    assert tables == spoken[:-1]
    assert reply.speech == tuple(range(1000, 1000 + 3 * text + 25))
    assert reply.finish_reason == "stop"
    assert reply.raw == tiny_engine.tokenizer.decode(range(100, 100 + text - 1))


def test_the_public_code_starts_its_first_full_block_after_the_edge(tiny_engine) -> None:
    """19 places of speech, not 18, stand before the second block of text."""
    words = [*range(100, 106)]
    script = [*words, EDGE, *range(1000, 1018), 106, END, *range(1018, 1030), EDGE]
    reply, heads, _ = scripted(tiny_engine, script, profile="upstream")
    assert heads == [False] * 6 + [True] * 19 + [False] * 2 + [True] * 13
    assert list(reply.ids) == script
    assert reply.speech == tuple(range(1000, 1030))
    assert rules_of(MODES["s2s-stream"], "upstream").max_new == 300


def test_a_reply_cut_off_in_a_block_is_taken_apart(tiny_engine) -> None:
    ids, _ = pack(13, speech=64)
    reply, *_ = scripted(tiny_engine, ids[:30])
    assert (reply.finish_reason, len(reply.ids)) == ("length", 30)
    assert reply.speech == tuple(range(1000, 1017))
    assert reply.raw == tiny_engine.tokenizer.decode(range(100, 112))


def test_the_prompt_is_that_of_training_or_of_the_public_code() -> None:
    (ask,) = asks(1)
    words, begin, *_ = layout(MODES["s2s-stream"], ask, profile="fixed", config=TINY)
    assert words == Words(system("s2s-stream") + "<|im_start|>user\n")
    assert begin == Spoken((TINY.speech.query_begin,))
    words, *_ = layout(MODES["s2s-stream"], ask, profile="upstream", config=TINY)
    assert words.text.startswith(system("qwen"))
    assert words.text.endswith("每回复6个文字,就转化为18个语音token。")


def test_rows_in_turn_answer_as_they_would_alone(brisk_engine) -> None:
    engine = Engine(brisk_engine.model, brisk_engine.tokenizer, slots=3)
    together = ids_of(engine.reply(asks(8), mode="s2s-stream", cap=60))
    one = Engine(brisk_engine.model, brisk_engine.tokenizer, slots=1)
    assert together == ids_of(one.reply(asks(8), mode="s2s-stream", cap=60))
    assert len(set(map(len, together))) > 2


@pytest.mark.parametrize(("profile", "first"), [("fixed", 17), ("upstream", 18)])
def test_the_first_block_is_told_once_and_before_the_end(tiny_engine, profile: str, first: int) -> None:
    words = [*range(100, 106)]
    script = [*words, EDGE, *range(1000, 1000 + first), 106, END, *range(1040, 1100), EDGE]
    told = []
    reply, heads, _ = scripted(tiny_engine, script, profile=profile, begun=lambda *what: told.append(what))
    heads_at_the_end = len(heads)
    assert told == [(0, tuple(range(1000, 1000 + first)), 6 + 1 + first)]
    assert heads_at_the_end == len(script)
    assert len(reply.speech) == first + 60


def test_the_first_sound_comes_before_the_reply_is_whole(tiny_engine, tmp_path, monkeypatch) -> None:
    write_tiny_release(tmp_path)
    speaker = Token2Wav.load(tmp_path, tmp_path / "voice.safetensors")
    engine = Engine(tiny_engine.model, tiny_engine.tokenizer)
    script, _ = pack(13, speech=70)
    stream, clock = engine.stream, iter(range(1000))

    def hooked(made, **given):
        hook = lambda step, logits, ids: torch.full_like(ids, script[step])  # noqa: E731
        return stream(made, **given | {"cap": len(script)}, hook=hook)

    monkeypatch.setattr(engine, "stream", hooked)
    monkeypatch.setattr("echat_eval.osum.engine.engine_pool.time.perf_counter", lambda: float(next(clock)))
    spoken, usual = [], speaker.synthesise

    def noting(tokens, *, seeds):
        spoken.append(len(tokens[0]))
        return usual(tokens, seeds=seeds)

    monkeypatch.setattr(speaker, "synthesise", noting)
    team = EnginePool([EngineWorker(engine=engine, speaker=speaker)])
    (answer,) = team.answer(asks(1), mode="s2s-stream")
    assert spoken == [17, 70]
    # The clock was asked at the request and at the first sound, and not again.
    assert answer.first_audio_seconds == 1.0
    (early,), (whole,) = (usual([list(range(1000, 1000 + n))], seeds=[100]) for n in (17, 70))
    ends = len(early.samples) - int(0.02 * 22_050)
    assert len(answer.wave.samples) == len(whole.samples)
    assert (answer.wave.samples[:ends] == early.samples[:ends]).all()
    assert (answer.wave.samples[len(early.samples) :] == whole.samples[len(early.samples) :]).all()
    mute = EnginePool([EngineWorker(engine=engine)]).answer(asks(1), mode="s2s-stream")[0]
    assert (mute.wave, mute.first_audio_seconds) == (None, None)
    assert mute.reply == answer.reply


def test_only_this_mode_takes_turns() -> None:
    for name, mode in MODES.items():
        for profile in ("fixed", "upstream"):
            rules = rules_of(mode, profile)
            assert mode.in_turn == (rules.blocks is not None) == (name == "s2s-stream")
            assert replace(rules, blocks=None, max_new=1).blocks is None
