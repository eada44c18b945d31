"""The listening gap as a table of a report, also by match rates that people rated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from echat_eval.errors import BadData
from echat_eval.io.hashing import file_sha256
from echat_eval.leaderboard.by_voice import CEILING
from echat_eval.leaderboard.gap_text import CAPTION, TITLES, gap_cells, gap_notes
from echat_eval.leaderboard.listening_gap import Instrument, Outcome, listening_gaps
from echat_eval.report.cells import Block, Table, TableCell, TableRow
from echat_eval.report.rating.match import MATCH
from echat_eval.report.table_notes import INTERVAL_NOTE
from echat_eval.scorers.understanding import WAR
from echat_eval.stats import units_of
from echat_eval.task.probe import probed_name

if TYPE_CHECKING:
    from pathlib import Path

    from echat_eval.leaderboard.listening_gap import ListeningGap
    from echat_eval.report.runs import MergedRuns
    from echat_eval.stats import Estimate

__all__ = ["PEOPLE", "gap_table", "people_gaps"]

#: Name of the instrument of match rates by people.
PEOPLE = "people"
PEOPLE_NOTE = (
    "Replies matched by people: means over all ratings, with intervals over raters and replies (of one "
    "rater: over replies, for this rater only). The normalised gap then has no interval."
)


def people_gaps(path: Path, runs: MergedRuns) -> tuple[ListeningGap, ...]:
    """Return the gaps by the match questions of `rate export --match`; empty without their answers.

    Raises:
        BadData: a sample is not in these runs.
    """
    found: dict[tuple[str, str, str], list[tuple[str, float]]] = {}
    for r in runs.ratings(path):
        if r.dimension == MATCH:
            if (r.task, r.sample_id) not in runs.samples:
                raise BadData(f"{path}: sample '{r.sample_id}' of task '{r.task}' is not in these runs")
            found.setdefault((r.system, r.task, r.sample_id), []).append((r.rater, 100 * r.value))
    rows = {
        ident: Outcome("value", float(np.mean([value for _, value in ratings])))
        for ident, ratings in found.items()
    }
    scores = [score for by_metric in runs.scores.values() for score in by_metric.values()]
    instrument = Instrument(name=PEOPLE, title=PEOPLE, rows=rows, ratings=found)
    return listening_gaps(scores, runs.samples, [instrument], units_of(list(runs.samples.values())))


def gap_table(runs: MergedRuns, ratings: Path | None = None) -> Table | None:
    """Return the listening gaps, one block per cue and instrument; None without gaps."""
    gaps = [] if runs.board is None else list(runs.board.gaps)
    by_people = () if ratings is None else people_gaps(ratings, runs)
    sha256 = file_sha256(ratings) if ratings is not None and by_people else ""
    blocks: dict[str, list[TableRow]] = {}
    for gap in (*gaps, *by_people):
        label, cue, matched_by, *texts = gap_cells(gap, runs.roles[gap.system])
        sources, count = _sources(gap, sha256), gap.gap.n
        estimates = [gap.answered.observed, gap.matched.observed, gap.gap.observed, gap.normalised]
        cells = (
            TableCell(text=texts[0], value=count, sources=sources),
            *(_cell(text, e, sources) for text, e in zip(texts[1:], estimates, strict=True)),
        )
        title = f"{cue}, replies matched by: {matched_by}"
        blocks.setdefault(title, []).append(TableRow(label=label, cells=cells))
    if not blocks:
        return None
    return Table(
        name="listening-gap",
        caption=CAPTION,
        columns=TITLES[3:],
        blocks=tuple(Block(title=title, rows=tuple(rows)) for title, rows in blocks.items()),
        notes=(*gap_notes([*gaps, *by_people]), *([PEOPLE_NOTE] if by_people else ()), INTERVAL_NOTE),
    )


def _cell(text: str, e: Estimate | None, sources: dict[str, Any]) -> TableCell:
    if e is None:
        return TableCell(text=text, state="missing" if text == "?" else "not applicable", sources=sources)
    return TableCell(text=text, value=e.value, low=e.low, high=e.high, sources=sources)


def _sources(gap: ListeningGap, ratings: str) -> dict[str, Any]:
    """Return the rows behind a gap: answers and match rates, those of people's replies included."""
    answers = [
        {"metric": WAR.name, "task": probed_name(task, gap.cue), "systems": [gap.system]}
        for task in gap.tasks
    ]
    if gap.instrument.name == PEOPLE:
        return {"several scores": answers, "ratings": {"sha256": ratings, "systems": [gap.system, CEILING]}}
    rates = [
        {"metric": gap.instrument.name, "task": task, "systems": [gap.system, CEILING]} for task in gap.tasks
    ]
    return {"several scores": [*answers, *rates]}
