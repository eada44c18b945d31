"""The GPU bench's sections with a voice, and the public code's beside ours."""

from __future__ import annotations

import statistics
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch

from bench.gpu.measure import Bench, random_weights
from bench.gpu.sections import decode, decode_rate
from bench.osum.forced import Length, make_waves
from bench.osum.sides import PublicModel
from bench.osum.token2wav_sides import HALF
from echat_eval.osum.voice.config import FULL_VOICE, TINY_VOICE, mel_frames
from echat_eval.osum.voice.tiny import random_flow_state, random_hift_state, random_voice
from echat_eval.osum.voice.token2wav import Token2Wav
from echat_eval.osum.voice.weights import build_flow, build_hift

#: A prompt of 9.2 s, as the public code ships: tokens and mel frames.
VOICE = {"full": (231, 796), "tiny": (7, 24)}
EXACT = "float32"
#: As torch comes; and the package's default on a GPU.
USUAL, FAST = "float32, convolutions in TF32", "fp16 estimator, TF32, compiled"
#: Name -> the estimator's type, TF32 in matrix products, TF32 in convolutions, estimator compiled.
KINDS = {
    EXACT: (torch.float32, False, False, False),
    USUAL: (torch.float32, False, True, False),
    "TF32": (torch.float32, True, True, False),
    "bf16 estimator, TF32": (torch.bfloat16, True, True, False),
    "fp16 estimator, TF32": (torch.float16, True, True, False),
    FAST: (torch.float16, True, True, True),
}
VOICE_CONFIGS = {"full": FULL_VOICE, "half": HALF, "tiny": TINY_VOICE}


@lru_cache(maxsize=1)
def voice_states(size: str) -> tuple[Any, Any]:
    """Return the random tensors of flow and vocoder; at full size they take seconds to make."""
    config = VOICE_CONFIGS[size]
    return random_flow_state(config.flow), random_hift_state(config.hift)


def make_speaker(bench: Bench, kind: str) -> Token2Wav:
    """Return token2wav with random weights and a random voice of the scale's size."""
    dtype, products, convolutions, compiled = KINDS[kind]
    torch.backends.cuda.matmul.allow_tf32 = products
    torch.backends.cudnn.allow_tf32 = convolutions
    config, size = VOICE_CONFIGS[bench.scale.config], VOICE[bench.scale.config]
    flow, hift = ({k: v.clone() for k, v in state.items()} for state in voice_states(bench.scale.config))
    return Token2Wav(
        build_flow(flow, config.flow, source="bench"),
        build_hift(hift, config.hift, source="bench"),
        random_voice(tokens=size[0], frames=size[1]),
        device=bench.device,
        estimator_dtype=dtype,
        compiled=compiled and bench.cuda,
    )


def token2wav(bench: Bench, *, compiled: bool = False) -> dict[str, Any]:
    """Seconds a reply by how it is computed and by batch; each kind's mel against float32's.

    Args:
        bench: the device.
        compiled: the compiled kind, whose first call takes a minute or two, in place of all others.
    """
    found: dict[str, Any] = {"tokens": bench.scale.reply.codes}
    generator = torch.Generator().manual_seed(0)
    sizes = (1, bench.scale.rows // 4)
    kinds = (EXACT, FAST) if compiled else [name for name in KINDS if name != FAST]
    if not bench.cuda:
        kinds = kinds[:2]
    rows = [torch.randint(0, 4096, (found["tokens"],), generator=generator) for _ in range(max(sizes))]
    reference: torch.Tensor | None = None
    for kind in kinds:
        speaker = make_speaker(bench, kind)
        if kind == EXACT:
            noise = [speaker.noise(len(rows[0]), 0)]
            reference = speaker.mels(rows[:1], noise)[0].cpu()
        assert reference is not None  # the exact one comes first
        difference = (speaker.mels(rows[:1], noise)[0].cpu() - reference).abs()
        here: dict[str, Any] = {
            "notes": list(speaker.notes),
            "mel_difference": float(difference.max()),
            "mean_mel_difference": float(difference.mean()),
        }
        for size in dict.fromkeys(sizes):
            bench.forget_peak()
            ids = [row.tolist() for row in rows[:size]]
            taken = bench.median(partial(speaker.synthesise, ids, seeds=range(len(ids))))
            audio = mel_frames(found["tokens"]) * 256 / 22_050
            here[f"batch {size}"] = {
                "seconds_per_reply": taken / size,
                "replies_per_second": size / taken,
                "times_real_time": audio * size / taken,
            } | bench.memory()
        found[kind] = here
    return found


def prompt(bench: Bench) -> dict[str, Any]:
    """Reading prompts: positions a second, of one and of a batch."""
    found: dict[str, Any] = {"positions": bench.scale.prompt}
    for rows in (1, bench.scale.rows):
        bench.forget_peak()
        taken = bench.median(partial(decode, bench, rows=rows, head="speech", new=1, way="plain"))
        found[f"batch {rows}"] = {
            "seconds_per_request": taken / rows,
            "positions_per_second": rows * bench.scale.prompt / taken,
        } | bench.memory()
    return found


def public(bench: Bench, *, compiled: bool) -> dict[str, Any]:
    """The public code's decoding at batch 1 and ours, in turns, on the same weights."""
    if not bench.public:
        return {"skipped": "no --public folder was given"}
    tensors = random_weights(bench.config, device=bench.device, dtype=bench.scale.dtype)
    try:
        model = PublicModel(
            Path(bench.public),
            tensors,
            bench.config,
            compiled=compiled,
            dtype=bench.scale.dtype,
            device=bench.device,
        )
    except ImportError as error:
        return {"skipped": f"the public code cannot be imported: {error}"}
    del tensors
    few = max(8, bench.scale.short // 4)
    lengths = {"none": Length(few, few), "text": Length(5 * few, few), "speech": Length(few, 5 * few)}
    wave = make_waves(1, seconds=bench.scale.seconds)
    first = bench.seconds(lambda: model.answer(wave, lengths["none"]))
    taken: dict[str, list[float]] = {name: [] for name in lengths}
    ours: dict[Any, list[float]] = {"text": [], "speech": []}
    for _ in range(bench.scale.repeats):
        for name, length in lengths.items():
            taken[name].append(bench.seconds(partial(model.answer, wave, length)))
        for head in ours:
            ours[head].append(decode_rate(bench, rows=1, head=head, way=bench.way)["tokens_per_second"])
    base = statistics.median(taken["none"])
    found: dict[str, Any] = {"public_compile": "on" if compiled else "off", "first_run_seconds": first}
    for head in ours:
        further = statistics.median(taken[head]) - base
        if further <= 0:
            raise RuntimeError(f"{4 * few} further ids took no time: {taken}")
        rate = 4 * few / further
        mine = statistics.median(ours[head])
        found[head] = {
            "public_tokens_per_second": rate,
            "our_tokens_per_second": mine,
            "ours_over_public": mine / rate,
        }
    return found | bench.memory()
