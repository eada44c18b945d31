"""A bench of independent cells: its command line, its result file and its table."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from bench.support.machine import machine

__all__ = ["cells_of", "markdown"]

Cell = TypeVar("Cell")


def cells_of(
    description: str | None,
    cells: Sequence[Cell],
    measure: Callable[[Cell, int, int], dict[str, Any]],
    results: Path,
    columns: Sequence[str],
    *,
    runs: int,
) -> None:
    """Measure every cell and write the results, or print them as a table; see the bench for its options.

    Args:
        description: help of the command.
        cells: what is measured.
        measure: (cell, runs, seed) -> row with "cell", "runs" and the columns.
        results: default file of the results.
        columns: of the table.
        runs: default number of runs.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=runs)
    parser.add_argument("--out", type=Path, default=results)
    parser.add_argument("--table", action="store_true", help="print the cells of --out as Markdown")
    given = parser.parse_args()
    if given.table:
        print(markdown(json.loads(given.out.read_text(encoding="utf-8"))["cells"], columns))
        return
    rows = []
    for seed, cell in enumerate(cells):
        rows.append(measure(cell, given.runs, seed))
        print(json.dumps(rows[-1]), flush=True)
    facts = {"machine": machine(), "cells": rows}
    given.out.write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def markdown(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> str:
    """Return the rows as a Markdown table."""
    lines = [f"| cell | runs | {' | '.join(columns)} |", "|---|" + "--:|" * (len(columns) + 1)]
    for row in rows:
        values = ["-" if row[name] is None else f"{row[name]:g}" for name in columns]
        lines.append(f"| {row['cell']} | {row['runs']:,} | {' | '.join(values)} |")
    return "\n".join(lines)
