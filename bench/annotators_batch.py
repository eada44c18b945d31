"""Padded batches against one by one: labels that flip, the ratio of speeds, and memory.

    python bench/annotators_batch.py --model DIR [--clips 1000] [--batch 8] [--out FILE]

DIR is an emotion2vec folder; without it a tiny one with random weights is made, which says whether
labels hold and nothing about real speed.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "instruments")]


def clips(count: int, seed: int = 0) -> list[np.ndarray]:
    """Return voice-like clips of 0.3 to 3 s, 16 kHz."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        time_axis = np.arange(int(16000 * rng.uniform(0.3, 3.0))) / 16000
        hertz = rng.uniform(80, 400) * (1 + 0.2 * np.sin(2 * np.pi * rng.uniform(1, 6) * time_axis))
        tone = np.sin(2 * np.pi * np.cumsum(hertz) / 16000) * rng.uniform(0.05, 0.4)
        made.append((tone + rng.normal(0, rng.uniform(0.001, 0.05), time_axis.size)).astype(np.float32))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model")
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    from echat_eval.annotators.emotion2vec import padded_distributions
    from echat_eval.annotators.funasr import RATE, FunASRModel

    folder = given.model
    if folder is None:
        import tiny_models

        folder = str(tiny_models.emotion2vec(Path(tempfile.mkdtemp()) / "emotion2vec"))
    model = FunASRModel(model=folder)
    loaded, sounds = model.ready(), clips(given.clips)
    begun = time.perf_counter()
    alone = [
        loaded.generate(sound, fs=RATE, granularity="utterance", extract_embedding=False)[0]
        for sound in sounds
    ]
    alone_seconds = time.perf_counter() - begun
    alone_memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    order = sorted(range(len(sounds)), key=lambda n: len(sounds[n]))
    together: dict[int, dict[str, float]] = {}
    begun = time.perf_counter()
    for start in range(0, len(order), given.batch):
        chunk = order[start : start + given.batch]
        found = padded_distributions(loaded, [sounds[n] for n in chunk])
        together.update(zip(chunk, found, strict=True))
    batch_seconds = time.perf_counter() - begun
    flips = []
    for n, single in enumerate(alone):
        label = single["labels"][int(np.argmax(single["scores"]))]
        other = max(together[n], key=lambda name, n=n: together[n][name])
        if label != other:
            flips.append({"clip": n, "alone": label, "batched": other})
    result = {
        "machine": {"cpu": _cpu(), "threads": 1, "gpu": None, "torch": torch.__version__},
        "model": "tiny, random weights" if given.model is None else given.model,
        "clips": len(sounds), "batch": given.batch, "audio_seconds": round(sum(map(len, sounds)) / RATE, 1),
        "labels_equal": 1 - len(flips) / len(sounds), "flips": flips,
        "labels_heard": len({max(t, key=lambda k, t=t: t[k]) for t in together.values()}),
        "alone_seconds": round(alone_seconds, 2), "batched_seconds": round(batch_seconds, 2),
        "ratio": round(alone_seconds / batch_seconds, 2),
        "peak_memory_mb": {
            "alone": round(alone_memory / 1024),
            "batched": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        },
    }  # fmt: skip
    text = json.dumps(result, ensure_ascii=False, indent=1)
    print(text)
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    main()
