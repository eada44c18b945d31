"""A run as a user reads it: its leaderboard, and its rows as data frames."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from echat_eval.store.select import SelectedRun

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from echat_eval.leaderboard.view import LeaderboardView
    from echat_eval.scorers.judge_link import JudgeLink
    from echat_eval.store.run_folder import RunFolder

__all__ = ["Run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run folder, or one of its systems.

    Attributes:
        folder: the files.
        name: as in comparisons: a path, or a path and a system.
        spent: cost of the command that returned this run; "" if nothing was billed.
        written: the leaderboard that this command wrote to the folder; None if it wrote none.
        written_from: `view_mark` of the folder when no row of that leaderboard was read yet.
    """

    folder: RunFolder
    name: str
    spent: str = ""
    written: LeaderboardView | None = field(default=None, repr=False, compare=False)
    written_from: str | None = field(default=None, repr=False, compare=False)

    @property
    def path(self) -> Path:
        """Return the path of the run folder."""
        return self.folder.path

    @property
    def spec(self) -> str:
        """Return the spec that selects this run again: `path`, or `name=path:system`."""
        if isinstance(self.folder, SelectedRun):
            return f"{self.folder.shown}={self.path}:{self.folder.system}"
        return str(self.path)

    @property
    def systems(self) -> list[str]:
        """Return the names of the systems."""
        return list(self.folder.manifest().systems)

    @property
    def states(self) -> Counter[str]:
        """Return state -> number of scores; "missing" scores are filled by the same command."""
        return Counter(score.state for score in self.folder.scores().values())

    @property
    def every_reply_failed(self) -> bool:
        """Return whether there are replies and all of them failed."""
        return {response.state for response in self.folder.responses().values()} == {"failed"}

    def leaderboard(self, *, headline: str | None = None) -> LeaderboardView:
        """Return the leaderboard; a notebook shows it as a table, `to_frame()` returns its numbers.

        Args:
            headline: name of the metric that leads and ranks; None: the choice of the run, or else the best
                that applies.

        Raises:
            BadData: no scores; UnknownName: no metric has the name of `headline`.
        """
        from echat_eval.leaderboard.view import view_leaderboard

        return view_leaderboard([self.folder], headline=headline)

    def notes(self) -> list[str]:
        """Return one line per system and kind of reply that failed, is missing or was not timed."""
        from echat_eval.leaderboard.notes import reply_notes

        return reply_notes(self.folder)

    def links(self) -> list[JudgeLink]:
        """Return the links of its judges to those that they replace, with estimates on the old scale."""
        from echat_eval.scorers.stored_links import stored_links

        return stored_links(self.folder)

    def samples(self) -> pd.DataFrame:
        """Return one row per sample; see `echat_eval.analysis.run_tables` for the columns of all tables."""
        from echat_eval.analysis.run_tables import samples_table

        return samples_table(self.folder)

    def responses(self) -> pd.DataFrame:
        """Return one row per system and sample: state, words, audio and times of the reply."""
        from echat_eval.analysis.run_tables import responses_table

        return responses_table(self.folder)

    def annotations(self) -> pd.DataFrame:
        """Return one row per reply, annotator and value."""
        from echat_eval.analysis.run_tables import annotations_table

        return annotations_table(self.folder)

    def scores(self) -> pd.DataFrame:
        """Return one row per reply and metric: state and value, with labels and clusters."""
        from echat_eval.analysis.run_tables import scores_table

        return scores_table(self.folder)

    def verdicts(self) -> pd.DataFrame:
        """Return one row per reply and verdict of a judge: grades, explanation, model and server."""
        from echat_eval.analysis.run_tables import verdicts_table

        return verdicts_table(self.folder)
