"""Voice match (experimental): the match question put to an emotion annotator's distribution.

Of two voices that said the same words, which does the *voice* of a reply answer? The one whose answering
emotion is more probable in the reply's voice. Pairs, failures and ties are those of
`echat_eval.scorers.contrast`: one waveform for both is exactly 50.

It ranks nothing. Classifiers of emotion are trained on people, and fail on synthesised speech
(arXiv 2603.16483): every reply of a system is synthesised. The emotion that answers another one is a rule of
ours.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from echat_eval.io.hashing import fingerprint_of
from echat_eval.records import Metric
from echat_eval.scorers.contrast import NO_GROUP, SAME_EXPECTED, choice, match_term
from echat_eval.scorers.voice_description import emotion_distribution

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from echat_eval.ports import Case
    from echat_eval.records import Score, State

__all__ = ["VoiceMatch"]

METRIC = Metric(
    name="voice_match_experimental",
    title="Voice match (experimental)",
    unit="%",
    low=0.0,
    high=100.0,
    higher_is_better=True,
    worst=0.0,
    proxy=True,
    by_voice=True,
)
#: Emotion of the speaker -> emotion of a voice that answers it. A calm voice answers anger, fear and disgust.
ANSWERING: Mapping[str, str] = MappingProxyType(
    {
        "happy": "happy",
        "surprise": "surprise",
        "sad": "sad",
        "anger": "neutral",
        "fear": "neutral",
        "disgust": "neutral",
        "neutral": "neutral",
    }
)
NO_EMOTION = "the voice match is of emotion, and the sample states none that it has a rule for"
NO_DISTRIBUTION = "no annotator gave a distribution of emotions of the reply's voice (emotion2vec)"


@dataclass(slots=True, kw_only=True)
class VoiceMatch:
    """Voice match, from the distribution of an emotion annotator."""

    name: str = field(default="voice-match", init=False)
    version: str = field(default="1", init=False)
    metrics: tuple[Metric, ...] = field(default=(METRIC,), init=False)
    needs: tuple[str, ...] = field(default=("emotion2vec", "transformers-emotion"), init=False)
    scope: Literal["sample", "contrast group"] = field(default="contrast group", init=False)

    def score(self, cases: Sequence[Case]) -> Sequence[Score]:
        """Return one score per case, in order; the cases may belong to several groups."""
        groups: dict[tuple[str, str, str | None], list[Case]] = defaultdict(list)
        for case in cases:
            groups[_group(case)].append(case)
        for group in groups.values():
            group.sort(key=lambda case: case.sample.id)  # sums have the same bits for any order of the cases
        return [self._score(case, groups[_group(case)]) for case in cases]

    def fingerprint(self) -> str:
        """Return the hash of the scorer's version and of its rule."""
        return fingerprint_of([self.name, self.version, dict(ANSWERING)])

    def settings(self) -> Mapping[str, Any]:
        """Return no settings; there are none."""
        return {}

    def _score(self, case: Case, group: Sequence[Case]) -> Score:
        if case.sample.contrast_group is None:
            return case.score(METRIC, "not applicable", reason=NO_GROUP)
        if case.sample.expect == "same":
            return case.score(METRIC, "not applicable", reason=SAME_EXPECTED)
        if case.sample.asks is not None or case.sample.cues.get("emotion") not in ANSWERING:
            return case.score(METRIC, "not applicable", reason=NO_EMOTION)
        state, reason = _state(case)
        if state != "value":
            return case.score(METRIC, state, reason=reason)
        terms, missing = [], ""
        for other in group:
            if other.sample.cues.get("emotion") not in {*ANSWERING} - {case.sample.cues["emotion"]}:
                continue
            other_state, other_reason = _state(other)
            if other_state == "missing":
                missing = f"needs the reply to {other.sample.id}, which is missing: {other_reason}"
            elif other_state in ("value", "failed"):
                theirs = None if other_state == "failed" else _choice(other, case)
                terms.append(match_term(_choice(case, other), theirs))
        if terms:
            return case.score(METRIC, "value", value=sum(terms) / len(terms), evidence={"pairs": len(terms)})
        none: State = "missing" if missing else "not applicable"
        why = missing or "no other reply of its contrast group answers another emotion"
        return case.score(METRIC, none, reason=why)


def _group(case: Case) -> tuple[str, str, str | None]:
    return case.response.system, case.sample.task, case.sample.contrast_group


def _state(case: Case) -> tuple[State, str]:
    """Return "value", or the state and the reason of a reply whose voice is not known."""
    if case.no_reply is not None:
        return case.no_reply
    if emotion_distribution(case) is not None:
        return "value", ""
    for name in ("emotion2vec", "transformers-emotion"):
        annotation = case.annotations.get(name)
        if annotation is not None and annotation.state == "missing":
            return "missing", f"the emotion of the voice is missing: {annotation.reason}"
    return "not applicable", NO_DISTRIBUTION


def _choice(reply: Case, other: Case) -> tuple[float, float]:
    """Return which voice the voice of a reply answers, as fits of a choice: its own, and that of `other`."""
    distribution = emotion_distribution(reply) or {}
    own, theirs = (distribution.get(ANSWERING[case.sample.cues["emotion"]], 0.0) for case in (reply, other))
    return choice(own, theirs)
