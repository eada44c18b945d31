"""Comparison of two runs, or of several in order, with the metrics that they share: as text and as tables."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import pairwise
from math import isfinite
from typing import TYPE_CHECKING, Any

from echat_eval.analysis.change_points import change_points
from echat_eval.analysis.compare import Comparison, compare, require_comparable
from echat_eval.analysis.compare_text import to_text, trend_text
from echat_eval.analysis.content import shared_content
from echat_eval.analysis.metric_rule import MetricRule, cap_fault, cap_note
from echat_eval.analysis.stated import AVERAGES, DIRECTIONS, merged_facts, require_average
from echat_eval.analysis.trend import Trend, trend
from echat_eval.errors import UnknownName, UsageError
from echat_eval.io.display import printable
from echat_eval.store.headline import applicable_metrics, chosen_headline, headline_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from echat_eval.analysis.change_points import Series
    from echat_eval.analysis.runs import ScoredSystem
    from echat_eval.stats import Sentences

__all__ = ["RunComparison", "compare_runs", "metric_rule", "rules_of", "series_of_runs"]

#: Facts of a run's metric that its rule takes over.
FACTS = ("low", "high", "worst", "average", "unit")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class RunComparison:
    """Paired differences between each run and the next, and the trend over all of them.

    Attributes:
        comparisons: one per pair of neighbours.
        trends: one per metric and task; empty for two runs.
        notes: one line per metric that is not compared, or has no trend.
    """

    comparisons: tuple[Comparison, ...]
    trends: tuple[Trend, ...] = ()
    notes: tuple[str, ...] = ()

    def lines(self, *, flips: int = 10) -> list[str]:
        """Return the lines for a terminal.

        Args:
            flips: number of worsened samples to list per comparison.
        """
        lines = []
        for comparison in self.comparisons:
            lines += [*to_text(comparison, flips=flips), ""]
        if self.trends:
            marked = any(comparison.unlike for comparison in self.comparisons)
            lines.append("trend over all runs, on the samples with a value in every run")
            if any(trend.missing for trend in self.trends):
                lines.append("intervals cover the missing rows at their worst and at their best")
            lines += trend_text(list(self.trends), marked=marked)
        return [*lines, *(f"note: {printable(note)}" for note in self.notes)]

    def to_frame(self) -> pd.DataFrame:
        """Return one row per comparison, metric and part.

        Columns: baseline, candidate, metric, part ("pooled", "task" or "slice"), name, difference (candidate
        minus baseline; above 0 is better), low and high (95 % interval), p, adjusted, won, lost, tied (shares
        of the samples), n, clusters, missing, why (reason for "cannot tell").
        """
        import pandas as pd

        rows = []
        for comparison in self.comparisons:
            for cell in comparison.cells:
                value = None if cell.difference is None else cell.difference.value
                facts = {**asdict(cell), "difference": value}
                rows.append({"baseline": comparison.baseline, "candidate": comparison.candidate, **facts})
        return pd.DataFrame(rows)

    def __str__(self) -> str:
        return "\n".join(self.lines())

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        # Indented lines are shown as they are; no name in them is read as markup.
        return "\n".join(f"    {line}" for line in self.lines())


def compare_runs(
    runs: Sequence[ScoredSystem],
    *,
    metrics: str | Sequence[str] | Mapping[str, str | MetricRule] | None = None,
    headline: str | None = None,
    anyway: bool = False,
    sentences: Sentences = "random",
) -> RunComparison:
    """Compare each run with the next, and three or more by their trend.

    Args:
        runs: two or more, in order; the earlier one is the baseline.
        metrics, headline: as in `rules_of`.
        anyway: compare runs whose tasks or instruments differ, and mark every number. Without it, a task
            whose samples have changed is compared on those with the same content in both runs.
        sentences: "fixed" if results need hold for exactly these sentences only.

    Raises:
        UsageError: fewer than two runs, runs that are not comparable, or a metric without a direction.
        BadData: no shared samples, or a metric is absent from one run.
    """
    if len(runs) < 2:
        raise UsageError(f"got {len(runs)} run; expected two or more to compare")
    rules = rules_of(runs, metrics, headline)
    changed: list[str] = []
    if not anyway:
        oldest, *others = runs
        aligned = [shared_content(run, oldest) for run in others]
        runs = [oldest, *(run for run, _ in aligned)]
        changed = [note for _, notes in aligned for note in notes]
    require_comparable(runs, anyway=anyway)
    facts = merged_facts((run.name, run.facts) for run in runs)
    own_scales = [name for name in rules if facts.get(name, {}).get("pooled") is False]
    comparisons = tuple(
        compare(old, new, metrics=rules, anyway=anyway, sentences=sentences, own_scales=own_scales)
        for old, new in pairwise(runs)
    )
    trends = trend(runs, metrics=rules, sentences=sentences, own_scales=own_scales) if len(runs) > 2 else []
    notes = [*changed, *(_left_out(runs, rules) if metrics is None else [])]
    if len(runs) > 2:
        with_trend = {found.metric for found in trends}
        notes += [
            f"no trend of '{name}': no sample has a value in all {len(runs)} runs"
            for name in rules
            if name not in with_trend
        ]
        first = {found.metric: found for found in reversed(trends)}  # pooled, where there is such a trend
        capped = (cap_note(name, found.rule, rules[name], found.missing) for name, found in first.items())
        notes += [f"trend of {note}" for note in capped if note]
    return RunComparison(comparisons=comparisons, trends=tuple(trends), notes=tuple(notes))


def series_of_runs(
    runs: Sequence[ScoredSystem],
    *,
    metrics: str | Sequence[str] | Mapping[str, str | MetricRule] | None = None,
    headline: str | None = None,
    anyway: bool = False,
    sentences: Sentences = "random",
) -> tuple[list[Series], list[str]]:
    """Return every metric over many runs with its change points, and notes; arguments as in `compare_runs`.

    A metric that some runs lack has a series of the others. By default: all metrics that two runs have.

    Raises:
        UsageError: fewer than two runs, runs that are not comparable, or a metric without a direction.
    """
    if len(runs) < 2:
        raise UsageError(f"got {len(runs)} run; expected two or more for a trend")
    facts = merged_facts((run.name, run.facts) for run in runs)
    names: Any = metrics
    if names is None:
        present = [set(run.frame["metric"]) for run in runs]
        names = [
            name
            for name, known in facts.items()
            if "higher_is_better" in known and sum(name in found for found in present) > 1
        ]
    shared = set.intersection(*(set(run.frame["metric"]) for run in runs))
    rules = rules_of(runs if shared else runs[:1], names, headline)
    notes: list[str] = []
    if not anyway:
        aligned = [shared_content(run, runs[0]) for run in runs[1:]]
        notes += [note for _, found in aligned for note in found]
        runs = [runs[0], *(run for run, _ in aligned)]
    require_comparable(runs, anyway=anyway)
    own_scales = [name for name in rules if facts.get(name, {}).get("pooled") is False]
    series, without = change_points(runs, rules, sentences=sentences, own_scales=own_scales)
    return series, [*notes, *without]


def _left_out(runs: Sequence[ScoredSystem], rules: Mapping[str, MetricRule]) -> list[str]:
    """Return one line on the metrics that some run has, and that are not compared."""
    every = dict.fromkeys(name for run in runs for name in run.frame["metric"].unique())
    lines = []
    for name in (name for name in every if name not in rules):
        without = [run.name for run in runs if name not in set(run.frame["metric"])]
        why = f"{', '.join(without)} has no row of it" if without else "no direction is stated"
        lines.append(f"'{name}' is not compared: {why}")
    return lines


def rules_of(
    runs: Sequence[ScoredSystem],
    metrics: str | Sequence[str] | Mapping[str, str | MetricRule] | None = None,
    headline: str | None = None,
) -> dict[str, MetricRule]:
    """Return the metrics to compare, with direction and range.

    Args:
        runs: their manifests define their metrics; those of tables have no direction.
        metrics: names, each as `name` or `name=WORDS`; or name -> the words, or a rule. WORDS are a direction
            (higher, lower) and further facts, as in "lower,average=ratio,low=0". By default all metrics that
            the runs share; of tables, those whose direction is stated.
        headline: name of the metric that comes first, and is compared in any case; None: the choice of the
            runs, or else the best that applies to all.

    Raises:
        UnknownName: a run lacks the metric that `headline` names.
        UsageError: no metric, an unknown word, a metric without a direction, weights without an average, or
            tables that state different facts.
    """
    known = merged_facts((run.name, run.facts) for run in runs)
    shared = set.intersection(*(set(run.frame["metric"]) for run in runs))
    if metrics is None:
        wanted: list[tuple[str, str | MetricRule]] = [
            (name, "") for name, facts in known.items() if name in shared and "higher_is_better" in facts
        ]
    elif isinstance(metrics, Mapping):
        wanted = list(metrics.items())
    else:
        specs = [metrics] if isinstance(metrics, str) else metrics
        wanted = [(spec.partition("=")[0], spec.partition("=")[2]) for spec in specs]
    lead = _lead(runs, shared, headline)
    if headline is not None and headline not in {name for name, _ in wanted}:
        wanted.append((headline, ""))
    wanted.sort(key=lambda pair: pair[0] != lead)
    rules = {
        name: rule if isinstance(rule, MetricRule) else metric_rule(name, rule, known.get(name))
        for name, rule in wanted
    }
    if not rules:
        raise UsageError(
            f"no metric to compare; name one with --metric NAME=higher or NAME=lower. "
            f"Shared: {', '.join(sorted(shared)) or 'none'}"
        )
    return rules


def _lead(runs: Sequence[ScoredSystem], shared: set[str], given: str | None) -> str | None:
    """Return the metric that comes first; None if only tables are compared, which define none."""
    if given is not None:
        if given not in shared:
            raise UnknownName("metric", given, shared)
        return given
    metrics = [
        m for m in {m.name: m for run in runs for m in run.manifest.metrics}.values() if m.name in shared
    ]
    if not metrics:
        return None
    selected = chosen_headline(run.manifest for run in runs)
    rows = (
        (str(number), str(metric), str(state))
        for number, run in enumerate(runs)
        for metric, state in run.frame[["metric", "state"]].drop_duplicates().itertuples(index=False)
    )
    known = {metric.name for metric in metrics}
    return headline_of(
        metrics, applicable_metrics(rows), selected=selected if selected in known else None
    ).name


def metric_rule(name: str, words: str, facts: Mapping[str, Any] | None) -> MetricRule:
    """Return the rule of a metric.

    Args:
        name: its name.
        words: direction and further facts, such as "lower,average=ratio,low=0"; "": those known.
        facts: known from a run or a table; the words come first.

    Raises:
        UsageError: an unknown word, no direction, no average though the weights differ, or an empty range.
    """
    given = dict(_fact(name, word) for word in words.split(",") if word) if words else {}
    facts = facts or {}
    known = {**{key: facts[key] for key in FACTS if facts.get(key) is not None}, **given}
    if "higher_is_better" not in given and "higher_is_better" not in facts:
        raise UsageError(f"metric '{name}' has no direction; write --metric {name}=higher or {name}=lower")
    require_average(name, facts, "average" in given)
    rule = MetricRule(**{"higher_is_better": facts.get("higher_is_better"), **known})
    if rule.width is not None and not rule.width > 0:
        raise UsageError(f"metric '{name}': low {rule.low:g} is not below high {rule.high:g}")
    if fault := cap_fault(rule):
        raise UsageError(f"metric '{name}': {fault}")
    return rule


def _fact(name: str, word: str) -> tuple[str, Any]:
    """Return the fact that one word of a metric states."""
    key, equals, value = word.strip().partition("=")
    if not equals and key in DIRECTIONS:
        return "higher_is_better", DIRECTIONS[key]
    if key == "average" and value in AVERAGES:
        return "average", value
    if key in ("low", "high", "missing_at_most"):
        with suppress(ValueError):
            if isfinite(number := float(value)):
                return key, number
    raise UsageError(
        f"metric '{name}': got '{word}'; expected {name}=higher or {name}=lower, and then average=mean, "
        "ratio or macro, low=NUMBER, high=NUMBER, missing_at_most=NUMBER, such as "
        f"{name}=lower,average=ratio,low=0"
    )
