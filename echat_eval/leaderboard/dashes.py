"""Why the headline, and metrics that reward suiting the voice, have no value in a task."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from echat_eval.io.display import one_line, printable
from echat_eval.io.phrase import joined, phrase
from echat_eval.scorers.contrast import NO_GROUP

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from echat_eval.records import Score

__all__ = ["dash_lines", "dash_reasons"]


def dash_reasons(scores: Iterable[Score], metrics: Collection[str]) -> dict[str, dict[str, str]]:
    """Return metric -> task -> most frequent reason, where every row is not applicable."""
    reasons: dict[tuple[str, str], Counter[str]] = {}
    applies = set()
    for score in scores:
        if score.metric not in metrics:
            continue
        if score.state == "not applicable":
            reasons.setdefault((score.metric, score.task), Counter())[score.reason or ""] += 1
        else:
            applies.add((score.metric, score.task))
    found: dict[str, dict[str, str]] = {}
    for (metric, task), counts in reasons.items():
        if (metric, task) not in applies:
            found.setdefault(metric, {})[task] = counts.most_common(1)[0][0]
    return found


def dash_lines(
    dashes: Mapping[str, Mapping[str, str]],
    titles: Mapping[str, str],
    tasks: Sequence[str],
    *,
    judged: bool,
    task_name: Callable[[str], str] = str,
) -> list[str]:
    """Return one line per reason and set of tasks: the metrics that are "-" there.

    Args:
        dashes: as `dash_reasons` returns.
        titles: metric -> title.
        tasks: all tasks, in their order.
        judged: a judge has graded the words.
        task_name: returns the printed name of a task.
    """
    shared: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for metric, reasons in dashes.items():
        for reason in dict.fromkeys(reasons.values()):
            of = tuple(task for task in tasks if reasons.get(task) == reason)
            shared.setdefault((reason, of), []).append(titles[metric])
    lines: list[str] = []
    for (reason, of), names in shared.items():
        metrics, why = joined(" and ", names), _text(reason, judged=judged)
        if len(of) == len(tasks):
            lines.append(phrase('"-" in {metrics}: {why}', metrics=metrics, why=why))
        else:
            some = joined(", ", map(task_name, of))
            lines.append(phrase('"-" in {metrics} of {tasks}: {why}', metrics=metrics, tasks=some, why=why))
    return lines


def _text(reason: str, *, judged: bool) -> str:
    if reason != NO_GROUP:
        return printable(one_line(reason, 200)) or phrase("not applicable")
    if judged:
        return phrase("no contrast groups")
    return phrase("no contrast groups; a judge needs none: --judge MODEL")
