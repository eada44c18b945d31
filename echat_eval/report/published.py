"""Published numbers as separate tables, and as separate blocks in the tables of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from echat_eval.leaderboard.build import OVERALL
from echat_eval.leaderboard.published import Published, published, published_names
from echat_eval.report.cells import NOT_APPLICABLE, Block, Table, TableCell, TableRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["AUTOMATIC", "HUMAN", "human_table", "published_blocks", "published_tables"]

AUTOMATIC, HUMAN = "echat-automatic", "echat-human"


def _decimals(values: Sequence[float | None]) -> int:
    """Return the number of decimals that a column needs, at least one.

    >>> _decimals([1.5, 1.25, None, 3])
    2
    """
    return max([1, *(len(repr(float(v)).partition(".")[2].rstrip("0")) for v in values if v is not None)])


def _cell(table: Published, row: int, column: int, digits: int) -> TableCell:
    value = table.rows[row]["values"][column]
    sources = {"published": {"table": table.name, "row": row, "column": column}}
    if value is None:
        return TableCell(text=NOT_APPLICABLE, state="not applicable", sources=sources)
    return TableCell(text=f"{value:.{digits}f}", value=float(value), sources=sources)


def _column_name(column: Any) -> str:
    if isinstance(column, str):
        return column
    return f"{column['task']}, {column['metric']} %, {column['test_set']}"


def _plain(table: Published) -> Table:
    """Return one published table; a table with described columns is transposed."""
    transposed = any(not isinstance(column, str) for column in table.columns)
    digits = [_decimals([row["values"][c] for row in table.rows]) for c in range(len(table.columns))]
    if transposed:
        rows = tuple(
            TableRow(
                label=_column_name(column),
                cells=tuple(_cell(table, r, c, digits[c]) for r in range(len(table.rows))),
            )
            for c, column in enumerate(table.columns)
        )
        columns = tuple(f"{row['system']}†" for row in table.rows)
    else:
        rows = tuple(
            TableRow(
                label=f"{row['system']} ({row['note']})" if row.get("note") else row["system"],
                cells=tuple(_cell(table, r, c, digits[c]) for c in range(len(table.columns))),
            )
            for r, row in enumerate(table.rows)
        )
        columns = tuple(map(str, table.columns))
    notes = [f"† Published, not measured here. Source: {table.source}. Unit: {table.unit}."]
    if table.details.get("note"):
        notes.append(str(table.details["note"]))
    return Table(
        name=f"table-{table.details['table']}-{table.name}",
        caption=f"{table.title} (published)",
        columns=columns,
        blocks=(Block(rows=rows, published=not transposed),),
        notes=tuple(notes),
        stub="task, metric, test set" if transposed else "system",
    )


def published_tables() -> list[Table]:
    """Return every published table in the order of the paper."""
    found = sorted(
        (published(name) for name in published_names()), key=lambda t: (t.details.get("table", 99), t.name)
    )
    return [*(_plain(table) for table in found if "table" in table.details), human_table(None, ())]


def _by_task(table: Published, tasks: Sequence[str], rows: Sequence[int]) -> tuple[TableRow, ...]:
    """Return rows of a published table under the columns of a run; other columns are not applicable."""
    column_of = {name: number for number, name in enumerate(table.columns)}
    nothing = TableCell(text=NOT_APPLICABLE, state="not applicable")
    return tuple(
        TableRow(
            label=table.rows[row]["system"],
            cells=tuple(
                _cell(table, row, column_of[task], 1) if task in column_of else nothing for task in tasks
            ),
        )
        for row in rows
    )


def published_blocks(tasks: Sequence[str]) -> dict[str, tuple[Block, ...]]:
    """Return the published blocks for the tables of a run, by kind of table.

    Args:
        tasks: columns of those tables, after the one over all tasks.
    """
    if AUTOMATIC not in published_names():
        return {}
    table = published(AUTOMATIC)
    columns = (OVERALL, *tasks)
    whole = [n for n, row in enumerate(table.rows) if "ablation_of" not in row]
    bases = {row["ablation_of"] for row in table.rows if "ablation_of" in row}
    ablations = [n for n, row in enumerate(table.rows) if "ablation_of" in row or row["system"] in bases]
    label = "Published, not measured here: other metric, other judge, other samples"
    title = f"{label} ({table.title}; source: {table.source})"
    return {
        "by-task": (Block(rows=_by_task(table, columns, whole), title=title, published=True),),
        "ablation": (Block(rows=_by_task(table, columns, ablations), title=title, published=True),),
    }


def human_table(
    measured: Mapping[tuple[str, str], tuple[TableCell, TableCell]] | None,
    tasks: Sequence[str],
    notes: Sequence[str] = (),
    *,
    names: Mapping[str, str] = {},
    reported: bool = True,
) -> Table:
    """Return human ratings beside the automatic metric, by task.

    Args:
        measured: (system, task) -> human cell, automatic cell; None: published numbers only.
        tasks: columns of the measured part.
        notes: remarks on the measured part.
        names: task -> printed name, where it is another.
        reported: with the published rows.
    """
    human, automatic = published(HUMAN), published(AUTOMATIC)
    shared = [str(column) for column in human.columns]
    columns = list(tasks) if measured is not None else shared
    nothing = TableCell(text=NOT_APPLICABLE, state="not applicable")
    row_of = {row["system"]: n for n, row in enumerate(automatic.rows)}

    def pair(row: int, task: str) -> tuple[TableCell, TableCell]:
        if task not in shared:
            return nothing, nothing
        number = row_of.get(human.rows[row]["system"])
        column = list(automatic.columns).index(task)
        automatic_cell = nothing if number is None else _cell(automatic, number, column, 1)
        return _cell(human, row, shared.index(task), 1), automatic_cell

    blocks = []
    if measured is not None:
        systems = list(dict.fromkeys(system for system, _ in measured))
        rows = tuple(
            TableRow(
                label=system,
                cells=tuple(
                    cell for task in columns for cell in measured.get((system, task), (nothing, nothing))
                ),
            )
            for system in systems
        )
        blocks.append(Block(rows=rows))
    if reported:
        rows = tuple(
            TableRow(label=row["system"], cells=tuple(cell for task in columns for cell in pair(n, task)))
            for n, row in enumerate(human.rows)
        )
        title = "" if measured is None else f"Published, not measured here (source: {human.source})"
        blocks.append(Block(rows=rows, title=title, published=True))
        notes = (*notes, f"† Published, not measured here. Source: {human.source}.")
    return Table(
        name="human-automatic",
        caption="Human ratings and the automatic metric",
        columns=tuple(
            f"{names.get(task, task)}, {kind}" for task in columns for kind in ("human", "automatic")
        ),
        blocks=tuple(blocks),
        notes=tuple(filter(None, notes)),
    )
