"""Comparing runs: two by paired differences, several by their trend."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from echat_eval.analysis.compare_runs import compare_runs, series_of_runs
from echat_eval.analysis.nightly import specs_of
from echat_eval.analysis.runs import load_scored_system
from echat_eval.api.reading import one_system_of
from echat_eval.errors import UsageError
from echat_eval.leaderboard.run import Run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from echat_eval.analysis.compare_runs import RunComparison
    from echat_eval.analysis.metric_rule import MetricRule
    from echat_eval.stats import Sentences

__all__ = ["compare", "trend"]


def compare(
    *runs: Run | str | Path | pd.DataFrame,
    metrics: str | Sequence[str] | Mapping[str, str | MetricRule] | None = None,
    headline: str | None = None,
    anyway: bool = False,
    sentences: Sentences = "random",
) -> RunComparison:
    """Compare two runs by paired differences, or several, in the given order, by their trend.

    Args:
        runs: two or more, of one system each, the baseline first: runs, specs as in `load_run`, paths of
            tables, or long tables.
        metrics: names, each as `name` or `name=WORDS`; or name -> WORDS: a direction and further facts, as in
            "lower,average=ratio,low=0". By default all metrics that the runs share; of tables, those whose
            direction a column states.
        headline: name of the metric that comes first; None: as for `leaderboard`.
        anyway: compare runs whose tasks or instruments differ, and mark every number.
        sentences: "fixed" if results need hold for exactly these sentences only.

    Raises:
        UsageError: fewer than two runs, several systems in one, or runs that are not comparable.
        BadData: no shared samples, or a metric is absent from one run.
    """
    loaded = [one_system_of(run, f"run {number}") for number, run in enumerate(runs, 1)]
    return compare_runs(loaded, metrics=metrics, headline=headline, anyway=anyway, sentences=sentences)


def trend(
    *runs: Run | str | Path,
    out: str | Path,
    metrics: str | Sequence[str] | Mapping[str, str | MetricRule] | None = None,
    headline: str | None = None,
    anyway: bool = False,
    sentences: Sentences = "random",
) -> list[str]:
    """Write one figure and one table of every metric over many runs, with change points; return their lines.

    Args:
        runs: as for `compare`, in order; a folder of runs stands for its runs in the order of their names.
        out: folder to write: trend.png, trend.pdf, trend.csv, trend.md.
        metrics, headline, anyway, sentences: as for `compare`; by default all metrics that two runs have.

    Raises:
        UsageError: fewer than two runs, or runs that are not comparable; BadData: a folder without runs.
    """
    from echat_eval.report.trend_report import trend_lines, write_trend

    specs = specs_of(run.spec if isinstance(run, Run) else str(run) for run in runs)
    loaded = [load_scored_system(spec) for spec in specs]
    series, notes = series_of_runs(
        loaded, metrics=metrics, headline=headline, anyway=anyway, sentences=sentences
    )
    if not series:
        raise UsageError(f"no metric has a series: {'; '.join(notes)}")
    names = [run.name for run in loaded]
    paths = write_trend(series, names, Path(out), notes)
    return [*trend_lines(series, names, notes), f"wrote {', '.join(map(str, paths))}"]
