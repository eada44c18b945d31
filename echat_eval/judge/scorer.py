"""The protocol of scorers that ask a judge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from echat_eval.judge.client import JudgeClient
    from echat_eval.judge.question import Question
    from echat_eval.ports import Case, Scorer

__all__ = ["JudgingScorer", "judge_clients_of"]


@runtime_checkable
class JudgingScorer(Protocol):
    """A scorer that asks a judge.

    Attributes:
        judge_client: client of the judge; several scorers may share it.
        repeats: number of times each question is asked.
    """

    judge_client: JudgeClient
    repeats: int

    def questions(self, cases: Sequence[Case]) -> Iterable[Question]:
        """Yield every question that `score` asks about the cases of one scope; some may be equal."""


def judge_clients_of(scorers: Iterable[Scorer]) -> list[JudgeClient]:
    """Return the judge clients of some scorers, each once."""
    clients: dict[int, JudgeClient] = {}
    for scorer in scorers:
        if isinstance(scorer, JudgingScorer):
            clients.setdefault(id(scorer.judge_client), scorer.judge_client)
    return list(clients.values())
