"""Writes a task of as many samples as wanted, quickly: every sample has sound of its own."""

from __future__ import annotations

import hashlib
import json
import random
import struct
from pathlib import Path

__all__ = ["write_task"]

RATE = 8000  # Hz
SECONDS = 0.1
LABELS = ("happy", "sad")
SETTINGS = """name: emotion
version: 1
title:
  en: Made
description: Made for a measurement; the sound is noise.
cues: [emotion]
licence: CC0-1.0
"""


def write_task(root: Path, samples: int) -> Path:
    """Write the task `emotion` of contrast groups of two below `root`; return `root`."""
    folder = root / "emotion"
    (folder / "audio").mkdir(parents=True)
    (folder / "task.yaml").write_text(SETTINGS, encoding="utf-8")
    noise = random.Random(0)
    with (folder / "samples.jsonl").open("w", encoding="utf-8") as rows:
        for number in range(samples):
            sound = _wav(noise.randbytes(int(2 * RATE * SECONDS)))
            name = f"audio/{number}.wav"
            (folder / name).write_bytes(sound)
            label = LABELS[number % 2]
            row = {
                "id": f"s{number}",
                "audio": name,
                "audio_sha256": hashlib.sha256(sound).hexdigest(),
                "transcript": f"I got letter number {number // 2} today.",
                "cues": {"emotion": label},
                "language": "en",
                "source": "synthetic",
                "contrast_group": f"g{number // 2}",
                "references": [f"{'Lovely' if label == 'happy' else 'I am sorry'}, {number}."],
            }
            rows.write(json.dumps(row) + "\n")
    return root


def _wav(pcm: bytes) -> bytes:
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        36 + len(pcm),
        b"WAVE",
        b"fmt ",
        16,
        1,
        1,
        RATE,
        2 * RATE,
        2,
        16,
        b"data",
        len(pcm),
    )
    return head + pcm
