"""CPU seconds of each part of the voice, on one core: where a faster estimator would help, and how much.

    python bench/osum/voice_share.py --out bench/results/osum_voice_share.json
    python bench/osum/voice_share.py --compiled --out compiled.json

Random weights of half width. `--compiled` compiles the estimator's stages first, which takes minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.osum.token2wav_sides import HALF
from bench.support.side_by_side import machine
from echat_eval.osum.voice.config import mel_frames
from echat_eval.osum.voice.tiny import random_flow_state, random_hift_state, random_voice
from echat_eval.osum.voice.token2wav import Token2Wav
from echat_eval.osum.voice.weights import build_flow, build_hift


def seconds(work: Callable[[], Any], rounds: int) -> float:
    """Return the least CPU seconds of the rounds: other work on the machine only adds to them."""
    found = []
    for _ in range(rounds):
        begin = time.process_time()
        work()
        found.append(time.process_time() - begin)
    return min(found)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--compiled", action="store_true")
    parser.add_argument("--out", type=Path)
    flags = parser.parse_args()
    torch.set_num_threads(1)
    speaker = Token2Wav(
        build_flow(random_flow_state(HALF.flow), HALF.flow, source="bench"),
        build_hift(random_hift_state(HALF.hift), HALF.hift, source="bench"),
        random_voice(tokens=25, frames=mel_frames(25)),
        compiled=flags.compiled,
    )
    row = torch.randint(0, 4096, (flags.tokens,), generator=torch.Generator().manual_seed(0))
    estimator, spent = speaker.flow.estimator, [0.0]
    usual = estimator.forward

    def timed(*given: Any) -> torch.Tensor:
        begin = time.process_time()
        made = usual(*given)
        spent[0] += time.process_time() - begin
        return made

    setattr(estimator, "forward", timed)  # noqa: B010 - a method is replaced
    noise = speaker.noise(flags.tokens, 0)
    (mel,) = speaker.mels([row], [noise])  # first times, and compiling
    shares = []
    for _ in range(flags.rounds):
        spent[0] = 0.0
        flow = seconds(lambda: speaker.mels([row], [noise]), 1)
        shares.append((flow, spent[0]))
    flow, inside = min(shares)
    parts = {
        "noise": seconds(lambda: speaker.noise(flags.tokens, 0), flags.rounds),
        "estimator": inside,
        "rest of the flow": flow - inside,
        "vocoder": seconds(lambda: speaker.vocode([mel], [noise]), flags.rounds),
    }
    total = sum(parts.values())
    report = {
        "machine": machine(1),
        "torch": torch.__version__,
        "tokens": flags.tokens,
        "estimator_compiled": bool(estimator.compiled),
        "cpu_seconds": {name: round(value, 3) for name, value in parts.items()},
        "share": {name: round(value / total, 3) for name, value in parts.items()},
    }
    print(json.dumps(report, indent=1))
    if flags.out:
        flags.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
