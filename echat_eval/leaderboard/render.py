"""The cells and lines of a leaderboard, and its Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.io.display import markdown_text, number_text
from echat_eval.io.phrase import joined, phrase
from echat_eval.leaderboard.build import OVERALL, Leaderboard, Summary
from echat_eval.leaderboard.dashes import dash_lines
from echat_eval.leaderboard.rank_text import rank_lines, rank_text
from echat_eval.leaderboard.share_text import share_lines
from echat_eval.leaderboard.text_table import TextTable
from echat_eval.records import ROLES, STATES
from echat_eval.stats import CAP_FACTOR
from echat_eval.store.headline import is_quality

if TYPE_CHECKING:
    from collections.abc import Iterator

    from echat_eval.leaderboard.published import Published
    from echat_eval.records import Metric
    from echat_eval.stats import Estimate

__all__ = [
    "ALL_FAILED",
    "MARK",
    "NO_INTERVAL_NOTE",
    "PROXY_NOTE",
    "PROXY_TITLE",
    "apart_lines",
    "board_lines",
    "by_role",
    "by_task_metrics",
    "cap_lines",
    "cell_text",
    "count_columns",
    "estimate_text",
    "heading",
    "headline_notes",
    "markdown",
    "metric_title",
    "note_markdown",
    "other_rows",
    "other_titles",
    "people_lines",
    "published_table",
    "reading_notes",
    "rows_of",
    "tasks_only_lines",
    "unfinished_lines",
]

#: A cell without any evidence: its mean is that of failures alone.
ALL_FAILED = "all failed"
#: Role -> suffix of a name with that role, in the order of tables.
MARK = {"system": "", "floor": " (floor)", "ceiling": " (ceiling)"}


def cell_text(summary: Summary | None, metric: Metric) -> str:
    """Return a cell: value, 95 % interval, and bounds over missing rows.

    "-" is not applicable; "?" means that every row is missing; a bound of "?": the metric has no such end.
    """
    if summary is None:
        return "-"
    counts = summary.counts
    if summary.estimate is None:
        return "?" if counts.get("missing") else "-"
    if summary.all_failed:
        return ALL_FAILED
    text = estimate_text(summary.estimate, metric.digits)
    if summary.bounds is not None:
        low, high = summary.bounds.low, summary.bounds.high
        text += f" {{{_bound(low, metric)}..{_bound(high, metric)}}}"
    return text


def estimate_text(estimate: Estimate, digits: int) -> str:
    """Return a mean with its interval, or why it has none."""
    text = number_text(estimate.value, digits)
    if estimate.low is None or estimate.high is None:
        return f"{text} [{estimate.no_interval}]"
    return f"{text} [{number_text(estimate.low, digits)}, {number_text(estimate.high, digits)}]"


def _bound(value: float | None, metric: Metric) -> str:
    return "?" if value is None else number_text(value, metric.digits)


def by_role(board: Leaderboard, metric: Metric) -> dict[str, list[str]]:
    """Return role -> systems, best mean over all tasks first, systems without a mean last.

    A metric without a mean over all tasks has the order of the headline; an order that was chosen holds for
    every metric.
    """
    if metric.name in board.tasks_only:
        metric = board.headline

    def sort_key(system: str) -> tuple[float, str]:
        if board.order:
            return board.order.index(system), system
        summary = board.summaries.get((system, OVERALL, metric.name))
        if summary is None or summary.estimate is None:
            return float("inf"), system
        return (-1 if metric.higher_is_better else 1) * summary.estimate.value, system

    return {
        role: sorted((s for s, board_role in board.roles.items() if board_role == role), key=sort_key)
        for role in ROLES
    }


def rows_of(board: Leaderboard, metric: Metric) -> Iterator[tuple[str, str, list[Summary | None]]]:
    """Yield system, role and one summary per column of the metric's table, best first within a role."""
    for role, systems in by_role(board, metric).items():
        for name in systems:
            columns = board.columns(metric)
            yield name, role, [board.summaries.get((name, task, metric.name)) for task in columns]


def by_task_metrics(board: Leaderboard) -> list[Metric]:
    """Return the metrics with a table by task: the headline, and those without a mean over all tasks."""
    head = board.headline
    return [head, *(m for m in board.metrics if m.name in board.tasks_only and m.name != head.name)]


def _other_metrics(board: Leaderboard) -> list[Metric]:
    return [m for m in board.metrics if m not in by_task_metrics(board)]


def heading(board: Leaderboard, metric: Metric) -> list[str]:
    """Return the column titles of a metric's table by task."""
    return [board.titles.get(column, column) for column in board.columns(metric)]


def markdown(board: Leaderboard, published: list[Published] | None = None) -> str:
    """Return the leaderboard as Markdown, with counts of rows per system."""
    lines = ["# Leaderboard"]
    for metric in by_task_metrics(board):
        lines += ["", *_md_table(board, metric)]
    lines += ["", "## Other measures, over all tasks", ""]
    titles = other_titles(board)
    lines.append("| " + " | ".join(map(markdown_text, titles)) + " |")
    lines.append("|---|" + "--:|" * (len(titles) - 1))
    for name, role, cells in other_rows(board):
        lines.append(f"| {markdown_text(name)}{MARK[role]} | " + " | ".join(cells) + " |")
    lines += ["", READING]
    for line in board_lines(board):
        lines += ["", note_markdown(line)]
    if board.headline.proxy:
        lines += ["", f"**{PROXY_TITLE}.** {PROXY_NOTE}"]
    for note in headline_notes(board):
        lines += ["", markdown_text(note)]
    for table in published or []:
        lines += ["", *published_table(table).lines()]
    return "\n".join(lines) + "\n"


def note_markdown(note: str) -> str:
    """Return a note as Markdown; "- " at its beginning makes it an item of a list."""
    indent, dash, text = note.partition("- ")
    return indent + dash + markdown_text(text) if dash and not indent.strip() else markdown_text(note)


def other_titles(board: Leaderboard) -> list[str]:
    """Return the column titles of the table of the other measures."""
    counts = ["scored", "failed", "missing", "n/a", *(["earlier replies"] if board.earlier else [])]
    return ["system", *counts, *map(metric_title, _other_metrics(board))]


def count_columns(board: Leaderboard) -> int:
    """Return the number of columns of `other_rows` that hold counts, before those of the measures."""
    return len(STATES) + bool(board.earlier)


def other_rows(board: Leaderboard) -> Iterator[tuple[str, str, list[str]]]:
    """Yield system, role and cells of the other measures over all tasks: counts, then metrics."""
    for name, role, _ in rows_of(board, board.headline):
        counts = board.counts(name)
        numbers = [str(counts.get(state, 0)) for state in STATES]
        numbers += [str(board.earlier.get(name, 0))] if board.earlier else []
        cells = [
            cell_text(board.summaries.get((name, OVERALL, metric.name)), metric)
            for metric in _other_metrics(board)
        ]
        yield name, role, [*numbers, *cells]


def metric_title(metric: Metric) -> str:
    """Return a metric's title with its unit and its better direction."""
    arrow = "↑" if metric.higher_is_better else "↓"
    return f"{metric.title}{f', {metric.unit}' if metric.unit else ''} {arrow}"


def _md_table(board: Leaderboard, metric: Metric) -> list[str]:
    lines = [f"**{markdown_text(metric_title(metric))}**, mean and 95 % interval", ""]
    ranked = metric.name == board.headline.name
    titles = list(map(markdown_text, heading(board, metric)))
    lines.append("| " + " | ".join([*(["rank"] if ranked else []), "system", *titles]) + " |")
    lines.append("|" + "--:|" * ranked + "---|" + "--:|" * len(titles))
    for name, role, summaries in rows_of(board, metric):
        cells = [cell_text(summary, metric) for summary in summaries]
        rank = [rank_text(board, name)] if ranked else []
        lines.append("| " + " | ".join([*rank, f"{markdown_text(name)}{MARK[role]}", *cells]) + " |")
    return lines


#: The texts in place of an interval.
NO_INTERVAL_NOTE = (
    "[no spread]: all values, or the means of all clusters, are the same, so the variation is unknown. "
    "[one cluster]: all samples, or all of one label, are in one cluster."
)
READING = (
    "Intervals are over clusters (samples that share a speaker, a transcript or a contrast group). "
    '"-": not applicable. "?": unknown, rows are missing. '
    "{a..b}: the mean with the missing rows at their worst and best. "
    f"{NO_INTERVAL_NOTE}"
)
PROXY_TITLE = "Meaning and limits of these numbers"
#: Meaning and limits of a proxy headline; printed under every leaderboard with one.
PROXY_NOTE = (
    "The match rate asks which of two voices with the same words a reply answers; the cue contrast asks how "
    "much better the reply fits its own voice. A system that ignores the voice scores 50 % and 0 points. "
    "Here the fit is the similarity of sentence embeddings to reference replies, a proxy: it can show that a "
    "system reacts to a cue. It cannot show that a reply is good, kind or correct (the floors `label-parrot` "
    "and `wrong-language` react, too), it ignores the voice of the reply, and it is not a published score."
)
#: Printed where nothing in a run measures whether the replies are any good.
NO_QUALITY = (
    "Reacting to the voice is not helping: nothing in this run measures the quality of the replies. Add a "
    "judge (--judge) or people (echat-eval rate)."
)
#: Printed if a run was interrupted.
UNFINISHED = (
    "Unfinished run: {what}. Every number is of the replies that are there; run the same command to finish "
    "it."
)
#: Printed if "all" leaves samples out.
APART = (
    "Samples whose only cues are age and gender (in {tasks}) are not in {all}: a reply that suits these may "
    "be a stereotype."
)


def reading_notes(board: Leaderboard) -> list[str]:
    """Return what the marks of a leaderboard mean, and what a proxy headline can show."""
    proxy = [f"{PROXY_TITLE}: {PROXY_NOTE}"] if board.headline.proxy else []
    return [READING, *board_lines(board), *proxy, *headline_notes(board)]


def board_lines(board: Leaderboard, only: Metric | None = None) -> list[str]:
    """Return the lines below the tables: ranks, shares of the ceiling, what has no mean, and missing values.

    Args:
        board: the leaderboard.
        only: return the lines of this metric's table only.
    """
    ranks = rank_lines(board) if only is None or only.name == board.headline.name else []
    return [
        *ranks,
        *people_lines(board, only),
        *tasks_only_lines(board, only),
        *share_lines(board, only),
        *cap_lines(board, only),
    ]


def people_lines(board: Leaderboard, only: Metric | None = None) -> list[str]:
    """Return whether the judges were held against people, metrics with the same answer in one line."""
    titles: dict[str, list[str]] = {}
    for metric in board.metrics if only is None else (only,):
        if metric.name in board.people:
            found = board.people[metric.name]
            answer = phrase("no")
            if found is not None:
                shown = phrase("yes") if found.answer == "yes" else phrase("not shown")
                answer = joined(" ", [shown, f"({found})"])
            titles.setdefault(answer, []).append(metric.title)
    return [
        phrase("{names}: validated against people: {answer}", names=joined(", ", names), answer=answer)
        for answer, names in titles.items()
    ]


def tasks_only_lines(board: Leaderboard, only: Metric | None = None) -> list[str]:
    """Return why metrics have no mean over all tasks, one line each; or of one only."""
    return [
        f"{metric_title(metric)}: by task only. Each task has a scale of its own, so a mean over tasks has "
        f"no meaning{', and systems have no ranks' if metric.name == board.headline.name else ''}."
        for metric in (board.metrics if only is None else (only,))
        if metric.name in board.tasks_only
    ]


def cap_lines(board: Leaderboard, only: Metric | None = None) -> list[str]:
    """Return what missing values of metrics without an upper end count as, one line each; or of one only."""
    lines = []
    for metric in board.metrics if only is None else (only,):
        if metric.name not in board.caps:
            continue
        uses = "in {a..b} and in the ranks" if metric.name == board.headline.name else "in {a..b}"
        weight = ", with the largest weight seen" if metric.average == "ratio" else ""
        lines.append(
            f"{metric_title(metric)}: it has no upper end; {uses} each missing value counts as at most "
            f"{number_text(board.caps[metric.name], metric.digits)}, {CAP_FACTOR:g} x the largest value "
            f"seen{weight}."
        )
    return lines


def unfinished_lines(board: Leaderboard) -> list[str]:
    """Return one line per run that was interrupted."""
    return [phrase(UNFINISHED, what=what) for what in board.unfinished]


def apart_lines(board: Leaderboard, only: Metric | None = None) -> list[str]:
    """Return the line on what means over all tasks leave out, if they leave anything out.

    Args:
        board: the leaderboard.
        only: the metric of a table with the column "all"; None: the line names the metrics.
    """
    metrics = [
        metric
        for metric in (board.metrics if only is None else (only,))
        if metric.by_voice and metric.name not in board.tasks_only
    ]
    if not board.apart or not metrics:
        return []
    names = ", ".join(metric.title for metric in metrics)
    return [_apart_line(board, f"the means of {names} over all tasks" if only is None else '"all"')]


def _apart_line(board: Leaderboard, every: str) -> str:
    tasks = joined(", ", map(board.task_name, board.apart))
    return phrase(APART, tasks=tasks, all=every)


def headline_notes(board: Leaderboard) -> list[str]:
    """Return what is unfinished, why cells are "-", what "all" leaves out, what a match rate cannot show."""
    titles = {metric.name: metric.title for metric in board.metrics}
    graded = {metric.name for metric in board.metrics if is_quality(metric)}
    judged = any(name in graded and cell.estimate for (_, _, name), cell in board.summaries.items())
    lines = unfinished_lines(board)
    lines += dash_lines(board.dashes, titles, board.tasks, judged=judged, task_name=board.task_name)
    if board.apart:
        every = phrase('"all"') if board.headline.by_voice else phrase('"all" of match rates')
        lines.append(_apart_line(board, every))
    if board.headline.by_voice and not any(is_quality(metric) for metric in board.metrics):
        lines.append(phrase(NO_QUALITY))
    return lines


def published_table(table: Published) -> TextTable:
    """Return a published table, each system marked with a dagger."""
    columns = [c if isinstance(c, str) else f"{c['test_set']} ({c['metric']})" for c in table.columns]
    return TextTable(
        caption=f"Published, not measured here: {table.title}",
        titles=("system", *columns),
        rows=[
            [f"{row['system']} †", *("-" if value is None else str(value) for value in row["values"])]
            for row in table.rows
        ],
        notes=[f"† Source: {table.source}. {table.unit}."],
        texts=1,
    )
