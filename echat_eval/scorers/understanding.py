"""Speech understanding: answers to probing questions, scored against transcripts and labels.

Transcripts get the word or character error rate. Cues get WAR (the share of correct answers) and UAR
(the mean over labels of the share per label, so that frequent labels do not dominate;
`echat_eval.stats.macro_mean` computes it).
An answer counts as a label only if it names exactly one; any other answer is wrong, not missing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from echat_eval.io.bundled_models import installed_version
from echat_eval.io.hashing import digest
from echat_eval.io.negation import NEGATION_RULES, negated
from echat_eval.io.schema import MAX_TEXT_CHARACTERS
from echat_eval.labels import SHIPPED, UNKNOWN, cues_with, is_right
from echat_eval.labels.definition import spellings_of
from echat_eval.records import Metric
from echat_eval.scorers.error_rate import count_edits
from echat_eval.scorers.normalize import NORMALISER, rate_of, words
from echat_eval.scorers.transcripts import ASR_ANNOTATORS, words_or_state

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from echat_eval.ports import Case
    from echat_eval.records import Cue, Score

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


def named_label(cue: Cue | str, answer: str) -> str | None:
    """Return the only label that an answer names; None if it names none or several.

    A negated label is not named; negations are recognised in English and Chinese.

    Args:
        cue: a cue, or the name of a shipped one.
        answer: of a system.

    >>> emotion, event = SHIPPED["emotion"], SHIPPED["event"]
    >>> named_label(emotion, "The speaker sounds <ANGRY>."), named_label(emotion, "sad or happy")
    ('anger', None)
    >>> named_label(emotion, "not sad, but happy"), named_label(event, "no laughter")
    ('happy', None)
    >>> named_label(SHIPPED["age"], "一位老人"), named_label(SHIPPED["gender"], "She is female, a woman.")
    ('old', 'female')
    """
    cue = SHIPPED[cue] if isinstance(cue, str) else cue
    text = answer.casefold()
    if len(bare := text.strip(" <>|.\n")) == 1:  # "F" is an answer; the m of "I'm" is not
        return dict(_spellings(cue)).get(bare)
    hits = _places(cue, text)
    words = sorted(hits)
    named = {hits[word] for word, no in zip(words, negated(text, words), strict=True) if not no}
    return named.pop() if len(named) == 1 else None


def words_that_name(cue: Cue, text: str) -> list[str]:
    """Return the words of a text that name any label of a cue, negated or not, in their order.

    "none" and "other" name nothing; single characters, such as the 女 of 女儿, are too often parts of words.

    >>> words_that_name(SHIPPED["emotion"], "I am so Happy, not angry.")
    ['happy', 'angry']
    """
    folded_text = text.casefold()
    return [
        folded_text[start:end]
        for (start, end), label in sorted(_places(cue, folded_text).items())
        if end - start > 1 and label not in ("none", "other")
    ]


def _places(cue: Cue, text: str) -> dict[tuple[int, int], str]:
    """Return start and end of every spelling of a label in a text in lower case -> the label."""
    rest, hits = text, dict[tuple[int, int], str]()
    for spelling, label in _spellings(cue):
        if len(spelling) == 1 and spelling.isascii():
            continue
        # Longest spelling first, matches masked: "female" contains "male", "middle_age" contains "middle".
        pattern = re.escape(spelling).replace("_", "[ _]").replace(r"\ ", "[ _]")
        if spelling.isascii():
            bounded = rf"(?<![a-z]){pattern}(?![a-z])"
        else:
            bounded = pattern if _WITHOUT_SPACES.search(spelling) else rf"(?<!\w){pattern}(?!\w)"
        for match in re.finditer(bounded, rest):
            hits[match.span()] = label
        rest = re.sub(bounded, lambda match: "·" * len(match[0]), rest)
    return hits


#: Thai, Lao, Burmese, Khmer and East Asian characters: words are not separated.
_WITHOUT_SPACES = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\U000e0000]")


def _spellings(cue: Cue) -> tuple[tuple[str, str], ...]:
    table = {spelling: label for spelling, label in spellings_of(cue).items() if label != UNKNOWN}
    return tuple(sorted(table.items(), key=lambda pair: (-len(pair[0]), pair[0])))


@dataclass(slots=True, kw_only=True)
class Understanding:
    """WER, CER, WAR and UAR of answers to probing questions."""

    name: str = field(default="understanding", init=False)
    #: 2: an answer without words is failed, and any ASR annotator may supply the words.
    version: str = field(default="2", init=False)
    families: tuple[str, ...] = field(default=("understanding",), init=False)
    metrics: tuple[Metric, ...] = field(default=(WER, CER, WAR, UAR), init=False)
    needs: tuple[str, ...] = field(default=ASR_ANNOTATORS, init=False)
    scope: Literal["sample", "contrast group"] = field(default="sample", init=False)

    def score(self, cases: Sequence[Case]) -> Sequence[Score]:
        """Return, per case in order, one score per metric."""
        return [score for case in cases for score in self._scores(case)]

    def fingerprint(self) -> str:
        """Return the hash of the spellings, the rules of negation, the normaliser and jiwer's version."""
        # A task's own spellings are part of its samples, and so of every key.
        spellings = [_spellings(cue) for cue in SHIPPED.values()]
        return digest(
            self.name,
            [self.version, NORMALISER, NEGATION_RULES, f"jiwer {installed_version('jiwer')}", spellings],
        )

    def settings(self) -> Mapping[str, Any]:
        """Return all settings."""
        return {"annotators": list(ASR_ANNOTATORS), "normaliser": NORMALISER}

    def _scores(self, case: Case) -> list[Score]:
        asks = case.sample.asks
        if asks is None:
            reason = "a dialogue task asks no question"
            return [case.score(m, "not applicable", reason=reason) for m in self.metrics]
        applicable: tuple[Metric, ...] = (WAR, UAR)
        if asks == "transcript":
            applicable = (CER if rate_of(case.sample) == "cer" else WER,)
        scores = []
        for metric in self.metrics:
            if metric not in applicable:
                reason = f"the task asks for the {asks}, in '{case.sample.language}'"
                scores.append(case.score(metric, "not applicable", reason=reason))
            elif asks == "transcript":
                scores.append(self._error_rate(case, metric))
            else:
                scores.append(self._correct(case, metric, asks))
        return scores

    def _error_rate(self, case: Case, metric: Metric) -> Score:
        language, rate = case.sample.language, rate_of(case.sample)
        reference = words(case.sample.transcript, language, rate)
        weight = float(len(reference))
        if not reference:
            return case.score(metric, "not applicable", reason="the gold transcript has no words to count")
        state, answer = words_or_state(case)
        if state != "value":
            return case.score(metric, state, weight=weight, reason=answer)
        if len(answer) > MAX_TEXT_CHARACTERS:
            reason = (
                f"the answer has {len(answer):,} characters; a transcript has at most {MAX_TEXT_CHARACTERS:,}"
            )
            return case.score(metric, "failed", weight=weight, reason=reason)
        hypothesis = words(answer, language, rate)
        counts = count_edits(reference, hypothesis)
        evidence = {"errors": counts.errors, "hypothesis": " ".join(hypothesis)[:500]}
        return case.score(metric, "value", value=counts.percent, weight=weight, evidence=evidence)

    def _correct(self, case: Case, metric: Metric, cue: str) -> Score:
        gold = case.sample.cues[cue]
        state, answer = words_or_state(case)
        if state != "value":
            return case.score(metric, state, reason=answer)
        reply = case.response.reply
        perceived = reply.perceived.get(cue) if reply is not None else None
        probed = cues_with(case.sample.own_cues)[cue]
        answered = perceived or named_label(probed, answer[:MAX_TEXT_CHARACTERS]) or UNKNOWN
        evidence = {"label": gold, "answered": answered}
        return case.score(metric, "value", value=100.0 * is_right(gold, answered), evidence=evidence)
