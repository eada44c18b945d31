"""Match rate by the judge: of two voices with the same words, which does a reply answer?

The judge reads the labels of both voices and answers 1, 2 or 0 for neither (a tie counts half), in both
orders, so that a preference for the first voice cancels. Pairs, failures and the two metrics are those of
`echat_eval.scorers.contrast`: one reply to the whole group is exactly 50 in the match rate and exactly 0 in
over-reaction (groups marked `expect: same`), even with a judge that answers at random, because equal
questions get equal answers.

Each pair of replies costs four questions per repeat, so it is asked on request only. A judge that listens is
asked the same question with the recordings of both voices in place of the labels, and with that of the reply
if it is spoken.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from echat_eval.io.hashing import digest
from echat_eval.judge import Recording, load_match
from echat_eval.judge.recordings import limit_fault
from echat_eval.ports import Destination
from echat_eval.records import Metric
from echat_eval.scorers.contrast import NO_GROUP, SAME_EXPECTED, match_term, over_reaction_term
from echat_eval.scorers.judge_scorer import JudgeScorer, build_question
from echat_eval.scorers.judged import GroupReply, labels_text, others_of, state_without_others
from echat_eval.scorers.judged_voice import recordings_of_reply
from echat_eval.scorers.transcripts import words_or_state

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from echat_eval.judge import Judge, Question
    from echat_eval.ports import Case
    from echat_eval.records import Score, State

__all__ = ["ANSWERS", "JudgedMatch"]

#: Dimension of the rubric, and the answers that name a voice.
ANSWER, FIRST, SECOND, NEITHER = "answers", 1, 2, 0
#: In the evidence of a score: id of the other sample -> counts of `_Choice`.
ANSWERS = "answers"
#: In place of the words of a reply that nothing transcribed.
SPOKEN = "(spoken; its words are not given)"


@dataclass(frozen=True, slots=True)
class _Choice:
    """Answers about one reply and two voices.

    Attributes:
        counts: answers for the own voice, ties and answers for the other one, with the own voice first, and
            with it second.
    """

    counts: tuple[tuple[int, int, int], tuple[int, int, int]]

    @property
    def shares(self) -> tuple[float, float]:
        """Return how often each voice was chosen, in percent; a tie counts half for each."""
        # An answer counts 2, a tie 1 for each: whole numbers, so equal answers cancel exactly.
        own = sum(2 * named + ties for named, ties, _ in self.counts)
        count = 2 * sum(map(sum, self.counts))
        return 100.0 * own / count, 100.0 * (count - own) / count


class JudgedMatch(JudgeScorer):
    """Match rate and over-reaction, by the judge."""

    kind = "judged-match"
    version = "1"
    scope: Literal["sample", "contrast group"] = "contrast group"

    def _metrics(self) -> tuple[Metric, ...]:
        of_judge = "Judge's" if self.judge_name is None else f"Judge {self.judge_name},"
        # Under a name of its own, which leads no table by default: not every judge that listens may rank.
        listens = self.judge.listens
        match = Metric(
            name=f"{self.stem}_{'listening_match' if listens else 'match_rate'}",
            title=f"{of_judge} match rate{' of recordings' if listens else ''}",
            unit="%",
            low=0,
            high=100,
            higher_is_better=True,
            worst=0,
            by_voice=True,
        )
        over_reaction = Metric(
            name=f"{self.stem}_over_reaction",
            title=f"{of_judge} over-reaction",
            unit="%",
            low=-100,
            high=100,
            higher_is_better=False,
            worst=100,
        )
        return match, over_reaction

    @cached_property
    def rubric(self) -> Judge:
        """Return the rubric of the match question."""
        return load_match(self.judge.name)

    @property
    def match(self) -> Metric:
        """Return the metric of groups whose replies should differ."""
        return self.metrics[0]

    @property
    def over_reaction(self) -> Metric:
        """Return the metric of groups marked `expect: same`."""
        return self.metrics[1]

    def destinations(self) -> Sequence[Destination]:
        """Return the judge's server."""
        if not self.rubric.listens:
            return super().destinations()
        contents = ("query audio", "audio of replies", "transcripts", "words of replies")
        return [Destination(url=self.judge_client.client.address, contents=contents)]

    def fingerprint(self) -> str:
        """Return the hash of the judge as served, of the question and of the rules."""
        return digest("judged match", [super().fingerprint(), self.rubric.fingerprint(), self.version])

    async def score(self, cases: Sequence[Case]) -> Sequence[Score]:
        """Return two scores per case of one contrast group."""
        replies = self._replies(cases)
        return [score for reply in replies for score in await self._both(reply, replies)]

    def questions(self, cases: Sequence[Case]) -> Iterator[Question]:
        """Yield the questions about every pair of replies of one contrast group."""
        replies = self._replies(cases)
        for reply in replies:
            if reply.state == "value" and _not_asked(reply.case) is None:
                for other in others_of(reply, replies):
                    if other.state in {"value", "failed"}:
                        yield from self._orders(reply, other)

    def _replies(self, cases: Sequence[Case]) -> list[GroupReply]:
        """Return the replies of one contrast group; a judge that listens needs no words of a spoken one."""
        replies = [GroupReply(case, *words_or_state(case)) for case in cases]
        if not self.rubric.listens:
            return replies
        return [
            replace(reply, state="value", text="")
            if reply.state == "not applicable" and recordings_of_reply(reply.case)
            else replace(reply, state="not applicable", text=fault)
            if reply.state == "value" and (fault := limit_fault(self.rubric, self._recorded(reply.case)))
            else reply
            for reply in replies
        ]

    @staticmethod
    def _recorded(case: Case) -> tuple[Recording, ...]:
        """Return the recordings of a sample and of the reply to it."""
        return (Recording(name="query", audio=case.sample.audio), *recordings_of_reply(case))

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
        terms, votes, answers = [], {}, {}
        for other in known:
            choice = await self._choice(reply, other)
            theirs = await self._choice(other, reply) if other.state == "value" else None
            terms.append(term(choice.shares, None if theirs is None else theirs.shares))
            votes[other.case.sample.id] = choice.shares[0]
            answers[other.case.sample.id] = [list(counts) for counts in choice.counts]
        failed = sum(other.state == "failed" for other in known)
        evidence = {"own_voice": votes, "failed": failed, ANSWERS: answers}
        return case.score(metric, "value", value=sum(terms) / len(terms), evidence=evidence)

    async def _choice(self, reply: GroupReply, other: GroupReply) -> _Choice:
        """Return how often the judge chose each voice, with the own voice first and second."""
        counts = []
        for question, own_answer in zip(self._orders(reply, other), (FIRST, SECOND), strict=True):
            found = [ruling.verdict.grades[ANSWER] for ruling in await self.rulings(question)]
            own, ties = found.count(own_answer), found.count(NEITHER)
            counts.append((own, ties, len(found) - own - ties))
        return _Choice(counts=(counts[0], counts[1]))

    def _orders(self, reply: GroupReply, other: GroupReply) -> list[Question]:
        """Return the question with the own voice first, and with the other voice first."""
        voices = [reply.case, other.case]
        return [self._question(reply, first, second) for first, second in (voices, voices[::-1])]

    def _question(self, reply: GroupReply, first: Case, second: Case) -> Question:
        """Return the question about a reply and two voices."""
        if not self.rubric.listens:
            cues = {"voice 1": labels_text(first), "voice 2": labels_text(second)}
            return build_question(reply.case, reply.text, cues, None, rubric=self.rubric)
        voices = tuple(
            Recording(name=f"voice {number}", audio=case.sample.audio)
            for number, case in enumerate((first, second), 1)
        )
        question = build_question(reply.case, reply.text or SPOKEN, {}, None, rubric=self.rubric)
        recordings = (*voices, *recordings_of_reply(reply.case))
        return replace(question, own_cues=None, history=(), recordings=recordings)


def _not_asked(case: Case) -> str | None:
    """Return why a reply is compared with no other; None if it is."""
    if case.sample.asks is not None:
        return "the sample asks a probing question, not for a reply"
    return NO_GROUP if case.sample.contrast_group is None else None
