"""The judge's cue contrast: how much better it finds a reply under its own labels than under others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Literal

from echat_eval.errors import NotApplicable, Unavailable
from echat_eval.judge import (
    Jury,
)
from echat_eval.ports import Case
from echat_eval.records import Metric, Score, State
from echat_eval.scorers.heard import words_of
from echat_eval.scorers.judging import Asking, blank_score, question_of, settled_without_reply, stem_of

__all__ = ["JudgedContrast"]


class JudgedContrast(Asking):
    """How much better the judge finds a reply under its own labels than under those of its group.

    Every reply of a contrast group is judged under every set of labels of the group. A row's value is
    the mean over the group's replies to other labels of

        (fit(own reply, own labels) - fit(own reply, its labels)
         + fit(its reply, its labels) - fit(its reply, own labels)) / 2,

    which over the group is the mean of fit(own, own) - fit(own, other), and in which a judge's liking
    for one label cancels: one reply to the whole group is exactly 0 in every row. The emotion of the
    voice is withheld, so that only words count.
    """

    name = "judged-contrast"
    version = "1"
    scope: Literal["sample", "contrast group"] = "contrast group"

    def __init__(self, jury: Jury, *, repeats: int = 1, calls_at_once: int = 4) -> None:
        super().__init__(jury, repeats=repeats, calls_at_once=calls_at_once)
        self.metrics: tuple[Metric, ...] = (
            Metric(
                name=f"{stem_of(self.judge)}_cue_contrast", title="Judge's cue contrast", unit="points",
                low=-100, high=100, higher_is_better=True, worst=-100,
            ),
        )  # fmt: skip

    async def score(self, cases: Sequence[Case]) -> Sequence[Score]:
        """Return one score a case of one contrast group."""
        words: dict[str, str | NotApplicable | Unavailable] = {}
        for case in cases:
            if case.response.state == "value":
                try:
                    words[case.sample.id] = words_of(case)
                except (NotApplicable, Unavailable) as error:
                    words[case.sample.id] = error
        return [await self._one(case, cases, words) for case in cases]

    async def _one(
        self, case: Case, cases: Sequence[Case], words: Mapping[str, str | NotApplicable | Unavailable]
    ) -> Score:
        metric = self.metrics[0]
        blank = blank_score(case, metric)
        if settled := settled_without_reply(case, [(blank, metric)]):
            return settled[0]
        own = words[case.sample.id]
        if not isinstance(own, str):
            state: State = "not applicable" if isinstance(own, NotApplicable) else "missing"
            return replace(blank, state=state, reason=str(own))
        others = [
            (other, said)
            for other in cases
            if case.sample.contrast_group is not None
            and _labels(other) != _labels(case)
            and isinstance(said := words.get(other.sample.id), str)
        ]
        if not others:
            reason = "no other reply in its contrast group answers other labels"
            return replace(blank, state="not applicable", reason=reason)
        value = fmean([await self._pair(case, own, other, said) for other, said in others])
        return replace(blank, state="value", value=value, reason=None, evidence={"against": len(others)})

    async def _pair(self, case: Case, own: str, other: Case, said: str) -> float:
        async def fit(words: str, labels: Case) -> float:
            return await self._points(question_of(case, words, labels.sample.cues, None))

        gain_of_own = await fit(own, case) - await fit(own, other)
        return (gain_of_own + await fit(said, other) - await fit(said, case)) / 2


def _labels(case: Case) -> str:
    return ", ".join(f"{cue}: {label}" for cue, label in sorted(case.sample.cues.items()))
