"""What a system understood, asked by a probing question and answered in words.

For transcripts the word or character error rate; for cues WAR (the share of right answers) and UAR
(the same per label, then the mean over labels, so that a frequent label cannot carry a rare one).
An answer is read as a label only if it names one and no other; anything else is a wrong answer, not
a missing one: the system was asked and did not say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from echat_eval.io.bundled_models import installed_version
from echat_eval.io.hashing import digest
from echat_eval.labels import ALIASES, LABELS, UNKNOWN
from echat_eval.records import Metric, Score, State
from echat_eval.scorers.normalize import CHARACTER_LANGUAGES, MAX_TEXT, NORMALISER, words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from echat_eval.ports import Case

__all__ = ["CER", "UAR", "WAR", "WER", "Understanding", "named_label"]

WER = Metric(
    name="understanding_wer",
    title="ASR WER",
    unit="%",
    low=0.0,
    high=None,
    higher_is_better=False,
    worst=100.0,
    average="ratio",
)
CER = Metric(
    name="understanding_cer",
    title="ASR CER",
    unit="%",
    low=0.0,
    high=None,
    higher_is_better=False,
    worst=100.0,
    average="ratio",
)
WAR = Metric(
    name="understanding_war", title="WAR", unit="%", low=0.0, high=100.0, higher_is_better=True, worst=0.0
)
UAR = Metric(
    name="understanding_uar",
    title="UAR",
    unit="%",
    low=0.0,
    high=100.0,
    higher_is_better=True,
    worst=0.0,
    average="macro recall",
)


def named_label(cue: str, answer: str) -> str | None:
    """Return the one label an answer names, or None if it names none or several.

    >>> named_label("emotion", "The speaker sounds <ANGRY>."), named_label("emotion", "not sad, but happy")
    ('anger', None)
    >>> named_label("age", "一位老人"), named_label("gender", "She is female, a woman.")
    ('old', 'female')
    """
    text = answer.casefold()
    found: set[str] = set()
    if len(bare := text.strip(" <>|.\n")) == 1:  # "F" is an answer, the m of "I'm" is none
        return dict(_spellings(cue)).get(bare)
    for spelling, label in _spellings(cue):
        if len(spelling) == 1 and spelling.isascii():
            continue
        # The longest spelling first, and blanked out: "female" holds "male", "middle_age" holds "middle".
        pattern = re.escape(spelling).replace("_", "[ _]").replace(r"\ ", "[ _]")
        bounded = rf"(?<![a-z]){pattern}(?![a-z])" if spelling.isascii() else pattern
        text, times = re.subn(bounded, " · ", text)
        if times:
            found.add(label)
    return found.pop() if len(found) == 1 else None


@lru_cache(maxsize=16)
def _spellings(cue: str) -> tuple[tuple[str, str], ...]:
    table = {label: label for label in LABELS[cue]}
    table |= {spelling: label for spelling, label in ALIASES[cue].items() if label != UNKNOWN}
    return tuple(sorted(table.items(), key=lambda pair: (-len(pair[0]), pair[0])))


@dataclass(slots=True, kw_only=True)
class Understanding:
    """WER, CER, WAR and UAR of answers to probing questions; each where it applies."""

    annotator: str = "whisper"
    name: str = field(default="understanding", init=False)
    version: str = field(default="1", init=False)
    families: tuple[str, ...] = field(default=("understanding",), init=False)
    metrics: tuple[Metric, ...] = field(default=(WER, CER, WAR, UAR), init=False)
    needs: tuple[str, ...] = field(default=(), init=False)
    scope: Literal["sample", "contrast group"] = field(default="sample", init=False)

    def __post_init__(self) -> None:
        self.needs = (self.annotator,)

    def score(self, cases: Sequence[Case]) -> Sequence[Score]:
        """Return, per case in order, one score a metric."""
        return [score for case in cases for score in self._one(case)]

    def fingerprint(self) -> str:
        """Return the hash of the labels, the normaliser and what counts the errors."""
        spellings = [_spellings(cue) for cue in LABELS]
        return digest(self.name, [self.version, NORMALISER, f"jiwer {installed_version('jiwer')}", spellings])

    def settings(self) -> Mapping[str, Any]:
        """Return everything that was set."""
        return {"annotator": self.annotator, "normaliser": NORMALISER}

    def _one(self, case: Case) -> list[Score]:
        asks = case.sample.asks
        if asks is None:
            return [
                _score(case, m, "not applicable", reason="a dialogue task asks no question")
                for m in self.metrics
            ]
        own = (WAR, UAR)
        if asks == "transcript":
            own = (CER if case.sample.language in CHARACTER_LANGUAGES else WER,)  # type: ignore[assignment]
        found = []
        for metric in self.metrics:
            if metric not in own:
                reason = f"the task asks for the {asks}, in '{case.sample.language}'"
                found.append(_score(case, metric, "not applicable", reason=reason))
            elif asks == "transcript":
                found.append(self._rate(case, metric))
            else:
                found.append(self._recall(case, metric, asks))
        return found

    def _answer(self, case: Case) -> tuple[State, str]:
        """Return "value" and the answer's words, or why there are none."""
        response = case.response
        if response.state != "value" or response.reply is None:
            state: State = response.state if response.state != "value" else "failed"
            return state, response.reason or "there is no reply"
        if response.reply.text and response.reply.text.strip():
            return "value", response.reply.text
        heard = case.annotations.get(self.annotator)
        if heard is None:
            return "not applicable", "the answer has no text and no recogniser heard it"
        if heard.state != "value":
            state = "missing" if heard.state == "missing" else "not applicable"
            return state, f"the answer has no text; {self.annotator}: {heard.reason or heard.state}"
        return "value", str(heard.values["hypothesis"])

    def _rate(self, case: Case, metric: Metric) -> Score:
        reference = words(case.sample.transcript, case.sample.language)
        weight = float(len(reference))
        if not reference:
            return _score(case, metric, "not applicable", reason="the gold transcript has no words to count")
        state, said = self._answer(case)
        if state != "value":
            value = metric.worst if state == "failed" else None
            return _score(case, metric, state, value=value, weight=weight, reason=said)
        if len(said) > MAX_TEXT:
            reason = f"an answer of {len(said):,} characters is no transcript"
            return _score(case, metric, "failed", value=metric.worst, weight=weight, reason=reason)
        import jiwer

        hypothesis = words(said, case.sample.language)
        counts = jiwer.process_words(" ".join(reference), " ".join(hypothesis))
        wrong = counts.substitutions + counts.deletions + counts.insertions
        evidence = {"errors": wrong, "hypothesis": " ".join(hypothesis)[:500]}
        return _score(case, metric, "value", value=100.0 * wrong / weight, weight=weight, evidence=evidence)

    def _recall(self, case: Case, metric: Metric, cue: str) -> Score:
        gold = case.sample.cues[cue]
        state, said = self._answer(case)
        if state != "value":
            value = metric.worst if state == "failed" else None
            return _score(case, metric, state, value=value, reason=said)
        reply = case.response.reply
        told = reply.perceived.get(cue) if reply is not None else None
        answered = told or named_label(cue, said[:MAX_TEXT]) or UNKNOWN
        evidence = {"label": gold, "answered": answered}
        return _score(case, metric, "value", value=100.0 * (answered == gold), evidence=evidence)


def _score(
    case: Case,
    metric: Metric,
    state: State,
    *,
    value: float | None = None,
    weight: float = 1.0,
    reason: str | None = None,
    evidence: Mapping[str, Any] | None = None,
) -> Score:
    return Score(
        key="",
        system=case.response.system,
        task=case.sample.task,
        sample_id=case.sample.id,
        metric=metric.name,
        state=state,
        value=value,
        weight=weight,
        reason=reason,
        evidence=evidence or {},
    )
