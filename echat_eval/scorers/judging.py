"""What the judge's scorers share: a jury, whose identity a score carries, and rows that need no judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from statistics import fmean
from typing import Any

from echat_eval.chat_client import ChatClient
from echat_eval.errors import UsageError
from echat_eval.judge import (
    Heard,
    Judge,
    Jury,
    Question,
    Ruling,
    text_score,
)
from echat_eval.keys import digest
from echat_eval.ports import Case
from echat_eval.records import Metric, Score
from echat_eval.scorers.heard import WORD_EARS

__all__ = ["Asking", "blank_score", "question_of", "settled_without_reply", "stem_of"]


class Asking:
    """What both scorers share: the jury, how often it is asked, and whose identity a score carries."""

    needs: tuple[str, ...] = WORD_EARS

    def __init__(self, jury: Jury, *, repeats: int = 1, calls_at_once: int = 4) -> None:
        if repeats < 1:
            raise UsageError(f"repeats is {repeats}; expected at least 1")
        self.jury = jury
        self.judge: Judge = jury.judge
        self.repeats = repeats
        self.calls_at_once = calls_at_once

    async def rulings(self, question: Question) -> list[Ruling]:
        """Return one ruling per repeat."""
        return [await self.jury.ruling(question, repeat=n) for n in range(self.repeats)]

    @property
    def payer(self) -> ChatClient:
        """Return who asks the judge's server."""
        return self.jury.client

    def fingerprint(self) -> str:
        """Return the hash of the rubric, of the model as the server names it, and of how it is asked.

        Runs whose judges differ in it are not put side by side. The server's own fingerprint is in the
        settings: it is in every score's key, but services that answer from several machines in turn
        name several.
        """
        served, jury = self.jury.served(), self.jury
        model = served.model if served is not None else None
        return digest(
            "judge as served",
            [self.judge.fingerprint(), jury.client.model, model, jury.holds_schema, jury.temperature],
        )

    def settings(self) -> Mapping[str, Any]:
        """Return the model, where and by whom it is served, and how it is asked."""
        client, served = self.jury.client, self.jury.served()
        return {
            "model": client.model, "url": client.base_url, "rubric": self.judge.name,
            "repeats": self.repeats, "schema": self.jury.holds_schema,
            "temperature": self.jury.temperature, "served": asdict(served) if served is not None else None,
        }  # fmt: skip

    def close(self) -> None:
        """Close connections."""
        self.jury.close()

    async def _points(self, question: Question) -> float:
        rulings = await self.rulings(question)
        return fmean(text_score(self.judge, r.verdict.grades, question.task) for r in rulings)


def stem_of(judge: Judge) -> str:
    """Return how the names of a judge's metrics begin."""
    return f"judge_{judge.name}".replace("-", "_")


def question_of(case: Case, words: str, cues: Mapping[str, str], heard: Heard | None) -> Question:
    """Return what the judge is asked about these words under these labels."""
    return Question(
        task=case.sample.task, language=case.sample.language, transcript=case.sample.transcript, cues=cues,
        reply=words, heard=heard,
    )  # fmt: skip


def blank_score(case: Case, metric: Metric) -> Score:
    """Return a row of a case that has no value yet."""
    return Score(
        key="", system=case.response.system, task=case.sample.task, sample_id=case.sample.id,
        metric=metric.name, state="missing", reason="the response is missing",
    )  # fmt: skip


def settled_without_reply(case: Case, blanks: Sequence[tuple[Score, Metric]]) -> list[Score]:
    """Return the scores of a case without a reply; none if there is one to judge."""
    response = case.response
    if case.sample.asks is not None:
        asked = "the sample asks what is heard, not for a reply"
        return [replace(blank, state="not applicable", reason=asked) for blank, _ in blanks]
    if response.state == "value" and response.reply is not None:
        return []
    made = []
    for blank, metric in blanks:
        if response.state == "failed" and metric.worst is not None:
            made.append(replace(blank, state="failed", value=metric.worst, reason=response.reason))
        elif response.state in ("failed", "not applicable"):
            reason = "the system failed" if response.state == "failed" else response.reason
            made.append(replace(blank, state="not applicable", reason=reason))
        else:
            made.append(blank)
    return made
