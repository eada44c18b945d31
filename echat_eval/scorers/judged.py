"""A judge's scores: of the reply's words, and of its voice apart from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, variance
from typing import Any, Literal

from echat_eval.chat_client import ChatClient
from echat_eval.errors import NotApplicable, Unavailable
from echat_eval.judge import (
    Heard,
    Judge,
    Jury,
    Question,
    Ruling,
    load_judge,
    text_score,
    voice_score,
)
from echat_eval.ports import Case
from echat_eval.records import Metric, Score
from echat_eval.scorers.heard import VOICE_EARS, WORD_EARS, emotion_of, opinions_of, words_of
from echat_eval.scorers.judged_contrast import JudgedContrast
from echat_eval.scorers.judging import Asking, blank_score, question_of, settled_without_reply, stem_of

__all__ = ["Judged", "JudgedContrast", "judged_scorers"]


class Judged(Asking):
    """Asks for a verdict on every reply.

    Two metrics: the score of the words, and the score of the voice where an annotator heard an
    emotion in it. The voice has no part in the first.
    """

    name = "judged"
    version = "2"
    scope: Literal["sample", "contrast group"] = "sample"
    needs = (*WORD_EARS, *VOICE_EARS)

    def __init__(self, jury: Jury, *, repeats: int = 1, calls_at_once: int = 4) -> None:
        super().__init__(jury, repeats=repeats, calls_at_once=calls_at_once)
        stem = stem_of(self.judge)
        self.metrics: tuple[Metric, ...] = (
            Metric(
                name=stem, title=f"Judge {self.judge.name}", unit="points", low=0, high=100,
                higher_is_better=True, worst=0,
            ),
            Metric(
                name=f"{stem}_voice", title=f"Judge {self.judge.name}, voice", unit="points", low=0,
                high=100, higher_is_better=True,
            ),
        )  # fmt: skip

    async def score(self, cases: Sequence[Case]) -> Sequence[Score]:
        """Return two scores a case; a judge that does not keep to the form raises JudgeFailure."""
        return [score for case in cases for score in await self._both(case)]

    async def _both(self, case: Case) -> list[Score]:
        text, voice = (blank_score(case, metric) for metric in self.metrics)
        if settled := settled_without_reply(case, [(text, self.metrics[0]), (voice, self.metrics[1])]):
            return settled
        heard, lacking = _voice_of(case)
        question = question_of(case, words_of(case), case.sample.cues, heard)
        rulings = await self.rulings(question)
        evidence = _evidence(self.judge, question, rulings) | {"opinions": opinions_of(case)}
        points = [text_score(self.judge, r.verdict.grades, question.task) for r in rulings]
        made = [replace(text, state="value", value=fmean(points), reason=None, evidence=evidence)]
        if lacking is not None:
            made.append(replace(voice, **lacking))
        else:
            voices = [v for r in rulings if (v := voice_score(self.judge, r.verdict)) is not None]
            made.append(
                replace(voice, state="value", value=fmean(voices), reason=None, evidence={"voices": voices})
            )
        return made


def judged_scorers(
    model: str | None = None,
    url: str | None = None,
    rubric: str = "echat-r1",
    *,
    repeats: int = 1,
    schema: bool = True,
    temperature: float = 0.0,
    calls_at_once: int = 4,
    timeout: float = 60.0,
    store: Path | None = None,
) -> tuple[Judged, JudgedContrast]:
    """Return both scorers of one judge; they share its connection and its verdicts.

    Args:
        model: None asks for the rubric's own dated model.
        url: base URL of an OpenAI-compatible server; None: OpenAI's own.
        rubric: a folder of `judges/`.
        repeats: verdicts per question; the spread is in the evidence.
        schema: the server can hold answers to a JSON schema.
        calls_at_once: calls in flight at most, over both scorers.
        timeout: seconds per call.
        store: file of verdicts that outlives the process.
    """
    judge = load_judge(rubric)
    client = ChatClient(
        model=model or judge.model, base_url=url, timeout=timeout, calls_at_once=calls_at_once
    )
    jury = Jury(judge, client, holds_schema=schema, temperature=temperature, store=store)
    return (
        Judged(jury, repeats=repeats, calls_at_once=calls_at_once),
        JudgedContrast(jury, repeats=repeats, calls_at_once=calls_at_once),
    )


def _voice_of(case: Case) -> tuple[Heard | None, dict[str, Any] | None]:
    """Return what was heard, and otherwise which state and reason the voice's score has."""
    try:
        heard = emotion_of(case)
    except NotApplicable as error:
        return None, {"state": "not applicable", "reason": str(error)}
    except Unavailable as error:
        return None, {"state": "missing", "reason": str(error)}
    if heard is None:
        return None, {"state": "not applicable", "reason": "the annotator could not tell the emotion"}
    return heard, None


def _evidence(judge: Judge, question: Question, rulings: Sequence[Ruling]) -> dict[str, Any]:
    points = [text_score(judge, r.verdict.grades, question.task) for r in rulings]
    return {
        "grades": {d: fmean(r.verdict.grades[d] for r in rulings) for d in judge.dimensions},
        "points": points,
        "variance": variance(points) if len(points) > 1 else None,
        "reasons": [r.verdict.reason for r in rulings],
        "models": sorted({r.model for r in rulings}),
        "servers": sorted({r.server or "" for r in rulings}),
        "verdicts": [r.key for r in rulings],
        "prompt_sha256": [r.prompt_sha256 for r in rulings],
        "heard": [question.heard.emotion, question.heard.confidence] if question.heard else None,
        "tokens": [sum(r.tokens[n] for r in rulings) for n in (0, 1)],
    }  # fmt: skip
