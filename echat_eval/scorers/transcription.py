"""Transcription consistency: error rate of the reply's speech against the reply's text.

The ASR annotator's own errors count too, so the rate is an upper bound on the errors of the speech.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from echat_eval.io.bundled_models import installed_version
from echat_eval.io.hashing import fingerprint_of
from echat_eval.io.schema import MAX_TEXT_CHARACTERS
from echat_eval.records import Metric
from echat_eval.scorers.error_rate import count_edits
from echat_eval.scorers.normalize import NORMALISER, rate_of, words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from echat_eval.ports import Case
    from echat_eval.records import Score

__all__ = ["CER", "WER", "TranscriptionConsistency"]

WER = Metric(
    name="reply_wer", title="Reply WER", unit="%", low=0.0, high=None, higher_is_better=False, average="ratio"
)
CER = Metric(
    name="reply_cer", title="Reply CER", unit="%", low=0.0, high=None, higher_is_better=False, average="ratio"
)


@dataclass(slots=True, kw_only=True)
class TranscriptionConsistency:
    """Word or character error rate of the ASR hypothesis against the reply's text.

    Values are percentages weighted by reference words (characters), so that the weighted mean is
    the corpus error rate.

    Attributes:
        annotator: name of the recogniser whose hypotheses are compared.
    """

    annotator: str = "whisper"
    name: str = field(default="transcription", init=False)
    version: str = field(default="1", init=False)
    metrics: tuple[Metric, ...] = field(default=(WER, CER), init=False)
    needs: tuple[str, ...] = field(default=(), init=False)
    scope: Literal["sample", "contrast group"] = field(default="sample", init=False)

    def __post_init__(self) -> None:
        self.needs = (self.annotator,)

    def score(self, cases: Sequence[Case]) -> Sequence[Score]:
        """Return, per case in order, reply_wer and reply_cer; the language decides which one applies."""
        scores = []
        for case in cases:
            applicable = CER if rate_of(case.sample) == "cer" else WER
            for metric in self.metrics:
                if metric is applicable:
                    scores.append(self._rate(case, metric))
                else:
                    unit = "words" if applicable is WER else "characters"
                    reason = f"errors in '{case.sample.language}' are counted in {unit}"
                    scores.append(case.score(metric, "not applicable", reason=reason))
        return scores

    def fingerprint(self) -> str:
        """Return the hash of the scorer's version, the normaliser and jiwer's version."""
        parts = [self.name, self.version, NORMALISER, f"jiwer {installed_version('jiwer')}"]
        return fingerprint_of(parts)

    def settings(self) -> Mapping[str, Any]:
        """Return all settings."""
        return {"annotator": self.annotator, "normaliser": NORMALISER}

    def _rate(self, case: Case, metric: Metric) -> Score:
        if case.no_reply is not None:
            state, reason = case.no_reply
            return case.score(metric, state, reason=reason)
        reply, annotation = case.response.reply, case.annotations.get(self.annotator)
        assert reply is not None
        if reply.audio is None or not reply.text:
            absent = "audio" if reply.audio is None else "text"
            return case.score(metric, "not applicable", reason=f"the reply has no {absent}")
        if annotation is None:
            reason = f"{self.annotator} did not transcribe the reply"
            return case.score(metric, "not applicable", reason=reason)
        if annotation.state != "value":
            reason = f"{self.annotator}: {annotation.reason or annotation.state}"
            state = "missing" if annotation.state == "missing" else "not applicable"
            return case.score(metric, state, reason=reason)
        return self._count(case, metric, reply.text, str(annotation.values["hypothesis"]))

    def _count(self, case: Case, metric: Metric, text: str, hypothesis: str) -> Score:
        if max(len(text), len(hypothesis)) > MAX_TEXT_CHARACTERS:
            longest = max(len(text), len(hypothesis))
            reason = f"unscored: {longest:,} characters; at most {MAX_TEXT_CHARACTERS:,} are compared"
            return case.score(metric, "not applicable", reason=reason)
        language, rate = case.sample.language, rate_of(case.sample)
        reference_words = words(text, language, rate)
        if not reference_words:
            return case.score(metric, "not applicable", reason="unscored: the reply's text has no words")
        counts = count_edits(reference_words, words(hypothesis, language, rate))
        return case.score(
            metric,
            "value",
            value=counts.percent,
            weight=float(counts.reference),
            evidence={
                "substitutions": counts.substitutions,
                "deletions": counts.deletions,
                "insertions": counts.insertions,
                "hypothesis": hypothesis,
            },
        )
