"""How often the gate is wrong where every speaker reads every sentence, cell by cell.

    python bench/gate/crossed.py --runs 20000        all cells, to bench/results/gate_crossed.json (minutes)
    python bench/gate/crossed.py --table             the cells as Markdown

Differences are normal with a standard deviation of 25 points, of which speakers and sentences have given
shares; the margin is 3 points. Each cell lists, in percent of runs and for four ways to count clusters
(speakers alone, sentences alone, rows, two-way as `echat_eval.stats` does for this design):

    false pass    the true drop is the margin and the gate passes (nominal 2.5)
    equal passes  nothing changed and the gate passes
    coverage      the 95 % interval includes the true difference

Cells with fewer than six levels of a factor have a fifth way, the gate's: these levels are fixed
(`Design.fixing`), the truth is the mean difference given them, and clusters are those of the other factor.
Its "false pass, others" takes the same interval for a statement about other levels, which the gate does not.

Every layout goes through `Design`, every bound through `spread`, `crossed_spread` and `worst_case_bounds`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from echat_eval.analysis.bounds import Tests, worst_case_bounds  # noqa: E402
from echat_eval.gate.policy import MIN_CLUSTERS  # noqa: E402
from echat_eval.stats import Design, Spread, as_design, crossed_spread, spread  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "gate_crossed.json"
MARGIN, SD, LEVEL = 3.0, 25.0, 0.95
WAYS = ("speakers", "sentences", "rows", "two-way")
GIVEN = "given these"


@dataclass(frozen=True)
class Cell:
    """A layout and the shares of the variance that lie between speakers and between sentences.

    `read` is the share of the grid that was recorded. With `overlap`, each speaker has sentences of their own
    instead, and this share of the rows has a sentence that one other speaker reads too.
    """

    speakers: int
    sentences: int
    by_speaker: float
    by_sentence: float
    read: float = 1.0
    overlap: float | None = None

    @property
    def name(self) -> str:
        size = f"{self.speakers} x {self.sentences}"
        if self.overlap is not None:
            shared = f", {100 * self.overlap:.0f} % of rows shared" if self.overlap else ""
            return f"{size}, own sentences{shared}"
        return size if self.read == 1 else f"{size}, {100 * self.read:.0f} % read"

    def units(self) -> np.ndarray:
        """Return (samples, 2) numbers of speaker and sentence."""
        rng = np.random.default_rng([self.speakers, self.sentences])
        speaker, sentence = np.divmod(np.arange(self.speakers * self.sentences), self.sentences)
        if self.overlap is None:
            keep = rng.random(len(speaker)) < self.read
            return np.stack([speaker, sentence], axis=1)[keep]
        own = np.arange(len(speaker))
        shared = rng.choice(len(own), size=int(self.overlap * len(own)) // 2, replace=False)
        partner = (shared + self.sentences * rng.integers(1, self.speakers, len(shared))) % len(own)
        own[partner] = own[shared]
        return np.stack([speaker, own], axis=1)


CELLS = (
    Cell(10, 20, 0.1, 0.1),
    Cell(20, 20, 0.25, 0.05),
    Cell(40, 12, 0.05, 0.25),
    Cell(10, 100, 0.1, 0.1),
    Cell(20, 40, 0.1, 0.1, read=0.3),
    Cell(20, 20, 0.0, 0.0),
    Cell(8, 8, 0.1, 0.1),
    Cell(50, 20, 0.1, 0.1, overlap=0.1),
)
FEW_CELLS = (
    Cell(24, 2, 0.1, 0.1),
    Cell(24, 4, 0.1, 0.25),
    Cell(40, 5, 0.1, 0.25, read=0.5),
    Cell(4, 40, 0.25, 0.1),
    Cell(1, 100, 0.25, 0.1),
    Cell(5, 20, 0.25, 0.0, overlap=0.0),  # nested
)


def spread_of(residual: np.ndarray, codes: np.ndarray) -> Spread:
    """Return the one-way spread of (runs, samples) residuals."""
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    sums = np.add.reduceat(residual[:, order], starts, axis=1)
    n = residual.shape[1]
    return spread(sums, np.bincount(codes) / n, squares=(residual**2).sum(axis=1), n=n)


def measure(cell: Cell, runs: int) -> dict[str, object]:
    began, design = time.perf_counter(), as_design(cell.units())
    rng = np.random.default_rng([cell.speakers, cell.sentences, round(100 * cell.by_speaker)])
    n, step, done = len(design), max(1, 400_000 // len(design)), 0
    held = design.fixing(MIN_CLUSTERS)
    ways = (*WAYS, GIVEN) if held.fixed else WAYS
    tally = {(way, what): 0 for way in ways for what in ("false pass", "equal passes", "coverage")}
    while done < runs:
        now = min(step, runs - done)
        of_speakers, of_sentences, noise = draws(cell, design, rng, now)
        x = of_speakers + of_sentences + noise
        mean, given = x.mean(axis=1), np.zeros(now)
        if held.speakers is not design.speakers:
            given += of_speakers.mean(axis=1)
        if held.sentences is not design.sentences:
            given += of_sentences.mean(axis=1)
        one, two, cells = (
            spread_of(x - mean[:, None], c) for c in (design.speakers, design.sentences, design.cells)
        )
        rows = spread_of(x - mean[:, None], np.arange(n))
        spreads = [one, two, rows, crossed_spread(one, two, cells) if design.crossed else one]
        if held.fixed:
            spreads.append(spread_of(x - mean[:, None], held.components))
        for way, found in zip(ways, spreads, strict=True):
            truth = given if way == GIVEN else 0.0
            low, high = worst_case_bounds(
                Tests(value=mean[None], se=found.se[None], df=np.broadcast_to(found.df, mean.shape)[None]),
                level=LEVEL,
            )
            tally[way, "false pass"] += int((low - truth > 0).sum())
            tally[way, "equal passes"] += int((low - truth > -MARGIN).sum())
            if way == GIVEN:
                tally[way, "false pass, others"] = tally.get((way, "false pass, others"), 0) + int(
                    (low > 0).sum()
                )
            tally[way, "coverage"] += int(((low <= truth) & (high >= truth)).sum())
        done += now
    row: dict[str, object] = {
        "cell": cell.name,
        "by speaker": cell.by_speaker,
        "by sentence": cell.by_sentence,
        "samples": n,
        "design": str(design),
        "runs": runs,
    }
    row |= {f"{what}, {way}": round(100 * hits / runs, 2) for (way, what), hits in tally.items()}
    return row | {"seconds": round(time.perf_counter() - began, 1)}


def draws(cell: Cell, design: Design, rng: np.random.Generator, runs: int) -> list[np.ndarray]:
    """Return (runs, samples) parts of differences with mean 0: of speakers, of sentences, and the rest."""

    def effects(codes: np.ndarray, share: float) -> np.ndarray:
        return rng.normal(0, np.sqrt(share), (runs, int(codes.max()) + 1))[:, codes]

    rest = np.sqrt(1 - cell.by_speaker - cell.by_sentence)
    noise = rng.normal(0, rest, (runs, len(design)))
    parts = (effects(design.speakers, cell.by_speaker), effects(design.sentences, cell.by_sentence), noise)
    return [SD * part for part in parts]


def table(cells: list[dict[str, object]]) -> str:
    lines = [
        "| speakers x sentences | variance shares | false pass / equal passes: speakers | sentences | rows "
        "| two-way | coverage, two-way |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for c in cells:
        pairs = (f"{c[f'false pass, {way}']:.1f} / {c[f'equal passes, {way}']:.0f}" for way in WAYS)
        lines.append(
            f"| {c['cell']} | {c['by speaker']} / {c['by sentence']} | {' | '.join(pairs)} "
            f"| {c['coverage, two-way']:.1f} |"
        )
    return "\n".join(lines)


def table_of_few(cells: list[dict[str, object]]) -> str:
    names = ("two-way", GIVEN)
    lines = [
        "| speakers x sentences | variance shares | false pass / equal passes: two-way | given these "
        "| coverage, given these | false pass, taken for others |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for c in cells:
        pairs = (f"{c[f'false pass, {way}']:.1f} / {c[f'equal passes, {way}']:.0f}" for way in names)
        lines.append(
            f"| {c['cell']} | {c['by speaker']} / {c['by sentence']} | {' | '.join(pairs)} "
            f"| {c[f'coverage, {GIVEN}']:.1f} | {c[f'false pass, others, {GIVEN}']:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="print the cells of --out as Markdown")
    given = parser.parse_args()
    if given.table:
        found = json.loads(given.out.read_text())
        print(f"{table(found['cells'])}\n\n{table_of_few(found['few'])}")
        return
    measured: dict[str, list[dict[str, object]]] = {"cells": [], "few": []}
    for name, cells in (("cells", CELLS), ("few", FEW_CELLS)):
        for cell in cells:
            measured[name].append(measure(cell, given.runs))
            print(json.dumps(measured[name][-1]), flush=True)
    facts = {"margin": MARGIN, "sd": SD, "level": LEVEL, **measured}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
