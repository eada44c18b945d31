"""A team's own recordings for tests: a table with odd spellings and years of age, and short tones."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.tones import write_tone

#: What `write_recordings` has; the languages, labels and ages a table has, not those of the benchmark.
MAPPING = """\
columns:
  audio: Datei
  transcript: Text
  emotion: Label
  age: Alter
  language: Sprache
  speaker: Person
cues: [emotion]
labels:
  emotion: {wütend: anger, bored: other}
cut_offs:
  age: {child: 0, adult: 18, old: 60}
constants:
  source: real
task:
  title: Calls
  licence: internal
  consent: written, for evaluation
  redistributable: false
"""


def recordings(folder: Path, count: int = 8) -> list[dict[str, str]]:
    """Write short tones and return the rows that describe them: four labels for each sentence."""
    labels = ("wütend", "Happy", "SAD ", "bored")
    rows = []
    for number in range(count):
        name = f"clips/{number:03}.wav"
        write_tone(folder / name, 150 + number, seconds=0.05, seed=number)
        rows.append(
            {
                "Datei": name,
                "Text": f"sentence {number // 4}",
                "Label": labels[number % 4],
                "Alter": str((9, 25, 71)[number % 3]),
                "Sprache": "English",
                "Person": f"p{number % 2}",
            }
        )
    return rows


def write_csv(path: Path, rows: Sequence[Mapping[str, str]], delimiter: str = ",") -> Path:
    """Write rows as a table with a header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_recordings(folder: Path, count: int = 8) -> tuple[Path, Path]:
    """Write a table of recordings and its mapping; return both."""
    table = write_csv(folder / "calls.csv", recordings(folder, count))
    mapping = folder / "calls.mapping.yaml"
    mapping.write_text(MAPPING, encoding="utf-8")
    return table, mapping
