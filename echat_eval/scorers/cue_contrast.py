"""Match rate and cue contrast (proxies): does a reply fit its own sample better than its group's others?

Samples of one contrast group have the same words and differ in a cue. Let fit(i, j) be how well the
reply to sample i fits the reference reply of sample j. A sample's value is the mean over j of

    ((fit(i, i) - fit(i, j)) + (fit(j, j) - fit(j, i))) / 2

Its sum over a group is the sum of fit(i, i) - mean over j of fit(i, j). One reply to the whole
group scores exactly 0.0 in every sample, in floating point, however kind or fluent it is.
The match rate asks only which of two samples a reply fits better: a sample's value is the share of
replies, over its pairs, that fit their own sample better, a tie counting half. One reply to the whole group
scores exactly 50. `echat_eval.scorers.contrast` has both terms and their rule for failed replies.

A reply that is a sample's reference word by word is compared with the sample's other references, if there are
some: the oracle `reference` is then a ceiling that a system could reach, not a copy.

The fit is the cosine of two sentence embeddings. It is a proxy: it compares the words of replies,
never their sound, with written references. E5's cosines have a narrow range (unrelated texts still
have about 0.8), so a value is small even where a reader sees a large difference. Read its sign and
its interval; its size is not a share of anything, and it does not measure empathy.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from echat_eval.annotators.sentence_embedding import shared_e5
from echat_eval.io.hashing import fingerprint_of
from echat_eval.records import Metric
from echat_eval.scorers.contrast import NO_GROUP, SAME_EXPECTED, WORST, choice, match_term, pair_term
from echat_eval.scorers.transcripts import ASR_ANNOTATORS, words_or_state

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from echat_eval.ports import Case
    from echat_eval.records import Score, State

__all__ = ["CONTRAST", "MATCH", "CueContrast", "Embedder", "reference_fit"]

MATCH = Metric(
    name="match_rate_proxy",
    title="Match rate (proxy)",
    unit="%",
    low=0.0,
    high=100.0,
    higher_is_better=True,
    worst=0.0,
    proxy=True,
    by_voice=True,
)
CONTRAST = Metric(
    name="cue_contrast_proxy",
    title="Cue contrast (proxy)",
    unit="points",
    low=-100.0,
    high=100.0,
    higher_is_better=True,
    worst=WORST,
    proxy=True,
    by_voice=True,
    pooled=False,
    digits=2,
)


class Embedder(Protocol):
    """Model that turns a text into a vector of length 1."""

    def embed(self, text: str) -> NDArray[np.float64]:
        """Return (size,); the same text always gives the same bits."""

    def fingerprint(self) -> str:
        """Return version and weight hash."""


@dataclass(slots=True, kw_only=True)
class CueContrast:
    """Match rate and cue contrast, from sentence embeddings."""

    embedder: Embedder = field(default_factory=shared_e5)
    name: str = field(default="cue-contrast", init=False)
    #: 2: a reply without words is failed, and any ASR annotator may supply the words.
    #: 3: the failure rule of `echat_eval.scorers.contrast`.
    #: 4: the match rate; a reference is not compared with itself.
    version: str = field(default="4", init=False)
    metrics: tuple[Metric, ...] = field(default=(MATCH, CONTRAST), init=False)
    needs: tuple[str, ...] = field(default=ASR_ANNOTATORS, init=False)
    scope: Literal["sample", "contrast group"] = field(default="contrast group", init=False)

    def score(self, cases: Sequence[Case]) -> Sequence[Score]:
        """Return two scores per case, in order; the cases may belong to several groups."""
        members = [_Member.of(case) for case in cases]
        groups: dict[tuple[str, str, str], list[_Member]] = defaultdict(list)
        for member in members:
            sample = member.case.sample
            if sample.contrast_group is not None:
                groups[member.case.response.system, sample.task, sample.contrast_group].append(member)
        for group in groups.values():
            self._fill(group)
        return [score for member in members for score in member.scores()]

    def fingerprint(self) -> str:
        """Return the hash of the scorer's version and the embedding's weights."""
        return fingerprint_of([self.name, self.version, self.embedder.fingerprint()])

    def settings(self) -> Mapping[str, Any]:
        """Return all settings."""
        return {"embedder": type(self.embedder).__name__}

    def _fill(self, group: list[_Member]) -> None:
        # Sorted by id: sums then have the same bits for any order of the cases.
        group.sort(key=lambda member: member.case.sample.id)
        known = [m for m in group if m.state in ("value", "failed")]
        replied = [m for m in known if m.state == "value"]
        fits = {(i.id, j.id): self._fit(i, j) for i in replied for j in known}
        for i in known:
            if i.state == "failed":
                continue
            others = [j for j in known if j is not i]
            if not others:
                i.state, i.reason = _state_without_others(group)
                continue
            i.evidence = {
                "reply": i.source,
                "fit": {j.id: fits[i.id, j.id] for j in known},
                "fit_of_others": {j.id: fits[j.id, i.id] for j in others if j.state == "value"},
                "failed": [j.id for j in others if j.state == "failed"],
            }
            pairs = [
                (
                    (fits[i.id, i.id], fits[i.id, j.id]),
                    (fits[j.id, j.id], fits[j.id, i.id]) if j.state == "value" else None,
                )
                for j in others
            ]
            i.contrast = sum(pair_term(own, other) for own, other in pairs) / len(pairs)
            i.match = sum(_match(own, other) for own, other in pairs) / len(pairs)

    def _fit(self, reply: _Member, sample: _Member) -> float:
        assert reply.words is not None
        return reference_fit(self.embedder, reply.words, sample.case.sample.references)


def reference_fit(embedder: Embedder, words: str, references: Sequence[str]) -> float:
    """Return the mean over references of 100 x max(0, cosine); a copy is compared with the others, if any."""
    vector = embedder.embed(words)
    references = tuple(text for text in references if text != words) or references
    cosines = [float((vector * embedder.embed(text)).sum()) for text in references]
    return 100.0 * sum(max(0.0, cosine) for cosine in cosines) / len(cosines)


@dataclass(slots=True)
class _Member:
    """A case and its score so far; `words` is None if the reply has none."""

    case: Case
    state: State
    reason: str | None = None
    words: str | None = None
    source: str | None = None
    match: float | None = None
    contrast: float | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return self.case.sample.id

    @classmethod
    def of(cls, case: Case) -> _Member:
        sample = case.sample
        if sample.contrast_group is None:
            return cls(case, "not applicable", NO_GROUP)
        if sample.expect == "same":
            return cls(case, "not applicable", SAME_EXPECTED)
        if not sample.references:
            return cls(case, "not applicable", "the sample has no reference reply")
        state, text = words_or_state(case)
        if state != "value":
            return cls(case, state, text)
        reply = case.response.reply
        return cls(
            case,
            "value",
            words=text,
            source="text" if reply is not None and text == reply.text else "hypothesis",
        )

    def scores(self) -> list[Score]:
        return [
            self.case.score(metric, self.state, value=value, reason=self.reason, evidence=evidence)
            for metric, value, evidence in (
                (MATCH, self.match, {}),
                (CONTRAST, self.contrast, self.evidence),
            )
        ]


def _match(own: tuple[float, float], other: tuple[float, float] | None) -> float:
    return match_term(choice(*own), None if other is None else choice(*other))


def _state_without_others(group: list[_Member]) -> tuple[State, str]:
    """Return the state and reason of a sample that its group leaves without a comparison."""
    missing = [m for m in group if m.state == "missing"]
    if missing:
        return "missing", f"needs the reply to {missing[0].id}, which is missing: {missing[0].reason}"
    if len(group) == 1:
        return "not applicable", "no other sample of its contrast group was run"
    return "not applicable", "no other sample of its contrast group can be scored"
