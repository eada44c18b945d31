"""Continuous batching: every reply equals that of its request alone, with every speed-up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from echat_eval.osum.decoding import captured_prompts as captured_prompts_module
from echat_eval.osum.decoding import scheduler as scheduler_module
from echat_eval.osum.decoding import slot_tensors
from echat_eval.osum.decoding.captured_steps import capture_usual_steps
from echat_eval.osum.decoding.cuda_graphs import (
    CudaGraphCache,
    Steps,
    compile_steps,
    graph_capture,
    prepare,
    resolve,
    warm_up,
)
from echat_eval.osum.decoding.host_sync import HostSync
from echat_eval.osum.decoding.jobs import GenerationResult, Job
from echat_eval.osum.decoding.loop import DecodeLoop, ListedJobs
from echat_eval.osum.decoding.row_states import RowStates
from echat_eval.osum.decoding.state import DecodingState
from echat_eval.osum.decoding.step import Heads, advance, choose_fixed
from echat_eval.osum.engine.engine import Engine
from echat_eval.osum.model.config import TINY
from echat_eval.osum.model.decoder import CompiledParts
from echat_eval.osum.model.flex import row_blocks
from echat_eval.osum.model.kv_cache import KVCache
from echat_eval.osum.model.length_batches import batch_by_length
from echat_eval.osum.prompts.modes import MODES, GenerationRequest, PastTurn, rules_of
from tests.support.osum_requests import ids_of, make_requests, shuffled
from tests.support.present import present

CPU = torch.device("cpu")
MAX_NEW_TOKENS = 60
COUNT = 14


@pytest.fixture(scope="module")
def alone(brisk_engine: Engine) -> dict[str, list[tuple[int, ...]]]:
    return {mode: replies_alone(brisk_engine, mode) for mode in ("s2s", "understand")}


def replies_alone(engine: Engine, mode: str) -> list[tuple[int, ...]]:
    return [
        engine.reply([request], mode=mode, max_new_tokens=MAX_NEW_TOKENS)[0].ids
        for request in make_requests(COUNT)
    ]


def engine_with(engine: Engine, **options: Any) -> Engine:
    return Engine(engine.model, engine.tokenizer, **options)


@pytest.mark.parametrize("slots", [1, 3, 8])
@pytest.mark.parametrize("mode", ["s2s", "understand"])
def test_refilled_slots_reply_as_to_each_request_alone(
    brisk_engine: Engine, alone: dict[str, list[tuple[int, ...]]], slots: int, mode: str
) -> None:
    for seed in range(2):
        order, engine = shuffled(COUNT, seed=seed), engine_with(brisk_engine, slots=slots)
        made = engine.reply(
            [make_requests(COUNT)[n] for n in order], mode=mode, max_new_tokens=MAX_NEW_TOKENS
        )
        assert ids_of(made) == [alone[mode][n] for n in order]
        assert len({len(ids) for ids in alone[mode]}) > 3
        loop = present(engine.loop)
        assert loop.refills > 0
        # No request waits for the longest of a fixed batch: fewer steps than with fixed batches.
        lengths = [len(alone[mode][n]) for n in order]
        batches = sum(max(lengths[i : i + slots]) for i in range(0, COUNT, slots))
        assert loop.steps <= batches
        if slots == 3:
            assert loop.steps < batches


def test_replies_are_yielded_as_they_end_and_requests_taken_as_slots_become_free(
    brisk_engine: Engine, alone: dict[str, list[tuple[int, ...]]]
) -> None:
    taken: list[int] = []

    def source() -> Iterator[tuple[int, GenerationRequest]]:
        for number, request in enumerate(make_requests(COUNT)):
            taken.append(number)
            yield number, request

    engine = engine_with(brisk_engine, slots=2)
    ends: list[int] = []
    for number, reply in engine.stream(source(), mode="understand", max_new_tokens=MAX_NEW_TOKENS):
        ends.append(number)
        assert reply.ids == alone["understand"][number]
        # At most the requests in slots and one further batch are taken.
        assert len(taken) - len(ends) <= 2 * 2
    assert sorted(ends) == list(range(COUNT))
    assert ends != sorted(ends)


def test_dialogues_and_single_questions_share_slots(brisk_engine: Engine) -> None:
    first, second, third, *rest = make_requests(6)
    past = PastTurn(wave=present(second.wave), text="hm", speech=(5, 6))
    mixed = [first, GenerationRequest(wave=third.wave, history=(past,) * 6, seed=1), second, *rest]
    made = engine_with(brisk_engine, slots=3).reply(mixed, max_new_tokens=MAX_NEW_TOKENS)
    assert ids_of(made) == [
        brisk_engine.reply([request], max_new_tokens=MAX_NEW_TOKENS)[0].ids for request in mixed
    ]


def jobs_of(engine: Engine, count: int) -> list[Job]:
    width, generator = engine.model.config.decoder.width, torch.Generator().manual_seed(5)
    sizes = torch.randint(2, 40, (count,), generator=generator).tolist()
    prompts = [0.1 * torch.randn(size, width, generator=generator) for size in sizes]
    return [Job(number=n, prompt=prompt, seed=n) for n, prompt in enumerate(prompts)]


def decode(
    engine: Engine,
    jobs: list[Job],
    *,
    mode: str = "s2s",
    max_new_tokens: int = MAX_NEW_TOKENS,
    **options: Any,
) -> tuple[list[tuple[tuple[int, ...], bool]], DecodeLoop]:
    rules = rules_of(MODES[mode], "fixed", max_new_tokens=max_new_tokens)
    loop = DecodeLoop(engine.model, rules=rules, sampling=MODES[mode].sampling, **options)
    replies = {
        event.job.number: (event.ids, event.stopped)
        for event in loop.run(ListedJobs(jobs))
        if isinstance(event, GenerationResult)
    }
    return [replies[number] for number in sorted(replies)], loop


def without_graph(step: Callable[[], None], state: Sequence[torch.Tensor]) -> Callable[[], None]:
    """Stand in for a graph capture: warm up, restore the state, and run the step itself."""
    warm_up(step, state)
    return step


@pytest.mark.parametrize("mode", ["s2s", "understand", "tts"])
@pytest.mark.parametrize(("slots", "sync_every"), [(1, 1), (3, 8), (8, 3)])
def test_a_fixed_step_draws_the_ids_of_a_plain_one(
    brisk_engine: Engine, mode: str, slots: int, sync_every: int
) -> None:
    """As captured on a GPU: fixed shapes, delayed reads every few steps, surplus draws discarded."""
    jobs = jobs_of(brisk_engine, 11)
    plain, _ = decode(brisk_engine, jobs, mode=mode, slots=1)
    fixed, loop = decode(
        brisk_engine, jobs, mode=mode, slots=slots, capture_graph=without_graph, sync_every=sync_every
    )
    assert fixed == plain
    assert loop.steps % sync_every == 0
    rarely_read, _ = decode(brisk_engine, jobs, mode=mode, slots=slots, sync_every=sync_every)
    assert rarely_read == plain


def test_captured_steps_are_reused_by_the_next_call(brisk_engine: Engine) -> None:
    jobs, cache = jobs_of(brisk_engine, 11), CudaGraphCache()
    captured: list[Callable[[], None]] = []

    def counting(step: Callable[[], None], state: Sequence[torch.Tensor]) -> Any:
        captured.extend([step] if state else [])  # a graph that reads prompts restores nothing
        return without_graph(step, state)

    first, _ = decode(brisk_engine, jobs, slots=4, capture_graph=counting, graph_cache=cache)
    count = len(captured)
    assert count >= 2  # both heads, and speech alone
    # Fewer, other and shorter jobs in the same tensors, which hold the earlier state.
    assert decode(brisk_engine, jobs, slots=4, capture_graph=counting, graph_cache=cache)[0] == first
    assert decode(brisk_engine, jobs[7:], slots=4, capture_graph=counting, graph_cache=cache)[0] == first[7:]
    # An aborted call leaves an unfinished reply in a row.
    with torch.inference_mode():
        present(cache.states).decoding.start(torch.tensor([3]))
    assert decode(brisk_engine, jobs[:3], slots=4, capture_graph=counting, graph_cache=cache)[0] == first[:3]
    assert int(present(cache.states).decoding.id_count[3]) == 0
    assert len(captured) == count
    assert present(cache.kv_cache).max_positions % 256 == 1
    other, _ = decode(
        brisk_engine, jobs, mode="understand", slots=4, capture_graph=counting, graph_cache=cache
    )
    assert other == decode(brisk_engine, jobs, mode="understand", slots=4)[0]
    assert len(captured) > count
    cache.clear()
    assert decode(brisk_engine, jobs, slots=4, capture_graph=counting, graph_cache=cache)[0] == first


def test_attention_by_blocks_draws_the_same_ids(
    brisk_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Otherwise the uncompiled form is traced by dynamo at each width: slow, and dynamo's own faults fail here.
    monkeypatch.setattr(
        import_module("torch.nn.attention.flex_attention"), "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True
    )
    jobs = jobs_of(brisk_engine, 9)
    masked, _ = decode(brisk_engine, jobs, slots=4)
    monkeypatch.setattr(brisk_engine.model.decoder, "flex", True)
    assert decode(brisk_engine, jobs, slots=4)[0] == masked
    fixed, _ = decode(brisk_engine, jobs, slots=4, capture_graph=without_graph, sync_every=4)
    assert fixed == masked


def test_a_row_reads_whole_blocks_up_to_its_position() -> None:
    blocks = row_blocks(torch.tensor([0, 127, 128, 300]), 512)
    assert blocks.kv_num_blocks.flatten().tolist() == [1, 1, 2, 3]
    assert blocks.to_dense()[:, 0, 0].tolist() == [[1, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]]


def test_refills_of_captured_runs_are_grouped(brisk_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, batches = brisk_engine.model.decoder, list[int]()
    # Of equal length, so that prompts that start together are read together.
    jobs = [replace(job, prompt=job.prompt[:2]) for job in jobs_of(brisk_engine, 50)]
    right, _ = decode(brisk_engine, jobs, slots=1)
    usual = decoder.read

    def counting(x: torch.Tensor, cache: KVCache, **options: Any) -> Any:
        batches.append(len(x))
        return usual(x, cache, **options)

    monkeypatch.setattr(decoder, "read", counting)
    made, loop = decode(brisk_engine, jobs, slots=24, capture_graph=without_graph, sync_every=1)
    assert made == right
    grouped = len(batches)
    monkeypatch.setattr(scheduler_module, "REFILL_READS", 0)
    batches.clear()
    assert decode(brisk_engine, jobs, slots=24, capture_graph=without_graph, sync_every=1)[0] == right
    assert grouped < len(batches)


def test_captured_prompts_are_replayed_for_others_of_their_shape(brisk_engine: Engine) -> None:
    captured, replayed = list[int](), list[int]()

    def counting(step: Callable[[], None], state: Sequence[torch.Tensor]) -> Any:
        without_graph(step, state)
        if state:
            return step
        number = len(captured)
        captured.append(number)

        def replay() -> None:
            replayed.append(number)
            step()

        return replay

    jobs, cache = jobs_of(brisk_engine, 30), CudaGraphCache()
    options: dict[str, Any] = {"slots": 8, "capture_graph": counting, "graph_cache": cache, "sync_every": 3}
    assert decode(brisk_engine, jobs, **options)[0] == decode(brisk_engine, jobs, slots=1)[0]
    shapes = len(captured)
    assert set(replayed) == set(range(shapes))
    assert len(replayed) > 2 * shapes
    # Other prompts in the same graphs, and a graph of another prefix.
    others = jobs_of(brisk_engine, 40)[30:]
    assert decode(brisk_engine, others, **options)[0] == decode(brisk_engine, others, slots=1)[0]
    assert {count for count, _, _ in cache.prompts} <= {1, 2, 4, 8}
    assert {length % 32 for _, length, _ in cache.prompts} == {0}


def test_prompts_of_unusual_length_are_read_without_a_graph(
    brisk_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(captured_prompts_module, "USUAL_LENGTH", 0)
    jobs, cache = jobs_of(brisk_engine, 5), CudaGraphCache()
    made, _ = decode(brisk_engine, jobs, slots=4, capture_graph=without_graph, graph_cache=cache)
    assert made == decode(brisk_engine, jobs, slots=1)[0]
    assert not cache.prompts


def test_usual_steps_are_captured_in_advance(brisk_engine: Engine) -> None:
    captured: list[Callable[[], None]] = []

    def counting(step: Callable[[], None], state: Sequence[torch.Tensor]) -> Any:
        captured.extend([step] if state else [])  # a graph that reads prompts restores nothing
        return without_graph(step, state)

    cache, jobs = CudaGraphCache(), jobs_of(brisk_engine, 11)
    rules = rules_of(MODES["s2s"], "fixed", max_new_tokens=MAX_NEW_TOKENS)
    options: dict[str, Any] = {"capture_graph": counting, "graph_cache": cache}
    sampling = MODES["s2s"].sampling
    loop = DecodeLoop(brisk_engine.model, rules=rules, sampling=sampling, slots=8, **options)
    # Rows of 1, 2, 4 and 8 with 0, 2, 8 or all of them writing text, to 256 positions.
    assert capture_usual_steps(loop.setup, 8, longest=40) == len(captured) == 2 + 2 + 3 + 3
    decoded, _ = decode(brisk_engine, jobs, slots=8, sync_every=3, **options)
    assert len(captured) == 10
    assert decoded == decode(brisk_engine, jobs, slots=1)[0]


def no_freeze(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DecodingState, "finished", lambda self: torch.zeros_like(self.stopped))


def stale_state(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = DecodingState.start

    def forgetful(self: DecodingState, rows: torch.Tensor) -> None:
        bos_eos_count = self.bos_eos_count.clone()
        usual(self, rows)
        self.bos_eos_count.copy_(bos_eos_count)

    monkeypatch.setattr(DecodingState, "start", forgetful)


def stale_uniforms(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = RowStates.start

    def keeping_uniforms(
        self: RowStates, rows: torch.Tensor, hidden: torch.Tensor, positions: torch.Tensor, seeds: list[int]
    ) -> None:
        uniforms = self.uniforms.clone()
        usual(self, rows, hidden, positions, seeds)
        if bool(uniforms.any()):
            self.uniforms.copy_(uniforms)

    monkeypatch.setattr(RowStates, "start", keeping_uniforms)


def unmoved_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RowStates, "gather", lambda self, rows: None)


def unmoved_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KVCache, "gather", lambda self, rows: None)


@pytest.mark.parametrize("fault", [no_freeze, stale_state, stale_uniforms, unmoved_rows, unmoved_cache])
def test_the_check_detects_a_fault(
    tiny_engine: Engine, monkeypatch: pytest.MonkeyPatch, fault: Callable[[pytest.MonkeyPatch], None]
) -> None:
    jobs = jobs_of(tiny_engine, 24)
    right, _ = decode(tiny_engine, jobs, slots=8, max_new_tokens=120)
    fault(monkeypatch)
    try:
        wrong, _ = decode(tiny_engine, jobs, slots=8, max_new_tokens=120, sync_every=3)
    except (IndexError, RuntimeError):
        return
    assert wrong != right


def test_a_warm_up_restores_the_state(brisk_engine: Engine) -> None:
    rules, config = rules_of(MODES["s2s"], "fixed", max_new_tokens=9), brisk_engine.model.config
    states = RowStates(rules, MODES["s2t"].sampling, config, rows=2, like=torch.zeros(1))
    states.start(torch.arange(2), torch.randn(2, config.decoder.width), torch.tensor([3, 5]), [1, 2])
    cache = KVCache.allocate(config.decoder, rows=2, max_positions=20, like=torch.zeros(1))
    before = [tensor.clone() for tensor in states.tensors()]

    @torch.inference_mode()
    def step() -> None:
        choose_fixed(brisk_engine.model.decoder, states, Heads(text_rows=2, speech=True))
        advance(brisk_engine.model.decoder, states, cache, width=16)

    with torch.inference_mode():
        warm_up(step, states.tensors())
    assert all(torch.equal(current, saved) for current, saved in zip(states.tensors(), before, strict=True))
    step()
    changed = [
        not torch.equal(current, saved) for current, saved in zip(states.tensors(), before, strict=True)
    ]
    assert sum(changed) >= 6


def test_a_finished_row_that_filled_the_cache_does_not_stop_the_others(brisk_engine: Engine) -> None:
    rules, config = rules_of(MODES["s2s"], "fixed", max_new_tokens=9), brisk_engine.model.config
    hidden = torch.randn(2, config.decoder.width)

    def after_a_step(positions: list[int]) -> tuple[torch.Tensor, list[int]]:
        states = RowStates(rules, MODES["s2t"].sampling, config, rows=2, like=torch.zeros(1))
        states.start(torch.arange(2), hidden, torch.tensor(positions), [1, 2])
        cache = KVCache.allocate(config.decoder, rows=2, max_positions=20, like=torch.zeros(1))
        with torch.inference_mode():
            advance(brisk_engine.model.decoder, states, cache, width=16)
        return states.hidden[0], states.position.tolist()

    (full, at_end), (free, _) = after_a_step([3, 20]), after_a_step([3, 8])
    assert torch.equal(full, free)
    assert at_end[0] == 4


@pytest.mark.uninstrumented
def test_a_step_compiles_without_a_break(tiny_folder: Path, brisk_engine: Engine) -> None:
    """One graph without a read on the host, as a CUDA graph needs. The backend runs the traced graph."""
    from echat_eval.osum.checkpoint.checkpoint import load_model

    model = load_model(tiny_folder, dtype="fp32")
    engine, jobs = Engine(model, brisk_engine.tokenizer), jobs_of(brisk_engine, 3)
    plain, _ = decode(engine, jobs, slots=2, max_new_tokens=8)

    def compiled_whole(step: Callable[[], None], state: Sequence[torch.Tensor]) -> Callable[[], None]:
        return torch.compile(step, fullgraph=True, backend="eager")

    for capture in (compiled_whole, without_graph):
        torch._dynamo.reset()
        if capture is without_graph:
            compile_steps(model.decoder, backend="eager")
            assert len(model.decoder.compiled.steps) == len(model.decoder.layers)
        replies, _ = decode(engine, jobs, slots=2, max_new_tokens=8, capture_graph=capture, sync_every=4)
        assert replies == plain
    torch._dynamo.reset()


def test_layers_that_cannot_be_compiled_run_uncompiled_with_a_warning(
    brisk_engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    decoder = brisk_engine.model.decoder
    tries: list[int] = []

    def broken() -> None:
        tries.append(len(decoder.compiled.steps))
        if decoder.compiled.steps:
            raise RuntimeError("no compiler\nand more lines")

    monkeypatch.setattr(decoder, "compiled", CompiledParts(steps=[lambda: torch.zeros(1)]))
    with caplog.at_level(logging.WARNING):
        prepare(broken, decoder)
    assert tries == [1, 0]
    assert "cannot be compiled (no compiler)" in caplog.text
    monkeypatch.setattr(decoder, "compiled", CompiledParts())

    def faulty() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        prepare(faulty, decoder)


def test_on_a_cpu_steps_are_plain(tiny_engine: Engine) -> None:
    ways: tuple[Steps, ...] = ("auto", "plain", "recorded", "compiled")
    assert {resolve(steps, CPU) for steps in ways} == {"plain"}
    assert graph_capture("plain", tiny_engine.model.decoder, CPU) is None
    assert resolve("auto", torch.device("cuda")) == "compiled"


def test_a_delayed_read_returns_the_status_and_the_ids_at_the_last_begin() -> None:
    rules = rules_of(MODES["s2s"], "fixed", max_new_tokens=3)
    states = RowStates(rules, MODES["s2s"].sampling, TINY, rows=2, like=torch.zeros(0))
    states.start(torch.arange(2), torch.zeros(2, TINY.decoder.width), torch.tensor([5, 6]), [1, 2])
    host_sync = HostSync(CPU, delayed=True, steps=2)
    assert host_sync.read(states) is None
    host_sync.begin(states)
    states.accept(torch.tensor([7, TINY.text.end]))
    status = present(host_sync.read(states))
    assert (status.id_count, status.speech) == ((0, 0), (False, False))
    host_sync.begin(states)
    states.accept(torch.tensor([8, 9]))
    status = present(host_sync.read(states))
    assert (status.id_count, status.speech, status.finished) == ((1, 1), (False, True), (False, False))
    assert [ids[-1] for ids in status.last_ids] == [7, TINY.text.end]
    states.accept(torch.tensor([3, 4]))
    status = present(HostSync(CPU, delayed=False, steps=2).read(states))
    assert status.finished == (True, True)
    assert status.last_ids == ((8, 3), (9, 4))


def test_each_head_is_evaluated_only_for_its_rows(
    brisk_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder, rows = brisk_engine.model.decoder, {"text": 0, "speech": 0}
    for name in rows:
        usual = getattr(decoder, f"{name}_logits")

        def counting(
            x: torch.Tensor, usual: Callable[[torch.Tensor], torch.Tensor] = usual, name: str = name
        ) -> Any:
            rows[name] += x.shape[0]
            return usual(x)

        monkeypatch.setattr(decoder, f"{name}_logits", counting)
    for mode in ("understand", "tts", "s2s"):
        rows |= {"text": 0, "speech": 0}
        engine = engine_with(brisk_engine, slots=3)
        made = engine.reply(make_requests(7), mode=mode, max_new_tokens=MAX_NEW_TOKENS)
        end = engine.model.config.text.end
        text = {
            "understand": sum(len(r.ids) for r in made),
            "tts": 0,
            "s2s": sum(r.ids.index(end) + 1 if end in r.ids else len(r.ids) for r in made),
        }[mode]
        assert rows == {"text": text, "speech": sum(len(r.ids) for r in made) - text}


def test_the_prefix_of_a_mode_is_computed_once(brisk_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, decoder = engine_with(brisk_engine, slots=3), brisk_engine.model.decoder
    computed: list[int] = []
    usual = decoder.read

    def counting(x: torch.Tensor, cache: KVCache, **options: Any) -> Any:
        computed.append(x.shape[0] * x.shape[1])
        return usual(x, cache, **options)

    monkeypatch.setattr(decoder, "read", counting)
    made = engine.reply(make_requests(7), max_new_tokens=8)
    (prefix,) = engine.prefixes.entries.values()
    assert computed[0] == prefix.max_positions > 100
    # Padding included, the later calls compute far fewer positions than whole prompts have.
    whole = sum(reply.prompt_positions for reply in made)
    assert sum(computed) < prefix.max_positions + whole - 6 * prefix.max_positions
    assert all(reply.prompt_positions > prefix.max_positions for reply in made)
    engine.reply(make_requests(2), max_new_tokens=8)
    assert len(engine.prefixes.entries) == 1


def test_a_shared_prefix_changes_no_logits(tiny_engine: Engine) -> None:
    from echat_eval.osum.decoding.generate import generate
    from echat_eval.osum.prompts.modes import layout

    (request,) = make_requests(1)
    seen: list[torch.Tensor] = []
    mode = MODES["s2s"]

    def keep(step: int, logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        seen.append(logits[0].clone())
        return ids

    tiny_engine.reply([request], max_new_tokens=12, hook=keep)
    shared, seen = seen, []
    layouts = [layout(mode, request, profile="fixed", config=tiny_engine.model.config)]
    generate(
        tiny_engine.model,
        tiny_engine.prompts.embed(layouts),
        rules=rules_of(mode, "fixed", max_new_tokens=12),
        sampling=mode.sampling,
        seeds=[request.seed],
        hook=keep,
    )
    assert len(shared) == len(seen) == 12
    for with_prefix, whole in zip(shared, seen, strict=True):
        allowed = torch.isfinite(whole)
        assert torch.equal(allowed, torch.isfinite(with_prefix))
        assert (with_prefix - whole)[allowed].abs().max() < 1e-5


def test_user_text_is_not_cached_as_a_prefix(brisk_engine: Engine) -> None:
    engine = engine_with(brisk_engine)
    engine.reply([GenerationRequest(text="one"), GenerationRequest(text="two")], mode="t2t", max_new_tokens=4)
    (pieces,) = engine.prefixes.entries
    assert "one" not in str(pieces)
    assert "text-to-text" in str(pieces)


def test_the_kv_cache_starts_small_and_grows(tiny_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int, int]] = []
    usual = scheduler_module.SlotScheduler.reserve

    def watching(self: scheduler_module.SlotScheduler, steps: int) -> int:
        width = usual(self, steps)
        seen.append((width, self.tensors.cache.max_positions, self.tensors.cache.rows))
        return width

    monkeypatch.setattr(scheduler_module.SlotScheduler, "reserve", watching)
    jobs, config = jobs_of(tiny_engine, 9), tiny_engine.model.config.decoder
    jobs = [replace(job, prompt=job.prompt[: 2 + 4 * (n > 5)]) for n, job in enumerate(jobs)]
    made, loop = decode(tiny_engine, jobs, mode="tts", max_new_tokens=400, slots=3)
    longest = max(len(ids) for ids, _ in made)
    sizes = sorted({size for _, size, _ in seen})
    assert longest > 200
    assert len(sizes) > 1
    assert sizes[0] < sizes[-1] <= 6 + 400 + slot_tensors.GROWTH
    assert all(width <= size for width, size, _ in seen)
    assert {rows for *_, rows in seen} == {3}
    cache = KVCache.allocate(config, rows=3, max_positions=7, like=torch.zeros(1))
    assert {tuple(t.shape) for t in (*cache.keys, *cache.values)} == {
        (3, 7, config.kv_heads, config.head_dim)
    }
    assert config.kv_heads < config.heads
    cache.keys[1][2, 6] = 5.0
    cache.grow(max_positions=11)
    assert (
        cache.max_positions,
        float(cache.keys[1][2, 6].mean()),
        float(cache.keys[1][2, 7:].abs().sum()),
    ) == (
        11,
        5,
        0,
    )


def test_rows_are_compacted_when_no_request_waits(
    brisk_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = brisk_engine.model.decoder
    rows: list[int] = []
    usual = decoder.embed

    def counting(ids: torch.Tensor, speech: torch.Tensor) -> Any:
        rows.append(len(ids))
        return usual(ids, speech)

    monkeypatch.setattr(decoder, "embed", counting)
    made, _ = decode(brisk_engine, jobs_of(brisk_engine, 8), mode="understand", slots=8)
    lengths = sorted(len(ids) for ids, _ in made)
    assert rows[0] > 2 * rows[-1]
    assert rows[-1] == 1
    assert sum(rows) < 8 * lengths[-1] * 0.7


def test_recordings_of_similar_length_are_encoded_together(
    brisk_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = brisk_engine.model.encoder
    calls: list[tuple[int, int, list[int], bool]] = []
    usual = encoder.forward

    def counting(mel: torch.Tensor, lengths: torch.Tensor, **options: Any) -> Any:
        calls.append((mel.shape[0], mel.shape[1], lengths.tolist(), options["padded"]))
        return usual(mel, lengths, **options)

    monkeypatch.setattr(encoder, "forward", counting)
    waves = [torch.zeros(160 * n) for n in (10, 300, 12, 290, 290, 100)]
    embeddings = brisk_engine.model.embed_audio(waves)
    assert [len(rows) for rows in embeddings] == [2, 38, 2, 37, 37, 13]
    assert [(rows, frames) for rows, frames, *_ in calls] == [(3, 300), (1, 100), (2, 12)]
    assert [padded for *_, padded in calls] == [True, False, True]
    calls.clear()
    brisk_engine.model.embed_audio(waves, max_frames=300)
    assert [rows for rows, *_ in calls] == [1, 1, 1, 1, 2]


def test_equal_lengths_give_the_same_states_with_and_without_a_mask(brisk_engine: Engine) -> None:
    model, mel = brisk_engine.model, torch.randn(2, 41, 80, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([41, 41])
    for module, whole in ((model.encoder, mel), (model.adapter, model.encoder(mel, lengths)[0])):
        unmasked, _ = module(whole, lengths, padded=False)
        masked, _ = module(whole, lengths, padded=True)
        assert (unmasked - masked).abs().max() < 1e-5


def test_batches_by_length_hold_every_row_once_within_the_limit() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        lengths = torch.randint(1, 500, (30,), generator=generator).tolist()
        batches = batch_by_length(lengths, max_padded=900)
        assert sorted(i for batch in batches for i in batch) == list(range(30))
        for batch in batches:
            sizes = [lengths[i] for i in batch]
            assert max(sizes) * len(sizes) <= 900 or len(sizes) == 1
            assert min(sizes) >= min(0.8 * max(sizes), max(sizes) - 16)
