"""Tables of a report with ratings: agreement of a judge with people, and means of both together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.errors import BadData
from echat_eval.io.display import number_text
from echat_eval.io.hashing import file_sha256
from echat_eval.leaderboard.published import words_judge
from echat_eval.leaderboard.render import estimate_text
from echat_eval.report.cells import NOT_APPLICABLE, Block, Table, TableCell, TableRow
from echat_eval.report.human import grades, percent
from echat_eval.report.rating.judge_agreement import STATISTICS, compare
from echat_eval.stats import powered_mean
from echat_eval.stats.factors import units_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from echat_eval.io.ratings import Rating
    from echat_eval.records import Metric, Score
    from echat_eval.report.rating.agreement import Agreement
    from echat_eval.report.rating.judge_agreement import JudgeAgreement
    from echat_eval.report.runs import MergedRuns
    from echat_eval.stats import Estimate

__all__ = ["agreement_tables", "with_judge_table"]

AGREEMENT_NOTE = (
    "Spearman's correlation. Each rater in turn is left out, and both the judge and that rater are compared "
    "with the mean of the others: a judge as good as one rater has a difference of 0. Alpha: Krippendorff's, "
    "ordinal, among the people. Brackets: 95 % interval over clusters of replies, for these raters."
)
CORRELATION_NOTE = (
    "The judge against the mean of the raters but one, averaged over the rater who is left out; with one "
    "rater, against that one. Kappa is of whole grades only. Brackets: 95 % interval over clusters of "
    "replies, for these raters."
)
WITH_JUDGE_NOTE = (
    "People: mean of the ratings, 0 to 100 of their range. With the judge: the same mean with the judge's "
    "scores of all replies (PPI++), which cancels the judge's bias; width: of its interval, in shares of "
    "that of people alone. It holds if the rated replies were drawn at random, as `rate export` does. "
    "Brackets: 95 % interval over replies and raters."
)
NOTHING = TableCell(text=NOT_APPLICABLE, state="not applicable")


def _of_judge(runs: MergedRuns) -> tuple[Metric, list[Score]] | None:
    """Return the judge's grade of the words, and its scores of replies that did not fail."""
    metric = None if runs.board is None else words_judge(runs.board.metrics)
    if metric is None:
        return None
    found = (scores.get(metric.name) for scores in runs.scores.values())
    return metric, [s for s in found if s is not None and s.state == "value" and s.value is not None]


def agreement_tables(path: Path, runs: MergedRuns) -> list[Table]:
    """Return the agreement of the judge and of one rater, and correlations; none without a judge of them."""
    judge = _of_judge(runs)
    ratings = grades(runs.ratings(path))
    if judge is None:
        return []
    metric, scores = judge
    try:
        agreements = compare(ratings, scores, units_of(list(runs.samples.values())))
    except BadData:  # other replies, or dimensions that the judge has no grade of
        return []
    sources = {"ratings": {"sha256": file_sha256(path), "metric": metric.name}}
    return [
        _agreement_table(agreements, metric, sources),
        _correlation_table(agreements, metric, sources),
    ]


def _correlation_table(
    agreements: Sequence[JudgeAgreement], metric: Metric, sources: Mapping[str, Any]
) -> Table:
    """Return dimension and system x correlations of the judge with people."""
    rows = [
        TableRow(
            label=f"{found.dimension}, {found.system}",
            cells=(
                TableCell(text=str(found.alpha.n), value=found.alpha.n, sources=sources),
                *(
                    _agreement_cell(found.judge[name], sources) if name in found.judge else NOTHING
                    for name in STATISTICS
                ),
            ),
        )
        for found in agreements
    ]
    return Table(
        name="people-correlation",
        caption=f"Correlation of {metric.title} with people",
        columns=("replies", *STATISTICS),
        blocks=(Block(rows=tuple(rows)),),
        notes=(CORRELATION_NOTE,),
        stub="dimension, system",
    )


def _agreement_table(
    agreements: Sequence[JudgeAgreement], metric: Metric, sources: Mapping[str, Any]
) -> Table:
    """Return dimension and system x agreement of the judge, and of one rater."""
    rows = [
        TableRow(
            label=f"{found.dimension}, {found.system}",
            cells=(
                TableCell(text=str(found.alpha.n), value=found.alpha.n, sources=sources),
                TableCell(text=str(found.raters), value=found.raters, sources=sources),
                *(
                    _agreement_cell(agreement, sources)
                    for agreement in (
                        found.judge["Spearman"],
                        found.one_rater["Spearman"],
                        found.difference["Spearman"],
                        found.alpha,
                    )
                ),
            ),
        )
        for found in agreements
    ]
    return Table(
        name="people-agreement",
        caption=f"Agreement of {metric.title} with people",
        columns=("replies", "raters", "judge", "one rater", "judge - rater", "alpha"),
        blocks=(Block(rows=tuple(rows)),),
        notes=(AGREEMENT_NOTE,),
        stub="dimension, system",
    )


def _agreement_cell(found: Agreement, sources: Mapping[str, Any]) -> TableCell:
    if found.value is None:
        return NOTHING
    text = number_text(found.value, 2)
    if found.low is not None and found.high is not None:
        text += f" [{number_text(found.low, 2)}, {number_text(found.high, 2)}]"
    return TableCell(text=text, value=found.value, low=found.low, high=found.high, sources=sources)


def with_judge_table(path: Path, runs: MergedRuns) -> Table | None:
    """Return system and task x means of people alone and with the judge; None without a judge."""
    judge = _of_judge(runs)
    if judge is None:
        return None
    metric, scores = judge
    values = {(s.system, s.task, s.sample_id): s.value for s in scores if s.value is not None}
    rated: dict[tuple[str, str], list[Rating]] = {}
    for r in grades(runs.ratings(path)):
        if (r.system, r.task, r.sample_id) in values:
            rated.setdefault((r.system, r.task), []).append(r)
    if not rated:
        return None
    sha256, units = file_sha256(path), units_of(list(runs.samples.values()))
    rows, reasons = [], dict[str, None]()
    for (system, task), found in rated.items():
        of_system = [ident for ident in values if ident[:2] == (system, task)]
        position = {ident: number for number, ident in enumerate(of_system)}
        mean = powered_mean(
            [percent(r) for r in found],
            [position[r.system, r.task, r.sample_id] for r in found],
            [r.rater for r in found],
            [values[ident] for ident in of_system],
            [units[ident[1:]] for ident in of_system],
            low=0,
            high=100,
        )
        sources = {"ratings": {"sha256": sha256, "system": system, "task": task, "metric": metric.name}}
        label = f"{system}, {runs.choice.shown(task)}"
        replies = len({r.sample_id for r in found})
        both = NOTHING if mean.reason else _cell(mean.estimate, metric, sources)
        if mean.reason:
            reasons[f"{label}: the judge is not used ({mean.reason})."] = None
        share = NOTHING
        if mean.reason is None:
            width = _width(mean.estimate) / _width(mean.people.estimate)
            share = TableCell(text=number_text(width, 2), value=width, sources=sources)
        counts = TableCell(text=f"{replies} of {len(of_system)}", value=replies, sources=sources)
        cells = (counts, _cell(mean.people.estimate, metric, sources), both, share)
        rows.append(TableRow(label=label, cells=cells))
    return Table(
        name="people-with-judge",
        caption=f"People's ratings, alone and with {metric.title}",
        columns=("rated of judged replies", "people", "people with the judge", "width"),
        blocks=(Block(rows=tuple(rows)),),
        notes=(WITH_JUDGE_NOTE, *reasons),
        stub="system, task",
    )


def _cell(e: Estimate, metric: Metric, sources: Mapping[str, Any]) -> TableCell:
    return TableCell(
        text=estimate_text(e, metric.digits), value=e.value, low=e.low, high=e.high, sources=sources
    )


def _width(e: Estimate) -> float:
    assert e.low is not None
    assert e.high is not None
    return e.high - e.low
