"""The headline: the metric that is shown first and ranks, in tables, figures, page, ablation and trend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.errors import UnknownName, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from echat_eval.records import Metric
    from echat_eval.store.manifest import RunManifest

__all__ = ["applicable_metrics", "chosen_headline", "headline_of", "is_quality"]

#: End of the names of metrics that rank nothing.
EXPERIMENTAL = "_experimental"


def headline_of(
    metrics: Sequence[Metric], applicable: Mapping[str, Collection[str]], *, selected: str | None = None
) -> Metric:
    """Return the metric that leads: the selected one, or else the best that applies to every system.

    If none applies to every system, the best that applies to one; if none applies at all, the best one, whose
    cells are then "-". `docs/decisions/017-headline.md` has the order and its reasons.

    Args:
        metrics: at least one, in the order of tables.
        applicable: system -> names of the metrics that apply to it, as `applicable_metrics` returns.
        selected: name that a command or an experiment file chose; None: no choice.

    Raises:
        UnknownName: no metric has the selected name.
        UsageError: the selected metric is experimental.
    """
    by_name = {metric.name: metric for metric in metrics}
    if selected is not None:
        if selected not in by_name:
            raise UnknownName("metric", selected, by_name)
        if selected.endswith(EXPERIMENTAL):
            raise UsageError(
                f"metric '{selected}' is experimental and ranks nothing; choose another headline"
            )
        return by_name[selected]
    ranked = sorted((m for m in metrics if _place(m) is not None), key=lambda m: _place(m) or 0)
    for holds in (all, any):
        for metric in ranked:
            if applicable and holds(metric.name in names for names in applicable.values()):
                return metric
    return (ranked or metrics)[0]


def _place(metric: Metric) -> int | None:
    """Return the place of a metric in the order, 0 first; None: it leads only by choice."""
    judged = metric.name.startswith("judge")
    order = (
        judged and metric.name.endswith("_match_rate"),
        is_quality(metric),
        metric.name == "match_rate_proxy",
        judged and metric.name.endswith("_cue_contrast"),
        metric.name == "cue_contrast_proxy",
        metric.name.startswith("understanding_"),
    )
    known = next((number for number, holds in enumerate(order, 1) if holds), None)
    # A scorer of the user's own may declare the metric that leads. Manifests of older versions do so for the
    # proxies, whose place is known.
    return 0 if metric.headline and known is None else known


def is_quality(metric: Metric) -> bool:
    """Return whether a metric grades the words of a reply: that of a judge, from 0 points."""
    return metric.name.startswith("judge") and metric.low == 0 and not metric.by_voice


def applicable_metrics(rows: Iterable[tuple[str, str, str]]) -> dict[str, set[str]]:
    """Return system -> metrics with a row that is not "not applicable".

    Args:
        rows: system, metric and state of each score.
    """
    found: dict[str, set[str]] = {}
    for system, metric, state in rows:
        names = found.setdefault(system, set())
        if state != "not applicable":
            names.add(metric)
    return found


def chosen_headline(manifests: Iterable[RunManifest], given: str | None = None) -> str | None:
    """Return the name that a command chose, or else the first run that chose one; None without a choice."""
    selected = (m.settings.headline for m in manifests if m.settings is not None and m.settings.headline)
    return given if given is not None else next(selected, None)
