"""Mel error of the voice in half precision, and of a reply that is spoken in windows, each against float32.

    python bench/osum/voice_error.py --out bench/results/osum_voice_error.json
    python bench/osum/voice_error.py --release weights/voice --voice weights/me.safetensors

Computed on a CPU. Without `--release`, weights are random and of half width: attention then spreads evenly
over the whole reply, and the error of windows is that of random weights. Mel frames are natural logarithms.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.osum.token2wav_sides import HALF
from bench.support.side_by_side import machine
from echat_eval.osum.voice.config import HOP, mel_frames
from echat_eval.osum.voice.stream import MelStream, StreamWindows, VoiceStream
from echat_eval.osum.voice.tiny import random_flow_state, random_hift_state, random_voice
from echat_eval.osum.voice.token2wav import Token2Wav
from echat_eval.osum.voice.weights import build_flow, build_hift

#: Tokens of a reply: of one window (45 or fewer), and of several.
LENGTHS = (40, 80, 150, 250)
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}
WINDOWS = {"default": StreamWindows(), "no context": StreamWindows(context=0)}


def load(flags: argparse.Namespace, dtype: torch.dtype = torch.float32) -> Token2Wav:
    """Return a voice whose estimator has this type."""
    if flags.release:
        return Token2Wav.load(flags.release, flags.voice, estimator_dtype=dtype)
    return Token2Wav(
        build_flow(random_flow_state(HALF.flow), HALF.flow, source="bench"),
        build_hift(random_hift_state(HALF.hift), HALF.hift, source="bench"),
        random_voice(tokens=25, frames=mel_frames(25)),
        estimator_dtype=dtype,
    )


def error(made: torch.Tensor, usual: torch.Tensor) -> dict[str, float]:
    """Return mean and largest difference, and the mean as a share of the spread of the usual mel."""
    difference = (made - usual).abs()
    mean = float(difference.mean())
    return {
        "mean": round(mean, 5),
        "max": round(float(difference.max()), 4),
        "mean_of_spread": round(mean / float(usual.std()), 5),
    }


def in_windows(speaker: Token2Wav, ids: list[int], windows: StreamWindows) -> tuple[torch.Tensor, int]:
    """Return the joined mel of a stream and the samples of its sound."""
    mels = MelStream(speaker, seed=0, windows=windows)
    with torch.inference_mode():
        joined = torch.cat([*mels.feed(ids), mels.finish()], dim=1)
    stream = VoiceStream(speaker, seed=0, windows=windows)
    samples = [stream.vocoder.feed(joined[:, :100]), stream.vocoder.feed(joined[:, 100:], last=True)]
    return joined, sum(map(len, samples))


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--release", type=Path, help="folder of flow.pt and hift.pt; default: random weights")
    parser.add_argument("--voice", type=Path)
    parser.add_argument("--lengths", type=int, nargs="*", default=LENGTHS)
    parser.add_argument("--out", type=Path)
    flags = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randint(0, 4096, (count,), generator=generator) for count in flags.lengths]
    speaker = load(flags)
    usual = [speaker.mels([row], [speaker.noise(len(row), 0)])[0] for row in rows]
    report: dict[str, Any] = {
        "machine": machine(1),
        "torch": torch.__version__,
        "weights": str(flags.release.name) if flags.release else "random, half width",
        "dtypes": {},
        "windows": {},
    }
    for name, windows in WINDOWS.items():
        report["windows"][name] = {}
        for row, mel in zip(rows, usual, strict=True):
            made, samples = in_windows(speaker, row.tolist(), windows)
            found = error(made, mel) | {"samples_too_many": samples - mel.shape[1] * HOP}
            report["windows"][name][str(len(row))] = found
            print(f"windows, {name}, {len(row)} tokens: {found}", flush=True)
    for name, dtype in DTYPES.items():
        half = load(flags, dtype)
        (made,) = half.mels(rows[:1], [half.noise(len(rows[0]), 0)])
        report["dtypes"][name] = error(made, usual[0]) | {"tokens": len(rows[0])}
        print(f"{name}: {report['dtypes'][name]}", flush=True)
    if flags.out:
        flags.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
