"""The shares of the ceiling in words: the lines below a table by task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.io.display import number_text
from echat_eval.io.phrase import joined, phrase
from echat_eval.leaderboard.by_voice import CEILING, chance

if TYPE_CHECKING:
    from echat_eval.leaderboard.build import Leaderboard
    from echat_eval.leaderboard.by_voice import Shares
    from echat_eval.leaderboard.cue_gain import Gain
    from echat_eval.records import Metric
    from echat_eval.stats import Estimate

__all__ = ["SHARE_DIGITS", "share_lines"]

#: Decimals of a share.
SHARE_DIGITS = 2


def share_lines(board: Leaderboard, only: Metric | None = None) -> list[str]:
    """Return the shares of the ceiling, one line per metric and system; or those of one metric only."""
    lines: list[str] = []
    for metric in board.metrics if only is None else (only,):
        shares = board.shares.get(metric.name, {})
        found = {system: _line(board, s) for system, s in shares.items() if _varies(s)}
        if found:
            lines.append(
                phrase(
                    "{metric}, share of the way from a system that ignores the voice ({chance}) to "
                    "{ceiling}, 95 % interval (Fieller by task):",
                    metric=metric.title,
                    chance=f"{chance(metric):g} {metric.unit}",
                    ceiling=CEILING,
                )
            )
            lines += [joined("", [f"- {system}: ", text]) for system, text in found.items()]
    return lines


def _varies(shares: Shares) -> bool:
    """Return whether there is anything to tell: a system that ignores the voice has 0 throughout."""
    return shares.average is None or shares.average.low is not None


def _line(board: Leaderboard, shares: Shares) -> str:
    average = phrase("tasks only")
    if shares.average is not None:
        average = phrase("{share} on average", share=_share(shares.average))
    by_task = [joined(" ", [board.task_name(task), _share(gain)]) for task, gain in shares.tasks.items()]
    tasks = joined(", ", by_task)
    parts = [average, tasks]
    if shares.missing:
        count = str(shares.missing)
        parts.append(phrase("{count} missing scores are left out, and no bound covers them", count=count))
    return joined("; ", parts)


def _share(share: Gain | Estimate) -> str:
    if share.value is None:
        return phrase("undefined")
    value = number_text(share.value, SHARE_DIGITS)
    if share.low is None or share.high is None:
        return phrase("{value} (no interval)", value=value)
    if share.high - share.low < 1e-9:
        return phrase("{value} (no spread)", value=value)
    return f"{value} [{number_text(share.low, SHARE_DIGITS)}, {number_text(share.high, SHARE_DIGITS)}]"
