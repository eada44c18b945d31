"""Does an equal candidate pass as often as the gate prints?

    python bench/gate/equal.py --runs 600           every design, to bench/results/gate_equal.json

Values of 0 to 100, margin 2, one task. Each system adds noise of its own to a query's common part: of the
speaker (sd 2.1), of the sentence where both cross (sd 2.1), and of the reply (sd 5.6). The candidate is equal
to the baseline. Rows of the result, in percent of runs:

    passes          outcomes "pass"
    printed         mean of `Decision.pass_if_equal` over the same runs, and the middle 80 % of it
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.support.machine import machine  # noqa: E402
from echat_eval.gate import Policy, decide  # noqa: E402

RESULTS = ROOT / "bench" / "results" / "gate_equal.json"
RULES: dict[str, Any] = {"empathy": {"higher_is_better": True, "low": 0, "high": 100}}
#: Name -> speakers, sentences, and whether each speaker has every sentence.
DESIGNS = {
    "20 speakers of 10 samples": (20, 200, False),
    "60 speakers of 10 samples": (60, 600, False),
    "20 speakers x 12 sentences": (20, 12, True),
    "40 speakers x 24 sentences": (40, 24, True),
}


def units(speakers: int, sentences: int, crossed: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the speaker and the sentence of every sample."""
    if crossed:
        return np.tile(np.arange(speakers), sentences), np.repeat(np.arange(sentences), speakers)
    return np.repeat(np.arange(speakers), sentences // speakers), np.arange(sentences)


def table(values: np.ndarray, speaker: np.ndarray, sentence: np.ndarray) -> pd.DataFrame:
    """Return one system's scores as a long table."""
    return pd.DataFrame(
        {
            "task": "emotion",
            "sample_id": np.arange(len(values)).astype(str),
            "metric": "empathy",
            "value": np.clip(values, 0, 100),
            "state": "value",
            "speaker": speaker.astype(str),
            "transcript": sentence.astype(str),
        }
    )


def measure(name: str, runs: int, seed: int) -> dict[str, Any]:
    """Return the row of one design."""
    speakers, sentences, crossed = DESIGNS[name]
    speaker, sentence = units(speakers, sentences, crossed)
    rng = np.random.default_rng([seed, speakers, sentences])

    def noise() -> np.ndarray:
        by_sentence = rng.normal(0, 2.1, sentences)[sentence] if crossed else 0.0
        drawn: np.ndarray = (
            rng.normal(0, 2.1, speakers)[speaker] + by_sentence + rng.normal(0, 5.6, len(speaker))
        )
        return drawn

    passed, printed = [], []
    for _ in range(runs):
        common = 60 + noise()
        ours, theirs = (table(common + noise(), speaker, sentence) for _ in range(2))
        decision = decide(ours, theirs, Policy(margin=2, metrics=RULES))
        passed.append(decision.outcome == "pass")
        printed.append(decision.pass_if_equal or 0.0)
    middle = np.quantile(printed, [0.1, 0.9])
    return {
        "design": name,
        "runs": runs,
        "passes": round(100 * float(np.mean(passed)), 1),
        "printed": round(100 * float(np.mean(printed)), 1),
        "printed, middle 80 %": [round(100 * float(end), 1) for end in middle],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    rows = [measure(name, given.runs, given.seed) for name in DESIGNS]
    given.out.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1, sort_keys=True) + "\n")
    for row in rows:
        print(json.dumps(row))


if __name__ == "__main__":
    main()
