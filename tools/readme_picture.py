"""Draw docs/images/two-voices.svg: one sentence in two voices, and the replies of two kinds of system.

Usage: python tools/readme_picture.py [file.svg or file.png]

Voices and replies come from the demo split: the replies of the first kind are its references, which a person
wrote; the reply of the second kind is the one of the floor `canned`. The same input gives the same bytes.
"""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from echat_eval.io.audio import read_mono
from echat_eval.records import Sample
from echat_eval.systems.canned import SENTENCES
from echat_eval.task import load_task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
#: Words and speaker of the contrast group, happy and sad.
WORDS, SPEAKER = "The letter from the university came.", "alpha"
COLOURS = {"happy": "#b45309", "sad": "#1d4ed8"}
GREY, INK, PAPER = "#6b7280", "#111827", "#ffffff"
#: Bars of the longest waveform; characters per line and width of a reply; heights of the two rows.
BARS, LINE, WIDTH, MIDDLES = 80, 30, 3.5, (2.9, 1.05)


def outlines(samples: Sequence[Sample]) -> list[NDArray[np.float64]]:
    """Return the peaks of recordings, from 0 to 1; the longest has BARS of them, all have one time scale."""
    sounds = [read_mono(sample.audio.path, rate=None)[0] for sample in samples]
    spoken = [sound[: 1 + np.flatnonzero(np.abs(sound) > 0.02 * np.abs(sound).max())[-1]] for sound in sounds]
    bar = max(map(len, spoken)) / BARS
    peaks = [
        np.array([np.abs(part).max() for part in np.array_split(sound, max(1, round(len(sound) / bar)))])
        for sound in spoken
    ]
    return [found / found.max() for found in peaks]


def first_sentences(text: str, count: int = 2) -> str:
    """Return the first sentences of an English text."""
    parts = text.replace("! ", "!\n").replace("? ", "?\n").replace(". ", ".\n").split("\n")
    return " ".join(parts[:count])


def bubble(panel: Any, x: float, y: float, height: float, colour: str, text: str) -> None:
    """Draw a reply in a rounded box, centred at (x, y)."""
    from matplotlib.patches import FancyBboxPatch

    corner = (x - WIDTH / 2 + 0.1, y - height / 2 + 0.1)
    panel.add_patch(
        FancyBboxPatch(
            corner,
            WIDTH - 0.2,
            height - 0.2,
            boxstyle="round,pad=0.1",
            facecolor=PAPER,
            edgecolor=colour,
            linewidth=1.8,
        )
    )
    panel.text(x, y, fill(text, LINE), ha="center", va="center", fontsize=13, color=INK, linespacing=1.4)


def draw(path: Path) -> None:
    """Draw the picture into an SVG or PNG file."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    mpl.rcParams.update({"svg.hashsalt": "two voices", "svg.fonttype": "path", "font.family": "DejaVu Sans"})
    found = [s for s in load_task("emotion").samples if (s.transcript, s.speaker) == (WORDS, SPEAKER)]
    voices = sorted(found, key=lambda sample: list(COLOURS).index(sample.cues["emotion"]))
    figure = plt.figure(figsize=(12, 4.4), facecolor=PAPER)
    panel = figure.add_axes((0, 0, 1, 1))
    panel.set(xlim=(0, 12), ylim=(0, 4.4))
    panel.axis("off")
    heading: dict[str, Any] = {"fontsize": 13, "weight": "bold", "color": INK, "va": "center"}
    panel.text(0.35, 4.05, f"“{voices[0].transcript}”", **heading)
    panel.text(6.2, 4.05, "System that acts on the voice", ha="center", **heading)
    panel.text(10.0, 4.05, "System that ignores the voice", ha="center", **heading)
    for sample, peaks, middle in zip(voices, outlines(voices), MIDDLES, strict=True):
        label = sample.cues["emotion"]
        colour = COLOURS[label]
        at = 0.4 + 3.1 / BARS * np.arange(len(peaks))
        panel.vlines(at, middle - 0.5 * peaks, middle + 0.5 * peaks, color=colour, linewidth=2.2)
        panel.text(0.35, middle - 0.72, f"in a {label} voice", color=colour, fontsize=13, va="center")
        arrow = {"arrowstyle": "-|>", "color": GREY, "linewidth": 1.6}
        panel.annotate("", (4.25, middle), (3.65, middle), arrowprops=arrow)
        bubble(panel, 6.2, middle, 1.5, colour, first_sentences(sample.references[0]))
    bubble(panel, 10.0, sum(MIDDLES) / 2, 1.5 + MIDDLES[0] - MIDDLES[1], GREY, SENTENCES["en"])
    figure.savefig(path, dpi=100, facecolor=PAPER, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images" / "two-voices.svg")
