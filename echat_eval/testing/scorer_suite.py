"""Conformance checks of scorers: does a scorer behave as the runner expects?

They do not measure whether its scores mean anything.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

from echat_eval.concurrency import event_loop
from echat_eval.ports import Case, Scorer, families_of
from echat_eval.records import STATES, Annotation, AudioRef, Metric, Reply, Response, Sample, Score, State
from echat_eval.store.serialize import json_of_evidence
from echat_eval.testing.finding import Finding, fact, finding_from_error
from echat_eval.testing.part_suite import Called, PartSuite

__all__ = ["check_scorer", "scorer_cases"]

_AUDIO = AudioRef(path=Path("reply.wav"), sha256="0" * 64, seconds=1.0)
_EMOTIONS = ("happy", "sad", "anger")
#: Values of any annotator that a check makes up: what recognisers and classifiers return.
_VALUES = {"hypothesis": "how lovely", "emotion": "happy", "confidence": 0.9}


def scorer_cases(needs: Sequence[str] = (), *, asks: str | None = None, state: State = "value") -> list[Case]:
    """Return the cases of one contrast group of three samples.

    Args:
        needs: names of annotators whose annotations the cases have.
        asks: "transcript" or a cue: the samples of an understanding task; None: of a dialogue task.
        state: state of the first response.
    """
    return [_case(number, needs, asks, state if number == 0 else "value") for number in range(3)]


def _case(number: int, needs: Sequence[str], asks: str | None, state: State) -> Case:
    emotion, ident = _EMOTIONS[number], f"s{number}"
    sample = Sample(
        task="check",
        id=ident,
        audio=replace(_AUDIO, sha256=f"{number:064x}"),
        transcript="I got the letter today.",
        cues={"emotion": emotion},
        language="en",
        source="synthetic",
        speaker="speaker-1",
        contrast_group="g1",
        references=(f"A reply to somebody who sounds {emotion}.",),
        asks=asks,
        instruction=None if asks is None else "Which emotion do you hear?",
    )
    response = Response(
        key=f"r{number}",
        system="checked",
        task="check",
        sample_id=ident,
        state=state,
        reason=None if state == "value" else f"scripted: {state}",
        reply=Reply(text="How lovely." if asks is None else emotion, audio=_AUDIO)
        if state == "value"
        else None,
        seconds=0.5 if state == "value" else None,
    )
    annotations = {
        name: Annotation(
            key=f"a{number}",
            system="checked",
            task="check",
            sample_id=ident,
            annotator=name,
            state="value" if state == "value" else "not applicable",
            values=_VALUES if state == "value" else {},
        )
        for name in needs
    }
    return Case(sample=sample, response=response, annotations=annotations)


def check_scorer(scorer: Scorer, *, seconds: float = 120.0) -> Iterator[Finding]:
    """Load a scorer, give it cases in every state, close it, and yield a finding for each check.

    Args:
        scorer: a scorer; it is closed at the end.
        seconds: time limit of a call; a slower call fails its check.
    """
    yield from _ScorerSuite(scorer, seconds).run()


class _ScorerSuite(PartSuite):
    kind, ports = "scorer", (Scorer,)
    results, inputs = "scores", "cases"

    def checks(self) -> Iterator[Finding]:
        yield from self._declarations()
        yield from self.load()
        asks = None if "dialogue" in families_of(self.part) else "emotion"
        cases = scorer_cases(self.part.needs, asks=asks)
        scores, error = self._score(cases)
        if error is not None:
            yield replace(finding_from_error("first cases", error), final=True)
            return
        yield from self._rows(scores, cases)
        expected = _by_row(scores)
        yield self.repeated("same cases again", self._by_row(cases), expected)
        yield self.same("cases in another order", self._by_row(cases[::-1]), expected)
        if self.part.scope == "sample":
            yield self._together(expected, cases)
        for state in STATES[1:]:
            yield from self._without_reply(scorer_cases(self.part.needs, asks=asks, state=state), state)
        yield from self._without_annotations(scorer_cases(asks=asks))

    def _score(self, cases: Sequence[Case]) -> Called:
        def score() -> list[Score]:
            scores: list[Score] = []
            scopes = [cases] if self.part.scope == "contrast group" else [[case] for case in cases]
            for scope in scopes:
                scores.extend(event_loop.call(self.part.score, scope))
            return scores

        return self.calls.call(score)

    def _by_row(self, cases: Sequence[Case]) -> Called:
        scores, error = self._score(cases)
        return (None, error) if error is not None else (_by_row(scores), None)

    # -- checks -------------------------------------------------------------------

    def _declarations(self) -> Iterator[Finding]:
        metrics = self.part.metrics
        problem = _metrics_problem(metrics)
        names = ", ".join(metric.name for metric in metrics) if problem is None else problem
        yield Finding(
            outcome="fail" if problem else "pass", check="metrics", message=names, final=problem is not None
        )
        needs = self.part.needs
        valid = isinstance(needs, tuple) and all(isinstance(name, str) for name in needs)
        yield Finding(
            outcome="pass" if valid else "fail",
            check="needs",
            message=f"{needs!r}" + ("" if valid else "; expected a tuple of names"),
            final=not valid,
        )
        scope = self.part.scope
        valid = scope in ("sample", "contrast group")
        message = f"{scope!r}" + ("" if valid else "; expected 'sample' or 'contrast group'")
        yield Finding(outcome="pass" if valid else "fail", check="scope", message=message, final=not valid)
        families = families_of(self.part)
        valid = bool(families) and set(families) <= {"dialogue", "understanding"}
        message = f"{families!r}" + ("" if valid else "; expected 'dialogue', 'understanding' or both")
        yield Finding(outcome="pass" if valid else "fail", check="families", message=message, final=not valid)

    def _rows(self, scores: Any, cases: Sequence[Case]) -> Iterator[Finding]:
        problem = _rows_problem(scores, cases, self.part.metrics)
        message = problem or f"one for each of {len(cases)} cases and {len(self.part.metrics)} metrics"
        yield Finding(
            outcome="fail" if problem else "pass", check="rows", message=message, final=problem is not None
        )
        problem = next((found for score in scores if (found := self._value_problem(score))), None)
        yield fact("values", problem is None, problem or "in range, with a reason where there is none")

    def _value_problem(self, score: Score) -> str | None:
        metric = next(metric for metric in self.part.metrics if metric.name == score.metric)
        if score.state not in STATES:
            return f"{score.metric}: state {score.state!r}"
        if score.state == "value":
            if not isinstance(score.value, int | float) or not isfinite(score.value):
                return f"{score.metric}: state 'value' with the value {score.value!r}"
            if (metric.low is not None and score.value < metric.low) or (
                metric.high is not None and score.value > metric.high
            ):
                return f"{score.metric}: {score.value} is outside {metric.low} to {metric.high}"
        elif score.state == "failed":
            if score.value not in (metric.worst, metric.failure_value):
                return (
                    f"{score.metric}: failed with {score.value!r}; expected the worst value, {metric.worst!r}"
                )
        elif score.value is not None:
            return f"{score.metric}: state {score.state!r} with the value {score.value!r}"
        elif not score.reason:
            return f"{score.metric}: state {score.state!r} without a reason"
        try:
            json.dumps(_plain(json_of_evidence(score.evidence)), allow_nan=False)
        except (TypeError, ValueError) as error:
            return f"{score.metric}: the evidence is not plain JSON: {error}"
        return None

    def _together(self, expected: object, cases: Sequence[Case]) -> Finding:
        scores, error = self.call(self.part.score, list(cases))
        hint = " than alone; a score that depends on other cases needs scope 'contrast group'"
        called = (None, error) if error is not None else (_by_row(scores), None)
        return self.same("cases together", called, expected, hint=hint)

    def _without_reply(self, cases: Sequence[Case], state: State) -> Iterator[Finding]:
        check = f"response that is {state}"
        scores, error = self._score(cases)
        if error is not None:
            yield finding_from_error(check, error)
            return
        if problem := _rows_problem(scores, cases, self.part.metrics):
            yield Finding(outcome="fail", check=check, message=problem)
            return
        allowed = {
            "failed": {"failed", "value", "not applicable"},
            "missing": {"missing", "not applicable"},
            "not applicable": {"not applicable"},
        }[state]
        own = [score for score in scores if score.sample_id == cases[0].sample.id]
        states = sorted({score.state for score in own})
        problem = next((found for score in own if (found := self._value_problem(score))), None)
        if not set(states) <= allowed:
            problem = f"{', '.join(states)}; expected {' or '.join(sorted(allowed))}"
        yield fact(check, problem is None, problem or ", ".join(states))

    def _without_annotations(self, cases: Sequence[Case]) -> Iterator[Finding]:
        if not self.part.needs:
            return
        check = "reply without annotations"
        scores, error = self._score(cases)
        if error is not None:
            yield finding_from_error(check, error)
            return
        states = sorted({score.state for score in scores})
        blamed = "failed" in states
        message = "failed; an annotation that is not there is no fault of the system"
        yield fact(check, not blamed, message if blamed else ", ".join(states))


def _metrics_problem(metrics: Any) -> str | None:
    if not isinstance(metrics, tuple) or not metrics or not all(isinstance(m, Metric) for m in metrics):
        return f"{metrics!r}; expected a tuple of Metric"
    repeated = [name for name, count in Counter(metric.name for metric in metrics).items() if count > 1]
    if repeated:
        return f"'{repeated[0]}' is defined twice"
    for metric in metrics:
        if metric.low is not None and metric.high is not None and metric.low >= metric.high:
            return f"'{metric.name}' has the range {metric.low} to {metric.high}"
        bounds = [bound for bound in (metric.low, metric.high) if bound is not None]
        if metric.worst is not None and bounds:
            too_low = metric.low is not None and metric.worst < metric.low
            too_high = metric.high is not None and metric.worst > metric.high
            if too_low or too_high:
                return f"'{metric.name}' has the worst value {metric.worst}, outside its range"
    return None


def _rows_problem(scores: Any, cases: Sequence[Case], metrics: Sequence[Metric]) -> str | None:
    """Return what is wrong with the set of rows; None if there is one per case and metric."""
    if not all(isinstance(score, Score) for score in scores):
        return f"returned a {type(next(s for s in scores if not isinstance(s, Score))).__name__}"
    found = Counter((score.system, score.task, score.sample_id, score.metric) for score in scores)
    expected = {
        (case.response.system, case.sample.task, case.sample.id, metric.name)
        for case in cases
        for metric in metrics
    }
    if more := sorted(found.keys() - expected):
        return f"a score of no case or metric: {more[0]}"
    if lost := sorted(expected - found.keys()):
        return f"no score of {lost[0]}"
    repeated = [row for row, count in found.items() if count > 1]
    return f"two scores of {repeated[0]}" if repeated else None


def _by_row(scores: Sequence[Score]) -> dict[tuple[str, str], str]:
    return {(score.sample_id, score.metric): repr(score) for score in scores}


def _plain(value: Any) -> Any:
    """Return mappings as dictionaries, so that read-only ones count as JSON."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
