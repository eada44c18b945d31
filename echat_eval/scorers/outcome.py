"""Outcome of a request: failure and response time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from echat_eval.io.hashing import fingerprint_of
from echat_eval.records import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from echat_eval.ports import Case
    from echat_eval.records import Score

__all__ = ["FAILED", "SECONDS", "OutcomeScorer"]

FAILED = Metric(
    name="failed", title="Failed", unit="%", low=0.0, high=100.0, higher_is_better=False, worst=100.0
)
SECONDS = Metric(
    name="seconds", title="Seconds", unit="s", low=0.0, high=None, higher_is_better=False, digits=2
)


@dataclass(slots=True, kw_only=True)
class OutcomeScorer:
    """Share of failures and seconds per reply, from the response alone."""

    name: str = field(default="outcome", init=False)
    version: str = field(default="1", init=False)
    metrics: tuple[Metric, ...] = field(default=(FAILED, SECONDS), init=False)
    families: tuple[str, ...] = field(default=("dialogue", "understanding"), init=False)
    needs: tuple[str, ...] = field(default=(), init=False)
    scope: Literal["sample", "contrast group"] = field(default="sample", init=False)

    def score(self, cases: Sequence[Case]) -> Sequence[Score]:
        """Return, per case in order, the scores `failed` and `seconds`."""
        return [score for case in cases for score in (_failed(case), _seconds(case))]

    def fingerprint(self) -> str:
        """Return the hash of the scorer's version."""
        return fingerprint_of([self.name, self.version])

    def settings(self) -> Mapping[str, Any]:
        """Return no settings."""
        return {}


def _failed(case: Case) -> Score:
    state = case.response.state
    return case.score(FAILED, state, value=0.0 if state == "value" else None, reason=case.response.reason)


def _seconds(case: Case) -> Score:
    response = case.response
    if response.state != "value":
        return case.score(SECONDS, response.state, reason=response.reason)
    if response.seconds is None:
        return case.score(SECONDS, "not applicable", reason="no time was measured")
    return case.score(SECONDS, "value", value=response.seconds)
