"""A judge's score of the reply's words, given the query's words and its gold cues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from echat_eval.chat_client import ChatClient
from echat_eval.errors import NotApplicable
from echat_eval.judge import Judge, load_judge, parse_verdict, render
from echat_eval.keys import digest
from echat_eval.ports import Case
from echat_eval.records import Metric, Score

__all__ = ["Judged"]


class Judged:
    """Asks an LLM for one verdict per reply.

    Args:
        model: the judge's model name.
        url: base URL of an OpenAI-compatible server; None: OpenAI's own.
        rubric: a folder of `judges/`.
        calls_at_once: verdicts asked for at the same time.
    """

    name = "judged"
    version = "1"
    scope: Literal["sample", "contrast group"] = "sample"
    needs: tuple[str, ...] = ("whisper",)

    def __init__(
        self, model: str, url: str | None = None, rubric: str = "echat-r0", calls_at_once: int = 4
    ) -> None:
        self.judge: Judge = load_judge(rubric)
        self.client = ChatClient(model=model, base_url=url)
        self.calls_at_once = calls_at_once
        self.metrics: tuple[Metric, ...] = (
            Metric(
                name=f"judge_{self.judge.name}".replace("-", "_"),
                title=f"Judge {self.judge.name}",
                unit="points",
                low=self.judge.low * self.judge.scale,
                high=self.judge.high * self.judge.scale,
                higher_is_better=True,
                worst=self.judge.low * self.judge.scale,
            ),
        )

    def score(self, cases: Sequence[Case]) -> Sequence[Score]:
        """Return one score a case; a judge that does not keep to the form raises JudgeFailure."""
        return [self._one(case) for case in cases]

    def _one(self, case: Case) -> Score:
        metric = self.metrics[0]
        blank = Score(
            key="", system=case.response.system, task=case.sample.task, sample_id=case.sample.id,
            metric=metric.name, state="missing", reason="the response is missing",
        )  # fmt: skip
        if case.response.state == "failed":
            return replace(blank, state="failed", value=metric.worst, reason=case.response.reason)
        if case.response.state == "not applicable":
            return replace(blank, state="not applicable", reason=case.response.reason)
        if case.response.reply is None:
            return blank
        heard = case.annotations.get("whisper")
        words = case.response.reply.text or (heard.values.get("hypothesis") if heard is not None else None)
        if heard is not None and not words and heard.state == "missing":
            return replace(blank, reason=f"the words of the reply are missing: {heard.reason}")
        if words is None:
            raise NotApplicable("the reply has no text, and no annotator heard its words")
        prompt = render(
            self.judge,
            language=case.sample.language,
            transcript=case.sample.transcript,
            cues=case.sample.cues,
            reply=words,
        )
        answer = self.client.ask([{"role": "user", "content": prompt}], schema=self.judge.schema())
        verdict = parse_verdict(answer.text, self.judge)
        return replace(
            blank,
            state="value",
            value=verdict.score * self.judge.scale,
            reason=None,
            evidence={
                "score": verdict.score,
                "verdict": verdict.reason,
                "model": answer.model,
                "server": answer.server,
                "prompt_sha256": digest("prompt", prompt),
                "tokens": [answer.prompt_tokens, answer.completion_tokens],
            },
        )

    def fingerprint(self) -> str:
        """Return the hash of the prompts and the scale: another prompt is another instrument."""
        return digest("judge", [self.judge.prompts, self.judge.low, self.judge.high, self.judge.scale])

    def settings(self) -> Mapping[str, Any]:
        """Return the model and where it is served."""
        return {"model": self.client.model, "url": self.client.base_url, "rubric": self.judge.name}

    def close(self) -> None:
        """Close connections."""
        self.client.close()
