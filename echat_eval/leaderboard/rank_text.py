"""The ranks of a leaderboard in words: one system's rank, and the lines below the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from echat_eval.leaderboard.build import Leaderboard

__all__ = ["RANK_NOTE", "rank_lines", "rank_text"]

RANK_NOTE = (
    'Rank: 95 % confidence set, for all systems at once. "1 to 3": none of these ranks is excluded. Two '
    "systems are in a certain order only if their sets do not overlap. Paired tests of every two systems on "
    "the samples that they share, Holm-adjusted over both directions; missing rows at their worst and at "
    "their best."
)


def rank_text(board: Leaderboard, system: str) -> str:
    """Return the rank of a system as printed: "1", "1 to 3", "?" without a rank, "" for floors, ceilings."""
    if board.roles[system] != "system":
        return ""
    found = board.ranking.sets.get(system)
    return "?" if found is None else str(found)


def rank_lines(board: Leaderboard) -> list[str]:
    """Return what the ranks mean, which systems share few samples with others, and which are equivalent."""
    if (judge := board.unproven.get(board.headline.name)) is not None:
        return [
            f"No ranks: {judge} listens and has not passed `check judge --listens`, so that its "
            f"{board.headline.title} may not rank systems."
        ]
    ranking, total = board.ranking, len(board.ranking.sets)
    if total < 2:
        return []
    lines = [RANK_NOTE]
    most = max(ranking.samples.values())
    few = [
        f"{system} {shared} of {most}"
        for system, shared in ranking.fewest.items()
        if shared < most and ranking.samples[system] < most
    ]
    if few:
        lines.append(f"Ranked on the samples shared with other systems only: {', '.join(few)}.")
    if ranking.equivalence is not None:
        lines.append(_equivalence_line(board))
    return lines


def _equivalence_line(board: Leaderboard) -> str:
    found, metric = board.ranking.equivalence, board.headline
    assert found is not None
    margin = f"±{found.margin:g} {metric.unit}".rstrip()
    if not found.pairs:
        return f"No two systems are shown to be within {margin} of each other (95 %, Holm over all pairs)."
    pairs = "; ".join(f"{first} and {second}" for first, second in found.pairs)
    return f"Within {margin} of each other (95 % for all pairs at once, Holm): {pairs}."
