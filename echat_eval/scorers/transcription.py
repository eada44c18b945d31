"""Transcription consistency: error rate of the reply's speech against the reply's text.

The ASR annotator's own errors count too, so the rate is an upper bound on the errors of the speech.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from echat_eval.io.bundled_models import installed_version
from echat_eval.io.jsonl import dumps
from echat_eval.records import Metric, Score, State
from echat_eval.scorers.normalize import CHARACTER_LANGUAGES, MAX_TEXT, NORMALISER, words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from echat_eval.ports import Case

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
            applicable = CER if case.sample.language in CHARACTER_LANGUAGES else WER
            for metric in self.metrics:
                if metric is applicable:
                    scores.append(self._rate(case, metric))
                else:
                    unit = "words" if applicable is WER else "characters"
                    reason = f"errors in '{case.sample.language}' are counted in {unit}"
                    scores.append(_score(case, metric, "not applicable", reason=reason))
        return scores

    def fingerprint(self) -> str:
        """Return the hash of the scorer's version, the normaliser and jiwer's version."""
        parts = [self.name, self.version, NORMALISER, f"jiwer {installed_version('jiwer')}"]
        return hashlib.sha256(dumps(parts).encode()).hexdigest()

    def settings(self) -> Mapping[str, Any]:
        """Return all settings."""
        return {"annotator": self.annotator, "normaliser": NORMALISER}

    def _rate(self, case: Case, metric: Metric) -> Score:
        response = case.response
        if response.state != "value" or response.reply is None:
            state: State = response.state if response.state != "value" else "failed"
            return _score(case, metric, state, reason=response.reason or "there is no reply")
        reply, annotation = response.reply, case.annotations.get(self.annotator)
        if reply.audio is None or not reply.text:
            absent = "audio" if reply.audio is None else "text"
            return _score(case, metric, "not applicable", reason=f"the reply has no {absent}")
        if annotation is None:
            reason = f"{self.annotator} did not transcribe the reply"
            return _score(case, metric, "not applicable", reason=reason)
        if annotation.state != "value":
            state = "missing" if annotation.state == "missing" else "not applicable"
            reason = f"{self.annotator}: {annotation.reason or annotation.state}"
            return _score(case, metric, state, reason=reason)
        return self._count(case, metric, reply.text, str(annotation.values["hypothesis"]))

    def _count(self, case: Case, metric: Metric, text: str, hypothesis: str) -> Score:
        import jiwer

        if max(len(text), len(hypothesis)) > MAX_TEXT:
            longest = max(len(text), len(hypothesis))
            reason = f"unscored: {longest:,} characters; at most {MAX_TEXT:,} are compared"
            return _score(case, metric, "not applicable", reason=reason)
        reference_words = words(text, case.sample.language)
        if not reference_words:
            return _score(case, metric, "not applicable", reason="unscored: the reply's text has no words")
        hypothesis_words = words(hypothesis, case.sample.language)
        counts = jiwer.process_words(" ".join(reference_words), " ".join(hypothesis_words))
        errors = counts.substitutions + counts.deletions + counts.insertions
        return _score(
            case,
            metric,
            "value",
            value=100.0 * errors / len(reference_words),
            weight=float(len(reference_words)),
            evidence={
                "substitutions": counts.substitutions,
                "deletions": counts.deletions,
                "insertions": counts.insertions,
                "hypothesis": hypothesis,
            },
        )


def _score(case: Case, metric: Metric, state: State, **rest: Any) -> Score:
    return Score(
        key="",
        system=case.response.system,
        task=case.sample.task,
        sample_id=case.sample.id,
        metric=metric.name,
        state=state,
        **rest,
    )
