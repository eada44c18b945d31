"""The whole report of runs: tables, figures, a page with audio, and provenance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from echat_eval.errors import UnknownName, UsageError
from echat_eval.io.unfinished import JOURNAL
from echat_eval.judge.retirement import retirement_note
from echat_eval.leaderboard.published import of_same_measure, published, published_names
from echat_eval.leaderboard.table_choice import TableChoice
from echat_eval.plugins.packages import require_package
from echat_eval.report.cells import Table
from echat_eval.report.formats import csv_text, markdown
from echat_eval.report.gap_table import gap_table
from echat_eval.report.instruments import models_line
from echat_eval.report.latex import latex
from echat_eval.report.licences import may_pass_on, with_licences
from echat_eval.report.methods import METHODS_FILES, methods_files
from echat_eval.report.outlet import CONTENTS, Outlet
from echat_eval.report.people_tables import agreement_tables, with_judge_table
from echat_eval.report.provenance import provenance, provenance_text
from echat_eval.report.published import AUTOMATIC, HUMAN, human_table, published_blocks, published_tables
from echat_eval.report.runs import MergedRuns, merge_runs
from echat_eval.report.table_notes import with_interval_note
from echat_eval.report.tables import run_tables, tasks_of
from echat_eval.report.times_table import report_times
from echat_eval.store.select import open_run

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from echat_eval.ports import Progress

__all__ = ["PARTS", "ReportFiles", "build_published", "build_report"]

PARTS = ("tables", "figures", "page")
PROVENANCE = "provenance.json"
#: Published tables that stand below those of a run.
SHOWN = (AUTOMATIC, HUMAN)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFiles:
    """Output of a report.

    Attributes:
        paths: the files to open first.
        notes: omitted parts, with the reason.
    """

    paths: tuple[Path, ...]
    notes: tuple[str, ...]


def build_report(
    runs: Sequence[str],
    out: Path,
    *,
    progress: Progress,
    only: Sequence[str] = PARTS,
    ablation: Sequence[str] = (),
    trend: Sequence[str] = (),
    within: float | None = None,
    headline: str | None = None,
    with_published: bool = False,
    ratings: Path | None = None,
    with_audio: bool = False,
    choice: TableChoice | None = None,
    title: str = "",
    authors: str = "",
    anonymous: bool = False,
    dates: Mapping[str, str] = {},
) -> ReportFiles:
    """Write a report of some runs.

    Args:
        runs: `runs/a`, or `runs/a:system` for one system of it.
        out: absent, empty, or an earlier report; other files are never overwritten.
        progress: receives the progress.
        only: parts to write, of PARTS.
        ablation: a system and its variants (ablation table); without variants, all others are.
        trend: systems in the order of training (trend figure).
        within, headline: as in `build_leaderboard`.
        with_published: published rows stand below the measured ones, where the measure is the same.
        with_audio: the page also holds recordings whose task does not state that they may be passed on.
        ratings: ratings.csv of `rate import` (table of human ratings and the automatic metric; scores by
            people on the page).
        title, authors: at the head of the page.
        anonymous: the page is for a blind review; it can be the only part, in a folder of its own.
        choice: what tables and figures show; the page shows everything, under the same names.
        dates: path of a run -> when its commands ran, for the methods paragraph.

    Raises:
        UsageError: an invalid output folder, run, system or part.
        NotInstalled: the package that draws figures is missing.
    """
    if anonymous:
        _require_page_alone(only, out, {"authors": bool(authors), "published": with_published})
    choice = choice or TableChoice()
    folders = [open_run(name) for name in runs]
    lead = headline or choice.leading
    merged = merge_runs(folders, within=within, headline=lead, choice=choice)
    ablation, trend = ([choice.shown(name) for name in names] for names in (ablation, trend))
    for name in (*ablation, *trend):
        if name not in merged.roles:
            raise UnknownName("system", name, merged.roles)
    requested = [published(name) for name in published_names() if with_published and name in SHOWN]
    metrics = () if merged.board is None else merged.board.metrics
    shown, unshown = of_same_measure(requested, metrics, people=ratings is not None)
    if "figures" in only and merged.board is not None:
        require_package("matplotlib", "figures need", otherwise=", or leave them out: --only tables,page")
    scored = "tables" in only and merged.board is not None
    paths, notes = [], [*_notes(merged), *unshown]
    with Outlet(out, [*only, PROVENANCE, *METHODS_FILES] if "tables" in only else only) as outlet:
        outlet.check()
        if scored:
            tables = _tables(merged, ablation, ratings, [table.name for table in shown])
            write_tables(outlet, tables, progress, wide=choice.wide)
            for name, text in methods_files(merged, dates, ratings=ratings is not None).items():
                outlet.write(name, text)
            outlet.write(PROVENANCE, provenance_text(provenance(merged, tables)))
            paths += [out / "tables" / "tables.md", out / METHODS_FILES[0], out / PROVENANCE]
        if "figures" in only and merged.board is not None:
            from echat_eval.report.figures import write_figures

            notes += write_figures(merged, outlet, trend=trend, progress=progress, ratings=ratings)
            paths.append(out / "figures")
        if "page" in only:
            from echat_eval.report.anonymous_names import disguise_of
            from echat_eval.report.page import PageFront, write_page
            from echat_eval.report.people import with_people

            hidden = disguise_of(folders) if anonymous else None
            whole = (
                TableChoice(names=hidden.names)
                if hidden
                else TableChoice(names=choice.names, digits=choice.digits)
            )
            notes += hidden.notes if hidden else ()
            if choice != whole:
                merged = merge_runs(folders, within=within, headline=lead, choice=whole)
            if ratings is not None:
                merged = with_people(ratings, merged)
            front = PageFront(title=title, authors=authors, disguise=hidden)
            write_page(merged, outlet, published=shown, progress=progress, with_audio=with_audio, front=front)
            if not with_audio and (
                kept := [task for task in merged.tasks if not may_pass_on(merged.tasks, task)]
            ):
                notes.append(
                    f"the page has no recordings of {', '.join(kept)}: task.yaml does not state "
                    "redistributable: true; --with-audio includes them for people who may hear them"
                )
            paths.append(out / "page" / "index.html")
    return ReportFiles(paths=tuple(paths), notes=tuple(notes))


def _require_page_alone(only: Sequence[str], out: Path, naming: Mapping[str, bool]) -> None:
    """Refuse an anonymous page with, or beside, anything that names systems or people."""
    if list(only) != ["page"]:
        raise UsageError(
            f"--anonymous with --only {','.join(only)}: tables, figures and provenance name systems and "
            "models; only the page can be anonymous: give --only page"
        )
    for option in (option for option, given in naming.items() if given):
        raise UsageError(f"--{option} with --anonymous: it names systems or people; leave one of them out")
    others = sorted(path.name for path in out.iterdir()) if out.is_dir() else []
    if others := [name for name in others if name not in ("page", CONTENTS, JOURNAL)]:
        raise UsageError(
            f"{out}: holds {', '.join(others)} of a report that is not anonymous; choose another --out"
        )


def _notes(merged: MergedRuns) -> list[str]:
    notes = []
    if not merged.samples:
        notes.append("the runs hold no samples")
    if merged.board is None:
        notes.append(
            "no scores yet, so there are no tables and no figures; make them with `echat-eval run FOLDER`"
        )
    days = {model: day for m in merged.manifests for model, day in m.retirements.items()}
    notes += [retirement_note(model, day) for model, day in sorted(days.items())]
    lacks = [] if merged.board is None else merged.board.unfinished
    return [*notes, *(f"unfinished run: {what}" for what in lacks)]


def _tables(
    merged: MergedRuns, ablation: Sequence[str], ratings: Path | None, shown: Collection[str]
) -> list[Table]:
    tasks = tasks_of(merged)
    base = next(iter(ablation), None)
    blocks = published_blocks(tasks) if AUTOMATIC in shown else {}
    tables = run_tables(merged, blocks, base, ablation[1:])
    if (gaps := gap_table(merged, ratings)) is not None:
        tables.append(gaps)
    tables += [] if merged.board is None else report_times(merged.board)
    if ratings is not None:
        from echat_eval.report.human import human_cells

        cells, note = human_cells(ratings, merged)
        names = merged.choice.names
        tables.append(human_table(cells, tasks, notes=(note,), names=names, reported=HUMAN in shown))
        tables += agreement_tables(ratings, merged)
        tables += [] if (both := with_judge_table(ratings, merged)) is None else [both]
    models = [line] if (line := models_line(merged.manifests)) else []
    tables = [replace(table, notes=(*table.notes, *models, *merged.voice_notes)) for table in tables]
    return [with_licences(with_interval_note(table), merged) for table in tables]


def write_tables(outlet: Outlet, tables: Sequence[Table], progress: Progress, *, wide: bool = False) -> None:
    """Write every table as .tex, .md and .csv, and all of them as one tables.md."""
    progress.stage("tables", len(tables), 0)
    for table in tables:
        outlet.write(f"tables/{table.name}.tex", latex(table, wide=wide))
        outlet.write(f"tables/{table.name}.md", markdown(table))
        outlet.write(f"tables/{table.name}.csv", csv_text(table))
        progress.advance()
    outlet.write("tables/tables.md", "\n".join(markdown(table) for table in tables))


def build_published(out: Path, *, progress: Progress) -> ReportFiles:
    """Write the published tables of `baselines/published/`."""
    tables = published_tables()
    with Outlet(out, ["tables", PROVENANCE]) as outlet:
        outlet.check()
        write_tables(outlet, tables, progress)
        outlet.write(PROVENANCE, provenance_text(provenance(None, tables)))
    return ReportFiles(paths=(out / "tables" / "tables.md",), notes=())
