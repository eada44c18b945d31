"""The scripted judge of the example: it grades a reply by how near its words are to people's replies.

It stands in for a language model, so that the whole pack can be made anywhere. It agrees with the proxy
metrics, because it uses the same sentence embeddings: its numbers show how the tables work, and are no
result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import echat_eval as ev
from echat_eval.annotators.sentence_embedding import shared_e5
from echat_eval.judge.cue_text import label_text
from echat_eval.testing import judge_verdict, shown_to_judge

#: Cosine of unrelated replies, and the step of a grade above it.
UNRELATED, STEP = 0.78, 0.045
#: Lead over replies to other voices that shows that a reply answers this one.
LEAD = 0.015
#: Models whose names begin so give one more grade.
MILDER = "milder"


class SimilarityJudge:
    """Answers the judge's questions on replies to these samples.

    Args:
        samples: with references; samples with the same words are the other voices.
    """

    def __init__(self, samples: Iterable[ev.Sample]) -> None:
        self._references: dict[str, dict[str, tuple[str, ...]]] = {}
        for sample in samples:
            language = "zh" if sample.language.startswith("zh") else "en"
            shown = [label_text(cue, label, {}, language) for cue, label in sorted(sample.cues.items())]
            of_words = self._references.setdefault(sample.transcript or "", {})
            of_words["\n".join(shown)] = sample.references

    def __call__(self, request: Mapping[str, Any]) -> str:
        """Return the verdict on a reply, by the request to the server."""
        shown = shown_to_judge(request)
        voices = self._references.get(shown["transcript"], {})
        own = self._nearness(shown["reply"], [voices.get(shown["cues"], ())])
        other = self._nearness(shown["reply"], [r for cues, r in voices.items() if cues != shown["cues"]])
        lead = own - other if own and other else 0.0
        cue = 1 if lead <= -LEAD or not own else 5 if lead >= 3 * LEAD else 4 if lead >= LEAD else 2
        words = 1 + max(0, min(4, int((max(own, other) - UNRELATED) / STEP)))
        more = int(str(request.get("model", "")).startswith(MILDER))
        content, cue_awareness, empathy = (min(5, grade + more) for grade in (words, cue, words))
        return judge_verdict(content, cue_awareness, empathy)

    def _nearness(self, reply: str, references: Iterable[tuple[str, ...]]) -> float:
        """Return the largest cosine of a reply with any of the references; 0 without one."""
        embed = shared_e5().embed
        return max((float(embed(reply) @ embed(text)) for texts in references for text in texts), default=0.0)
