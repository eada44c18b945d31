"""Looks of the gate at a run that grows: which samples come first, and the bounds of each look.

runs/new/looks.json   the plan (order of the samples, looks, policy, baseline) and what each look found

Clusters of samples are asked in a seeded random order. Each look decides by the policy with the error that
its share of the clusters may spend (`stats.sequential`): for the bounds that a pass stands on, and for the
family of drops. The interval of such a decision is a repeated confidence interval, valid whenever the run
stopped.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from echat_eval.errors import BadData, UsageError
from echat_eval.io import jsonl
from echat_eval.io.files import write_atomically
from echat_eval.io.hashing import facts_of
from echat_eval.io.schema import STRING, TEXT, Rule, Schema, list_of, number, whole
from echat_eval.stats import as_design, units_of
from echat_eval.stats.clusters import linked
from echat_eval.stats.sequential import look_tails, planned_looks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

    from echat_eval.gate.decision import Decision
    from echat_eval.gate.policy import Policy
    from echat_eval.records import Sample
    from echat_eval.stats import Sentences

__all__ = ["LOOKS", "Look", "Looks", "look_policy", "plan_looks", "read_looks"]

LOOKS = "looks.json"
#: Increased when an older version could misread the file.
FORMAT = 1
_REMEDY = "restore the file, or ask the whole run in another folder without --until-decided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at a run.

    Attributes:
        number: from 1.
        clusters, samples: asked by then.
        outcome: of the gate; "" while it was not looked at.
        low, high: bounds of the primary difference at the level of this look.
        level: coverage of the intervals.
    """

    number: int
    clusters: int
    samples: int
    outcome: str = ""
    low: float | None = None
    high: float | None = None
    level: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """The planned looks at a run.

    Attributes:
        order: (task, id) of every sample, in the order in which they are asked.
        looks: planned, of which those with an outcome were made.
        seed: of the order.
        policy: facts of the policy.
        baseline: hash of the baseline's scores.
    """

    order: tuple[tuple[str, str], ...]
    looks: tuple[Look, ...]
    seed: int
    policy: Any
    baseline: str

    @property
    def next(self) -> Look | None:
        """Return the look to make next; None if the run is decided or fully asked."""
        if self.decided:
            return None
        return next((look for look in self.looks if not look.outcome), None)

    @property
    def decided(self) -> bool:
        """Return whether a look has found "pass" or "regress"."""
        return any(look.outcome in ("pass", "regress") for look in self.looks)

    def found(self, number: int, decision: Decision, level: float) -> Looks:
        """Return the looks with the decision of one of them."""
        made = [
            look
            if look.number != number
            else replace(look, outcome=decision.outcome, low=decision.low, high=decision.high, level=level)
            for look in self.looks
        ]
        return replace(self, looks=tuple(made))

    def at(self, requested: int) -> Look:
        """Return the look that a run with this many samples belongs to."""
        return next((look for look in self.looks if look.samples >= requested), self.looks[-1])

    def of_asked(self, baseline: pd.DataFrame, requested: set[tuple[str, str]]) -> pd.DataFrame:
        """Return a baseline's table without the samples that are planned and not asked yet."""
        later = set(self.order) - requested
        keys = zip(baseline["task"], baseline["sample_id"], strict=True)
        kept = baseline[np.array([key not in later for key in keys], dtype=bool)]
        kept.attrs = dict(baseline.attrs)
        return kept

    def refuse_changes(self, policy: Policy, baseline: str, path: Path) -> None:
        """Raise UsageError if the policy or the baseline is not that of the earlier looks."""
        facts = facts_of(policy)
        if changed := sorted(
            key for key in {**self.policy, **facts} if self.policy.get(key) != facts.get(key)
        ):
            raise UsageError(
                f"{path}: the policy changed between looks ({', '.join(changed)}); restore it, or make a new "
                "run in another folder"
            )
        if baseline != self.baseline:
            raise UsageError(
                f"{path}: the baseline changed between looks ({self.baseline[:8]} at the first, now "
                f"{baseline[:8]}); restore it, or make a new run in another folder"
            )

    def text(self, requested: int) -> str:
        """Return the place of a run with this many samples among the looks, for the reader."""
        look, last = self.at(requested), self.looks[-1]
        return (
            f"look {look.number} of {last.number}: {requested:,} of {last.samples:,} samples asked; bounds "
            "have the level of this look and hold whenever the run stops"
        )

    def write(self, path: Path) -> None:
        """Write the looks to a run folder."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, ensure_ascii=False, sort_keys=True, indent=1)
        write_atomically(path, text + "\n")


def plan_looks(
    samples: Sequence[Sample], *, seed: int, sentences: Sentences, policy: Policy, baseline: str
) -> Looks:
    """Return the order in which samples are asked, and the looks.

    Clusters are the components of nested data. Where speakers and sentences cross, they are the levels of the
    factor that has more of them; contrast groups always stay whole.
    """
    units = units_of(samples, sentences=sentences)
    design = as_design(np.array([units[s.task, s.id] for s in samples]))
    groups: dict[object, int] = {}
    whole_groups = [
        groups.setdefault((s.task, s.contrast_group) if s.contrast_group is not None else i, len(groups))
        for i, s in enumerate(samples)
    ]
    options = [linked([factor, np.array(whole_groups)]) for factor in design.factors]
    codes = max(options, key=lambda option: int(option.max()))
    place = np.random.default_rng(seed).permutation(int(codes.max()) + 1)[codes]
    order = [samples[i] for i in np.argsort(place, kind="stable")]
    counts = np.cumsum(np.bincount(place))
    looks = [
        Look(number=number, clusters=clusters, samples=int(counts[clusters - 1]))
        for number, clusters in enumerate(planned_looks(len(counts)), 1)
    ]
    return Looks(
        order=tuple((s.task, s.id) for s in order),
        looks=tuple(looks),
        seed=seed,
        policy=facts_of(policy),
        baseline=baseline,
    )


def look_policy(policy: Policy, looks: Sequence[Look], number: int) -> Policy:
    """Return the policy with the error that a look may spend."""
    fractions = [look.clusters / looks[-1].clusters for look in looks]
    tail = look_tails(fractions, (1 - policy.level) / 2)[number - 1]
    family = look_tails(fractions, policy.family_error)[number - 1]
    return replace(policy, level=1 - 2 * tail, family_error=family)


_LOOK = Schema(
    {
        "number": whole(1),
        "clusters": whole(1),
        "samples": whole(1),
        "outcome": STRING,
        "low": number().optional(),
        "high": number().optional(),
        "level": number().optional(),
    }
)
_PAIR = Rule(lambda value: isinstance(value, list) and len(value) == 2, "a pair of task and id")
_FILE = Schema(
    {
        "format": whole(1),
        "order": list_of(_PAIR, "a list of pairs of task and id"),
        "looks": list_of(Rule(_LOOK.holds, "a look"), "a list of looks"),
        "seed": whole(0),
        "policy": Rule(lambda value: isinstance(value, dict), "an object"),
        "baseline": TEXT,
    }
)


def read_looks(path: Path) -> Looks | None:
    """Return the looks of a run folder's file; None if there is none.

    Raises:
        BadData: damaged, or of another version.
    """
    if not path.is_file():
        return None
    try:
        facts = jsonl.loads(path.read_bytes())
        if isinstance(facts, dict) and facts.get("format") != FORMAT:
            raise BadData(f"{path}: looks of format {facts.get('format')}; this version reads {FORMAT}")
        _FILE.check(facts, str(path))
    except (OSError, ValueError, BadData) as error:
        raise BadData(f"{path}: not the looks of a run: {error}; {_REMEDY}") from error
    if not facts["looks"] or not facts["order"]:
        raise BadData(f"{path}: a plan without looks; {_REMEDY}")
    return Looks(
        order=tuple((task, ident) for task, ident in facts["order"]),
        looks=tuple(Look(**look) for look in facts["looks"]),
        seed=facts["seed"],
        policy=facts["policy"],
        baseline=facts["baseline"],
    )
