"""Batches against one by one: labels that flip, the ratio of speeds, and memory.

    python bench/annotators/batch.py [--annotators NAME ...] [--model DIR] [--clips 1000]
        [--batch 8] [--out FILE]

Every annotator reads the same clips twice, each way in its own process. The models are tiny with random
weights: they show whether labels hold and nothing about real speed. --model gives one annotator a real
folder.
`paraformer` is FunASR's own padded batch, which the package does not use; it is here to show why.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
EMOTIONS = ["ang", "happy", "neu", "sad"]
EVENTS = ["Speech", "Cough", "Laughter", "Crying, sobbing", "Sneeze"]


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


def build_annotator(name: str, model: str | None, folder: Path) -> tuple[Any, str, str]:
    """Return the annotator, the value that is its label, and the language of the clips."""
    from echat_eval.annotators.emotion2vec import Emotion2vec
    from echat_eval.annotators.events import EventTagger
    from echat_eval.annotators.funasr import FunASR
    from echat_eval.annotators.sensevoice import SenseVoice
    from echat_eval.annotators.transformers_asr import TransformersASR
    from echat_eval.annotators.transformers_audio import EmotionClassifier
    from tests.support import tiny_models as tiny

    known: dict[str, tuple[Callable[[str], Any], Callable[[Path], Path], str, str]] = {
        "emotion2vec": (lambda m: Emotion2vec(model=m, threshold=0.0), tiny.emotion2vec, "emotion", "en"),
        "sensevoice": (lambda m: SenseVoice(model=m), tiny.sensevoice, "tags", "en"),
        "transformers-emotion": (
            lambda m: EmotionClassifier(m, labels="ang=anger;neu=neutral", threshold=0.0),
            lambda f: tiny.classifier(f, EMOTIONS),
            "emotion",
            "en",
        ),
        "transformers-event": (
            lambda m: EventTagger(m, threshold=0.0),
            lambda f: tiny.tagger(f, EVENTS),
            "event",
            "en",
        ),
        "transformers-asr": (
            lambda m: TransformersASR(m),
            lambda f: tiny.whisper(f, window_seconds=3),
            "hypothesis",
            "en",
        ),
        "paraformer": (lambda m: FunASR(model=m), tiny.paraformer, "hypothesis", "zh"),
    }
    build, make, label, language = known[name]
    return build(model or str(make(folder / name))), label, language


ANNOTATORS = (
    "emotion2vec",
    "sensevoice",
    "transformers-emotion",
    "transformers-event",
    "transformers-asr",
    "paraformer",
)


def measure(name: str, model: str | None, batch: int, count: int) -> dict[str, Any]:
    """Hear all clips in batches of this size; return labels, seconds and peak memory."""
    import soundfile as sf
    import torch

    from echat_eval.io.audio import audio_ref

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        annotator, label, language = build_annotator(name, model, folder)
        audios = []
        for n, sound in enumerate(clips(count)):
            sf.write(folder / f"{n}.wav", sound, 16000, subtype="PCM_16")
            audios.append(audio_ref(folder / f"{n}.wav"))
        together = _paraformer_batch(annotator) if name == "paraformer" else annotator.annotate_batch
        if batch == 1:

            def together(group: Any, language: str) -> list[Any]:
                return [annotator.annotate(group[0], language=language)]

        together(audios[:1], language=language)  # loads
        order = sorted(range(count), key=lambda n: audios[n].seconds)
        labels: dict[int, str] = {}
        begun = time.perf_counter()
        for start in range(0, count, batch):
            chunk = order[start : start + batch]
            rows = together([audios[n] for n in chunk], language=language)
            labels.update((n, str(values[label])) for n, values in zip(chunk, rows, strict=True))
        seconds = time.perf_counter() - begun
    return {
        "labels": [labels[n] for n in range(count)],
        "seconds": seconds,
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "audio_seconds": sum(audio.seconds for audio in audios),
        "torch": torch.__version__,
    }


def _paraformer_batch(annotator: Any) -> Callable[..., list[dict[str, str]]]:
    from echat_eval.annotators.local_model import mono_of

    def annotate(audios: Any, language: str) -> list[dict[str, str]]:
        found = annotator._model.ready().generate(
            [mono_of(audio) for audio in audios], fs=16000, batch_size=len(audios)
        )
        return [{"hypothesis": one.get("text", "")} for one in found]

    return annotate


def compared(name: str, given: argparse.Namespace) -> dict[str, Any]:
    """Hear one by one and in batches, each in a process of its own."""
    found = []
    for batch in (1, given.batch):
        command = [
            sys.executable,
            __file__,
            "--one",
            name,
            "--batch",
            str(batch),
            "--clips",
            str(given.clips),
        ]
        command += ["--model", given.model] if given.model else []
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    alone, batched = found
    flips = [
        {"clip": n, "alone": a, "batched": b}
        for n, (a, b) in enumerate(zip(alone["labels"], batched["labels"], strict=True))
        if a != b
    ]
    return {
        "model": given.model or "tiny, random weights",
        "used": name != "paraformer",
        "clips": given.clips,
        "batch": given.batch,
        "audio_seconds": round(alone["audio_seconds"], 1),
        "torch": alone["torch"],
        "labels_heard": len(set(alone["labels"])),
        "labels_equal": 1 - len(flips) / given.clips,
        "flips": flips[:20],
        "flips_in_all": len(flips),
        "alone_seconds": round(alone["seconds"], 2),
        "batched_seconds": round(batched["seconds"], 2),
        "ratio": round(alone["seconds"] / batched["seconds"], 2),
        "peak_memory_mb": {"alone": alone["peak_memory_mb"], "batched": batched["peak_memory_mb"]},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--annotators", nargs="+", choices=ANNOTATORS, default=list(ANNOTATORS))
    parser.add_argument("--one", choices=ANNOTATORS, help=argparse.SUPPRESS)
    parser.add_argument("--model")
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one, given.model, given.batch, given.clips)))
        return
    if given.model and len(given.annotators) != 1:
        parser.error("--model belongs to one annotator; name it with --annotators")
    result = {
        "machine": {"cpu": _cpu(), "threads": 1, "gpu": None},
        "annotators": {name: compared(name, given) for name in given.annotators},
    }
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
