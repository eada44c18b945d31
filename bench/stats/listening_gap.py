"""Coverage and power of the listening gap, with 280 recordings in 140 contrast groups of two.

    python bench/stats/listening_gap.py              all cells, to bench/results/listening_gap.json (minutes)
    python bench/stats/listening_gap.py --table      the cells as Markdown

Every run goes through the estimate of the leaderboard, from scores to interval. Systems:

    transcript only, fixed      one answer and one reply for both recordings of a group
    transcript only, sampled    answers and replies drawn anew for each recording, from the words alone
    gold labels, parrot         every answer is right; a reply answers its own voice as often as "You sound
                                {label}." does on the demo split (69.1 %)
    gap of 20                   80 % right answers, 60 % of replies answer their own voice; both vary with
                                the speaker and the group, by up to 10 points each
    no gap                      70 % on both sides, which vary likewise

Designs: 140 groups of independent speakers; 20 speakers with 7 groups each; and 20 speakers, two in each
group, crossed with groups. Columns, in percent of runs:

    holds      the 95 % interval holds the true gap
    holds 0    it holds 0
    detected   it is above 0
    normalised holds    the interval of the normalised gap holds the truth, where people's replies reach 75 %
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.support.cells import cells_of  # noqa: E402
from echat_eval.leaderboard.by_voice import CEILING  # noqa: E402
from echat_eval.leaderboard.listening_gap import ListeningGap, gaps_of  # noqa: E402
from echat_eval.records import AudioRef, Sample, Score  # noqa: E402
from echat_eval.scorers.cue_contrast import MATCH  # noqa: E402
from echat_eval.scorers.understanding import WAR  # noqa: E402
from echat_eval.stats import Unit, units_of  # noqa: E402
from echat_eval.task.probe import probed_name  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "listening_gap.json"
COLUMNS = ("mean gap", "half-width", "holds", "holds 0", "detected", "normalised holds")
GROUPS, SPEAKERS = 140, 20
LABELS = ("sad", "happy")
#: Match rate of `label-parrot` on the demo split, and of people's replies here.
PARROT, PEOPLE = 0.691, 0.75
#: Largest effect of a speaker and of a group on the chance of a right answer and of a matching reply.
EFFECT = 0.1
Floats = np.ndarray
Samples = dict[tuple[str, str], Sample]


@dataclass(frozen=True)
class Cell:
    """A design and a system: chances of a right answer and of a reply that answers its voice; None: fixed."""

    design: str
    system: str
    answered: float | None
    matched: float | None
    varies: bool = False

    @property
    def name(self) -> str:
        return f"{self.system}, {self.design}"

    @property
    def gap(self) -> float:
        return 100 * ((0.5 if self.answered is None else self.answered) - (self.matched or 0.5))


DESIGNS = ("groups", "20 speakers", "20 speakers, crossed")
SYSTEMS: tuple[tuple[str, float | None, float | None, bool], ...] = (
    ("transcript only, sampled", 0.5, 0.5, False),
    ("gold labels, parrot", 1.0, PARROT, True),
    ("gap of 20", 0.8, 0.6, True),
)
CELLS = [
    Cell(DESIGNS[0], "transcript only, fixed", None, None),
    *(Cell(design, *system) for design in DESIGNS for system in SYSTEMS),
    Cell(DESIGNS[2], "no gap", 0.7, 0.7, varies=True),
]


def samples_of(design: str) -> tuple[Samples, Floats]:
    """Return the recordings with the questions about them, and the speaker of each recording, (groups, 2)."""
    group = np.arange(GROUPS)
    speakers = np.stack([group, group], axis=1)
    if design == "20 speakers":
        speakers = speakers % SPEAKERS
    elif design.endswith("crossed"):
        half = SPEAKERS // 2
        speakers = np.stack([group % half, half + (group // half + group) % half], axis=1)
    found: Samples = {}
    for g in range(GROUPS):
        for k, label in enumerate(LABELS):
            sample = Sample(
                task="emotion",
                id=f"{g}-{label}",
                audio=AudioRef(path=Path("x.wav"), sha256="0" * 64, seconds=1.0),
                transcript=f"sentence {g}",
                cues={"emotion": label},
                language="en",
                source="real",
                speaker=f"speaker {speakers[g, k]}",
                contrast_group=f"g{g}",
            )
            asks = replace(sample, task=probed_name("emotion", "emotion"), asks="emotion")
            found |= {(s.task, s.id): s for s in (sample, asks)}
    return found, speakers


def sides(cell: Cell, speakers: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return whether answers name their own label and replies answer their own voice, (groups, 2)."""

    def effect() -> Floats:
        of_speaker = rng.uniform(-EFFECT, EFFECT, int(speakers.max()) + 1)[speakers]
        return np.asarray(of_speaker + rng.uniform(-EFFECT, EFFECT, (len(speakers), 1))) * cell.varies

    def side(chance: float | None) -> Floats:
        if chance is None:  # the same for both: right about one of them
            first = rng.random((len(speakers), 1)) < 0.5
            return np.concatenate([first, ~first], axis=1)
        if chance == 1:
            return np.ones(speakers.shape, bool)
        return np.asarray(rng.random(speakers.shape) < chance + effect())

    return side(cell.answered), side(cell.matched)


def scores_of(named: Floats, matched: Floats, people: Floats) -> list[Score]:
    """Return the rows of the scorers; both samples of a pair carry the pair's match rate."""
    scores = []
    for g in range(GROUPS):
        for k, label in enumerate(LABELS):
            facts: dict[str, Any] = {"key": "", "sample_id": f"{g}-{label}", "state": "value"}
            answered = {"answered": LABELS[k if named[g, k] else 1 - k]}
            asks = probed_name("emotion", "emotion")
            scores.append(Score(system="mine", task=asks, metric=WAR.name, evidence=answered, **facts))
            for system, rows in (("mine", matched), (CEILING, people)):
                value = 100 * float(rows[g].mean())
                scores.append(Score(system=system, task="emotion", metric=MATCH.name, value=value, **facts))
    return scores


def one(
    cell: Cell, samples: Samples, units: dict[tuple[str, str], Unit], speakers: Floats, seed: int
) -> ListeningGap:
    """Return the gap of one run."""
    rng = np.random.default_rng(seed)
    named, matched = sides(cell, speakers, rng)
    people = rng.random(speakers.shape) < PEOPLE
    (gap,) = gaps_of(scores_of(named, matched, people), samples, [MATCH], units)
    return gap


def measure(cell: Cell, runs: int, seed: int) -> dict[str, Any]:
    samples, speakers = samples_of(cell.design)
    units = units_of(list(samples.values()))
    rows, normalised = np.full((runs, 3), np.nan), []
    answered, matched = (0.5 if side is None else side for side in (cell.answered, cell.matched))
    truth = 100 * ((answered - 0.5) / 0.5 - (matched - 0.5) / (PEOPLE - 0.5))
    for run in range(runs):
        gap = one(cell, samples, units, speakers, 1_000_000 * seed + run)
        assert gap.gap.observed is not None
        rows[run] = gap.gap.observed.value, gap.gap.observed.low, gap.gap.observed.high
        if (found := gap.normalised) is not None and found.low is not None and found.high is not None:
            normalised.append(found.low <= truth <= found.high)
    value, low, high = rows.T

    def percent(hits: Any) -> float:
        return round(100 * float(np.mean(hits)), 1)

    return {
        "cell": cell.name,
        "runs": runs,
        "mean gap": round(float(value.mean()), 2),
        "half-width": round(float((high - low).mean() / 2), 2),
        "holds": percent((low <= cell.gap) & (cell.gap <= high)),
        "holds 0": percent((low <= 0) & (high >= 0)),
        "detected": percent(low > 0),
        "normalised holds": percent(normalised) if normalised else None,
    }


if __name__ == "__main__":
    cells_of(__doc__, CELLS, measure, RESULTS, COLUMNS, runs=1000)
