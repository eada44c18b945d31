"""Do the confidence sets of ranks hold their level, and how wide are they?

    python bench/stats/ranks.py --runs 2000          all worlds, to bench/results/stats_ranks.json
    python bench/stats/ranks.py --worlds 0 3         two of them; the others in the file stay
    python bench/stats/ranks.py --table              the worlds as Markdown

Each run draws scores of several systems of known order and makes a leaderboard's ranks of them
(`analysis.ranking.rank_systems`). In percent of runs:

    coverage            every set holds its true rank; tied systems must be able to take each of their ranks
    points right        the order of the means, printed as ranks 1, 2, 3 ..., is the true order
    size                mean number of ranks in a set
    false equivalence   some pair that differs by the margin or more is called equivalent
    equivalent          share of the pairs that differ by less and are called so
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.gate.draws import Cell as Clusters  # noqa: E402
from echat_eval.analysis.metric_rule import MetricRule  # noqa: E402
from echat_eval.analysis.ranking import Ranking, SystemRows, rank_systems  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "stats_ranks.json"
MARGIN = 2.0
RULE = MetricRule(higher_is_better=True, low=0.0, high=100.0)
#: Standard deviations of a sample's difficulty and of a reply's score.
ITEM, NOISE = 15.0, 15.0

Draw = Callable[[np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class World:
    """Systems of known means on some samples.

    Attributes:
        name: as in the table.
        levels: (systems,) true means, relative to each other.
        units: (samples, 2) speaker and sentence.
        draw: returns scores, (samples, systems); NaN: missing, infinite: not applicable.
    """

    name: str
    levels: np.ndarray
    units: np.ndarray
    draw: Draw


def nested(sizes: np.ndarray) -> np.ndarray:
    """Return units in which every speaker has sentences of their own."""
    return np.stack([np.repeat(np.arange(len(sizes)), sizes), np.arange(sizes.sum())], axis=1)


def crossed(speakers: int, sentences: int) -> np.ndarray:
    """Return units in which every speaker reads every sentence."""
    return np.stack(
        [np.repeat(np.arange(speakers), sentences), np.tile(np.arange(sentences), speakers)], axis=1
    )


def effects(rng: np.random.Generator, codes: np.ndarray, systems: int, share: float) -> np.ndarray:
    """Return each system's own effect in each level of a factor: this share of the variance of 1 + effect."""
    sd = np.sqrt(share / (1 - share))
    found: np.ndarray = sd * rng.standard_normal((int(codes.max()) + 1, systems))[codes]
    return found


def scores(
    name: str,
    levels: list[float],
    units: np.ndarray,
    *,
    speaker: float = 0.0,
    sentence: float = 0.0,
    noise: float = NOISE,
    missing: float = 0.0,
    half: bool = False,
) -> World:
    """Return scores of 0 to 100.

    Args:
        name, levels, units: as in `World`.
        speaker, sentence: within-level correlations of a system's own effects.
        noise: standard deviation of a reply's score.
        missing: share of the rows that are missing; the worse half of a system's replies only.
        half: the last system is scored on the easier half of the samples only.
    """
    truth = np.array(levels)

    def draw(rng: np.random.Generator) -> np.ndarray:
        shape = (len(units), len(truth))
        item = ITEM * rng.standard_normal(len(units))
        own = noise * rng.standard_normal(shape)
        for column, share in enumerate((speaker, sentence)):
            own += noise * effects(rng, units[:, column], len(truth), share)
        found: np.ndarray = np.clip(50.0 + item[:, None] + own + truth, 0, 100)
        found[(own < 0) & (rng.random(shape) < 2 * missing)] = np.nan
        if half:
            found[item < np.median(item), -1] = np.inf
        return found

    return World(name, truth, units, draw)


def right_or_wrong(name: str, rates: list[float], units: np.ndarray) -> World:
    """Return answers that are right (100) or wrong (0); half of the samples are harder for all."""

    def draw(rng: np.random.Generator) -> np.ndarray:
        hard = rng.random(len(units)) < 0.5
        wrong = 2 * (1 - np.array(rates)) * hard[:, None]
        return 100.0 * (rng.random((len(units), len(rates))) >= wrong)

    return World(name, 100 * np.array(rates), units, draw)


def rare_falls(name: str, systems: int, units: np.ndarray, noise: float) -> World:
    """Return systems of equal means, of which all but the first are a little better and rarely 60 worse."""

    def draw(rng: np.random.Generator) -> np.ndarray:
        shape = (len(units), systems)
        found = 70.0 + noise * rng.standard_normal(shape)
        fall = rng.random(shape) < 0.03
        found[:, 1:] += 60 * 0.03 - 60 * fall[:, 1:]
        return found

    return World(name, np.zeros(systems), units, draw)


def apart(step: float, systems: int = 5) -> list[float]:
    return [step * (systems - 1 - n) for n in range(systems)]


EQUAL = nested(np.full(40, 5))
WORLDS = (
    scores("5 equal systems, 40 x 5", apart(0), EQUAL, speaker=0.1),
    scores("5 systems, 1.5 apart, 40 x 5", apart(1.5), EQUAL, speaker=0.1),
    scores("5 systems, 4 apart, 40 x 5", apart(4), EQUAL, speaker=0.1),
    scores("5 systems, 4 apart, 200 x 5", apart(4), nested(np.full(200, 5)), speaker=0.1),
    scores("5 equal systems, 200 x 5", apart(0), nested(np.full(200, 5)), speaker=0.1),
    scores("2 equal systems, 40 x 5", apart(0, 2), EQUAL, speaker=0.1),
    scores("10 equal systems, 40 x 5", apart(0, 10), EQUAL, speaker=0.1),
    scores(
        "3 + 3 systems, 2 apart, noise 5, 100 x 5",
        [2, 2, 2, 0, 0, 0],
        nested(np.full(100, 5)),
        noise=5,
        speaker=0.1,
    ),
    scores("2 systems, 2 apart, noise 5, 40 x 5", [2, 0], EQUAL, noise=5, speaker=0.1),
    scores("5 equal systems, 8 x 15", apart(0), nested(np.full(8, 15)), speaker=0.25),
    scores(
        "5 equal systems, 20 clusters, lognormal sizes",
        apart(0),
        nested(Clusters("lognormal", 20, 0.25, 200).sizes),
        speaker=0.25,
    ),
    scores(
        "5 equal systems, 10 clusters, sizes 1/rank",
        apart(0),
        nested(Clusters("zipf", 10, 0.25, 200).sizes),
        speaker=0.25,
    ),
    scores(
        "5 equal systems, 20 speakers x 20 sentences", apart(0), crossed(20, 20), speaker=0.1, sentence=0.1
    ),
    scores(
        "5 systems, 4 apart, 20 speakers x 20 sentences", apart(4), crossed(20, 20), speaker=0.1, sentence=0.1
    ),
    scores("5 systems, 4 apart, 2 % missing, 40 x 5", apart(4), EQUAL, speaker=0.1, missing=0.02),
    scores("5 systems, 4 apart, the last on the easy half, 40 x 5", apart(4), EQUAL, speaker=0.1, half=True),
    right_or_wrong("5 equal systems, 95 % right, 60 samples", [0.95] * 5, nested(np.ones(60, int))),
    right_or_wrong("5 equal systems, 95 % right, 400 samples", [0.95] * 5, nested(np.ones(400, int))),
    right_or_wrong(
        "5 systems, 95 to 75 % right, 400 samples", [0.95, 0.9, 0.85, 0.8, 0.75], nested(np.ones(400, int))
    ),
    rare_falls(
        "5 equal systems, 4 with 3 % falls by 60, no noise, 100 samples", 5, nested(np.ones(100, int)), 0.0
    ),
    rare_falls(
        "5 equal systems, 4 with 3 % falls by 60, noise 10, 100 samples", 5, nested(np.ones(100, int)), 10.0
    ),
    rare_falls(
        "5 equal systems, 4 with 3 % falls by 60, noise 10, 400 samples", 5, nested(np.ones(400, int)), 10.0
    ),
)


def ranked(world: World, drawn: np.ndarray) -> Ranking:
    rows = {}
    for number, column in enumerate(drawn.T):
        states = np.full(len(column), "value", dtype=object)
        states[np.isnan(column)], states[np.isinf(column)] = "missing", "not applicable"
        values = np.where(np.isfinite(column), column, np.nan)
        rows[str(number)] = SystemRows(states, values, np.ones(len(column)))
    labels = [None] * len(world.units)
    return rank_systems(rows, metric="score", rule=RULE, units=world.units, labels=labels, margin=MARGIN)


def measure(world: World, runs: int, seed: int) -> dict[str, object]:
    began, rng, systems = time.perf_counter(), np.random.default_rng([26, seed]), len(world.levels)
    better = (world.levels[None, :] > world.levels[:, None]).sum(axis=1)
    worse = (world.levels[None, :] < world.levels[:, None]).sum(axis=1)
    distance = np.abs(world.levels[:, None] - world.levels[None, :])
    near = int(((distance < MARGIN) & np.triu(np.ones_like(distance, bool), 1)).sum())
    covered = right = false = stated = 0
    sizes = 0.0
    for _ in range(runs):
        drawn = world.draw(rng)
        found = ranked(world, drawn)
        sets = list(found.sets.values())
        covered += all(
            s.low <= 1 + b and s.high >= systems - w for s, b, w in zip(sets, better, worse, strict=True)
        )
        sizes += sum(s.high - s.low + 1 for s in sets) / systems
        means = np.array([column[np.isfinite(column)].mean() for column in drawn.T])
        right += bool(np.array_equal(np.argsort(-means), np.argsort(-world.levels)))
        assert found.equivalence is not None
        gaps = [distance[int(a), int(b)] for a, b in found.equivalence.pairs]
        false += any(gap >= MARGIN for gap in gaps)
        stated += sum(gap < MARGIN for gap in gaps)
    return {
        "world": world.name,
        "runs": runs,
        "coverage": round(100 * covered / runs, 2),
        "size": round(sizes / runs, 2),
        "points right": round(100 * right / runs, 1) if len(set(world.levels)) == systems else None,
        "false equivalence": round(100 * false / runs, 2) if (distance >= MARGIN).any() else None,
        "equivalent": round(100 * stated / runs / near, 1) if near else None,
        "seconds": round(time.perf_counter() - began, 1),
    }


def table(rows: list[dict[str, object]]) -> str:
    columns = ("coverage", "size", "points right", "false equivalence", "equivalent")
    lines = [
        "| world | runs | coverage | mean size | points right | false equivalence | equivalent |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        cells = ("" if row[name] is None else f"{row[name]:.1f}" for name in columns)
        lines.append(f"| {row['world']} | {row['runs']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=2_000)
    parser.add_argument("--worlds", type=int, nargs="*", help="numbers of the worlds to draw; default: all")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="print the worlds of --out as Markdown")
    given = parser.parse_args()
    if given.table:
        print(table(json.loads(given.out.read_text())["worlds"]))
        return
    found = (
        {row["world"]: row for row in json.loads(given.out.read_text())["worlds"]}
        if given.out.exists()
        else {}
    )
    for seed, world in enumerate(WORLDS):
        if given.worlds is None or seed in given.worlds:
            found[world.name] = measure(world, given.runs, seed)
            print(json.dumps(found[world.name]), flush=True)
    rows = [found[world.name] for world in WORLDS if world.name in found]
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps({"worlds": rows}, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
