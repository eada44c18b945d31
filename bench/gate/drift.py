"""False drops when the judge's level moves between or within runs, today and with anchors judged in each run.

    python bench/gate/drift.py --runs 2000       all worlds, to bench/results/gate_drift.json
    python bench/gate/drift.py --table           the worlds as Markdown (docs/gate.md)

Two runs of 600 samples by 100 speakers, paired differences of sd 29 (standard error 1.2), and a judge with
noise of sd 6 in each verdict. The level of the judge differs between the runs, or walks while the candidate
is judged. 60 anchors, 10 % more calls, are judged in each run at times spread over it; each anchor answers
one of 14 questions, and a shift moves the anchors of a question by 0.85 to 1.15 of it (1 sd).

    false drop      an equal candidate's difference is significantly below 0 (one side, 2.5 % nominal)
    false pass      a candidate that is worse by the margin of 3 passes (2.5 % nominal)
    pass if equal   an equal candidate passes
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.support.machine import machine  # noqa: E402
from echat_eval.stats import cluster_mean  # noqa: E402
from echat_eval.stats.drift import corrected, judge_shift  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "gate_drift.json"
SAMPLES, SPEAKERS, ANCHORS, QUESTIONS, MARGIN = 600, 100, 60, 14, 3.0
NOISE, SPREAD = 6.0, 28.0


@dataclass(frozen=True)
class World:
    """How the judge moves: sd of its level between the runs, and of the end of its walk within a run."""

    between: float = 0.0
    within: float = 0.0

    @property
    def name(self) -> str:
        """Return the world in words."""
        if not self.between and not self.within:
            return "a steady judge"
        return (
            f"level sd {self.between:g} between runs" if self.between else f"walk sd {self.within:g} within"
        )


WORLDS = (World(), World(1.0), World(2.0), World(4.0), World(0.0, 2.0), World(0.0, 4.0))


def differences(world: World, rng: np.random.Generator) -> tuple[Any, Any, Any, Any]:
    """Return paired differences of an equal candidate, the anchors' points in both runs, and their times."""
    speaker = np.arange(SAMPLES) % SPEAKERS
    steps = rng.normal(0, 1, SAMPLES) / np.sqrt(SAMPLES)
    walk = world.within * np.cumsum(steps) + rng.normal(0, world.between)
    own = rng.normal(0, 3, SPEAKERS)[speaker] + rng.normal(0, SPREAD, SAMPLES)
    noise = rng.normal(0, NOISE, (2, SAMPLES))
    order = rng.permutation(SAMPLES)  # samples are judged in an order of their own
    observed = own + walk[order] + noise[0] - noise[1]
    times = np.linspace(0, SAMPLES - 1, ANCHORS).astype(int)
    question = np.arange(ANCHORS) % QUESTIONS
    taken = 1 + rng.normal(0, 0.15, QUESTIONS)[question]
    before = rng.normal(0, NOISE, ANCHORS)
    after = taken * walk[times] + rng.normal(0, NOISE, ANCHORS)
    return observed, before, after, times


def measure(world: World, runs: int) -> dict[str, Any]:
    """Return the rates of one world, in percent."""
    rng = np.random.default_rng([int(10 * world.between), int(10 * world.within), runs])
    speaker = np.arange(SAMPLES) % SPEAKERS
    question = (np.arange(ANCHORS) % QUESTIONS).tolist()
    rates = {name: np.zeros((runs, 3)) for name in ("today", "anchors")}
    detected = 0
    for run in range(runs):
        observed, before, after, times = differences(world, rng)
        plain = cluster_mean(observed, speaker, change=True, width=200)
        shift = judge_shift(after, before, question, times)
        assert shift is not None
        level = shift.level
        assert level.low is not None
        assert level.high is not None
        detected += level.low > 0 or level.high < 0
        for name, found in (("today", plain), ("anchors", corrected(plain, level))):
            assert found.low is not None
            assert found.high is not None
            stopped = name == "anchors" and shift.moved is not None
            rates[name][run] = (
                found.high < 0 and not stopped,
                found.low > 0 and not stopped,
                found.low > -MARGIN and not stopped,
            )
    return {
        "world": world.name,
        "runs": runs,
        "shift detected": percent(detected / runs),
        **{
            f"{rate}, {name}": percent(rates[name][:, i].mean())
            for i, rate in enumerate(("false drop", "false pass", "pass if equal"))
            for name in ("today", "anchors")
        },
    }


def percent(share: float) -> float:
    """Return a share in percent."""
    return round(100 * float(share), 1)


def table(found: dict[str, Any]) -> str:
    """Return the worlds as Markdown."""
    columns = [name for name in found["worlds"][0] if name not in {"world", "runs"}]
    lines = [f"| judge | {' | '.join(columns)} |", "|---|" + "--:|" * len(columns)]
    for row in found["worlds"]:
        lines.append(f"| {row['world']} | {' | '.join(f'{row[name]:.1f}' for name in columns)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=2000, help="per world; long form 5000")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--table", action="store_true", help="print the result file as Markdown")
    given = parser.parse_args()
    if given.table:
        print(table(json.loads(given.out.read_text())))
        return
    began = time.perf_counter()
    found: dict[str, Any] = {
        "machine": machine(),
        "command": f"python bench/gate/drift.py --runs {given.runs}",
        "further calls": percent(ANCHORS / SAMPLES),
        "worlds": [measure(world, given.runs) for world in WORLDS],
    }
    found["seconds"] = round(time.perf_counter() - began, 1)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
