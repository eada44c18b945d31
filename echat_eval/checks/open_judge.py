"""The judge that a check asks, without a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.scorers.judge_settings import JudgeSettings, scorers_of_judge

if TYPE_CHECKING:
    from collections.abc import Callable

    from echat_eval.judge import JudgeClient

__all__ = ["JudgeSettings", "open_judge"]


def open_judge(settings: JudgeSettings, note: Callable[[str], None]) -> JudgeClient:
    """Return the client of a judge; close it after use. Its verdicts are not stored.

    Args:
        settings: of the judge.
        note: called if the model behind the name may change.

    Raises:
        UnknownName: no rubric has this name.
        UsageError: not a URL.
    """
    return scorers_of_judge(settings, note=note)[0].judge_client
