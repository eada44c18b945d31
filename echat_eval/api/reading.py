"""Reading runs: a run, its leaderboard, and one system of a run as scores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from echat_eval.analysis.frames import check_table, is_frame, one_system
from echat_eval.analysis.run_tables import long_table
from echat_eval.analysis.runs import ScoredSystem, load_scored_system
from echat_eval.errors import UsageError
from echat_eval.leaderboard.run import Run
from echat_eval.leaderboard.view import view_leaderboard
from echat_eval.store.select import SelectedRun, open_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from echat_eval.leaderboard.view import LeaderboardView

__all__ = ["leaderboard", "load_run", "one_system_of"]


def load_run(spec: str | Path) -> Run:
    """Return a run, or one of its systems.

    Args:
        spec: path of a run folder; `path:system` for one system, `name=path:system` to rename it.

    Raises:
        BadData: no run folder at the path, or a manifest of another version.
        UnknownName: the run does not have the system.
    """
    folder = open_run(str(spec))
    folder.manifest()  # raises BadData if another version has written it
    return Run(folder=folder, name=folder.shown if isinstance(folder, SelectedRun) else str(spec))


def leaderboard(
    *runs: Run | str | Path,
    published: Sequence[str] = (),
    within: float | None = None,
    headline: str | None = None,
) -> LeaderboardView:
    """Return the leaderboard of one or more runs.

    Args:
        runs: runs or specs as in `load_run`.
        published: names of published tables to show below, never ranked; only those of a measure that the
            runs have.
        within: list the pairs of systems that are shown to differ by less than this, in the units of the
            headline.
        headline: name of the metric that leads and ranks; None: the choice of the runs, or else the best that
            applies to every system.

    Raises:
        UsageError: no run, or `within` is not above 0; UnknownName: no published table or metric has a name.
        BadData: no scores, a system in two runs, or runs whose tasks or instruments differ.
    """
    if not runs:
        raise UsageError("no run; give one or more runs, or their paths")
    folders = [run.folder if isinstance(run, Run) else open_run(str(run)) for run in runs]
    return view_leaderboard(folders, tables=published, within=within, headline=headline)


def one_system_of(run: Run | str | Path | pd.DataFrame, location: str) -> ScoredSystem:
    """Return the scores of one system of a run, a spec or a table.

    Raises:
        UsageError: several systems; BadData: no scores.
    """
    if isinstance(run, Run):
        return load_scored_system(run.spec)
    if isinstance(run, str | Path):
        return load_scored_system(str(run))
    if not is_frame(run):
        raise UsageError(f"{location}: got {type(run).__name__}; expected a run, a path or a data frame")
    frame = one_system(check_table(long_table(run), location=location), location=location)
    return ScoredSystem(name=location, system=frame["system"].iloc[0], frame=frame)
