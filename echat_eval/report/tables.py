"""Tables of a run, with the sources of every cell."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from echat_eval.io.display import number_text
from echat_eval.labels import UNKNOWN
from echat_eval.leaderboard.attribution import NAMED, by_task, recognition
from echat_eval.leaderboard.build import OVERALL
from echat_eval.leaderboard.published import words_judge
from echat_eval.leaderboard.rank_text import rank_text
from echat_eval.leaderboard.render import (
    MARK,
    apart_lines,
    board_lines,
    by_role,
    cap_lines,
    cell_text,
    estimate_text,
    metric_title,
    people_lines,
    tasks_only_lines,
    unfinished_lines,
)
from echat_eval.report.cells import NOT_APPLICABLE, Block, Table, TableCell, TableRow
from echat_eval.report.instruments import judge_of
from echat_eval.report.marks import ALPHA, Mark, marks_of, pair_tests
from echat_eval.report.table_notes import INTERVAL_NOTE, mark_note, sentences
from echat_eval.scorers.understanding import WAR

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from echat_eval.leaderboard.build import Leaderboard, Summary
    from echat_eval.records import Cue, Metric
    from echat_eval.report.runs import MergedRuns
    from echat_eval.stats import Estimate

__all__ = [
    "ablation_table",
    "file_stem",
    "overview_table",
    "run_tables",
    "task_table",
    "understanding_table",
]


def summary_cell(summary: Summary | None, metric: Metric, system: str, column: str) -> TableCell:
    """Return the cell of one summary."""
    sources = {"scores": {"metric": metric.name, "task": column, "systems": [system]}}
    text = cell_text(summary, metric)
    if summary is None or summary.estimate is None:
        state: Literal["missing", "not applicable"] = "missing" if text == "?" else "not applicable"
        return TableCell(text=text, state=state, sources=sources)
    e = summary.estimate
    return TableCell(text=text, value=e.value, low=e.low, high=e.high, sources=sources)


def rank_cell(board: Leaderboard, system: str) -> TableCell:
    """Return the cell of a system's rank; empty for floors and ceilings."""
    metric, ranked = board.headline, list(board.ranking.sets)
    found = board.ranking.sets.get(system)
    if found is None:
        return TableCell(text=rank_text(board, system), state="not applicable")
    # Every pair of systems is a test behind every set.
    whole = {"scores": {"metric": metric.name, "task": OVERALL, "systems": ranked}}
    return TableCell(text=str(found), value=found.rank, low=found.low, high=found.high, sources=whole)


def tasks_of(runs: MergedRuns) -> list[str]:
    """Return the scored tasks in the order of the run."""
    board = runs.board
    return [] if board is None else [task for task in runs.tasks if task in board.tasks]


def task_table(runs: MergedRuns, metric: Metric, published: Sequence[Block] = ()) -> Table:
    """Return systems x tasks for one metric: systems, floors and ceilings, published rows."""
    board = runs.board
    assert board is not None
    columns = board.columns(metric)
    ranked = metric.name == board.headline.name
    roles = by_role(board, metric)
    # A mark orders systems, as a rank does.
    may_rank = metric.name not in board.unproven
    marks = _marks(runs, metric, roles["system"], columns) if may_rank else {}

    def row(system: str, role: str) -> TableRow:
        cells = [rank_cell(board, system)] if ranked else []
        for column in columns:
            cell = summary_cell(board.summaries.get((system, column, metric.name)), metric, system, column)
            if (system, column) in marks:
                # Holm's family is the whole table, so a mark depends on all of it.
                whole = {"scores": {"metric": metric.name, "task": OVERALL, "systems": roles["system"]}}
                cell = replace(cell, mark=marks[system, column], mark_sources=whole)
            cells.append(cell)
        return TableRow(label=system + MARK[role], cells=tuple(cells))

    blocks = [Block(rows=tuple(row(s, "system") for s in roles["system"]))]
    references = tuple(row(s, role) for role in ("floor", "ceiling") for s in roles[role])
    if references:
        blocks.append(Block(title="Floors and ceilings", rows=references))
    notes = [
        INTERVAL_NOTE,
        *sentences(board_lines(board, metric)),
        *unfinished_lines(board),
        *apart_lines(board, metric),
    ]
    if may_rank and len(roles["system"]) > 1 and runs.choice.bold != "none":
        notes.append(mark_note(marks, runs.choice.bold))
    if metric.proxy:
        notes.append(f"{metric.title} is a proxy and not comparable with published scores.")
    return Table(
        name="leaderboard" if metric.name == board.headline.name else f"by-task-{file_stem(metric)}",
        caption=f"{metric_title(metric)}, mean and 95 % interval, by task{judge_caption(runs, metric)}",
        columns=(
            *(("rank",) if ranked else ()),
            *(board.titles.get(column, column) for column in columns),
        ),
        blocks=(*blocks, *_published_below(published, len(columns), ranked=ranked)),
        notes=tuple(notes),
    )


def file_stem(metric: Metric) -> str:
    """Return the name of a metric as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", metric.name)


def judge_caption(runs: MergedRuns, metric: Metric) -> str:
    """Return the judge of a metric for a caption; "" if no judge gives it."""
    judge = judge_of(metric.name, runs.manifests)
    return "" if judge is None else f"; judge: {judge}"


def _marks(
    runs: MergedRuns, metric: Metric, systems: Sequence[str], columns: Sequence[str]
) -> dict[tuple[str, str], Mark]:
    """Return (system, column) -> mark, by the convention that was chosen."""
    bold = runs.choice.bold
    if bold == "significant":
        return marks_of(pair_tests(runs, metric, systems, columns), systems)
    assert runs.board is not None
    marks: dict[tuple[str, str], Mark] = {}
    for column in columns if bold == "best" else ():
        found = {s: runs.board.summaries.get((s, column, metric.name)) for s in systems}
        if any(summary is not None and summary.counts.get("missing") for summary in found.values()):
            continue
        # As printed: numbers that look equal have the same mark.
        means = {
            s: float(number_text(summary.estimate.value, metric.digits))
            for s, summary in found.items()
            if summary is not None and summary.estimate is not None
        }
        best_first = sorted(set(means.values()), reverse=metric.higher_is_better)
        names: tuple[Mark, Mark] = ("best", "second")
        for mark, value in zip(names, best_first[: max(1, len(means) - 1)], strict=False):
            marks |= {(s, column): mark for s, mean in means.items() if mean == value and len(means) > 1}
    return marks


def _published_below(published: Sequence[Block], columns: int, *, ranked: bool) -> Iterator[Block]:
    """Yield published blocks for a table: without ranks, and without "all" where the table has none."""
    unranked = (TableCell(text="", state="not applicable"),) if ranked else ()
    for block in published:
        rows = (replace(row, cells=(*unranked, *row.cells[-columns:])) for row in block.rows)
        yield replace(block, rows=tuple(rows))


def overview_table(runs: MergedRuns) -> Table:
    """Return systems x metrics over all tasks, with counts of failed and missing rows."""
    board = runs.board
    assert board is not None
    metrics = sorted(
        (m for m in board.metrics if m.name not in board.tasks_only),
        key=lambda m: m.name != board.headline.name,
    )
    roles = by_role(board, board.headline)

    def behind(system: str) -> int:
        """Return the number of samples in the mean of the headline over all tasks."""
        summary = board.summaries.get((system, OVERALL, board.headline.name))
        return summary.estimate.n if summary is not None and summary.estimate is not None else 0

    fewer = any(0 < behind(system) < sum(board.counts(system).values()) for system in board.roles)

    def row(system: str, role: str) -> TableRow:
        counts = board.counts(system)
        sources = {"scores": {"metric": board.headline.name, "task": OVERALL, "systems": [system]}}
        numbers = [sum(counts.values()), *([behind(system)] if fewer else [])]
        numbers += [counts.get("failed", 0), counts.get("missing", 0)]
        cells = [TableCell(text=str(n), value=n, sources=sources) for n in numbers]
        cells += [
            summary_cell(board.summaries.get((system, OVERALL, m.name)), m, system, OVERALL) for m in metrics
        ]
        return TableRow(label=system + MARK[role], cells=tuple(cells))

    return Table(
        name="overview",
        caption="All metrics over all tasks",
        columns=(
            "samples",
            *(("in the mean",) if fewer else ()),
            "failed",
            "missing",
            *map(metric_title, metrics),
        ),
        blocks=tuple(
            Block(title="" if group == ("system",) else "Floors and ceilings", rows=rows)
            for group in (("system",), ("floor", "ceiling"))
            if (rows := tuple(row(s, role) for role in group for s in roles[role]))
        ),
        notes=(
            INTERVAL_NOTE,
            *((f"In the mean: samples behind the mean of {board.headline.title}.",) if fewer else ()),
            *unfinished_lines(board),
            *apart_lines(board),
            *people_lines(board),
            *tasks_only_lines(board),
            *cap_lines(board),
        ),
    )


def ablation_table(
    runs: MergedRuns,
    metric: Metric,
    base: str,
    published: Sequence[Block] = (),
    variants: Sequence[str] = (),
) -> Table:
    """Return one system and its variants, with the paired difference of each variant.

    Args:
        variants: systems of any role, in order; empty: every other system that is neither floor nor ceiling.
    """
    board = runs.board
    assert board is not None
    columns = board.columns(metric)
    variants = variants or [s for s in by_role(board, metric)["system"] if s != base]
    tests = {
        (t.column, frozenset((t.better, t.worse))): t
        for t in pair_tests(runs, metric, [base, *variants], columns)
    }

    def cell(system: str, column: str) -> TableCell:
        measured = summary_cell(board.summaries.get((system, column, metric.name)), metric, system, column)
        test = tests.get((column, frozenset((system, base))))
        if system == base or test is None or test.difference is None:
            return measured
        change = number_text(
            test.difference if test.better == system else -test.difference, metric.digits, signed=True
        )
        star = "*" if test.adjusted is not None and test.adjusted < ALPHA else ""
        text = f"{measured.text.split(' [')[0]} ({change}{star})"
        whole = {"scores": {"metric": metric.name, "task": OVERALL, "systems": [base, *variants]}}
        return replace(measured, text=text, sources=whole)

    rows = tuple(
        TableRow(label=s + MARK[board.roles[s]], cells=tuple(cell(s, c) for c in columns))
        for s in [base, *variants]
    )
    note = (
        f"In parentheses: paired difference to {base} on shared samples, above 0 is better; "
        f"*: Holm-adjusted p < {ALPHA} over the table."
    )
    return Table(
        name="ablation",
        caption=f"{metric_title(metric)}: {base} and its variants{judge_caption(runs, metric)}",
        columns=tuple(board.titles.get(column, column) for column in columns),
        blocks=(Block(rows=rows), *_published_below(published, len(columns), ranked=False)),
        notes=(note, *unfinished_lines(board), *apart_lines(board, metric)),
    )


def understanding_table(runs: MergedRuns, published: Sequence[Block] = ()) -> Table | None:
    """Return perceived labels against gold labels; None if no reply names a label."""
    systems = list(runs.roles)
    rows = []
    for task in tasks_of(runs) or list(runs.tasks):
        for cue in runs.cues.values():
            cells = [_recognition(runs, system, task, cue) for system in systems]
            if any(accuracy.state == "value" for accuracy, _ in cells):
                rows.append(
                    TableRow(
                        label=f"{cue.name}, accuracy %, {runs.choice.shown(task)}",
                        cells=tuple(a for a, _ in cells),
                    )
                )
                rows.append(
                    TableRow(
                        label=f"{cue.name}, UAR %, {runs.choice.shown(task)}",
                        cells=tuple(u for _, u in cells),
                    )
                )
    if not rows:
        return None
    note = (
        "A reply that names no label and a failed reply count as wrong; a system that never names one has no "
        "number."
    )
    return Table(
        name="understanding",
        caption="Perceived cues against gold labels",
        columns=tuple(s + MARK[runs.roles[s]] for s in systems),
        blocks=(Block(rows=tuple(rows)), *published),
        notes=(note, INTERVAL_NOTE),
        stub="cue, metric, samples",
    )


def _recognition(runs: MergedRuns, system: str, task: str, cue: Cue) -> tuple[TableCell, TableCell]:
    """Return accuracy and unweighted average recall of the labels that a system perceived."""
    sources = {"replies": {"system": system, "task": task, "cue": cue.name}}
    rows = by_task(runs.perceptions.get((system, cue.name, NAMED), ())).get(task, ())
    if not rows:
        nothing = TableCell(text=NOT_APPLICABLE, state="not applicable", sources=sources)
        return nothing, nothing
    found = recognition(cue, [(row.gold, row.perceived or UNKNOWN, row.cluster) for row in rows])

    def cell(e: Estimate) -> TableCell:
        return TableCell(
            text=estimate_text(e, WAR.digits), value=e.value, low=e.low, high=e.high, sources=sources
        )

    return cell(found.war), cell(found.uar)


def _has_values(board: Leaderboard, metric: Metric) -> bool:
    found = (s for (_, _, name), s in board.summaries.items() if name == metric.name)
    return any(s.estimate is not None or s.counts.get("missing") for s in found)


def run_tables(
    runs: MergedRuns,
    published: Mapping[str, Sequence[Block]],
    base: str | None = None,
    variants: Sequence[str] = (),
) -> list[Table]:
    """Return the tables of merged runs.

    Args:
        runs: merged runs with scores.
        published: kind of table -> published blocks for it; only a judge's grade of the words gets them.
        base, variants: of the ablation table; without variants, all other systems are.
    """
    board = runs.board
    if board is None:
        return []
    judge = words_judge(board.metrics)

    def below(kind: str, metric: Metric) -> Sequence[Block]:
        return published.get(kind, ()) if metric is judge else ()

    tables = [
        task_table(runs, m, below("by-task", m))
        for m in sorted(board.metrics, key=lambda m: m.name != board.headline.name)
        # A metric without values has no table; the overview shows dashes for it.
        if m.name == board.headline.name or _has_values(board, m)
    ]
    tables.append(overview_table(runs))
    if base is not None:
        below_base = below("ablation", board.headline)
        tables.append(ablation_table(runs, board.headline, base, below_base, variants))
    understanding = understanding_table(runs)
    return [*tables, understanding] if understanding is not None else tables
