"""`check judge --ratings` and `--labels`: a judge beside people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.cli.table import format_interval
from echat_eval.cli.terminal import show

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from echat_eval.report.rating.judge_agreement import JudgeAgreement
    from echat_eval.report.rating.pair_agreement import PairAgreement

__all__ = ["compare_labels", "compare_ratings"]


def compare_ratings(path: Path, folder: Path, rubric: str | None) -> None:
    """Print the agreement of a run's judge with people's ratings, and keep it in the run folder."""
    from echat_eval.report.rating.judge_agreement import compare_run
    from echat_eval.report.rating.pair_agreement import compare_run_pairs, kinds_of
    from echat_eval.report.rating.validate import validate_run
    from echat_eval.store.select import open_run

    pairs, single = kinds_of(path)
    if pairs:
        _print_pairs(compare_run_pairs(path, folder, rubric))
    if single or not pairs:
        _print_agreements(compare_run(path, folder, rubric))
        for validation in validate_run(path, open_run(str(folder))):
            show(f"{validation.metric}: validated against people: {validation.answer} ({validation})")


def _print_agreements(rows: Sequence[JudgeAgreement]) -> None:
    """Print agreement per dimension and group, and how to read it."""
    for row in rows:
        show("", f"{row.dimension}, {row.system}: {_counts(row)}")
        show(f"  {'with the mean of the other raters':<22}".rstrip())
        show(f"  {'':<21} {'judge':<21} {'one rater':<21} judge - rater")
        for name in row.judge:
            cells = (row.judge[name], row.one_rater[name], row.difference[name])
            texts = " ".join(f"{format_interval(cell, 2):<21}" for cell in cells)
            show(f"  {name:<21} {texts}".rstrip())
        show(f"  alpha among the people (ordinal): {format_interval(row.alpha, 2)}")
    show(
        "",
        "judge, one rater: each rater in turn is left out, and both are compared with the mean of the "
        "others; a judge as good as one rater has a difference of 0. Intervals are over replies and hold "
        "for these raters.",
        '"-": one side is constant, there is one rater, or the statistic does not apply to this scale; '
        "(no interval): fewer than two clusters, or the value depends on one of them alone",
    )


def compare_labels(labels: Path, scores: Path) -> None:
    """Print the agreement of a judge's rows with the human labels of VStyle or TRACE."""
    from echat_eval.checks.published_labels import compare_opinions, compare_pairs, is_pairs

    if not is_pairs(labels):
        _print_agreements(compare_opinions(labels, scores))
        return
    _print_pairs(compare_pairs(labels, scores))


def _print_pairs(rows: Sequence[PairAgreement]) -> None:
    """Print how often a judge gives people's answer about two replies, per dimension."""
    whole = any(row.same is not None for row in rows)
    show(f"{'dimension':<16} {'same answer, %' if whole else '':<19} {'same winner, %':<19} pairs, decided")
    for row in rows:
        same = "" if row.same is None else format_interval(row.same, 1)
        counts = f"{row.pairs}, {row.winner.n}"
        left = f"; {row.unjudged} without an answer of the judge" if row.unjudged else ""
        left += f"; {row.ties} ties of the judge" if row.ties else ""
        show(f"{row.dimension:<16} {same:<19} {format_interval(row.winner, 1):<19} {counts}{left}")
    if all(row.ties == row.winner.n for row in rows):
        show(
            "the judge has one score for both replies of every pair: it detects no difference; 50 % is chance"
        )
    show(
        *(["same answer: one of four (1, 2, both good, both bad)"] if whole else []),
        "same winner: over the pairs that people decided; a tie of the judge counts half",
        "Intervals are over instructions.",
    )


def _counts(row: JudgeAgreement) -> str:
    """Return the numbers of replies, clusters and raters, and what is in no number."""
    text = f"n {row.alpha.n}, clusters {row.alpha.clusters}, raters {row.raters}"
    if row.raters == 1:
        text += "; the judge is compared with this one"
    if row.unjudged:
        text += f"; {row.unjudged} rated replies without a verdict are left out, and no bound covers them"
    return text
