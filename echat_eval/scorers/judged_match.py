"""Match rate by the judge: of two voices with the same words, which does a reply answer?

The judge reads the labels of both voices and answers 1, 2 or 0 for neither (a tie counts half), in both
orders, so that a preference for the first voice cancels. Pairs, failures and the two metrics are those of
`echat_eval.scorers.contrast`: one reply to the whole group is exactly 50 in the match rate and exactly 0 in
over-reaction (groups marked `expect: same`), even with a judge that answers at random, because equal
questions get equal answers.

Each pair of replies costs four questions, so it is asked on request only. A judge that listens would be asked
the same question with the recordings in place of the labels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from echat_eval.io.hashing import digest
from echat_eval.judge import load_match
from echat_eval.records import Metric
from echat_eval.scorers.contrast import NO_GROUP, SAME_EXPECTED, match_term, over_reaction_term
from echat_eval.scorers.judge_scorer import JudgeScorer, build_question
from echat_eval.scorers.judged import GroupReply, labels_text, others_of, state_without_others
from echat_eval.scorers.transcripts import words_or_state

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from echat_eval.judge import JudgeClient, Question
    from echat_eval.ports import Case
    from echat_eval.records import Score, State

__all__ = ["JudgedMatch"]

#: Dimension of the rubric, and the answers that name a voice.
ANSWER, FIRST, SECOND = "answers", 1, 2


class JudgedMatch(JudgeScorer):
    """Match rate and over-reaction, by the judge."""

    kind = "judged-match"
    version = "1"
    scope: Literal["sample", "contrast group"] = "contrast group"

    def __init__(
        self,
        judge_client: JudgeClient,
        *,
        repeats: int = 1,
        calls_at_once: int = 4,
        judge_name: str | None = None,
    ) -> None:
        super().__init__(judge_client, repeats=repeats, calls_at_once=calls_at_once, judge_name=judge_name)
        self.rubric = load_match(self.judge.name)
        of_judge = "Judge's" if judge_name is None else f"Judge {judge_name},"
        self.match = Metric(
            name=f"{self.stem}_match_rate",
            title=f"{of_judge} match rate",
            unit="%",
            low=0,
            high=100,
            higher_is_better=True,
            worst=0,
            by_voice=True,
        )
        self.over_reaction = Metric(
            name=f"{self.stem}_over_reaction",
            title=f"{of_judge} over-reaction",
            unit="%",
            low=-100,
            high=100,
            higher_is_better=False,
            worst=100,
        )
        self.metrics: tuple[Metric, ...] = (self.match, self.over_reaction)

    def fingerprint(self) -> str:
        """Return the hash of the judge as served, of the question and of the rules."""
        return digest("judged match", [super().fingerprint(), self.rubric.fingerprint(), self.version])

    async def score(self, cases: Sequence[Case]) -> Sequence[Score]:
        """Return two scores per case of one contrast group."""
        replies = [GroupReply(case, *words_or_state(case)) for case in cases]
        return [score for reply in replies for score in await self._both(reply, replies)]

    def questions(self, cases: Sequence[Case]) -> Iterator[Question]:
        """Yield the questions about every pair of replies of one contrast group."""
        replies = [GroupReply(case, *words_or_state(case)) for case in cases]
        for reply in replies:
            if reply.state == "value" and _not_asked(reply.case) is None:
                for other in others_of(reply, replies):
                    if other.state in {"value", "failed"}:
                        yield from self._orders(reply, other)

    async def _both(self, reply: GroupReply, replies: Sequence[GroupReply]) -> list[Score]:
        case = reply.case
        if (reason := _not_asked(case)) is not None:
            return [case.score(metric, "not applicable", reason=reason) for metric in self.metrics]
        applicable, other_metric = (
            (self.over_reaction, self.match) if case.sample.expect else (self.match, self.over_reaction)
        )
        why = SAME_EXPECTED if case.sample.expect else "the group is not marked `expect: same`"
        return [
            await self._score(applicable, reply, replies),
            case.score(other_metric, "not applicable", reason=why),
        ]

    async def _score(self, metric: Metric, reply: GroupReply, replies: Sequence[GroupReply]) -> Score:
        case, others = reply.case, others_of(reply, replies)
        if reply.state != "value":
            return case.score(metric, reply.state, reason=reply.text)
        known = [other for other in others if other.state in {"value", "failed"}]
        if not known:
            state: State
            state, reason = state_without_others(others)
            return case.score(metric, state, reason=reason)
        term = over_reaction_term if metric is self.over_reaction else match_term
        terms, votes = [], {}
        for other in known:
            own = await self._choice(reply, other)
            theirs = await self._choice(other, reply) if other.state == "value" else None
            terms.append(term(own, theirs))
            votes[other.case.sample.id] = own[0]
        evidence = {"own_voice": votes, "failed": sum(other.state == "failed" for other in known)}
        return case.score(metric, "value", value=sum(terms) / len(terms), evidence=evidence)

    async def _choice(self, reply: GroupReply, other: GroupReply) -> tuple[float, float]:
        """Return how often the judge chose the reply's own voice and the other one, in percent."""
        own = count = 0  # a choice counts 2, a tie 1 for each: whole numbers, so equal answers cancel exactly
        for question, own_answer in zip(self._orders(reply, other), (FIRST, SECOND), strict=True):
            for ruling in await self.rulings(question):
                answer = ruling.verdict.grades[ANSWER]
                own += 2 if answer == own_answer else 0 if answer in (FIRST, SECOND) else 1
                count += 2
        return 100.0 * own / count, 100.0 * (count - own) / count

    def _orders(self, reply: GroupReply, other: GroupReply) -> list[Question]:
        """Return the question with the own voice first, and with the other voice first."""
        voices = [labels_text(reply.case), labels_text(other.case)]
        return [
            build_question(
                reply.case, reply.text, {"voice 1": first, "voice 2": second}, None, rubric=self.rubric
            )
            for first, second in (voices, voices[::-1])
        ]


def _not_asked(case: Case) -> str | None:
    """Return why a reply is compared with no other; None if it is."""
    if case.sample.asks is not None:
        return "the sample asks a probing question, not for a reply"
    return NO_GROUP if case.sample.contrast_group is None else None
