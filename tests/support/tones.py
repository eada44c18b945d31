"""A small task of tones, for tests that need audio and no speech."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import soundfile

#: Hz.
TONE_RATE = 16_000


def write_tone(path: Path, hertz: float, seconds: float = 0.5, seed: int = 0) -> str:
    """Write a tone with a little noise and return the sha256 of the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(int(seconds * TONE_RATE)) / TONE_RATE
    noise = np.random.default_rng(seed).normal(0, 1e-3, time.size)
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * hertz * time) + noise, TONE_RATE, subtype="PCM_16")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_speech(path: Path, hertz: float, semitones: float = 0.0, seconds: float = 1.0) -> Path:
    """Write a harmonic sound whose pitch moves by some semitones up and down; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(int(seconds * TONE_RATE)) / TONE_RATE
    pitch = hertz * 2 ** (semitones / 24 * np.sin(2 * np.pi * 2 * time))
    phase = 2 * np.pi * np.cumsum(pitch) / TONE_RATE
    sound = sum(np.sin(k * phase) / k for k in range(1, 9)) * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * time))
    soundfile.write(path, 0.2 * sound, TONE_RATE, subtype="PCM_16")
    return path


def write_task(root: Path, name: str = "emotion", groups: int = 4) -> Path:
    """Write a task of contrast groups of two, a high tone for happy and a low one for sad; return its folder."""
    folder = root / name
    rows = []
    for group in range(groups):
        for cue, hertz in (("happy", 400 + group), ("sad", 150 + group)):
            audio = f"audio/{group}-{cue[0]}.wav"
            digest = write_tone(folder / audio, hertz, seed=group * 2 + (cue == "sad"))
            rows.append(
                {
                    "id": f"s{group}{cue[0]}",
                    "audio": audio,
                    "audio_sha256": digest,
                    "transcript": f"sentence number {group}",
                    "cues": {"emotion": cue},
                    "language": "en",
                    "source": "synthetic",
                    "contrast_group": f"g{group}",
                    "references": [f"{'Lovely' if cue == 'happy' else 'I am sorry'}, {group}."],
                }
            )
    (folder / "task.yaml").write_text(
        f"name: {name}\nversion: 1\ntitle:\n  en: Tones\n  zh: 音\ndescription: Tones for tests.\n"
        "cues: [emotion]\nlicence: CC0-1.0\nredistributable: true\n"
    )
    (folder / "samples.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return folder


def write_dialogues(root: Path, name: str = "emotion", groups: int = 2, turns: int = 2) -> Path:
    """Write a task of live dialogues with this number of scripted turns before the last; return its folder.

    The dialogues of a group have the same scripted turns, and differ in the voice of the last one.
    """
    folder = write_task(root, name, groups)
    rows = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    for row in rows:
        group = row["contrast_group"]
        row["turns"] = []
        for number in range(1, turns + 1):
            audio = f"audio/{group}-turn{number}.wav"
            sha256 = write_tone(folder / audio, 250 + 10 * number, seed=int(group[1:]) * 10 + number)
            row["turns"].append(
                {"transcript": f"turn {number} of {group}", "audio": audio, "audio_sha256": sha256}
            )
        row["turns"][0]["cues"] = {"emotion": "neutral"}
    (folder / "samples.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return folder
