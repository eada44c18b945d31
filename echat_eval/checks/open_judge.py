"""The judge that a check asks, without a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.cost.budget import read_budget
from echat_eval.runner.cost_estimate import ExpectedCost
from echat_eval.runner.estimate import TYPICAL_VERDICT, total_of_calls
from echat_eval.scorers.judge_settings import JudgeSettings, scorers_of_judge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from echat_eval.judge import JudgeClient, Question

__all__ = ["JudgeSettings", "open_judge", "sending_lines"]


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


def sending_lines(
    judge_client: JudgeClient, questions: Iterable[Question], sent: str, *, repeats: int = 1
) -> list[str]:
    """Return the destination, the contents and the expected cost of questions; nothing is sent.

    Args:
        judge_client: of the judge.
        questions: that it will be asked.
        sent: what they hold, in words.
        repeats: answers per question.
    """
    sizes = []
    for question in questions:
        prompt, _ = judge_client.prompt_of(question, 0)
        sizes += [judge_client.size_of(prompt, question)] * repeats
    client = judge_client.client
    expected = total_of_calls("judge", client.model, client, sizes, TYPICAL_VERDICT, read_budget().table, 1)
    return [f"{client.address} gets {sent}", *ExpectedCost(estimates=(expected,)).lines()]
