"""Builds a leaderboard from scores: means with cluster intervals, counts, and ranks that are certain."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from echat_eval.errors import BadData
from echat_eval.records import Metric
from echat_eval.stats import Bounds, Estimate, cluster_mean, mean_bounds
from echat_eval.stats.clusters import clusters_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from echat_eval.records import Sample, Score
    from echat_eval.store.run_folder import RunFolder

__all__ = ["OVERALL", "Leaderboard", "Summary", "build_leaderboard"]

#: The column that pools every task.
OVERALL = "all"

SystemRole = Literal["system", "floor", "ceiling"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One system, one task, one metric.

    Attributes:
        estimate: mean and 95 % interval over clusters; None if no row has a value.
        bounds: mean with the missing rows at their worst and best; None if none is missing.
        counts: state -> number of rows.
    """

    system: str
    task: str
    metric: str
    estimate: Estimate | None
    bounds: Bounds | None
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaderboard:
    """All summaries of one or more runs.

    Attributes:
        roles: system -> "system", "floor" or "ceiling", in the order of tables.
        titles: task -> title.
        ranks: system -> rank by the headline metric over all tasks, if missing rows cannot change it.
    """

    metrics: tuple[Metric, ...]
    tasks: tuple[str, ...]
    titles: Mapping[str, str]
    roles: Mapping[str, SystemRole]
    summaries: Mapping[tuple[str, str, str], Summary]
    ranks: Mapping[str, int]

    @property
    def headline(self) -> Metric:
        """Return the metric that decides the ranks."""
        return next((m for m in self.metrics if m.headline), self.metrics[0])


def build_leaderboard(runs: Sequence[RunFolder]) -> Leaderboard:
    """Return the leaderboard of one or more run folders.

    Raises:
        BadData: no scores, a system in two runs, or runs whose tasks, metrics or instruments differ.
    """
    manifests = [run.manifest() for run in runs]
    _require_comparable(runs, manifests)
    merged: dict[str, dict[str, Any]] = {"tasks": {}, "systems": {}}
    scores: list[Score] = []
    samples: dict[tuple[str, str], Sample] = {}
    for run, manifest in zip(runs, manifests, strict=True):
        for kind, found in merged.items():
            found |= manifest.get(kind, {})
        samples |= {(s.task, s.id): s for s in run.samples()}
        scores += run.scores().values()
    if not scores:
        raise BadData(f"{runs[0].path}: no scores yet; make them with `echat-eval score {runs[0].path}`")
    metrics = tuple({m["name"]: Metric(**m) for manifest in manifests for m in manifest["metrics"]}.values())
    answered = {score.system for score in scores}
    roles: dict[str, SystemRole] = {
        name: facts["role"] for name, facts in merged["systems"].items() if name in answered
    }
    summaries = _summarise(scores, samples, metrics)
    # In the order of the samples; a manifest sorts its keys.
    tasks = tuple(
        t for t in dict.fromkeys(task for task, _ in samples) if any(key[1] == t for key in summaries)
    )
    headline = next((m for m in metrics if m.headline), metrics[0])
    return Leaderboard(
        metrics=metrics,
        tasks=tasks,
        titles={name: facts["title"]["en"] for name, facts in merged["tasks"].items()},
        roles=roles,
        summaries=summaries,
        ranks=_ranks([s for s, role in roles.items() if role == "system"], summaries, headline),
    )


def _require_comparable(runs: Sequence[RunFolder], manifests: Sequence[Mapping[str, Any]]) -> None:
    """Raise if systems overlap, or if tasks, scorers or annotators differ between runs."""
    for run, manifest in zip(runs[1:], manifests[1:], strict=True):
        if duplicates := set(manifests[0].get("systems", {})) & set(manifest.get("systems", {})):
            raise BadData(
                f"{runs[0].path} and {run.path} both have a system '{min(duplicates)}'; "
                f"rename one of them: NEW={run.path}:{min(duplicates)}"
            )
        for kind, key in (("tasks", "sha256"), ("scorers", "fingerprint"), ("annotators", "fingerprint")):
            ours, theirs = manifests[0].get(kind, {}), manifest.get(kind, {})
            for name in sorted(set(ours) & set(theirs)):
                if ours[name][key] != theirs[name][key]:
                    raise BadData(
                        f"{runs[0].path} and {run.path} used different {kind} '{name}' "
                        f"({ours[name][key][:8]}… and {theirs[name][key][:8]}…); run one of them again"
                    )


def _summarise(
    scores: Iterable[Score], samples: Mapping[tuple[str, str], Sample], metrics: Sequence[Metric]
) -> dict[tuple[str, str, str], Summary]:
    cluster = dict(zip(samples, clusters_of(list(samples.values())), strict=True))
    cells: dict[tuple[str, str, str], list[Score]] = {}
    for score in scores:
        cells.setdefault((score.system, score.task, score.metric), []).append(score)
        cells.setdefault((score.system, OVERALL, score.metric), []).append(score)
    by_name = {metric.name: metric for metric in metrics}
    label = {ident: (ident[0], s.cues.get(s.asks)) for ident, s in samples.items() if s.asks is not None}
    return {cell: _summary(cell, found, by_name[cell[2]], cluster, label) for cell, found in cells.items()}


def _summary(
    cell: tuple[str, str, str],
    scores: Sequence[Score],
    metric: Metric,
    cluster: Mapping[tuple[str, str], int],
    label: Mapping[tuple[str, str], object],
) -> Summary:
    counts: dict[str, int] = {}
    for score in scores:
        counts[score.state] = counts.get(score.state, 0) + 1
    counted = [score for score in scores if score.value is not None]
    estimate = bounds = None
    if counted:
        estimate = cluster_mean(
            _centred(metric, counted, label),
            [cluster[score.task, score.sample_id] for score in counted],
            weights=_weights(metric, counted, label),
        )
    if counts.get("missing"):
        bounds = mean_bounds(
            [score.value for score in scores],
            [score.state for score in scores],
            metric.low,
            metric.high,
            weights=_weights(metric, scores, label),
        )
    return Summary(
        system=cell[0], task=cell[1], metric=cell[2], estimate=estimate, bounds=bounds, counts=counts
    )


def _weights(
    metric: Metric, scores: Sequence[Score], label: Mapping[tuple[str, str], object]
) -> list[float] | None:
    """Return the weight of each score; None if all are equal."""
    if metric.average == "ratio":
        return [score.weight for score in scores]
    if metric.average == "macro recall":
        counted = [s for s in scores if s.state == "missing" or s.value is not None]
        size = Counter(label.get((s.task, s.sample_id)) for s in counted)
        return [1.0 / max(1, size[label.get((s.task, s.sample_id))]) for s in scores]
    return None


def _centred(
    metric: Metric, counted: Sequence[Score], label: Mapping[tuple[str, str], object]
) -> list[float]:
    """Return the values to average.

    For a macro recall, the values of each label are centred on the mean over labels. The mean is unchanged,
    and the interval covers the variation within labels, not between them.
    """
    values = [score.value for score in counted if score.value is not None]
    if metric.average != "macro recall":
        return values
    of_label: dict[object, list[float]] = {}
    for score, value in zip(counted, values, strict=True):
        of_label.setdefault(label.get((score.task, score.sample_id)), []).append(value)
    label_recall = {name: sum(found) / len(found) for name, found in of_label.items()}
    mean_recall = sum(label_recall.values()) / len(label_recall)
    return [
        value - label_recall[label.get((score.task, score.sample_id))] + mean_recall
        for score, value in zip(counted, values, strict=True)
    ]


def _ranks(
    systems: Sequence[str], summaries: Mapping[tuple[str, str, str], Summary], headline: Metric
) -> dict[str, int]:
    """Return the ranks that no value of the missing rows can change.

    A system has a rank if each other system is above it for all values of the missing rows, or for none.
    """
    spans: dict[str, tuple[float, float]] = {}
    for system in systems:
        summary = summaries.get((system, OVERALL, headline.name))
        if summary is None or (summary.estimate is None and summary.bounds is None):
            continue
        if not summary.counts.get("value") and not summary.counts.get("missing"):
            continue  # a system that failed on every sample has no rank, not even the last
        if summary.bounds is not None:
            low, high = summary.bounds.low, summary.bounds.high
        else:
            assert summary.estimate is not None
            low = high = summary.estimate.value
        unbounded = float("inf")
        span = (-unbounded if low is None else low, unbounded if high is None else high)
        spans[system] = span if headline.higher_is_better else (-span[1], -span[0])
    ranks = {}
    for system, (low, high) in spans.items():
        others = [span for name, span in spans.items() if name != system]
        always_above = sum(1 for other in others if other[0] > high)
        possibly_above = sum(1 for other in others if other[1] > low)
        if always_above == possibly_above:
            ranks[system] = always_above + 1
    return ranks
