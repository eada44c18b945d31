"""Slots refilled as replies end: every reply is that of its request alone, whatever is fast about it."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch

from echat_eval.osum.decoding import scheduler as batch_module
from echat_eval.osum.decoding.cuda_graphs import (
    CudaGraphCache,
    compile_layers,
    prepare,
    recorder,
    rehearse,
    resolve,
)
from echat_eval.osum.decoding.host_sync import HostSync
from echat_eval.osum.decoding.loop import DecodeLoop
from echat_eval.osum.decoding.scheduler import Job
from echat_eval.osum.decoding.slots import Slots
from echat_eval.osum.decoding.state import DecodingState
from echat_eval.osum.decoding.step import advance, choose_fixed
from echat_eval.osum.engine.engine import Engine
from echat_eval.osum.model.config import TINY
from echat_eval.osum.model.kv_cache import KVCache
from echat_eval.osum.model.length_batches import alike
from echat_eval.osum.prompts.modes import MODES, GenerationRequest, PastTurn, rules_of
from tests.support.osum_requests import asks, ids_of, shuffled

CPU = torch.device("cpu")
CAP = 60
COUNT = 14


@pytest.fixture(scope="module")
def alone(brisk_engine) -> dict[str, list[tuple[int, ...]]]:
    return {mode: replies_alone(brisk_engine, mode) for mode in ("s2s", "understand")}


def replies_alone(engine, mode: str) -> list[tuple[int, ...]]:
    return [engine.reply([ask], mode=mode, cap=CAP)[0].ids for ask in asks(COUNT)]


def engine_with(engine, **given) -> Engine:
    return Engine(engine.model, engine.tokenizer, **given)


@pytest.mark.parametrize("slots", [1, 3, 8])
@pytest.mark.parametrize("mode", ["s2s", "understand"])
def test_refilled_slots_answer_as_requests_alone_in_any_order(brisk_engine, alone, slots, mode) -> None:
    for seed in range(2):
        order, engine = shuffled(COUNT, seed=seed), engine_with(brisk_engine, slots=slots)
        made = engine.reply([asks(COUNT)[n] for n in order], mode=mode, cap=CAP)
        assert ids_of(made) == [alone[mode][n] for n in order]
        assert len({len(ids) for ids in alone[mode]}) > 3
        assert engine.loop.refills > 0
        # Nobody waited for the longest of a fixed batch: fewer steps than one batch after another would take.
        lengths = [len(alone[mode][n]) for n in order]
        batches = sum(max(lengths[i : i + slots]) for i in range(0, COUNT, slots))
        assert engine.loop.steps <= batches
        if slots == 3:
            assert engine.loop.steps < batches


def test_replies_are_given_as_they_end_and_requests_taken_as_slots_come_free(brisk_engine, alone) -> None:
    taken: list[int] = []

    def source():
        for number, ask in enumerate(asks(COUNT)):
            taken.append(number)
            yield number, ask

    engine, ends = engine_with(brisk_engine, slots=2), []
    for number, reply in engine.stream(source(), mode="understand", cap=CAP):
        ends.append(number)
        assert reply.ids == alone["understand"][number]
        # At most the slots and one further handful are in hand.
        assert len(taken) - len(ends) <= 2 * 2
    assert sorted(ends) == list(range(COUNT))
    assert ends != sorted(ends)


def test_dialogues_and_single_questions_share_slots(brisk_engine) -> None:
    first, second, third, *rest = asks(6)
    past = PastTurn(wave=second.wave, text="hm", speech=(5, 6))
    mixed = [first, GenerationRequest(wave=third.wave, history=(past,) * 6, seed=1), second, *rest]
    made = engine_with(brisk_engine, slots=3).reply(mixed, cap=CAP)
    assert ids_of(made) == [brisk_engine.reply([ask], cap=CAP)[0].ids for ask in mixed]


def jobs_of(engine, count: int) -> list[Job]:
    width, chance = engine.model.config.decoder.width, torch.Generator().manual_seed(5)
    sizes = torch.randint(2, 40, (count,), generator=chance).tolist()
    prompts = [0.1 * torch.randn(size, width, generator=chance) for size in sizes]
    return [Job(number=n, prompt=prompt, seed=n) for n, prompt in enumerate(prompts)]


def taker(jobs: list[Job]):
    left = iter(jobs)
    return lambda count: [job for _, job in zip(range(count), left, strict=False)]


def decode(engine, jobs: list[Job], *, mode: str = "s2s", cap: int = CAP, **given):
    rules = rules_of(MODES[mode], "fixed", cap=cap)
    loop = DecodeLoop(engine.model, rules=rules, sampling=MODES[mode].sampling, **given)
    made = {m.job.number: (m.ids, m.ended) for m in loop.run(taker(jobs))}
    return [made[n] for n in sorted(made)], loop


def as_it_is(step, state):
    """Stands for a recording: rehearsed, put back, and run."""
    rehearse(step, state)
    return step


@pytest.mark.parametrize("mode", ["s2s", "understand", "tts"])
@pytest.mark.parametrize(("slots", "look"), [(1, 1), (3, 8), (8, 3)])
def test_a_fixed_step_makes_the_ids_of_a_plain_one(brisk_engine, mode, slots, look) -> None:
    """What would be recorded on a GPU: fixed shapes, rows looked at seldom and late, overshoot thrown away."""
    jobs = jobs_of(brisk_engine, 11)
    plain, _ = decode(brisk_engine, jobs, mode=mode, slots=1)
    fixed, loop = decode(brisk_engine, jobs, mode=mode, slots=slots, record=as_it_is, look_every=look)
    assert fixed == plain
    assert loop.steps % look == 0
    late, _ = decode(brisk_engine, jobs, mode=mode, slots=slots, look_every=look)
    assert late == plain


def test_what_was_recorded_serves_the_next_call(brisk_engine) -> None:
    jobs, kept, recorded = jobs_of(brisk_engine, 11), CudaGraphCache(), []

    def counting(step, state):
        recorded.append(step)
        return as_it_is(step, state)

    first, _ = decode(brisk_engine, jobs, slots=4, record=counting, kept=kept)
    count = len(recorded)
    assert count >= 2  # both heads, and speech alone
    # Fewer, other and shorter jobs in the same tensors, stale from before.
    assert decode(brisk_engine, jobs, slots=4, record=counting, kept=kept)[0] == first
    assert decode(brisk_engine, jobs[7:], slots=4, record=counting, kept=kept)[0] == first[7:]
    # A call that was broken off leaves a row in the midst of a reply.
    with torch.inference_mode():
        kept.slots.phases.start(torch.tensor([3]))
    assert decode(brisk_engine, jobs[:3], slots=4, record=counting, kept=kept)[0] == first[:3]
    assert int(kept.slots.phases.count[3]) == 0
    assert len(recorded) == count
    assert kept.cache.slots % 256 == 0
    other, _ = decode(brisk_engine, jobs, mode="understand", slots=4, record=counting, kept=kept)
    assert other == decode(brisk_engine, jobs, mode="understand", slots=4)[0]
    assert len(recorded) > count
    kept.drop()
    assert decode(brisk_engine, jobs, slots=4, record=counting, kept=kept)[0] == first


def no_freeze(monkeypatch) -> None:
    monkeypatch.setattr(DecodingState, "over", lambda self: torch.zeros_like(self.done))


def stale_state(monkeypatch) -> None:
    usual = DecodingState.start

    def forgetful(self, rows) -> None:
        edges = self.edges.clone()
        usual(self, rows)
        self.edges.copy_(edges)

    monkeypatch.setattr(DecodingState, "start", forgetful)


def stale_numbers(monkeypatch) -> None:
    usual = Slots.start

    def own_numbers_kept(self, rows, hidden, positions, seeds) -> None:
        uniforms = self.uniforms.clone()
        usual(self, rows, hidden, positions, seeds)
        if bool(uniforms.any()):
            self.uniforms.copy_(uniforms)

    monkeypatch.setattr(Slots, "start", own_numbers_kept)


def unmoved_rows(monkeypatch) -> None:
    monkeypatch.setattr(Slots, "gather", lambda self, rows: None)


def unmoved_cache(monkeypatch) -> None:
    monkeypatch.setattr(KVCache, "gather", lambda self, rows: None)


@pytest.mark.parametrize("fault", [no_freeze, stale_state, stale_numbers, unmoved_rows, unmoved_cache])
def test_the_check_notices_a_fault(tiny_engine, monkeypatch, fault) -> None:
    jobs = jobs_of(tiny_engine, 24)
    right, _ = decode(tiny_engine, jobs, slots=8, cap=120)
    fault(monkeypatch)
    try:
        wrong, _ = decode(tiny_engine, jobs, slots=8, cap=120, look_every=3)
    except (IndexError, RuntimeError):
        return
    assert wrong != right


def test_a_rehearsal_puts_the_state_back(brisk_engine) -> None:
    rules, config = rules_of(MODES["s2s"], "fixed", cap=9), brisk_engine.model.config
    slots = Slots(rules, MODES["s2t"].sampling, config, rows=2, like=torch.zeros(1))
    slots.start(torch.arange(2), torch.randn(2, config.decoder.width), torch.tensor([3, 5]), [1, 2])
    cache = KVCache.allocate(config.decoder, rows=2, slots=20, like=torch.zeros(1))
    before = [tensor.clone() for tensor in slots.tensors()]

    @torch.inference_mode()
    def step() -> None:
        choose_fixed(brisk_engine.model.decoder, slots, "both")
        advance(brisk_engine.model.decoder, slots, cache, width=16)

    with torch.inference_mode():
        rehearse(step, slots.tensors())
    assert all(torch.equal(now, then) for now, then in zip(slots.tensors(), before, strict=True))
    step()
    changed = [not torch.equal(now, then) for now, then in zip(slots.tensors(), before, strict=True)]
    assert sum(changed) >= 6


@pytest.mark.parametrize("whole", [False, True], ids=["layers", "whole step"])
def test_a_step_compiles_without_a_break(tiny_folder, brisk_engine, whole: bool) -> None:
    """One graph, no question to the host: what a CUDA graph needs. The backend runs what was traced."""
    from echat_eval.osum.checkpoint.checkpoint import load_model

    torch._dynamo.reset()
    model = load_model(tiny_folder, dtype="fp32")
    engine, jobs = Engine(model, brisk_engine.tokenizer), jobs_of(brisk_engine, 5)
    plain, _ = decode(engine, jobs, slots=3, cap=20)

    def compiled_whole(step, state):
        return torch.compile(step, fullgraph=True, backend="eager")

    if not whole:
        compile_layers(model.decoder, backend="eager")
        assert len(model.decoder.compiled) == len(model.decoder.layers)
    record = compiled_whole if whole else as_it_is
    made, _ = decode(engine, jobs, slots=3, cap=20, record=record, look_every=4)
    assert made == plain
    torch._dynamo.reset()


def test_layers_that_cannot_be_compiled_run_as_they_are_and_say_so(brisk_engine, monkeypatch, caplog) -> None:
    decoder, tries = brisk_engine.model.decoder, []

    def broken() -> None:
        tries.append(len(decoder.compiled))
        if decoder.compiled:
            raise RuntimeError("no compiler\nand a long story")

    monkeypatch.setattr(decoder, "compiled", [None])
    with caplog.at_level(logging.WARNING):
        prepare(broken, decoder)
    assert tries == [1, 0]
    assert "cannot be compiled (no compiler)" in caplog.text
    monkeypatch.setattr(decoder, "compiled", [])
    with pytest.raises(ZeroDivisionError):
        prepare(lambda: 1 // 0, decoder)


def test_on_a_cpu_steps_are_plain() -> None:
    assert {resolve(steps, CPU) for steps in ("auto", "plain", "recorded", "compiled")} == {"plain"}
    assert recorder("plain", None, CPU) is None
    assert resolve("auto", torch.device("cuda")) == "compiled"


def test_a_late_look_tells_what_was_noted() -> None:
    rules = rules_of(MODES["s2s"], "fixed", cap=2)
    phases = DecodingState(rules, TINY, rows=2, device=CPU)
    watch = HostSync(CPU, lagging=True)
    assert watch.look(phases) is None
    watch.note(phases)
    phases.accept(torch.tensor([7, TINY.text.end]))
    noted = watch.look(phases)
    assert (noted.count, noted.speech) == ((0, 0), (False, False))
    watch.note(phases)
    phases.accept(torch.tensor([7, 7]))
    noted = watch.look(phases)
    assert (noted.count, noted.speech, noted.over) == ((1, 1), (False, True), (False, False))
    assert HostSync(CPU, lagging=False).look(phases).over == (True, True)


def test_heads_are_evaluated_where_they_are_needed(brisk_engine, monkeypatch) -> None:
    decoder, rows = brisk_engine.model.decoder, {"text": 0, "speech": 0}
    for name in rows:
        usual = getattr(decoder, f"{name}_logits")

        def counting(x, usual=usual, name=name):
            rows[name] += x.shape[0]
            return usual(x)

        monkeypatch.setattr(decoder, f"{name}_logits", counting)
    for mode in ("understand", "tts", "s2s"):
        rows |= {"text": 0, "speech": 0}
        engine = engine_with(brisk_engine, slots=3)
        made = engine.reply(asks(7), mode=mode, cap=CAP)
        end = engine.model.config.text.end
        text = {
            "understand": sum(len(r.ids) for r in made),
            "tts": 0,
            "s2s": sum(r.ids.index(end) + 1 if end in r.ids else len(r.ids) for r in made),
        }[mode]
        assert rows == {"text": text, "speech": sum(len(r.ids) for r in made) - text}


def test_the_words_of_a_mode_are_read_once(brisk_engine, monkeypatch) -> None:
    engine, decoder = engine_with(brisk_engine, slots=3), brisk_engine.model.decoder
    read, usual = [], decoder.forward

    def counting(x, positions, cache, **given):
        if x.shape[1] > 1:
            read.append(x.shape[0] * x.shape[1])
        return usual(x, positions, cache, **given)

    monkeypatch.setattr(decoder, "forward", counting)
    made = engine.reply(asks(7), cap=8)
    (prefix,) = engine.prefixes.kept.values()
    assert read[0] == prefix.slots > 100
    # Padding included, what was read later is far below what whole prompts would be.
    whole = sum(reply.prompt_positions for reply in made)
    assert sum(read) < prefix.slots + whole - 6 * prefix.slots
    assert all(reply.prompt_positions > prefix.slots for reply in made)
    engine.reply(asks(2), cap=8)
    assert len(engine.prefixes.kept) == 1


def test_a_shared_prefix_changes_no_logits(tiny_engine) -> None:
    from echat_eval.osum.decoding.generate import generate
    from echat_eval.osum.prompts.modes import layout

    ask, seen = asks(1)[0], []
    mode = MODES["s2s"]

    def keep(step, logits, ids):
        seen.append(logits[0].clone())
        return ids

    tiny_engine.reply([ask], cap=12, hook=keep)
    shared, seen = seen, []
    layouts = [layout(mode, ask, profile="fixed", config=tiny_engine.model.config)]
    generate(
        tiny_engine.model,
        tiny_engine.embed(layouts),
        rules=rules_of(mode, "fixed", cap=12),
        sampling=mode.sampling,
        seeds=[ask.seed],
        hook=keep,
    )
    assert len(shared) == len(seen) == 12
    for ours, whole in zip(shared, seen, strict=True):
        kept = torch.isfinite(whole)
        assert torch.equal(kept, torch.isfinite(ours))
        assert (ours - whole)[kept].abs().max() < 1e-5


def test_somebodys_words_are_not_kept(brisk_engine) -> None:
    engine = engine_with(brisk_engine)
    engine.reply([GenerationRequest(text="one"), GenerationRequest(text="two")], mode="t2t", cap=4)
    (pieces,) = engine.prefixes.kept
    assert "one" not in str(pieces)
    assert "text-to-text" in str(pieces)


def test_keys_and_values_are_sized_to_need_and_grown(tiny_engine, monkeypatch) -> None:
    seen, usual = [], batch_module.SlotScheduler.reserve

    def watching(self, steps):
        width = usual(self, steps)
        seen.append((width, self.cache.slots, self.cache.rows))
        return width

    monkeypatch.setattr(batch_module.SlotScheduler, "reserve", watching)
    jobs, config = jobs_of(tiny_engine, 9), tiny_engine.model.config.decoder
    jobs = [replace(job, prompt=job.prompt[: 2 + 4 * (n > 5)]) for n, job in enumerate(jobs)]
    made, loop = decode(tiny_engine, jobs, mode="tts", cap=400, slots=3)
    longest = max(len(ids) for ids, _ in made)
    sizes = sorted({slots for _, slots, _ in seen})
    assert longest > 200
    assert len(sizes) > 1
    assert sizes[0] < sizes[-1] <= 6 + 400 + batch_module.GROWTH
    assert all(width <= slots for width, slots, _ in seen)
    assert {rows for *_, rows in seen} == {3}
    cache = KVCache.allocate(config, rows=3, slots=7, like=torch.zeros(1))
    assert {tuple(t.shape) for t in (*cache.keys, *cache.values)} == {
        (3, 7, config.kv_heads, config.head_dim)
    }
    assert config.kv_heads < config.heads
    cache.keys[1][2, 6] = 5.0
    cache.grow(11)
    assert (cache.slots, float(cache.keys[1][2, 6].mean()), float(cache.keys[1][2, 7:].abs().sum())) == (
        11,
        5,
        0,
    )


def test_rows_are_closed_up_when_nobody_waits(brisk_engine, monkeypatch) -> None:
    rows, decoder = [], brisk_engine.model.decoder
    usual = decoder.embed

    def counting(ids, speech):
        rows.append(len(ids))
        return usual(ids, speech)

    monkeypatch.setattr(decoder, "embed", counting)
    made, _ = decode(brisk_engine, jobs_of(brisk_engine, 8), mode="understand", slots=8)
    lengths = sorted(len(ids) for ids, _ in made)
    assert rows[0] == 8
    assert rows[-1] == 1
    assert sum(rows) < 8 * lengths[-1] * 0.7


def test_like_lengths_are_heard_together(brisk_engine, monkeypatch) -> None:
    calls, encoder = [], brisk_engine.model.encoder
    usual = encoder.forward

    def counting(mel, lengths, **given):
        calls.append((mel.shape[0], mel.shape[1], lengths.tolist(), given["padded"]))
        return usual(mel, lengths, **given)

    monkeypatch.setattr(encoder, "forward", counting)
    waves = [torch.zeros(160 * n) for n in (10, 300, 12, 290, 290, 100)]
    heard = brisk_engine.model.hear(waves)
    assert [len(h) for h in heard] == [2, 38, 2, 37, 37, 13]
    assert [(rows, frames) for rows, frames, *_ in calls] == [(3, 300), (1, 100), (2, 12)]
    assert [padded for *_, padded in calls] == [True, False, True]
    calls.clear()
    brisk_engine.model.hear(waves, most=300)
    assert [rows for rows, *_ in calls] == [1, 1, 1, 1, 2]


def test_equal_lengths_unmasked_are_the_masked_ones(brisk_engine) -> None:
    model, mel = brisk_engine.model, torch.randn(2, 41, 80, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([41, 41])
    for padded, whole in ((model.encoder, mel), (model.adapter, model.encoder(mel, lengths)[0])):
        ours, _ = padded(whole, lengths, padded=False)
        theirs, _ = padded(whole, lengths, padded=True)
        assert (ours - theirs).abs().max() < 1e-5


def test_batches_of_like_lengths_hold_every_row_once_within_the_limit() -> None:
    chance = torch.Generator().manual_seed(0)
    for _ in range(20):
        lengths = torch.randint(1, 500, (30,), generator=chance).tolist()
        batches = alike(lengths, most=900)
        assert sorted(i for batch in batches for i in batch) == list(range(30))
        for batch in batches:
            sizes = [lengths[i] for i in batch]
            assert max(sizes) * len(sizes) <= 900 or len(sizes) == 1
            assert min(sizes) >= min(0.8 * max(sizes), max(sizes) - 16)
