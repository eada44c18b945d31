"""Old-scale estimates through a new judge: coverage, and how often a disagreement of the judges is missed.

    python bench/judges/link.py --runs 2000      all worlds, to bench/results/judges_link.json
    python bench/judges/link.py --table          the worlds as Markdown

Three systems reply to the same samples of 60 speakers, five labels each, in two languages. Both judges grade
three dimensions with whole numbers from 0 to 5; the score is the rubric's, with its cap. Grades come from a
latent quality (system, speaker, reply), each judge's own curve and its own noise, so that no part of the
linker's model holds: scores are lumps, curves bend, ceilings cut, noise differs along the scale. The old
judge grades at most 150 anchors; the truth is the mean of its scores over all samples that could be drawn.

    coverage        of the 95 % intervals, by estimate; the mean over the three systems
    width           half the interval, in points
    comparable      runs in which every slice is shown to agree, without a planted shift
    refused         runs that are refused, with a disagreement of 10 (the tolerance) or more planted in one
                    slice; the others are false "comparable"
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.support.machine import machine  # noqa: E402
from echat_eval.stats import cluster_mean  # noqa: E402
from echat_eval.stats.linking import (  # noqa: E402
    Link,
    anchor_weights,
    draw_anchors,
    fit_link,
    linked_mean,
    slice_shifts,
)

RESULTS = ROOT / "bench" / "results" / "judges_link.json"
SYSTEMS, LABELS, ANCHORS = 3, 5, 150
#: The rubric's shares of content, cue awareness and empathy.
SHARES = np.array([0.25, 0.40, 0.35])
#: Effects of the systems on the latent quality, on the scale of grades.
LEVELS = np.array([0.5, 0.0, -0.6])
RIVALS = ("no link", "mean shift", "equipercentile", "linker")
SLICES = ("language", "label", "system", "length", "task")
SHIFTS = (10.0, 15.0, 20.0)
Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class World:
    """How two judges see one latent quality.

    Attributes:
        mean: of the quality, on the scale of grades.
        bend: power of the new judge's curve; 1 is straight.
        lift: grades that the new judge adds.
        noise: sd of the grades of the old and of the new judge.
        uneven: how much the new judge's noise grows towards low quality.
        speakers: clusters; each answers every label `5 x samples / speakers / 5` times.
        own: sd of what a judge alone likes in a reply.
    """

    name: str
    mean: float = 3.0
    bend: float = 1.0
    lift: float = 0.0
    noise: tuple[float, float] = (0.5, 0.5)
    uneven: float = 0.0
    speakers: int = 60
    own: float = 0.3


WORLDS = (
    World("same scale"),
    World("new judge half a grade milder", lift=0.5),
    World("ceiling", mean=4.2, lift=0.6),
    World("bent curve", mean=2.6, bend=0.6),
    World("unequal noise", noise=(0.3, 0.9), uneven=0.6),
    World("12 speakers x 25", speakers=12),
)
REPLIES = 300


@dataclass(frozen=True)
class Drawn:
    """Replies of all systems, (replies,) each."""

    old: Floats
    new: Floats
    system: np.ndarray[Any, np.dtype[np.int64]]
    speaker: np.ndarray[Any, np.dtype[np.int64]]
    label: np.ndarray[Any, np.dtype[np.int64]]
    language: np.ndarray[Any, np.dtype[np.int64]]
    length: np.ndarray[Any, np.dtype[np.int64]]
    task: np.ndarray[Any, np.dtype[np.int64]]


def grades(quality: Floats, noise: Floats | float, rng: np.random.Generator) -> Floats:
    """Return scores of 0 to 100 from a latent quality: grades of three dimensions, weighted, with the cap."""
    drawn = np.rint(quality[:, None] + rng.normal(0, 1, (len(quality), 3)) * np.asarray(noise)[..., None])
    drawn = np.clip(drawn, 0, 5)
    return np.asarray(np.minimum(drawn @ SHARES * 20, 20 * (drawn[:, 1] + 1)))


def draw(world: World, replies: int, rng: np.random.Generator) -> Drawn:
    """Return the replies of all systems to the samples of as many speakers as `replies` needs."""
    each = REPLIES // world.speakers
    speakers = replies // each
    speaker = np.tile(np.repeat(np.arange(speakers), each), SYSTEMS)
    label = np.tile(np.arange(replies) % LABELS, SYSTEMS)
    system = np.repeat(np.arange(SYSTEMS), replies)
    language = speaker % 2
    length = rng.integers(0, 2, len(system))
    task = (speaker // 2) % 2
    of_sample = np.tile(rng.normal(0, 0.5, replies), SYSTEMS)
    quality = (
        world.mean
        + LEVELS[system]
        + rng.normal(0, 0.4, speakers)[speaker]
        + of_sample
        + 0.15 * (label - 2)
        + 0.2 * length
        + rng.normal(0, 0.7, len(system))
    )
    tastes = rng.normal(0, world.own, (2, len(system)))
    bent = (
        5 * (np.clip(quality, 0, 5) / 5) ** world.bend + np.minimum(quality, 0) + np.maximum(quality - 5, 0)
    )
    noise = world.noise[1] * (1 + world.uneven * np.clip(3 - quality, 0, None))
    old = grades(quality + tastes[0], world.noise[0], rng)
    new = grades(bent + world.lift + tastes[1], noise, rng)
    return Drawn(old, new, system, speaker, label, language, length, task)


def planted(drawn: Drawn, kind: str, amount: float) -> Drawn:
    """Return the replies with the old judge's scores lower by an amount in one slice, cut at 0."""
    old = drawn.old.copy()
    inside = getattr(drawn, kind) == 0
    old[inside] = np.maximum(old[inside] - amount, 0)
    return replace(drawn, old=old)


def amount_for(large: Drawn, kind: str, shift: float) -> float:
    """Return the amount by which all replies that could be drawn disagree by exactly the shift in the slice.

    The scores are cut, and the judges may disagree in the slice already, so it is not the shift itself.
    """
    inside = getattr(large, kind) == 0
    low, high = 0.0, 100.0
    for _ in range(20):
        middle = (low + high) / 2
        shifted = planted(large, kind, middle)
        left = shifted.old - fit_link(shifted.new, shifted.old, low=0, high=100).old_scale(shifted.new)
        beyond = left[inside].mean() - left[~inside].mean() < -shift
        low, high = (low, middle) if beyond else (middle, high)
    return high


def anchors_of(drawn: Drawn, rng: np.random.Generator) -> list[int]:
    """Return the anchors of a run, balanced over systems and labels."""
    cells = list(zip(drawn.system.tolist(), drawn.label.tolist(), strict=True))
    return draw_anchors(cells, drawn.speaker.tolist(), ANCHORS, seed=int(rng.integers(2**31)))


def estimates(
    drawn: Drawn, anchors: list[int], link: Link, system: int
) -> dict[str, tuple[float, float, float]]:
    """Return name -> value, low and high of every way to put one system on the old scale."""
    own = np.flatnonzero(drawn.system == system)
    new, speakers = drawn.new[own], drawn.speaker[own]
    at = np.asarray(anchors)
    left = cluster_mean(drawn.old[at] - drawn.new[at], drawn.speaker[at])
    linked_left = cluster_mean(drawn.old[at] - link.old_scale(drawn.new[at]), drawn.speaker[at])
    place = {int(n): i for i, n in enumerate(own)}
    selected = [place[n] for n in anchors if n in place]
    plain, linked = cluster_mean(new, speakers), cluster_mean(link.old_scale(new), speakers)
    cells = drawn.label[own].tolist()
    on_old = link.old_scale(new)
    ours = linked_mean(
        on_old,
        speakers,
        anchors=selected,
        left=drawn.old[own][selected] - on_old[selected],
        weights=anchor_weights(cells, speakers.tolist(), selected),
        low=0,
        high=100,
    )

    def plus(base: Any, shift: Any, by: float) -> tuple[float, float, float]:
        half = 1.98 * float(np.hypot(base.se, shift.se))
        return base.value + by, base.value + by - half, base.value + by + half

    assert ours.low is not None
    assert ours.high is not None
    return {
        "no link": (plain.value, float(plain.low or 0), float(plain.high or 0)),
        "mean shift": plus(plain, left, left.value),
        "equipercentile": plus(linked, linked_left, 0.0),
        "linker": (ours.value, ours.low, ours.high),
    }


def decide(drawn: Drawn, anchors: list[int], link: Link) -> bool:
    """Return whether every slice of the anchors is shown to agree."""
    at = np.asarray(anchors)
    left = drawn.old[at] - link.old_scale(drawn.new[at])
    slices = {kind: [str(v) for v in getattr(drawn, kind)[at]] for kind in SLICES}
    return all(row.state == "agrees" for row in slice_shifts(left, slices, drawn.speaker[at]))


def measure(world: World, runs: int, seed: int) -> dict[str, Any]:
    """Return the rates of one world."""
    rng = np.random.default_rng([seed, runs])
    large = draw(world, 300_000, rng)
    truth = [float(large.old[large.system == s].mean()) for s in range(SYSTEMS)]
    correlation = float(np.corrcoef(large.old, large.new)[0, 1])
    covered = {name: np.zeros((runs, SYSTEMS), bool) for name in RIVALS}
    errors = {name: np.zeros((runs, SYSTEMS)) for name in RIVALS}
    widths = {name: np.zeros((runs, SYSTEMS)) for name in RIVALS}
    comparable = np.zeros(runs, bool)
    part = draw(world, 20_000 // (REPLIES // world.speakers) * (REPLIES // world.speakers), rng)
    amounts = {(kind, shift): amount_for(part, kind, shift) for kind in SLICES for shift in SHIFTS}
    refused: dict[str, list[bool]] = {}
    for run in range(runs):
        drawn = draw(world, REPLIES, rng)
        anchors = anchors_of(drawn, rng)
        link = fit_link(drawn.new[anchors], drawn.old[anchors], low=0, high=100)
        comparable[run] = decide(drawn, anchors, link)
        for system in range(SYSTEMS):
            for name, (value, low, high) in estimates(drawn, anchors, link, system).items():
                covered[name][run, system] = low <= truth[system] <= high
                errors[name][run, system] = value - truth[system]
                widths[name][run, system] = (high - low) / 2
        # One planted shift per run, the kinds and sizes in turn.
        kind, shift = SLICES[run % len(SLICES)], SHIFTS[run // len(SLICES) % len(SHIFTS)]
        shifted = planted(drawn, kind, amounts[kind, shift])
        again = fit_link(shifted.new[anchors], shifted.old[anchors], low=0, high=100)
        refused.setdefault(f"{kind} {shift:g}", []).append(not decide(shifted, anchors, again))
    by_shift = {
        f"{shift:g}": percent([x for key, row in refused.items() if key.endswith(f" {shift:g}") for x in row])
        for shift in SHIFTS
    }
    return {
        "world": world.name,
        "runs": runs,
        "correlation of the judges": round(correlation, 3),
        "coverage": {name: percent(covered[name]) for name in RIVALS},
        "coverage if comparable": percent(covered["linker"][comparable]),
        "coverage by system": [percent(covered["linker"][:, s]) for s in range(SYSTEMS)],
        "root mean square error": {
            name: round(float(np.sqrt((errors[name] ** 2).mean())), 2) for name in RIVALS
        },
        "width": {name: round(float(widths[name].mean()), 2) for name in RIVALS},
        "comparable": percent(comparable),
        "refused by shift": by_shift,
        "refused": {key: percent(row) for key, row in sorted(refused.items())},
    }


def percent(found: Any) -> float | None:
    """Return the share of true values in percent; None without values."""
    values = np.asarray(found, dtype=float)
    return round(100 * float(values.mean()), 1) if values.size else None


def table(found: dict[str, Any]) -> str:
    """Return the worlds as Markdown."""
    heads = [*(f"coverage, {name}" for name in RIVALS), *(f"error, {name}" for name in RIVALS)]
    heads += ["half-width", "comparable", *(f"refused, {shift:g}" for shift in SHIFTS)]
    lines = [f"| world | {' | '.join(heads)} |", "|---|" + "--:|" * len(heads)]
    for row in found["worlds"]:
        cells = [f"{row['coverage'][name]:.1f}" for name in RIVALS]
        cells += [f"{row['root mean square error'][name]:.1f}" for name in RIVALS]
        cells += [f"{row['width']['linker']:.1f}", f"{row['comparable']:.0f}"]
        cells += [f"{row['refused by shift'][f'{shift:g}']:.0f}" for shift in SHIFTS]
        lines.append(f"| {row['world']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=2000, help="per world; long form 2000")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="print the result file as Markdown")
    given = parser.parse_args()
    if given.table:
        print(table(json.loads(given.out.read_text())))
        return
    began = time.perf_counter()
    found: dict[str, Any] = {
        "machine": machine(),
        "command": f"python bench/judges/link.py --runs {given.runs}",
        "anchors": ANCHORS,
        "worlds": [measure(world, given.runs, number) for number, world in enumerate(WORLDS)],
    }
    found["seconds"] = round(time.perf_counter() - began, 1)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
