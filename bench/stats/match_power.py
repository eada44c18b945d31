"""Match rate beside the contrast in points: how often each detects a system that acts on the voice.

    python bench/stats/match_power.py                all worlds, to bench/results/match_power.json (a minute)
    python bench/stats/match_power.py --table        the worlds as Markdown

A system perceives the voice of each sample with probability `q` and answers what it perceives; at q = 0.5 it
guesses. Groups of two samples are drawn with replacement; a run has `groups` of them.

    scripted    replies and references of the demo split, with the embedding of `cue-contrast`:
                "copies" answer with the group's own reference for the voice perceived, "apt" with another
                group's reference for the same label, "parrots" with "You sound {label}."
    simulated   the difference between a reply's two fits is normal around +-1, times the group's own scale
                (log-normal), so that a few groups carry much of the contrast

Each row lists, in percent of runs, for the match rate (`match`) and the contrast (`points`):

    detected    the 95 % interval over groups is above a system that guesses
    better      the interval of the paired difference to a system with a smaller q, on the same groups, is
                above 0
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.support.machine import machine  # noqa: E402
from echat_eval.annotators.sentence_embedding import E5  # noqa: E402
from echat_eval.records import Sample  # noqa: E402
from echat_eval.systems.label_parrot import LabelParrot  # noqa: E402
from echat_eval.task import known_tasks, load_task  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "match_power.json"
RUNS, LEVEL = 4000, 0.95
METRICS = ("match", "points")
GROUPS = (12, 24, 60)
#: (q, smaller q of the system that it is held against).
SKILLS = ((0.5, 0.5), (0.6, 0.5), (0.7, 0.5), (0.8, 0.6), (0.9, 0.7))
#: Draws the differences fit(own) - fit(other) of replies to both samples of some groups: (runs, groups, 2),
#: from their groups and from which voices are perceived rightly.
Draw = Callable[[np.random.Generator, np.ndarray, np.ndarray], np.ndarray]


def scripted_worlds() -> dict[str, tuple[int, Draw]]:
    """Return kind of reply -> number of groups, draw."""
    tasks = [load_task(name) for name in known_tasks()]
    groups = [group for task in tasks for group in pairs_of(task.samples)]
    made = E5()
    vectors = [[made.embed(sample.references[0]) for sample in group] for group in groups]
    gaps: dict[str, list[list[list[float]]]] = {"copies": [], "apt": [], "parrots": []}
    for number, group in enumerate(groups):
        own = vectors[number]

        def gap(vector: np.ndarray, own: list[np.ndarray] = own) -> float:
            first, second = (100 * max(0.0, float(vector @ reference)) for reference in own)
            return first - second

        gaps["copies"].append([[gap(v)] for v in own])
        gaps["parrots"].append([[gap(made.embed(LabelParrot().respond_to(s).text or ""))] for s in group])
        gaps["apt"].append([[gap(v) for v in others_with_label(s, groups, vectors, number)] for s in group])
    worlds: dict[str, tuple[int, Draw]] = {}
    for kind, found in gaps.items():
        usable = [pair for pair in found if all(pair)]
        worlds[f"scripted: {kind}"] = len(usable), of_pool(usable)
    return worlds


def pairs_of(samples: tuple[Sample, ...]) -> list[list[Sample]]:
    found: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if sample.expect == "same":  # in no match rate
            continue
        found[sample.contrast_group or sample.id].append(sample)
    return [group for group in found.values() if len(group) == 2]


def others_with_label(
    sample: Sample, groups: list[list[Sample]], vectors: list[list[np.ndarray]], number: int
) -> list[np.ndarray]:
    """Return the references of other groups for the same labels, task and language."""
    return [
        vectors[n][k]
        for n, group in enumerate(groups)
        for k, other in enumerate(group)
        if n != number
        and (other.task, other.language, other.cues) == (sample.task, sample.language, sample.cues)
    ]


def of_pool(gaps: list[list[list[float]]]) -> Draw:
    """Return a draw of replies from each group's pools, one per voice perceived."""

    def draw(rng: np.random.Generator, groups: np.ndarray, right: np.ndarray) -> np.ndarray:
        counts = np.array([[len(pool) for pool in pair] for pair in gaps])
        table = np.zeros((*counts.shape, counts.max()))
        for g, pair in enumerate(gaps):
            for k, pool in enumerate(pair):
                table[g, k, : len(pool)] = pool
        voices = np.arange(2)
        perceived = np.where(right, voices, 1 - voices)  # (runs, groups, 2)
        level = groups[..., None]
        choice = (rng.random(right.shape) * counts[level, perceived]).astype(int)
        # A gap is first minus second; for the second sample own minus other has the other sign.
        found: np.ndarray = table[level, perceived, choice] * np.array([1.0, -1.0])
        return found

    return draw


def simulated(noise: float, spread: float) -> tuple[int, Draw]:
    scales = np.exp(np.random.default_rng(5).normal(0, spread, 1000))

    def draw(rng: np.random.Generator, groups: np.ndarray, right: np.ndarray) -> np.ndarray:
        found: np.ndarray = scales[groups][..., None] * (
            np.where(right, 1.0, -1.0) + rng.normal(0, noise, right.shape)
        )
        return found

    return len(scales), draw


def values(differences: np.ndarray) -> dict[str, np.ndarray]:
    """Return (runs, groups) values of a group under each metric, 0 for a system that guesses."""
    return {"match": 50 * np.sign(differences).mean(axis=2), "points": differences.mean(axis=2)}


def above(found: np.ndarray) -> float:
    """Return the percentage of runs whose interval over groups is above 0."""
    n = found.shape[1]
    se = found.std(axis=1, ddof=1) / np.sqrt(n)
    return float(100 * (found.mean(axis=1) - stdtrit(n - 1, 0.5 + LEVEL / 2) * se > 0).mean())


def rows_of(name: str, size: int, draw: Draw, seed: int) -> list[dict[str, Any]]:
    rows = []
    for count in GROUPS:
        for q, smaller in SKILLS:
            rng = np.random.default_rng([seed, count, int(100 * q)])
            groups = rng.integers(0, size, (RUNS, count))
            first, second = (
                values(draw(rng, groups, rng.random((RUNS, count, 2)) < skill)) for skill in (q, smaller)
            )
            row: dict[str, Any] = {"world": name, "groups": count, "q": q, "against": smaller}
            for metric, found in first.items():
                row[f"mean_{metric}"] = round(float(found.mean()), 3)
                row[f"detected_{metric}"] = round(above(found), 1)
                row[f"better_{metric}"] = round(above(found - second[metric]), 1)
            rows.append(row)
    return rows


def summary(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return the mean over all rows with an effect, and the largest loss of either metric in a row.

    Without parrots: finding these is no merit.
    """
    real = [r for r in rows if r["q"] > 0.5 and "parrots" not in r["world"]]
    found: dict[str, float] = {}
    for what in ("detected", "better"):
        gain = [r[f"{what}_match"] - r[f"{what}_points"] for r in real]
        found |= {
            f"mean_{what}_{m}": round(float(np.mean([r[f"{what}_{m}"] for r in real])), 1) for m in METRICS
        }
        found |= {
            f"largest_loss_{what}_match": -min(*gain, 0.0),
            f"largest_loss_{what}_points": max(*gain, 0.0),
        }
    return {name: round(value, 1) for name, value in found.items()}


def table(found: Mapping[str, Any]) -> str:
    lines = [
        "| world | groups | q | detected, match | points | better than q | match | points |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for r in found["rows"]:
        lines.append(
            f"| {r['world']} | {r['groups']} | {r['q']} | {r['detected_match']} | {r['detected_points']} "
            f"| {r['against']} | {r['better_match']} | {r['better_points']} |"
        )
    lines += ["", *(f"{name}: {value}" for name, value in found["summary"].items())]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--table", action="store_true", help="Print the stored results as Markdown.")
    if parser.parse_args().table:
        print(table(json.loads(RESULTS.read_text())))
        return
    start, facts = time.monotonic(), machine()
    worlds = scripted_worlds()
    worlds |= {
        "simulated: equal scales": simulated(1.5, 0.0),
        "simulated: unequal scales": simulated(1.5, 1.0),
        "simulated: little noise": simulated(0.3, 0.5),
    }
    rows = [row for seed, (name, w) in enumerate(worlds.items()) for row in rows_of(name, *w, seed)]
    found = {
        "command": "python bench/stats/match_power.py",
        "machine": facts,
        "runs": RUNS,
        "seconds": round(time.monotonic() - start, 1),
        "summary": summary(rows),
        "rows": rows,
    }
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
