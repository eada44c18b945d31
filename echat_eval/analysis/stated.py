"""Facts that a table states about its metrics: direction, average and range, in columns of their own.

A table of another harness may have the columns `direction` (higher, lower), `average` (mean, ratio, macro),
`low` and `high`. A cell may be empty; all others of one metric must agree. Nothing is guessed: a metric whose
weights differ needs a stated average, because its mean and its ratio may have opposite signs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from echat_eval.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd

__all__ = ["AVERAGES", "DIRECTIONS", "STATED", "merged_facts", "require_average", "stated_facts"]

#: Columns that state facts of a metric.
STATED = ("direction", "average", "low", "high")
#: Words of a metric's direction -> `higher_is_better`.
DIRECTIONS = {"higher": True, "lower": False}
AVERAGES = ("mean", "ratio", "macro")


def stated_facts(frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return metric -> facts that a checked table states, named as in `MetricRule`.

    The fact `weighted` is there if the metric's weights differ. Metrics without any fact are left out.
    """
    facts: dict[str, dict[str, Any]] = {}
    for name in STATED:
        if name in frame.columns:
            for metric, value in (
                frame[["metric", name]].dropna().drop_duplicates("metric").to_numpy().tolist()
            ):
                key, fact = ("higher_is_better", DIRECTIONS[value]) if name == "direction" else (name, value)
                facts.setdefault(metric, {})[key] = fact
    counted = frame[frame["value"].notna()]
    kinds = counted.groupby("metric", observed=True)["weight"].nunique()
    for metric in kinds[kinds > 1].index:
        facts.setdefault(str(metric), {})["weighted"] = True
    return facts


def merged_facts(tables: Iterable[tuple[str, Mapping[str, Mapping[str, Any]]]]) -> dict[str, dict[str, Any]]:
    """Return the facts of the metrics of several tables or runs; those of a later one replace earlier ones.

    Args:
        tables: name of each, for messages, and metric -> facts. Only a run's facts have a title; whether runs
            are comparable is another question, with an answer of its own (`store.comparable`).

    Raises:
        UsageError: two of them state different directions, averages or ranges of a metric.
    """
    merged: dict[str, dict[str, Any]] = {}
    owner: dict[str, str] = {}
    for location, metrics in tables:
        for metric, facts in metrics.items():
            known = merged.setdefault(metric, {})
            for key in ("higher_is_better", *STATED) if not ("title" in facts and "title" in known) else ():
                if facts.get(key, known.get(key)) != known.get(key, facts.get(key)):
                    raise UsageError(
                        f"metric '{metric}': {key} is {known[key]} in {owner[metric]} and {facts[key]} in "
                        f"{location}; state the same in both"
                    )
            owner.setdefault(metric, location)
            known.update(facts)
    return merged


def require_average(metric: str, facts: Mapping[str, Any], stated: bool) -> None:
    """Raise if the weights of a metric differ and nothing states what they are for.

    Args:
        metric: its name.
        facts: of the tables.
        stated: whether the command, the policy or the caller states the average.

    Raises:
        UsageError: the average is needed and unknown.
    """
    if facts.get("weighted") and "average" not in facts and not stated:
        raise UsageError(
            f"metric '{metric}': its weights differ and no average is stated; write average=ratio for "
            "sum(value x weight) / sum(weight), or average=mean for the plain mean (--metric "
            f"{metric}=higher,average=..., a column `average`, or the policy)"
        )
