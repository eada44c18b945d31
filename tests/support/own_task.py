"""A small task with a cue of its own, in English, German and Japanese, made of tones."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.tones import write_tone

TASK_YAML = """\
name: irony
version: 1
title: {en: Irony, de: Ironie, ja: 皮肉}
description: Tones for tests.
licence: CC0-1.0
redistributable: true
cues:
  sarcasm:
    labels: [sincere, sarcastic]
    aliases: {ironic: sarcastic, honest: sincere}
    names: {de: Sarkasmus, ja: 皮肉}
    words:
      de: {sincere: ernst gemeint, sarcastic: spöttisch}
      ja: {sincere: 本気, sarcastic: 皮肉}
    questions: {de: "Ist das ernst gemeint oder spöttisch? Antworte mit einem davon."}
    guides: {en: play along with sarcasm; take sincere words at face value.}
"""
WORDS = {
    "en": ["Great, another meeting.", "What a lovely day."],
    "de": ["Na toll, schon wieder Montag.", "Das hast du gut gemacht."],
    "ja": ["すごいですね。", "楽しみにしています。"],
}
LABELS = ("sincere", "sarcastic")


def write_own_task(root: Path, text: str = TASK_YAML, name: str = "irony") -> Path:
    """Write the task, 12 samples in contrast groups of two; return its folder."""
    folder = root / name
    rows: list[dict[str, object]] = []
    for language, sentences in WORDS.items():
        for number, sentence in enumerate(sentences):
            for place, label in enumerate(LABELS):
                audio = f"audio/{language}-{number}-{label}.wav"
                hertz = 150 + 90 * place + 20 * number + 7 * len(sentence)
                rows.append(
                    {
                        "id": f"{language}-{number}-{label}",
                        "audio": audio,
                        "audio_sha256": write_tone(folder / audio, hertz, seed=len(rows)),
                        "transcript": sentence,
                        "cues": {"sarcasm": label},
                        "language": language,
                        "source": "synthetic",
                        "speaker": f"s{number}",
                        "contrast_group": f"{language}-{number}",
                        "references": [f"An answer to {label} words {number}."],
                    }
                )
    (folder / "task.yaml").write_text(text.replace("name: irony", f"name: {name}"), encoding="utf-8")
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "samples.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder
