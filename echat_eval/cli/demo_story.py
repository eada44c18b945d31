"""The screen at the end of `demo`: two replies, what is detected and acted on, the gate, and what to do next.

Every number is that of `show`, `gate` or a manifest; this module only selects and prints.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from echat_eval.cli.fitted_table import Cells, fitted
from echat_eval.cli.terminal import show, show_table, table_width
from echat_eval.leaderboard.build import OVERALL
from echat_eval.leaderboard.gap_text import side_text
from echat_eval.leaderboard.render import MARK, cell_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.table import Table

    from echat_eval.gate.decision import Decision
    from echat_eval.leaderboard.build import Leaderboard
    from echat_eval.leaderboard.listening_gap import ListeningGap
    from echat_eval.leaderboard.run import Run
    from echat_eval.records import Sample

__all__ = ["SYSTEMS", "WIDTH", "gap_table_cells", "gate_line", "gate_table", "print_story", "quality_cells"]

#: Characters of a line at most.
WIDTH = 100
#: Words of the recordings that are shown, if the run has them.
WORDS = "The letter from the university came."
#: The two systems whose replies are shown.
SYSTEMS = ("listening-cascade", "cascade")
#: Metric -> title in the second table.
QUALITY: Mapping[str, str] = {
    "match_rate_proxy": "acts on",
    "over_reaction_proxy": "over-reacts",
    "reference_similarity_proxy": "like people's",
}
_PARROT, _PEOPLE = "label-parrot", "reference"


def print_story(run: Run, decisions: Mapping[str, Decision]) -> None:
    """Print the story of a run of the demo.

    Args:
        run: with the systems of the demo's experiment file.
        decisions: what was compared -> decision of the gate.
    """
    board = (run.written or run.leaderboard()).board
    width = min(WIDTH, table_width())
    if (pair := shown_pair(run.folder.samples())) is not None:
        show_table(_replies(run, pair, width))
    for cells in (gap_table_cells(board), quality_cells(board)):
        show_table(*fitted(cells, width))
    show_table(gate_table(decisions, width))
    sent = list(run.folder.manifest().destinations)
    show(f"Sent to other machines: {', '.join(sent) if sent else 'nothing'}.")


def shown_pair(samples: Iterable[Sample]) -> tuple[Sample, Sample] | None:
    """Return two recordings of `WORDS`, or of the first words, that a reply should tell apart."""
    seen: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        if sample.contrast_group is not None and sample.expect is None and sample.asks is None:
            seen.setdefault((sample.task, sample.contrast_group), []).append(sample)
    pairs = [group for group in seen.values() if len(group) > 1]
    pairs.sort(key=lambda group: group[0].transcript != WORDS)
    return (pairs[0][0], pairs[0][1]) if pairs else None


def _replies(run: Run, pair: tuple[Sample, Sample], width: int) -> Table:
    """Return the replies of both systems and of a person to a pair of recordings."""
    from rich.text import Text

    table = _titled(f"The same words in two voices: “{pair[0].transcript}”", width)
    table.add_column("reply of", width=max(map(len, (*SYSTEMS, _PEOPLE))))
    for sample in pair:
        table.add_column(Text(f"{', '.join(sample.cues.values())}: {sample.id}.wav"), ratio=1)
    responses = run.folder.responses()
    for system in (*SYSTEMS, _PEOPLE):
        texts = [_words(responses.get((system, sample.task, sample.id))) for sample in pair]
        if texts[0] == texts[1]:
            texts[1] = "(the same reply)"
        table.add_row(system if system != _PEOPLE else "a person", *map(Text, texts))
    return table


def _titled(title: str, width: int) -> Table:
    """Return an empty table of whole sentences, which fold."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    return Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, width=width)


def _words(response: object) -> str:
    from echat_eval.records import Response

    if not isinstance(response, Response):
        return "-"
    if response.reply is None:
        return f"({response.state})"
    return response.reply.text or "(no words)"


def gap_table_cells(board: Leaderboard) -> Cells:
    """Return what each system names when asked and what its replies act on, by cue: the listening gap."""
    shown = [name for name in (*SYSTEMS, _PARROT) if name in board.roles]
    sections = [[_gap_row(board, gap) for gap in board.gaps if gap.system == name] for name in shown]
    return Cells(
        "What it detects and acts on, %; 50: it ignores the voice",
        ("system", "cue", "n", "detects", "acts on", "gap"),
        [rows for rows in sections if rows],
        labels=2,
    )


def _gap_row(board: Leaderboard, gap: ListeningGap) -> list[str]:
    return [
        gap.system + MARK[board.roles[gap.system]],
        gap.items,
        str(gap.gap.n),
        side_text(gap.answered, interval=False),
        _acted_on(board, gap),
        side_text(gap.gap),
    ]


def _acted_on(board: Leaderboard, gap: ListeningGap) -> str:
    """Return the match rate as the leaderboard has it, if that is of the same samples."""
    found = board.summaries.get((gap.system, gap.tasks[0], gap.instrument.name))
    metric = next(metric for metric in board.metrics if metric.name == gap.instrument.name)
    if found is None or found.estimate is None or (len(gap.tasks), found.estimate.n) != (1, gap.matched.n):
        return side_text(gap.matched)
    return cell_text(found, metric)


def quality_cells(board: Leaderboard) -> Cells:
    """Return each system's match rate beside what a match rate does not see, over all tasks."""
    metrics = [metric for name in QUALITY for metric in board.metrics if metric.name == name]
    rows = [
        [
            system + MARK[role],
            *(cell_text(board.summaries.get((system, OVERALL, metric.name)), metric) for metric in metrics),
        ]
        for system, role in _shown(board)
    ]
    return Cells(
        "To act on the voice is not to help; all tasks, %",
        ("system", *(QUALITY[metric.name] for metric in metrics)),
        [rows],
        labels=1,
    )


def _shown(board: Leaderboard) -> list[tuple[str, str]]:
    """Return name and role: the two systems, floors, ceiling."""
    roles = board.roles
    order = [*SYSTEMS, *(n for role in ("system", "floor", "ceiling") for n in roles if roles[n] == role)]
    return [(name, roles[name]) for name in dict.fromkeys(order) if name in roles]


def gate_table(decisions: Mapping[str, Decision], width: int) -> Table:
    """Return one row per decision of the gate."""
    from rich.text import Text

    margin = max(decision.margin for decision in decisions.values())
    table = _titled(f"The gate against {SYSTEMS[0]}: the match rate may drop by {margin:g} points", width)
    for title in ("candidate", "decision", "difference, points", "because"):
        table.add_column(
            title, no_wrap=title == "decision", ratio=1 if title == "because" else None, overflow="fold"
        )
    for name, decision in decisions.items():
        table.add_row(*map(Text, gate_line(name, decision)))
    return table


def gate_line(name: str, decision: Decision) -> Sequence[str]:
    """Return the cells of one decision: what was compared, outcome, difference, first reason."""
    from echat_eval.gate.report import difference_text

    because = decision.reasons[0] if decision.reasons else decision.failures
    return name, decision.title, difference_text(decision), because
