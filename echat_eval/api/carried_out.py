"""Carrying an experiment out: what is missing is made, the leaderboard written, trackers get a copy."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from echat_eval.api.progress import Logged
from echat_eval.errors import scrub
from echat_eval.experiment import recorded_content, recording, resolved
from echat_eval.leaderboard.run import Run
from echat_eval.ports import Silent, TrackedRun
from echat_eval.runner.carry_out import carry_out
from echat_eval.store.settled import is_written, keep_written, view_mark

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echat_eval.api.prepared import Prepared
    from echat_eval.leaderboard.view import LeaderboardView
    from echat_eval.ports import Progress, Tracker

__all__ = ["carried_out", "track"]


def carried_out(prepared: Prepared, *, progress: Progress | None) -> Run:
    """Make what is missing in a run folder; return the run, with its leaderboard on disk."""
    display = progress or Logged()
    with prepared.planned(display.note) as plan:
        content = resolved(prepared.experiment, plan, prepared.tasks)
        recorded = partial(recording, plan.folder.path, content, prepared.tasks)
        spent = carry_out(plan, display, recording=recorded)
        folder, trackers = plan.folder, plan.trackers
    run = Run(folder=folder, name=str(folder.path), spent=spent)
    if not trackers and is_written(run.path):
        return run
    before = view_mark(run.path)  # the lock is free: another command may change the folder from here on
    view = run.leaderboard()
    view.write(run.path)
    keep_written(run.path, before)
    if trackers:
        track(run, view, trackers, display)
    return replace(run, written=view, written_from=before)


def track(run: Run, view: LeaderboardView, trackers: Sequence[Tracker], display: Progress) -> None:
    """Copy a finished run to trackers. A failure is a note: nothing that they do changes the run."""
    from tempfile import TemporaryDirectory

    from echat_eval.leaderboard.table_rows import CSV_COLUMNS, table_rows
    from echat_eval.report import build_report

    rows = table_rows(view.board)
    with TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        for tracker in trackers:
            try:
                if not report.exists():
                    build_report([str(run.path)], report, progress=Silent(), only=["page"])
                tracker.log(
                    TrackedRun(
                        name=run.path.name,
                        folder=run.path,
                        experiment=recorded_content(run.path),
                        headline=view.board.headline.name,
                        columns=CSV_COLUMNS,
                        rows=rows,
                        page=report / "page",
                    )
                )
            except Exception as error:  # noqa: BLE001  a tracker may raise anything
                reason = scrub(" ".join(f"{type(error).__name__}: {error}".split()))[:300]
                display.note(
                    f"note: tracker '{tracker.name}' failed: {reason}; the run is complete in {run.path}"
                )
