"""The paper pack: tables, figures, a page to listen to, and what every cell rests on, from runs alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from echat_eval.errors import UnknownName
from echat_eval.leaderboard.published import published, published_names
from echat_eval.report.cells import Table
from echat_eval.report.formats import csv_text, latex, markdown
from echat_eval.report.outlet import Outlet
from echat_eval.report.provenance import provenance, provenance_text
from echat_eval.report.published import human_table, published_blocks, published_tables
from echat_eval.report.runs import MergedRuns, merge_runs
from echat_eval.report.tables import run_tables, tasks_of
from echat_eval.store.select import open_run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from echat_eval.ports import Progress

__all__ = ["PARTS", "ReportFiles", "build_published", "build_report"]

PARTS = ("tables", "figures", "page")
PROVENANCE = "provenance.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFiles:
    """What a report wrote.

    Attributes:
        paths: what to open first.
        notes: what could not be made, and why.
    """

    paths: tuple[Path, ...]
    notes: tuple[str, ...]


def build_report(
    runs: Sequence[str],
    out: Path,
    *,
    progress: Progress,
    only: Sequence[str] = PARTS,
    base: str | None = None,
    trend: Sequence[str] = (),
    ratings: Path | None = None,
) -> ReportFiles:
    """Write a report of some runs.

    Args:
        runs: `runs/a`, or `runs/a:system` for one system of it.
        out: absent, empty, or an earlier report of ours; nothing else is ever overwritten.
        progress: told what is going on.
        only: out of PARTS.
        base: the system whose variants the others are (the ablation table).
        trend: systems in the order of training (the trend figure).
        ratings: ratings.csv of `rate import` (the table of people against the automatic measure).

    Raises:
        UsageError: a bad output folder, run, system or part.
    """
    merged = merge_runs([open_run(name) for name in runs])
    for name in (*([base] if base else []), *trend):
        if name not in merged.roles:
            raise UnknownName("system", name, merged.roles)
    scored = "tables" in only and merged.board is not None
    paths, notes = [], _notes(merged)
    with Outlet(out, [*only, PROVENANCE] if "tables" in only else only) as outlet:
        outlet.check()
        if scored:
            tables = _tables(merged, base, ratings)
            write_tables(outlet, tables, progress)
            outlet.write(PROVENANCE, provenance_text(provenance(merged, tables)))
            paths += [out / "tables" / "tables.md", out / PROVENANCE]
        if "figures" in only and merged.board is not None:
            from echat_eval.report.figures import write_figures

            notes += write_figures(merged, outlet, trend=trend, progress=progress)
            paths.append(out / "figures")
        if "page" in only:
            from echat_eval.report.page import write_page

            known = [name for name in ("echat-automatic", "echat-human") if name in published_names()]
            write_page(merged, outlet, published=[published(name) for name in known], progress=progress)
            paths.append(out / "page" / "index.html")
    return ReportFiles(paths=tuple(paths), notes=tuple(notes))


def _notes(merged: MergedRuns) -> list[str]:
    notes = []
    if not merged.samples:
        notes.append("the runs hold no samples")
    if merged.board is None:
        notes.append(
            "nothing is scored yet, so there are no tables and no figures; `echat-eval score` scores a run"
        )
    lacking = len(merged.samples) * len(merged.roles) - len(merged.responses)
    if lacking > 0 and len(merged.manifests) == 1:
        notes.append(
            f"half done: {lacking} of {len(merged.samples) * len(merged.roles)} replies are not there yet"
        )
    return notes


def _tables(merged: MergedRuns, base: str | None, ratings: Path | None) -> list[Table]:
    tasks = tasks_of(merged)
    tables = run_tables(merged, published_blocks(tasks), base)
    if ratings is not None:
        from echat_eval.report.human import human_cells

        tables.append(human_table(human_cells(ratings, merged), tasks))
    return tables


def write_tables(outlet: Outlet, tables: Sequence[Table], progress: Progress) -> None:
    """Write every table as .tex, .md and .csv, and all of them as one tables.md."""
    progress.stage("tables", len(tables), 0)
    for table in tables:
        outlet.write(f"tables/{table.name}.tex", latex(table))
        outlet.write(f"tables/{table.name}.md", markdown(table))
        outlet.write(f"tables/{table.name}.csv", csv_text(table))
        progress.advance()
    outlet.write("tables/tables.md", "\n".join(markdown(table) for table in tables))


def build_published(out: Path, *, progress: Progress) -> ReportFiles:
    """Write the published tables again, from `baselines/published/` alone."""
    tables = published_tables()
    with Outlet(out, ["tables", PROVENANCE]) as outlet:
        outlet.check()
        write_tables(outlet, tables, progress)
        outlet.write(PROVENANCE, provenance_text(provenance(None, tables)))
    return ReportFiles(paths=(out / "tables" / "tables.md",), notes=())
