"""Small tasks of noise bursts in which one thing beside the voice may go with the label."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

RATE = 8000
LABELS = ("happy", "sad")
#: Words that fit any label.
NAMES = ("Ann", "Ben", "Cem", "Dao", "Eva", "Fay", "Gil", "Hua", "Ian", "Jun", "Kim", "Lea", "Max", "Noa")
VERBS = ("called", "left", "arrived", "answered", "waited", "wrote", "moved", "slept", "won")

#: Changes a row of the file; gets the number of the group, of the label, and the row.
Change = Callable[[int, int, dict[str, Any]], None]


def sentence(number: int) -> str:
    """Return the words of a group, unlike those of other groups."""
    first, rest = number % len(NAMES), number // len(NAMES)
    verb = VERBS[(number * 5 + rest) % len(VERBS)]
    return f"{NAMES[first]} {verb} {NAMES[(first * 3 + rest + 1) % len(NAMES)]} at {rest + 1}{first}."


def write_planted(
    folder: Path,
    groups: int = 24,
    *,
    change: Change = lambda group, label, row: None,
    sound: Callable[[int, int], Mapping[str, float]] = lambda group, label: {},
    cue: str = "emotion",
    labels: tuple[str, ...] = LABELS,
    seed: int = 0,
) -> Path:
    """Write a task of contrast groups with every label, shuffled, crossed over four speakers; return it.

    Args:
        folder: to write.
        groups: number of contrast groups.
        change: of a row.
        sound: seconds, level (dB), clip (1: cut off at the peak) seconds of silence before and
            after the sound, centre (DC offset) and spike (one sample of this height) of a recording.
        cue, labels: of the task.
        seed: of the noise and the order.
    """
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    (folder / "audio").mkdir(parents=True)
    for group in range(groups):
        for place, label in enumerate(labels):
            wanted = {
                "seconds": 0.3,
                "level": -20.0,
                "clip": 0.0,
                "before": 0.0,
                "after": 0.0,
                "centre": 0.0,
                "spike": 0.0,
                **sound(group, place),
            }
            name = f"audio/{len(rows)}.wav"
            digest = _write_noise(folder / name, rng, wanted)
            row = {
                "id": f"s{len(rows)}",
                "audio": name,
                "audio_sha256": digest,
                "transcript": sentence(group),
                "cues": {cue: label},
                "language": "en",
                "source": "synthetic",
                "speaker": f"p{group % 4}",
                "contrast_group": f"g{group}",
                "references": [f"Answer {place} to {group}."],
            }
            change(group, place, row)
            rows.append(row)
    order = rng.permutation(len(rows))
    (folder / "task.yaml").write_text(
        f"name: {folder.name}\nversion: 1\ntitle: {{en: Planted}}\ndescription: Noise for tests.\n"
        f"cues: [{cue}]\nlicence: CC0-1.0\nredistributable: true\n"
    )
    write_rows(folder, [rows[i] for i in order])
    return folder


def write_rows(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Write samples.jsonl."""
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "samples.jsonl").write_text("".join(lines), encoding="utf-8")


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of samples.jsonl."""
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()]


def _write_noise(path: Path, rng: np.random.Generator, wanted: Mapping[str, float]) -> str:
    count = round(wanted["seconds"] * RATE)
    wave = np.convolve(rng.normal(size=count + 8), rng.normal(size=9), "valid")
    wave = np.convolve(wave, np.ones(6), "same")  # as low as speech
    wave *= 10 ** (wanted["level"] / 20) / np.sqrt(np.mean(wave**2))
    if wanted["clip"]:
        limit = 0.25 * np.abs(wave).max()
        wave = np.clip(wave, -limit, limit)
    if wanted["spike"]:
        wave[count // 2] = wanted["spike"]
    silences = [np.zeros(round(wanted[end] * RATE)) for end in ("before", "after")]
    wave = np.concatenate([silences[0], wave, silences[1]]) + wanted["centre"]
    soundfile.write(path, wave, RATE, subtype="PCM_16")
    return hashlib.sha256(path.read_bytes()).hexdigest()
