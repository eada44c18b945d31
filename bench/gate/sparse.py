"""How often the gate passes a candidate whose drop is sparse or skewed.

    python bench/gate/sparse.py --runs 20000         all worlds, to bench/results/gate_sparse.json
    python bench/gate/sparse.py --table              the worlds as Markdown

The metric ranges from 0 to 100 and the margin is 3 points. Each world is drawn twice: with a true drop of the
margin, and with changes of the same kind and a mean of 0. Each row lists, in percent of runs, for CR2 with
Student's t alone and for the bounds of `echat_eval.stats.tails` that the gate uses:

    false pass      the true drop is the margin and the gate passes (nominal 2.5)
    equal passes    the mean change is 0 and the gate passes
    no event        no cluster shows the event that makes the drop: what no method can see
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

from echat_eval.analysis.bounds import Tests, worst_case_bounds  # noqa: E402
from echat_eval.stats import spread  # noqa: E402
from echat_eval.stats.tails import Moves, one_sided_errors  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "gate_sparse.json"
MARGIN, WIDTH, LEVEL = 3.0, 100.0, 0.95
Draw = Callable[[np.random.Generator, int], np.ndarray]


@dataclass(frozen=True)
class World:
    """Sizes of the clusters; draws of (runs, samples) differences; share of clusters that show the event."""

    name: str
    sizes: np.ndarray
    lower: Draw
    equal: Draw
    event: float | None = None


def sign(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.choice([-1.0, 1.0], shape)


def each(sizes: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return (runs, clusters) values for each sample."""
    return np.repeat(values, sizes, axis=1)


def rare_samples(sizes: np.ndarray, noise: float) -> tuple[Draw, Draw]:
    n = int(sizes.sum())

    def draw(rng: np.random.Generator, runs: int, equal: bool) -> np.ndarray:
        hit = rng.random((runs, n)) < 0.03
        moves = 100.0 * hit * (sign(rng, runs, n) if equal else -1.0)
        return moves + rng.normal(0, noise, (runs, n)) if noise else moves

    return lambda rng, r: draw(rng, r, False), lambda rng, r: draw(rng, r, True)


def rare_by_speaker(sizes: np.ndarray) -> tuple[Draw, Draw]:
    n = int(sizes.sum())

    def draw(rng: np.random.Generator, runs: int, equal: bool) -> np.ndarray:
        rate = each(sizes, rng.beta(0.03 * 4, 0.97 * 4, (runs, len(sizes))))
        hit = rng.random((runs, n)) < rate
        return 100.0 * hit * (sign(rng, runs, n) if equal else -1.0)

    return lambda rng, r: draw(rng, r, False), lambda rng, r: draw(rng, r, True)


def some_speakers(sizes: np.ndarray, noise: float) -> tuple[Draw, Draw]:
    def draw(rng: np.random.Generator, runs: int, equal: bool) -> np.ndarray:
        hit = rng.random((runs, len(sizes))) < 0.1
        moves = each(sizes, 30.0 * hit * (sign(rng, runs, len(sizes)) if equal else -1.0))
        return moves + rng.normal(0, noise, moves.shape) if noise else moves

    return lambda rng, r: draw(rng, r, False), lambda rng, r: draw(rng, r, True)


def by_size(sizes: np.ndarray) -> tuple[Draw, Draw]:
    effect = -sizes / sizes.mean()
    effect = effect * -MARGIN / ((effect * sizes).sum() / sizes.sum())

    def draw(rng: np.random.Generator, runs: int, mean: np.ndarray | float) -> np.ndarray:
        clusters = mean + rng.normal(0, 5, (runs, len(sizes)))
        return each(sizes, clusters) + rng.normal(0, 25, (runs, int(sizes.sum())))

    return lambda rng, r: draw(rng, r, effect), lambda rng, r: draw(rng, r, 0.0)


def right_or_wrong(n: int, before: float, after: float) -> tuple[Draw, Draw]:
    def draw(rng: np.random.Generator, runs: int, rate: float) -> np.ndarray:
        return 100.0 * (rng.random((runs, n)) < rate) - 100.0 * (rng.random((runs, n)) < before)

    return lambda rng, r: draw(rng, r, after), lambda rng, r: draw(rng, r, before)


def normal(sizes: np.ndarray) -> tuple[Draw, Draw]:
    def draw(rng: np.random.Generator, runs: int, mean: float) -> np.ndarray:
        noise = rng.normal(mean, 25, (runs, int(sizes.sum())))
        return each(sizes, rng.normal(0, 8, (runs, len(sizes)))) + noise

    return lambda rng, r: draw(rng, r, -MARGIN), lambda rng, r: draw(rng, r, 0.0)


def small_moves(sizes: np.ndarray) -> tuple[Draw, Draw]:
    n = int(sizes.sum())

    def draw(rng: np.random.Generator, runs: int, equal: bool) -> np.ndarray:
        hit = rng.random((runs, n)) < 0.3
        return hit * (5.0 * sign(rng, runs, n) if equal else -10.0)

    return lambda rng, r: draw(rng, r, False), lambda rng, r: draw(rng, r, True)


def worlds() -> list[World]:
    found: list[World] = []

    def add(name: str, sizes: np.ndarray, draws: tuple[Draw, Draw], event: float | None = None) -> None:
        found.append(World(name, sizes, *draws, event))

    for n in (40, 60, 100, 150):
        one = np.ones(n, int)
        add(f"3 % fall by 100, {n} samples", one, rare_samples(one, 0), 0.03)
    grids = [np.full(g, k) for g, k in ((8, 15), (20, 10), (40, 5))]
    for sizes in grids:
        add(f"the same, speakers differ, {len(sizes)} x {sizes[0]}", sizes, rare_by_speaker(sizes))
    for sizes in grids:
        text = f"10 % of speakers fall by 30, {len(sizes)} x {sizes[0]}"
        add(text, sizes, some_speakers(sizes, 0), 0.1)
        add(f"{text}, with noise of 25", sizes, some_speakers(sizes, 25), 0.1)
    for groups in (8, 20, 40):
        weights = np.exp(0.8 * np.sort(np.random.default_rng(3).normal(0, 1, groups)))
        sizes = np.maximum(1, np.round(weights / weights.sum() * groups * 10)).astype(int)
        add(f"drop grows with cluster size, {groups} clusters", sizes, by_size(sizes))
    for before, after in ((0.99, 0.96), (0.97, 0.94)):
        for n in (60, 150, 400):
            draws = right_or_wrong(n, before, after)
            add(f"right or wrong, {before} to {after}, {n} samples", np.ones(n, int), draws)
    for noise, n in ((10, 60), (10, 150), (10, 400), (25, 60), (25, 150), (25, 400)):
        one = np.ones(n, int)
        text = f"3 % fall by 100 with noise of {noise}, {n} samples"
        add(text, one, rare_samples(one, noise), 0.03)
    for g, k in ((6, 20), (8, 15), (20, 10), (40, 5), (100, 3)):
        add(f"normal, {g} x {k}", np.full(g, k), normal(np.full(g, k)))
    for g in (60, 200):
        add(f"30 % move by 5 or 10, {g} samples", np.ones(g, int), small_moves(np.ones(g, int)))
    return found


def lower_bounds(d: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (runs,) lower bounds of (runs, samples) differences: CR2's, and the gate's."""
    starts, n, shares = np.cumsum(sizes) - sizes, int(sizes.sum()), sizes / sizes.sum()
    up, down = np.maximum(d, 0), np.maximum(-d, 0)
    sums = [np.add.reduceat(x, starts, axis=1) for x in (up, down)]
    squares = (up**2).sum(axis=1), (down**2).sum(axis=1)
    mean = d.mean(axis=1)
    residuals = sums[0] - sums[1] - mean[:, None] * sizes
    found = spread(residuals, shares, squares=np.maximum(squares[0] + squares[1] - n * mean**2, 0), n=n)
    moves = Moves(up=sums[0], down=sums[1], squares=squares)
    low, _ = one_sided_errors(residuals, shares, found, n=n, level=LEVEL, moves=moves, width=WIDTH)
    df = np.broadcast_to(found.df, mean.shape)
    plain = Tests(value=mean[None], se=found.se[None], df=df[None])
    ours = Tests(value=mean[None], se=found.se[None], df=df[None], se_low=low[None])
    return worst_case_bounds(plain, level=LEVEL)[0], worst_case_bounds(ours, level=LEVEL)[0]


def measure(world: World, runs: int, seed: int) -> dict[str, object]:
    began, rng, done = time.perf_counter(), np.random.default_rng([15, seed]), 0
    tally = dict.fromkeys(("false pass, CR2", "false pass", "equal passes, CR2", "equal passes"), 0)
    while done < runs:
        now = min(runs - done, max(100, 400_000 // int(world.sizes.sum())))
        for draw, name in ((world.lower, "false pass"), (world.equal, "equal passes")):
            plain, ours = lower_bounds(draw(rng, now), world.sizes)
            tally[f"{name}, CR2"] += int((plain > -MARGIN).sum())
            tally[name] += int((ours > -MARGIN).sum())
        done += now
    row: dict[str, object] = {"world": world.name, "clusters": len(world.sizes), "runs": runs}
    row |= {name: round(100 * hits / runs, 2) for name, hits in tally.items()}
    if world.event is not None:
        row["no event"] = round(100 * (1 - world.event) ** len(world.sizes), 2)
    return row | {"seconds": round(time.perf_counter() - began, 1)}


def table(rows: list[dict[str, object]]) -> str:
    lines = [
        "| world | no event | false pass, CR2 | false pass | equal passes, CR2 | equal passes |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        numbers = (row["false pass, CR2"], row["false pass"], row["equal passes, CR2"], row["equal passes"])
        event = "" if "no event" not in row else f"{row['no event']:.1f}"
        lines.append(f"| {row['world']} | {event} | " + " | ".join(f"{x:.1f}" for x in numbers) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="print the worlds of --out as Markdown")
    given = parser.parse_args()
    if given.table:
        print(table(json.loads(given.out.read_text())["worlds"]))
        return
    rows = []
    for seed, world in enumerate(worlds()):
        rows.append(measure(world, given.runs, seed))
        print(json.dumps(rows[-1]), flush=True)
    facts = {"margin": MARGIN, "width": WIDTH, "level": LEVEL, "worlds": rows}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
