"""The last day of a judge's model, by its server's list of models or by the table that ships."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from echat_eval.systems.shutdowns import shutdown_of

if TYPE_CHECKING:
    from echat_eval.judge.client import JudgeClient

__all__ = ["last_day", "retirement_line", "retirement_note"]


def last_day(judge_client: JudgeClient) -> date | None:
    """Return the last day on which a judge's model is served; None if none is announced."""
    if judge_client.shutdown is not None:
        return judge_client.shutdown
    found = shutdown_of(judge_client.client.model, judge_client.client.base_url)
    return None if found is None else found.day


def retirement_line(model: str, day: date, today: date) -> str:
    """Return one line about a judge whose last day is known.

    >>> retirement_line("m-1", date(2027, 1, 14), date(2026, 11, 30)).partition(";")[0]
    'judge m-1 is served until 2027-01-14, 45 days from now'
    """
    days = (day - today).days
    if days < 0:
        how = "a run folder with its verdicts can still be linked"
        return f"judge {model} was served until {day}; {how}: {_how(model)}"
    when = f"{day}, {days} day{'' if days == 1 else 's'} from now"
    return f"judge {model} is served until {when}; link its successor while it answers: {_how(model)}"


def retirement_note(model: str, day: str) -> str:
    """Return one line about a judge of an earlier run, which does not depend on today."""
    return f"judge {model} is served until {day}; to keep its scale, link its successor: {_how(model)}"


def _how(model: str) -> str:
    return f"`echat-eval run FOLDER --judge NEW --link {model}`"
