"""Over-reaction (proxy): how often replies suit the voice where a good reply is the same for every voice.

For contrast groups marked `expect: same`, such as one question about a train in a woman's and a man's voice.
A reply suits the voice that it fits better: the fit is the cosine of its sentence embedding with a sentence
about such a speaker (`ANCHORS`). A sample's value is the share of replies, over its pairs, that suit their
own voice minus the share that suit the other one, in percent: 100 if replies always follow the voice, 0
exactly for one reply to the whole group, and 0 in expectation for replies that only vary.
`echat_eval.scorers.contrast` has the term and its rule for failed replies.

The anchors cover age and gender. It is a proxy: a reply that addresses the speaker as what the voice suggests
is found more often than one that adapts its content.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from echat_eval.annotators.sentence_embedding import shared_e5
from echat_eval.io.hashing import fingerprint_of
from echat_eval.languages import base_of
from echat_eval.records import Metric
from echat_eval.scorers.contrast import choice, over_reaction_term
from echat_eval.scorers.cue_contrast import Embedder
from echat_eval.scorers.transcripts import ASR_ANNOTATORS, words_or_state

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from echat_eval.ports import Case
    from echat_eval.records import Sample, Score, State

__all__ = ["ANCHORS", "METRIC", "OverReaction"]

METRIC = Metric(
    name="over_reaction_proxy",
    title="Over-reaction (proxy)",
    unit="%",
    low=-100.0,
    high=100.0,
    higher_is_better=False,
    worst=100.0,
    proxy=True,
)
#: (cue, language) -> label -> sentence about such a speaker.
ANCHORS: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("gender", "en"): {
        "female": "Madam, lady, girl, she is a woman.",
        "male": "Sir, lad, man, he is a man.",
    },
    ("gender", "zh"): {"female": "女士,姑娘,女生,姐姐", "male": "先生,小伙子,男生,哥哥"},
    ("age", "en"): {
        "child": "You are a little child, kiddo, with mum and dad.",
        "adult": "You are a grown-up with work and a career.",
        "old": "You are an elderly person, grandma or grandpa, at your age.",
    },
    ("age", "zh"): {"child": "小朋友,爸爸妈妈", "adult": "成年人,工作", "old": "老人家,爷爷奶奶"},
}


@dataclass(slots=True, kw_only=True)
class OverReaction:
    """Over-reaction, from sentence embeddings."""

    embedder: Embedder = field(default_factory=shared_e5)
    name: str = field(default="over-reaction", init=False)
    version: str = field(default="1", init=False)
    metrics: tuple[Metric, ...] = field(default=(METRIC,), init=False)
    needs: tuple[str, ...] = field(default=ASR_ANNOTATORS, init=False)
    scope: Literal["sample", "contrast group"] = field(default="contrast group", init=False)

    def score(self, cases: Sequence[Case]) -> Sequence[Score]:
        """Return one score per case, in order; the cases may belong to several groups."""
        groups: dict[tuple[str, str, str | None], list[Case]] = defaultdict(list)
        for case in cases:
            groups[case.response.system, case.sample.task, case.sample.contrast_group].append(case)
        for group in groups.values():
            group.sort(key=lambda case: case.sample.id)  # sums have the same bits for any order of the cases
        return [
            self._score(case, groups[case.response.system, case.sample.task, case.sample.contrast_group])
            for case in cases
        ]

    def fingerprint(self) -> str:
        """Return the hash of the scorer's version, the anchors and the embedding's weights."""
        anchors = [[*key, dict(texts)] for key, texts in ANCHORS.items()]
        return fingerprint_of([self.name, self.version, anchors, self.embedder.fingerprint()])

    def settings(self) -> Mapping[str, Any]:
        """Return all settings."""
        return {"embedder": type(self.embedder).__name__}

    def _score(self, case: Case, group: Sequence[Case]) -> Score:
        if case.sample.expect != "same":
            return case.score(METRIC, "not applicable", reason="the sample is not marked `expect: same`")
        others = [other for other in group if _traits_that_differ(case.sample, other.sample)]
        if len(group) > 1 and not others:
            reason = "only its voices' age and gender can be measured by this proxy; ask a judge (match)"
            return case.score(METRIC, "not applicable", reason=reason)
        state, words = words_or_state(case)
        if state != "value":
            return case.score(METRIC, state, reason=words)
        terms, missing = [], ""
        for other in others:
            other_state, other_words = words_or_state(other)
            if other_state in ("value", "failed"):
                theirs = (
                    None if other_state == "failed" else self._choice(other_words, other.sample, case.sample)
                )
                terms.append(over_reaction_term(self._choice(words, case.sample, other.sample), theirs))
            elif other_state == "missing":
                missing = f"needs the reply to {other.sample.id}, which is missing: {other_words}"
        if terms:
            return case.score(METRIC, "value", value=sum(terms) / len(terms), evidence={"pairs": len(terms)})
        none: State = "missing" if missing else "not applicable"
        return case.score(
            METRIC, none, reason=missing or "no other sample of its contrast group can be scored"
        )

    def _choice(self, words: str, own: Sample, other: Sample) -> tuple[float, float]:
        """Return which of two voices a reply suits, as fits of a choice."""
        reply = self.embedder.embed(words)

        def fit(sample: Sample) -> float:
            texts = [
                ANCHORS[cue, base_of(sample.language)][sample.cues[cue]]
                for cue in _traits_that_differ(own, other)
            ]
            return sum(float((reply * self.embedder.embed(text)).sum()) for text in texts)

        return choice(fit(own), fit(other))


def _traits_that_differ(first: Sample, second: Sample) -> list[str]:
    """Return the cues with anchors that differ between two voices."""
    return [
        cue
        for cue, label in sorted(first.cues.items())
        if (cue, base_of(first.language)) in ANCHORS and second.cues.get(cue, label) != label
    ]
