"""Compiled and captured steps, as far as a CPU shows them: programs are counted, CUDA's calls are replaced."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from echat_eval.osum.decoding import cuda_graphs
from echat_eval.osum.decoding.cuda_graphs import compile_steps, graph_capture, prepare, warm_up
from echat_eval.osum.engine import engine as engine_module
from echat_eval.osum.engine.engine import Engine
from echat_eval.osum.model.decoder import CompiledParts, Decoder
from echat_eval.osum.prompts.modes import GenerationRequest, PastTurn

#: At most: layers, prompts, draws of two kinds of replies, and the small parts between them, each for a single row,
#: whose size torch treats apart, and for more. 16 when this was written.
PROGRAMS = 18
CALLS = (
    *[("s2s", rows, False) for rows in (12, 5, 1, 9, 8, 2)],
    *[("s2s", 3, True), ("understand", 9, False), ("s2s-think", 9, False), ("s2s", 12, False)],
)


def mixed_requests(rows: int, history: bool, rng: random.Random) -> list[GenerationRequest]:
    def wave(samples: int) -> torch.Tensor:
        return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(samples))

    past = tuple(PastTurn(wave=wave(9000 + n), text="hm", speech=tuple(range(90))) for n in range(3))
    return [
        GenerationRequest(
            wave=wave(int(16_000 * rng.uniform(0.1, 1.5))),
            history=past if history else (),
            seed=rng.randrange(99),
        )
        for _ in range(rows)
    ]


@pytest.mark.uninstrumented
def test_a_mixed_trace_of_requests_needs_few_programs(
    tiny_folder: Path, brisk_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from echat_eval.osum.checkpoint.checkpoint import load_model

    programs: list[int] = []

    def counted(graph: Any, inputs: Any) -> Callable[..., Any]:
        programs.append(len(inputs))
        forward: Callable[..., Any] = graph.forward
        return forward

    def capturing(steps: str, decoder: Decoder, device: torch.device) -> Any:
        if not decoder.compiled.steps:
            compile_steps(decoder, backend=counted)

        def capture(step: Callable[[], None], state: Sequence[torch.Tensor]) -> Callable[[], None]:
            warm_up(step, state)
            return step

        return capture

    torch._dynamo.reset()
    monkeypatch.setattr(engine_module, "graph_capture", capturing)
    engine = Engine(load_model(tiny_folder, dtype="fp32"), brisk_engine.tokenizer, slots=8)
    rng = random.Random(0)
    for mode, rows, history in CALLS:
        engine.reply(mixed_requests(rows, history, rng), mode=mode, max_new_tokens=6)
    assert len(programs) <= PROGRAMS, sorted(programs)
    torch._dynamo.reset()


def test_dynamos_limit_of_programs_leads_to_uncompiled_layers(
    brisk_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = brisk_engine.model.decoder
    monkeypatch.setattr(decoder, "compiled", CompiledParts(steps=[lambda: torch.zeros(1)]))

    def limited() -> None:
        if decoder.compiled.steps:
            raise torch._dynamo.exc.FailOnRecompileLimitHit("recompile limit hit")

    prepare(limited, decoder)
    assert decoder.compiled == CompiledParts()


class FakeCuda:
    """CUDA's calls for capturing, which record their device and fail as CUDA would."""

    def __init__(self) -> None:
        self.current = threading.local()
        self.captured_on: list[str] = []
        self.capturing = 0
        self.most_at_once = 0

    def stream_of(self, device: torch.device) -> Any:
        class FakeStream:
            def __init__(self) -> None:
                self.device = device

            def wait_stream(self, other: Any) -> None:
                assert other.device == device

        return FakeStream()

    @contextlib.contextmanager
    def graph(self, graph: Any, *, pool: Any, stream: Any, capture_error_mode: str) -> Iterator[None]:
        self.capturing += 1
        self.most_at_once = max(self.most_at_once, self.capturing)
        self.captured_on.append(str(stream.device))
        try:
            threading.Event().wait(0.01)
            yield
        except BaseException as error:
            # What torch raises when the capture ends after an error inside it.
            raise RuntimeError("operation failed due to a previous error during capture") from error
        finally:
            self.capturing -= 1

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class FakeGraph:
            def replay(self) -> None: ...

        for name, value in {
            "graph_pool_handle": lambda: (0, 0),
            "Stream": self.stream_of,
            "current_stream": self.stream_of,
            "stream": lambda stream: contextlib.nullcontext(),
            "CUDAGraph": FakeGraph,
            "graph": self.graph,
        }.items():
            monkeypatch.setattr(torch.cuda, name, value)


def test_each_device_captures_on_its_own_stream_and_one_at_a_time(
    brisk_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda = FakeCuda()
    cuda.install(monkeypatch)

    def capture_on(name: str) -> None:
        capture = graph_capture("recorded", brisk_engine.model.decoder, torch.device(name))
        assert capture is not None
        for _ in range(5):
            capture(lambda: None, [])

    threads = [threading.Thread(target=capture_on, args=(name,)) for name in ("cuda:0", "cuda:1")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(cuda.captured_on) == ["cuda:0"] * 5 + ["cuda:1"] * 5
    assert cuda.most_at_once == 1


@pytest.mark.parametrize(
    ("error", "full"),
    [(torch.OutOfMemoryError("CUDA out of memory."), True), (ValueError("no kernel"), False)],
)
def test_a_memory_that_is_full_inside_a_capture_is_reported_as_such(
    brisk_engine: Engine, monkeypatch: pytest.MonkeyPatch, error: Exception, full: bool
) -> None:
    FakeCuda().install(monkeypatch)
    capture = graph_capture("recorded", brisk_engine.model.decoder, torch.device("cuda:0"))
    assert capture is not None
    calls: list[int] = []

    def step() -> None:
        calls.append(1)
        if len(calls) > cuda_graphs.WARM_UPS:
            raise error

    with pytest.raises(RuntimeError, match="during capture") if full else contextlib.nullcontext():
        assert capture(step, []) is step
