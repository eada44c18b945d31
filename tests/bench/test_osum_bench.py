"""The OSUM benches: their arithmetic, their fixed work, and a stated reason for every skipped section."""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.torch

BENCH = Path(__file__).resolve().parents[2] / "bench"


from bench.gpu import run as osum_gpu  # noqa: E402
from bench.osum import bounds as osum_bounds  # noqa: E402
from bench.osum import tables as osum_tables  # noqa: E402
from bench.osum.forced import Length, forced, make_waves  # noqa: E402
from echat_eval.osum.engine.engine import Engine  # noqa: E402
from echat_eval.osum.model.config import FULL, TINY  # noqa: E402
from echat_eval.osum.prompts.modes import GenerationRequest  # noqa: E402
from tests.support.present import present  # noqa: E402


def tokens_per_second_bound(head: osum_bounds.Head, rows: int, context: int) -> float:
    h200 = present(osum_bounds.card_named("NVIDIA H200"))
    return osum_bounds.bound(
        FULL, rows=rows, context=context, head=head, itemsize=2, bandwidth=h200.bandwidth, flops=h200.flops
    )


@pytest.mark.parametrize(
    ("head", "rows", "context", "tokens"),
    [("text", 1, 500, 775), ("speech", 1, 500, 859), ("speech", 64, 800, 41_000), ("speech", 8, 800, 6_600)],
)
def test_bounds_equal_those_computed_from_the_published_sizes(
    head: osum_bounds.Head, rows: int, context: int, tokens: int
) -> None:
    # Computed by hand from the released shapes, with 4.8 TB/s.
    assert tokens_per_second_bound(head, rows, context) == pytest.approx(tokens, rel=0.01)


def test_layer_and_head_weights_equal_those_of_the_released_model() -> None:
    assert osum_bounds.layer_weights(FULL) == 36 * 77_076_992
    assert osum_bounds.head_weights(FULL, "text") == 151_936 * 2048
    assert osum_bounds.head_weights(FULL, "speech") == 8_390_656 + 4_097


def test_a_large_batch_is_compute_bound() -> None:
    slow = osum_bounds.bound(
        FULL, rows=4096, context=1000, head="speech", itemsize=2, bandwidth=1e15, flops=989e12
    )
    assert slow == pytest.approx(989e12 / (5.57e9 + 0.295e9), rel=0.01)  # weights, and a context of 1,000


def sections(**changed: Any) -> dict[str, dict[str, Any]]:
    usual: dict[str, dict[str, Any]] = {
        "decode 1 text": {"share_of_nominal": 0.61},
        "decode 1 speech": {"share_of_nominal": 0.59},
        "decode 64 speech": {"skipped": "3 s were left"},
        "s2s fast voice": {"replies_per_second": 21.0, "reserved_gb": 41.0},
        "first audio": {"first_audio_seconds": 0.39},
        "invariance": {"equal_share": 0.75},
    }
    return usual | changed


def test_targets_are_reached_missed_or_not_measured_with_a_reason() -> None:
    rows = osum_bounds.judge(sections(), card="NVIDIA H200", full=True)
    assert [row["verdict"] for row in rows] == [
        "reached",
        "not reached",
        "not measured: 3 s were left",
        "reached",
        "reached",
        "not reached",
        "not reached",
    ]


def test_replies_per_second_of_another_card_are_not_compared_with_the_h200() -> None:
    rows = osum_bounds.judge(sections(), card="NVIDIA A100", full=True)
    assert rows[3]["verdict"].startswith("not comparable")
    assert all(
        row["verdict"].startswith("not measured")
        for row in osum_bounds.judge(sections(), card="cpu", full=False)
    )


def timed_sections() -> dict[str, dict[str, object]]:
    return {
        "hear": {"batch 1": {"seconds_per_request": 9.0}, "batch 64": {"seconds_per_request": 0.01}},
        "prompt": {"batch 64": {"positions_per_second": 10_000.0}},
        "decode 64 text": {"tokens_per_second": 10_000.0},
        "decode 64 speech": {"tokens_per_second": 20_000.0},
        "token2wav": {
            "float32": {"batch 1": {"seconds_per_reply": 9.0}, "batch 32": {"seconds_per_reply": 0.3}}
        },
        "s2s": {
            "token2wav": "float32",
            "mean_prompt": 200,
            "mean_text": 99,
            "mean_codes": 398,
            "seconds_per_reply": 0.31,
        },
    }


def test_the_longest_stage_of_a_reply_is_the_next_bottleneck() -> None:
    found = osum_bounds.stages(timed_sections())
    assert found["seconds_per_reply"] == pytest.approx(
        {"hear": 0.01, "read the prompt": 0.02, "decode text": 0.01, "decode speech": 0.02, "token2wav": 0.3}
    )
    assert found["next_bottleneck"] == "token2wav"
    assert osum_bounds.stages(timed_sections() | {"hear": {"skipped": "no time"}}) == {
        "not_measured": "without hear"
    }


def test_forced_replies_have_their_own_lengths_and_phases(tiny_engine: Engine) -> None:
    lengths = {0: Length(3, 9), 1: Length(6, 2), 2: Length(1, 12)}
    requests = [
        GenerationRequest(wave=wave, seed=seed) for seed, wave in enumerate(make_waves(3, seconds=0.3))
    ]
    with forced(lengths.__getitem__):
        replies = tiny_engine.reply(requests, mode="s2s", max_new_tokens=40)
    assert [len(reply.ids) for reply in replies] == [15, 11, 16]
    assert [reply.ids.index(TINY.text.end) for reply in replies] == [3, 6, 1]
    assert [len(reply.speech) for reply in replies] == [9, 2, 12]
    assert {reply.finish_reason for reply in replies} == {"stop"}
    free = tiny_engine.reply(requests, mode="s2s", max_new_tokens=40)
    assert [len(reply.ids) for reply in free] != [15, 11, 16]


def flags(**changed: object) -> argparse.Namespace:
    usual = {
        "part": "all",
        "size": "tiny",
        "device": "cpu",
        "limit": 60.0,
        "sections": ["card", "hear"],
        "public": "",
        "note": "",
        "out": None,
    }
    return argparse.Namespace(**(usual | changed))


def test_without_time_every_section_is_skipped_with_a_reason() -> None:
    report = osum_gpu.run(flags(limit=0.0))
    assert report["sections"] == {name: {"skipped": "the 0 s were over"} for name in ("card", "hear")}


#: Replaces the measuring process: it gets stuck in "card" and measures all other sections.
STUCK = """
import sys, time
sys.path.insert(0, {bench!r})
from pathlib import Path
from bench.gpu.run import Progress

arguments = sys.argv
progress = Progress(Path(arguments[arguments.index("--measure") + 1]))
for name in arguments[arguments.index("--sections") + 1 :]:
    progress.tell("begin", name, {{"at": time.time()}})
    if name == "card":
        {stuck}
    progress.tell("end", name, {{"good": 1}})
"""


def stuck_run(stuck: str, folder: Path, monkeypatch: pytest.MonkeyPatch, **changed: object) -> dict[str, Any]:
    script = folder / "measures.py"
    script.write_text(STUCK.format(bench=str(BENCH.parent), stuck=stuck), encoding="utf-8")
    monkeypatch.setattr(osum_gpu, "HERE", script)
    found: dict[str, Any] = osum_gpu.run(flags(**changed))["sections"]
    return found


def test_a_process_that_dies_fails_only_its_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = stuck_run("sys.exit(9)", tmp_path, monkeypatch)
    assert found["card"]["failed"] == "the process ended with 9"
    assert found["hear"] == {"good": 1}


def test_a_process_that_hangs_is_ended_when_the_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = stuck_run("time.sleep(1000)", tmp_path, monkeypatch, limit=4.0)
    assert found["card"]["failed"] == "the time was over and it was ended"
    assert found["hear"] == {"skipped": "the 4 s were over"}


@pytest.mark.slow
def test_the_gpu_bench_runs_at_tiny_size_on_a_cpu(tmp_path: Path) -> None:
    out = tmp_path / "tiny.json"
    # Compiling takes a minute.
    left_out = ("steps compiled", "token2wav compiled")
    names = [name for name in osum_gpu.SECTIONS if name not in left_out]
    command = [sys.executable, str(BENCH / "gpu" / "run.py"), "all", "--size", "tiny", "--device", "cpu"]
    done = subprocess.run(
        [*command, "--out", str(out), "--sections", *names], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(out.read_text(encoding="utf-8"))
    measured = report["sections"]
    assert list(measured) == names
    skipped = {name for name in names if "skipped" in measured[name]}
    assert skipped == {"public", "public compiled", "full memory"}
    assert not [name for name in names if "failed" in measured[name]]
    for name in ("decode 1 text", "decode 1 speech", "decode 64 speech"):
        assert measured[name]["tokens_per_second"] > 0
        assert math.isfinite(measured[name]["share_of_measured"])
    assert measured["steps recorded"]["ids_like_plain"] == measured["steps recorded"]["of"]
    assert measured["s2s fast voice"]["replies"] == 6
    assert measured["s2s fast voice"]["replies_per_second"] > 0
    assert measured["first audio"]["first_audio_seconds"] > 0
    assert measured["invariance"]["equal_share"] == 1
    assert "| batch 1: seconds to the first audio | 0.4 |" in done.stdout
    assert measured["streaming"]["first_audio_seconds"] > 0
    assert all(row["verdict"].startswith("not measured") for row in report["targets"])
    assert report["stages"]["next_bottleneck"] in report["stages"]["seconds_per_reply"]


def test_the_documentation_shows_the_committed_figures() -> None:
    page = (BENCH.parent / "docs" / "osum-echat.md").read_text(encoding="utf-8")
    assert osum_tables.fill(page) == page
    assert page.count("<!-- end -->") == len(osum_tables.PARTS) + 1
    spans = {
        part: [
            ratio["public_over_ours"]["cpu_seconds"]
            for ratio in osum_tables.read(part)["ratios"]
            if ratio["side"] == "public"
        ]
        for part in osum_tables.PARTS
    }
    model, voice = (f"{min(span):.1f} to {max(span):.1f} times" for span in spans.values())
    assert f"the language model is {model} as fast as the public code, and the voice {voice}." in page


def test_a_compiled_call_of_the_flow_launches_less_than_half_of_what_it_did() -> None:
    report = json.loads((BENCH / "results" / "osum_voice_launches.json").read_text(encoding="utf-8"))
    assert report["compiled"] <= report["before"]["unequal lengths"] / 2
    assert report["compiled_by_nodes"] < report["uncompiled"] < report["before"]["unequal lengths"]


def test_random_weights_depend_only_on_their_seed() -> None:
    from bench.gpu.measure import random_weights

    first, again, other = (
        random_weights(TINY, device="cpu", dtype=torch.float32, seed=seed) for seed in (0, 0, 1)
    )
    name = "llama_model.model.layers.0.mlp.up_proj.weight"
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first[name], other[name])
