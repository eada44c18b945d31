"""Builds a leaderboard from scores: means with cluster intervals, counts, and confidence sets of ranks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.errors import BadData
from echat_eval.io.schema import shorten
from echat_eval.labels import gold_label, only_traits
from echat_eval.leaderboard.by_voice import ceiling_shares
from echat_eval.leaderboard.dashes import dash_reasons
from echat_eval.leaderboard.listening_gap import ListeningGap, gaps_of
from echat_eval.leaderboard.ranks import ranking_of
from echat_eval.leaderboard.reply_times import ReplyTimes, earlier_replies, times_of
from echat_eval.scorers.listening_result import unproven_metrics
from echat_eval.stats import (
    Bounds,
    Estimate,
    label_strata,
    level_mean,
    mean_bounds,
    missing_cap,
    stratum_weights,
)
from echat_eval.stats.factors import Unit, units_of
from echat_eval.store.comparable import not_comparable, refuse_duplicate_systems, version_differences
from echat_eval.store.headline import applicable_metrics, chosen_headline, headline_of
from echat_eval.store.in_all import left_out_of_all, tasks_only
from echat_eval.store.ledger import pending
from echat_eval.store.validation import JudgeValidation, validations

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from echat_eval.analysis.ranking import Ranking
    from echat_eval.leaderboard.by_voice import Shares
    from echat_eval.leaderboard.cue_gain import Gain
    from echat_eval.records import Metric, Response, Sample, Score, SystemRole
    from echat_eval.store.manifest import RunManifest, SystemFacts, TaskFacts
    from echat_eval.store.run_folder import RunFolder

__all__ = ["OVERALL", "Leaderboard", "Summary", "build_leaderboard"]

#: The column that pools every task.
OVERALL = "all"


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

    @property
    def all_failed(self) -> bool:
        """Return whether no reply has a value and some failed: a mean of failures is no evidence."""
        return bool(self.counts.get("failed")) and not self.counts.get("value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaderboard:
    """All summaries of one or more runs.

    Attributes:
        roles: system -> "system", "floor" or "ceiling", in the order of tables.
        titles: task -> title.
        headline: the metric that is shown first and decides the ranks.
        ranking: confidence sets of the ranks by the headline over all tasks; empty if it has no mean over
            all tasks, or is of a judge that may not rank.
        unproven: metric -> its judge, if it listens and has not passed `check judge --listens`.
        caps: metric without an upper end that lacks rows -> the most that a missing value counts as.
        apart: tasks with samples that are in no mean over all tasks of a metric that rewards suiting the
            voice.
        tasks_only: metrics without a mean over all tasks, because their scale differs between tasks.
        dashes: metric -> task -> the most frequent reason, where no system has a value, for the headline and
            the metrics that reward suiting the voice.
        shares: metric -> system -> its shares of the ceiling, for metrics that reward suiting the voice.
        gaps: listening gaps; empty without answers to `run --ask`.
        times: of replies that were timed to their first audio.
        people: metric of a judge -> its agreement with people; None until ratings are imported.
        earlier: system -> replies of live dialogues before their last ones; empty without dialogues.
        order: systems in the order of tables; empty: best first.
        asking: tasks whose samples ask about the recording (`run --ask`).
        names: task -> printed name, of those that a choice of tables names.
        unfinished: what a run that was interrupted lacks; its means are of the replies that are there.
    """

    metrics: tuple[Metric, ...]
    tasks: tuple[str, ...]
    titles: Mapping[str, str]
    roles: Mapping[str, SystemRole]
    summaries: Mapping[tuple[str, str, str], Summary]
    headline: Metric
    ranking: Ranking
    caps: Mapping[str, float] = field(default_factory=dict)
    apart: tuple[str, ...] = ()
    tasks_only: frozenset[str] = frozenset()
    dashes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    shares: Mapping[str, Mapping[str, Shares]] = field(default_factory=dict)
    gaps: tuple[ListeningGap, ...] = ()
    times: tuple[ReplyTimes, ...] = ()
    earlier: Mapping[str, int] = field(default_factory=dict)
    people: Mapping[str, JudgeValidation | None] = field(default_factory=dict)
    unproven: Mapping[str, str] = field(default_factory=dict)
    order: tuple[str, ...] = ()
    asking: frozenset[str] = frozenset()
    unfinished: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)

    def task_name(self, task: str) -> str:
        """Return the name of a task in notes."""
        return self.names.get(task, task)

    def columns(self, metric: Metric) -> tuple[str, ...]:
        """Return the columns of a metric's table: all tasks at once, if it has such a mean, and each task.

        A task that asks about recordings has no column of a metric that applies to none of its answers.
        """
        tasks = tuple(t for t in self.tasks if t not in self.asking or self._applies(metric, t))
        return tasks if metric.name in self.tasks_only else (OVERALL, *tasks)

    def _applies(self, metric: Metric, task: str) -> bool:
        cells = (self.summaries.get((system, task, metric.name)) for system in self.roles)
        return any(set(cell.counts) - {"not applicable"} for cell in cells if cell is not None)

    def share(self, metric: Metric, system: str, column: str) -> Gain | Estimate | None:
        """Return the share of the ceiling in a task, or its average over the tasks; None: not measured."""
        found = self.shares.get(metric.name, {}).get(system)
        if found is None:
            return None
        return found.average if column == OVERALL else found.tasks.get(column)

    def counts(self, system: str) -> Mapping[str, int]:
        """Return state -> number of a system's headline rows in all tasks."""
        found: Counter[str] = Counter()
        for task in self.tasks:
            if (summary := self.summaries.get((system, task, self.headline.name))) is not None:
                found.update(summary.counts)
        return found


def build_leaderboard(
    runs: Sequence[RunFolder], *, within: float | None = None, headline: str | None = None
) -> Leaderboard:
    """Return the leaderboard of one or more run folders.

    Args:
        runs: run folders, or single systems of them.
        within: list the pairs of systems that differ by less than this, in units of the headline metric.
        headline: name of the metric that leads; None: the choice of the runs, or else the best that applies.

    Raises:
        UnknownName: no metric has the name of `headline`.
        BadData: no scores, a system in two runs, or runs whose tasks, metrics or instruments differ.
    """
    manifests = [run.manifest() for run in runs]
    _require_comparable(runs, manifests)
    facts_of_task: dict[str, TaskFacts] = {}
    facts_of_system: dict[str, SystemFacts] = {}
    scores: list[Score] = []
    samples: dict[tuple[str, str], Sample] = {}
    responses: list[Response] = []
    for run, manifest in zip(runs, manifests, strict=True):
        facts_of_task |= manifest.tasks
        facts_of_system |= manifest.systems
        samples |= {(s.task, s.id): s for s in run.samples()}
        scores += run.scores().values()
        responses += run.responses().values()
    if not scores:
        raise BadData(f"{runs[0].path}: no scores yet; make them with `echat-eval run {runs[0].path}`")
    metrics = tuple({m.name: m for manifest in manifests for m in manifest.metrics}.values())
    if unknown := {score.metric for score in scores} - {metric.name for metric in metrics}:
        raise BadData(
            f"{runs[0].path}: scores of a metric {shorten(min(unknown))}, which no manifest.json defines; "
            "restore the files, or score the run again"
        )
    answered = {score.system for score in scores}
    roles: dict[str, SystemRole] = {
        name: facts.role for name, facts in facts_of_system.items() if name in answered
    }
    assumed = {metric.name: _assumed(scores, metric) for metric in metrics}
    by_task = tasks_only(metrics, scores, left_out_of_all(metrics, samples.values()))
    units = units_of(list(samples.values()))
    summaries = {
        cell: summary
        for cell, summary in _summarise(scores, samples, units, metrics, assumed).items()
        if cell[1] != OVERALL or cell[2] not in by_task
    }
    # In the order of the samples; a manifest sorts its keys.
    tasks = tuple(
        t for t in dict.fromkeys(task for task, _ in samples) if any(key[1] == t for key in summaries)
    )
    lead = _lead(manifests, metrics, scores, roles, headline)
    unproven = {metric: judge for run in runs for metric, judge in unproven_metrics(run).items()}
    may_rank = lead.name not in unproven and lead.name not in by_task
    return Leaderboard(
        metrics=metrics,
        tasks=tasks,
        titles={name: facts.title.get("en", name) for name, facts in facts_of_task.items()},
        roles=roles,
        summaries=summaries,
        headline=lead,
        dashes=dash_reasons(scores, {m.name for m in metrics if m.by_voice or m is lead}),
        apart=_apart(tasks, samples.values(), metrics),
        tasks_only=by_task,
        shares={
            m.name: ceiling_shares(scores, m, samples, units)
            for m in metrics
            if m.by_voice and m.low is not None and m.high is not None
        },
        ranking=ranking_of(
            [s for s, role in roles.items() if role == "system" and may_rank],
            scores,
            samples,
            lead,
            missing_at_most=assumed[lead.name].most,
            margin=within,
        ),
        caps=_caps(scores, samples, metrics, assumed),
        gaps=gaps_of(scores, samples, metrics, units),
        times=times_of(responses, {name: facts_of_system[name] for name in roles}),
        earlier=earlier_replies(responses),
        people=_people(runs),
        unproven=unproven,
        asking=frozenset(sample.task for sample in samples.values() if sample.asks is not None),
        unfinished=tuple(fault for run in runs if (fault := pending(run)) is not None),
    )


def _people(runs: Sequence[RunFolder]) -> dict[str, JudgeValidation | None]:
    """Return metric of a judge -> its agreement with people, of the run with the most rated replies."""
    found: dict[str, JudgeValidation | None] = {}
    for run in runs:
        for metric, validation in validations(run).items():
            known = found.get(metric)
            if known is None or (validation is not None and validation.replies > known.replies):
                found[metric] = validation
    return found


def _lead(
    manifests: Sequence[RunManifest],
    metrics: Sequence[Metric],
    scores: Iterable[Score],
    roles: Mapping[str, SystemRole],
    given: str | None,
) -> Metric:
    """Return the headline. Floors and ceilings have no say, unless there are no other systems."""
    found = applicable_metrics((score.system, score.metric, score.state) for score in scores)
    systems = {name: names for name, names in found.items() if roles.get(name) == "system"}
    return headline_of(metrics, systems or found, selected=chosen_headline(manifests, given))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Assumed:
    """Assumed value and weight of a missing row of one metric.

    Attributes:
        most: the most that its value counts as; None: unknown.
        weight: of a ratio, the largest one seen. The words of a reply that does not exist are unknown.
    """

    most: float | None
    weight: float


def _assumed(scores: Sequence[Score], metric: Metric) -> _Assumed:
    rows = [score for score in scores if score.metric == metric.name and score.value is not None]
    most = metric.high
    if metric.low is not None and metric.high is None:
        most = missing_cap(np.array([score.value for score in rows], dtype=np.float64), metric.low)
    return _Assumed(most=most, weight=max((score.weight for score in rows), default=1.0))


def _caps(
    scores: Sequence[Score],
    samples: Mapping[tuple[str, str], Sample],
    metrics: Sequence[Metric],
    assumed: Mapping[str, _Assumed],
) -> dict[str, float]:
    """Return metric -> cap of its missing values, for metrics that lack rows and an upper end."""
    size = Counter(task for task, _ in samples)
    caps = {}
    for metric in metrics:
        rows = [score for score in scores if score.metric == metric.name]
        # A sample without a row is missing as well, in the ranks.
        expected = sum(size[task] for _, task in {(score.system, score.task) for score in rows})
        lacking = len(rows) < expected or any(score.state == "missing" for score in rows)
        most = assumed[metric.name].most
        if metric.high is None and lacking and most is not None:
            caps[metric.name] = most
    return caps


def _apart(tasks: Sequence[str], samples: Iterable[Sample], metrics: Iterable[Metric]) -> tuple[str, ...]:
    """Return the tasks with samples that some mean over all tasks leaves out; none if that is all tasks."""
    if not any(metric.by_voice for metric in metrics):
        return ()
    dialogue = [sample for sample in samples if sample.asks is None]
    found = {s.task for s in dialogue if only_traits(s.cues, s.own_cues)}
    others = any(not only_traits(s.cues, s.own_cues) for s in dialogue)
    return tuple(t for t in tasks if t in found) if others else ()


def _require_comparable(runs: Sequence[RunFolder], manifests: Sequence[RunManifest]) -> None:
    """Raise if systems overlap, or if tasks, scorers or annotators differ between runs."""
    named = [(str(run.path), manifest) for run, manifest in zip(runs, manifests, strict=True)]
    refuse_duplicate_systems((name, manifest.systems) for name, manifest in named)
    models = [manifest.judge_models() for _, manifest in named]
    if reasons := version_differences([(name, manifest.hashes()) for name, manifest in named], models):
        raise BadData(not_comparable(reasons))


def _summarise(
    scores: Iterable[Score],
    samples: Mapping[tuple[str, str], Sample],
    cluster: Mapping[tuple[str, str], Unit],
    metrics: Sequence[Metric],
    assumed: Mapping[str, _Assumed],
) -> dict[tuple[str, str, str], Summary]:
    cells: dict[tuple[str, str, str], list[Score]] = {}
    left_out: dict[tuple[str, str, str], list[Score]] = {}
    apart = left_out_of_all(metrics, samples.values())
    for score in scores:
        cells.setdefault((score.system, score.task, score.metric), []).append(score)
        pooled = left_out if apart(score) else cells
        pooled.setdefault((score.system, OVERALL, score.metric), []).append(score)
    cells = {**left_out, **cells}  # a run of nothing else is its own mean over all tasks
    by_name = {metric.name: metric for metric in metrics}
    label = {ident: gold_label(s.cues, s.asks) for ident, s in samples.items()}
    return {
        cell: _summary(cell, found, by_name[cell[2]], cluster, label, assumed[cell[2]])
        for cell, found in cells.items()
    }


def _summary(
    cell: tuple[str, str, str],
    scores: Sequence[Score],
    metric: Metric,
    cluster: Mapping[tuple[str, str], Unit],
    label: Mapping[tuple[str, str], str | None],
    assumed: _Assumed,
) -> Summary:
    counts: dict[str, int] = {}
    for score in scores:
        counts[score.state] = counts.get(score.state, 0) + 1
    # Rows of a scorer that gave a failure no value, which comparisons and the gate fill in as well.
    scores = [
        replace(s, value=metric.failure_value) if s.state == "failed" and s.value is None else s
        for s in scores
    ]
    counted = [score for score in scores if score.value is not None]
    estimate = bounds = None
    if counted:
        values = [score.value for score in counted if score.value is not None]
        clusters = [cluster[score.task, score.sample_id] for score in counted]
        macro = metric.average == "macro recall"
        estimate = level_mean(
            values,
            clusters,
            low=metric.low,
            high=metric.high,
            weights=None if macro else _weights(metric, counted, label),
            strata=_strata(counted, label) if macro else None,
        )
    if counts.get("missing"):
        rows = [s for s in scores if s.state in ("value", "missing") or s.value is not None]
        bounds = mean_bounds(
            [score.value for score in rows],
            [score.state for score in rows],
            metric.low,
            assumed.most,
            weights=_weights(
                metric,
                [replace(s, weight=assumed.weight) if s.state == "missing" else s for s in rows],
                label,
            ),
        )
    return Summary(
        system=cell[0], task=cell[1], metric=cell[2], estimate=estimate, bounds=bounds, counts=counts
    )


def _weights(
    metric: Metric, scores: Sequence[Score], label: Mapping[tuple[str, str], str | None]
) -> list[float] | None:
    """Return the weight of each score; None if all are equal."""
    if metric.average == "ratio":
        return [score.weight for score in scores]
    if metric.average == "macro recall":
        return stratum_weights(_strata(scores, label))
    return None


def _strata(scores: Sequence[Score], label: Mapping[tuple[str, str], str | None]) -> NDArray[np.int64]:
    return label_strata([label[score.task, score.sample_id] for score in scores])
