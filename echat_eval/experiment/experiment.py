"""The record of an experiment: the arguments of `api.evaluate`, before they are checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echat_eval.plugins import DEFAULTS, parse_parts
from echat_eval.runner.plan import PlanArguments

__all__ = ["Experiment"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """Everything that determines the results of a run.

    The command line, a file and a caller in Python fill the same fields; `api.evaluate` explains them.
    """

    systems: Any = None
    tasks: Any = None
    data: str | Path | None = None
    languages: Any = None
    part: str | None = None
    limit: int | None = None
    ask: str | None = None
    annotators: Any = None
    scorers: Any = None
    metrics: Any = None
    judges: Any = None
    headline: str | None = None
    controls: int = 0
    link: Any = None
    calls_at_once: int | None = None
    tries: int = 3
    retry_failed: bool = False
    overlap: bool = True
    cache: bool = True
    prices: str | Path | None = None
    max_cost: str | float | None = None
    executor: Any = None
    send_to: Any = None
    track: Any = None
    out: str | Path = "runs/latest"

    @property
    def every_scorer(self) -> Any:
        """Return the scorers and, after them, the metrics, which are scorers of one function each."""
        if self.metrics is None:
            return self.scorers
        scorers = parse_parts("scorer", DEFAULTS if self.scorers is None else self.scorers)
        known = [scorer.part for scorer in scorers]
        return [*scorers, *(part for part in parse_parts("metric", self.metrics) if part.part not in known)]

    def plan_arguments(self) -> PlanArguments:
        """Return the part that the runner needs beside systems and tasks."""
        return PlanArguments(
            annotators=self.annotators,
            scorers=self.every_scorer,
            judges=self.judges,
            headline=self.headline,
            controls=self.controls,
            link=self.link,
            calls_at_once=self.calls_at_once,
            tries=self.tries,
            retry_failed=self.retry_failed,
            overlap=self.overlap,
            cache=self.cache,
            prices=self.prices,
            max_cost=self.max_cost,
            executor=self.executor,
            send_to=self.send_to,
            track=self.track,
        )
