"""How often `check task` refuses: tasks without a leak, leaks at the limit, and leaks of 10 points.

    python bench/stats/task_leaks.py            all cells, to bench/results/stats_task_leaks.json (minutes)
    python bench/stats/task_leaks.py --table    the cells as Markdown

Cells without a leak have features that do not depend on the label. The other cells have one feature that is
the label with a known probability, else another label at random, so that the true macro recall is known: a
leak of 5 is at the limit; one of 10 is tested with the number of groups that `check task` prints for it.
With "right together", a share of groups is right or wrong as a whole. "peak" is the peak above the level; its
standard deviation is 1.4 dB between groups and 0.3 dB within them, and a leak of 2 dB is that of a man's and
a woman's voice by one vocoder.

    refused     percent of tasks that are refused
    excluded    percent of tasks in which a leak of 10 points is excluded
    recall      mean macro recall, percent
    needed      mean number of groups that is printed
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.support.cells import cells_of  # noqa: E402
from echat_eval.checks.task_data import Labelled  # noqa: E402
from echat_eval.checks.task_features import decibel_features, indicators, relative  # noqa: E402
from echat_eval.checks.task_leaks import Leak, leak_of  # noqa: E402
from echat_eval.checks.task_words import STRENGTH, word_features  # noqa: E402
from echat_eval.records import AudioRef, Cue, Sample  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "stats_task_leaks.json"
COLUMNS = ("refused", "excluded", "recall", "needed")
AUDIO = AudioRef(path=Path("x.wav"), sha256="0" * 64, seconds=1.0)
WORDS = ("we", "they", "met", "left", "home", "road", "late", "soon", "rain", "work", "train", "shop", "door")


@dataclass(frozen=True)
class Cell:
    """One kind of task.

    Attributes:
        kind: "words", "length", "speaker": no leak; "peak": none but `decibels`; "label": a feature that is
            the label with a probability.
        groups: number of groups; 0: as many as are printed for such a task.
        labels: number of labels, each once in a group; with "words" a group is one sample.
        above: points of the true macro recall above chance.
        together: share of groups whose samples are right or wrong together.
        decibels: how much higher the peaks of one label are.
    """

    kind: str
    groups: int
    labels: int = 2
    above: float = 0.0
    together: float = 0.0
    decibels: float = 0.0

    @property
    def name(self) -> str:
        leak = f"leak of {self.above:g}" if self.above else "no leak"
        leak = f"leak of {self.decibels:g} dB" if self.decibels else leak
        size = f"{self.groups} groups" if self.groups else "as many groups as are printed"
        linked = f", {100 * self.together:g} % of groups right together" if self.together else ""
        return f"{leak}: {self.kind}, {self.labels} labels, {size}{linked}"


CELLS = (
    Cell("words", 60),
    Cell("words", 200, labels=4),
    Cell("length", 24),
    Cell("length", 200),
    Cell("length", 60, labels=4),
    Cell("speaker", 60),
    Cell("label", 100, above=5.0),
    Cell("label", 400, above=5.0),
    Cell("label", 400, labels=4, above=5.0),
    Cell("label", 400, above=5.0, together=0.5),
    Cell("label", 0, above=10.0),
    Cell("label", 0, labels=4, above=10.0),
    Cell("label", 0, above=10.0, together=0.5),
    Cell("peak", 24),
    Cell("peak", 200),
    Cell("peak", 60, labels=4),
    Cell("peak", 18, decibels=2.0),
)


def labelled(cell: Cell, groups: int, rng: np.random.Generator) -> Labelled:
    """Return the labels of a task in random order."""
    names = tuple(f"l{number}" for number in range(cell.labels))
    if cell.kind == "words":
        codes = rng.permutation(np.arange(groups) % cell.labels)
        members = np.arange(groups)
    else:
        order = rng.permutation(groups * cell.labels)
        codes, members = order % cell.labels, order // cell.labels
    return Labelled(
        cue=Cue(name="emotion", labels=names),
        rows=np.arange(len(codes)),
        labels=names,
        codes=codes.astype(np.int64),
        groups=np.unique(members, return_inverse=True)[1].astype(np.int64),
    )


def tested(cell: Cell, groups: int, rng: np.random.Generator) -> Leak:
    """Return the test of one task."""
    task = labelled(cell, groups, rng)
    n = len(task.codes)
    if cell.kind == "words":
        texts = [" ".join(rng.choice(WORDS, 6)) for _ in range(n)]
        return leak_of(task, word_features([sample(text) for text in texts]), strength=STRENGTH)
    if cell.kind == "length":
        return leak_of(task, relative(rng.lognormal(1.0, 0.3, n), task.groups))
    if cell.kind == "peak":
        crests = 16 + 1.4 * rng.normal(size=groups)[task.groups] + 0.3 * rng.normal(size=n)
        return leak_of(task, decibel_features(crests + cell.decibels * (task.codes == 0), task.groups))
    if cell.kind == "speaker":
        speakers, codes = indicators([f"p{number}" for number in rng.integers(0, 6, n)])
        return leak_of(task, speakers, values=codes)
    alone, linked = rng.random(n), rng.random(int(task.groups.max()) + 1)
    as_one = (rng.random(len(linked)) < cell.together)[task.groups]
    right = np.where(as_one, linked[task.groups], alone) < 1 / cell.labels + cell.above / 100
    other = (task.codes + rng.integers(1, cell.labels, n)) % cell.labels
    seen = np.where(right, task.codes, other)
    return leak_of(task, np.eye(cell.labels)[seen])


def sample(text: str) -> Sample:
    return Sample(task="t", id=text, audio=AUDIO, transcript=text, cues={}, language="en", source="synthetic")


def measure(cell: Cell, runs: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    groups = cell.groups or round(float(np.mean([tested(cell, 300, rng).needed or 0 for _ in range(5)])))
    found = [tested(cell, groups, rng) for _ in range(runs)]
    return {
        "cell": cell.name
        if cell.groups
        else cell.name.replace("as many groups as are printed", f"{groups} groups"),
        "runs": runs,
        "refused": round(100 * float(np.mean([leak.refused for leak in found])), 1),
        "excluded": round(100 * float(np.mean([leak.excluded for leak in found])), 1),
        "recall": round(float(np.mean([leak.recall.value for leak in found if leak.recall])), 1),
        "needed": round(float(np.mean([leak.needed for leak in found if leak.needed] or [0]))),
    }


if __name__ == "__main__":
    cells_of(__doc__, CELLS, measure, RESULTS, COLUMNS, runs=200)
