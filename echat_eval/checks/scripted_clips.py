"""Recordings of the scripted run: a task of tones, and labelled clips to test an annotator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from echat_eval.checks.labelled import Clip
from echat_eval.io.audio import audio_ref
from echat_eval.io.jsonl import dumps
from echat_eval.task import Task, load_task

__all__ = ["ANNOTATOR_RATE", "PITCH", "RATE", "Wave", "make_probes", "make_task", "voice"]

#: Sample rates of the recordings and of the annotator, Hz.
RATE, ANNOTATOR_RATE = 24_000, 16_000
#: Emotion -> Hz of the tone that represents a voice with this emotion.
PITCH: Mapping[str, float] = {"anger": 250.0, "happy": 400.0, "sad": 150.0}
Wave = NDArray[np.float32]


def make_task(folder: Path, groups: int = 8) -> Task:
    """Write and load a task of contrast groups with two samples each, happy and sad."""
    rows = []
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    for number in range(2 * groups):
        label = ("happy", "sad")[number % 2]
        sf.write(folder / f"audio/{number}.wav", voice(label, np.random.default_rng(number)), RATE)
        audio = audio_ref(folder / f"audio/{number}.wav")
        rows.append(
            {
                "id": f"s{number}",
                "audio": f"audio/{number}.wav",
                "audio_sha256": audio.sha256,
                "transcript": f"Sentence {number // 2}.",
                "cues": {"emotion": label},
                "language": "en",
                "source": "synthetic",
                "speaker": f"v{number // 2}",
                "contrast_group": f"g{number // 2}",
                "references": [f"Reply {number}."],
            }
        )
    (folder / "task.yaml").write_text(
        "name: emotion\nversion: 1\ntitle:\n  en: Scripted\ndescription: Scripted.\ncues: [emotion]\n"
        "licence: CC0-1.0\n",
        encoding="utf-8",
    )
    (folder / "samples.jsonl").write_text("".join(dumps(row) + "\n" for row in rows), encoding="utf-8")
    return load_task("emotion", data=folder)


def make_probes(folder: Path, seed: int) -> list[Clip]:
    """Write labelled clips, six per emotion."""
    folder.mkdir(parents=True)
    noise, clips = np.random.default_rng(seed), []
    for number, emotion in enumerate(sorted(PITCH) * 6):
        sf.write(folder / f"{number}.wav", voice(emotion, noise), RATE)
        clips.append(
            Clip(
                audio=audio_ref(folder / f"{number}.wav"),
                language="en",
                transcript=None,
                speaker=f"p{number}",
                labels={"emotion": emotion},
            )
        )
    return clips


def voice(emotion: str, noise: np.random.Generator) -> Wave:
    """Return 1/8 s of the tone that represents a voice with this emotion."""
    time = np.arange(RATE // 8) / RATE
    hertz = PITCH[emotion] + noise.normal(0, 5)
    wave: Wave = (0.3 * np.sin(2 * np.pi * hertz * time) + noise.normal(0, 0.02, time.size)).astype(
        np.float32
    )
    return wave
