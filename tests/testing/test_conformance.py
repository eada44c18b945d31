"""Conformance checks of annotators and scorers: the shipped parts and the fakes pass, and each fault is found."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echat_eval.annotators.acoustics import Acoustics
from echat_eval.errors import BadData, NotInstalled
from echat_eval.ports import Case
from echat_eval.records import AudioRef, Metric, Score
from echat_eval.scorers import SCORERS
from echat_eval.scorers.cue_contrast import CueContrast
from echat_eval.scorers.outcome import OutcomeScorer
from echat_eval.scorers.over_reaction import OverReaction
from echat_eval.scorers.readability import Readability
from echat_eval.scorers.reference_similarity import ReferenceSimilarity
from echat_eval.scorers.transcription import TranscriptionConsistency
from echat_eval.scorers.understanding import Understanding
from echat_eval.scorers.voice_match import VoiceMatch
from echat_eval.testing import (
    ScriptedAnnotator,
    ScriptedScorer,
    ScriptedSystem,
    check_annotator,
    check_scorer,
    check_system,
    scorer_cases,
)

Found = dict[str, tuple[str, str]]


def findings_of(findings: Any) -> Found:
    return {finding.check: (finding.outcome, finding.message) for finding in findings}


def faults(found: Found) -> Found:
    return {check: finding for check, finding in found.items() if finding[0] == "fail"}


# -- fakes and shipped parts --------------------------------------------------------


def test_scripted_parts_have_no_fault() -> None:
    system = ScriptedSystem(calls_at_once=2, batch_size=2)
    annotator = ScriptedAnnotator({"a": 1}, calls_at_once=2, batch_size=2)
    scorer = ScriptedScorer(needs=("whisper",), families=("understanding",))
    assert not faults(findings_of(check_system(system)))
    assert not faults(findings_of(check_annotator(annotator)))
    assert not faults(findings_of(check_scorer(scorer)))
    assert (annotator.loads, annotator.closes) == (2, 2)  # closing and reloading is a check


def test_acoustics_has_no_fault() -> None:
    acoustics: Any = Acoustics()
    found = findings_of(check_annotator(acoustics))
    assert {outcome for outcome, _ in found.values()} == {"pass"}, found


class LetterCounts:
    """An embedder without a model."""

    def embed(self, text: str) -> np.ndarray:
        counts = np.array([text.count(letter) for letter in "aeiours "], dtype=float)
        return counts / max(float(np.linalg.norm(counts)), 1.0)

    def fingerprint(self) -> str:
        return "letters"


SHIPPED: dict[str, Any] = {
    "cue-contrast": lambda: CueContrast(embedder=LetterCounts()),
    "over-reaction": lambda: OverReaction(embedder=LetterCounts()),
    "reference-similarity": lambda: ReferenceSimilarity(embedder=LetterCounts()),
    "transcription": TranscriptionConsistency,
    "understanding": Understanding,
    "outcome": OutcomeScorer,
    "readability": Readability,
    "voice-match": VoiceMatch,
}


@pytest.mark.parametrize("name", SCORERS)
def test_shipped_scorer_has_no_fault(name: str) -> None:
    found = findings_of(check_scorer(SHIPPED[name]()))
    assert {outcome for outcome, _ in found.values()} == {"pass"}, found
    assert {"rows", "values", "response that is failed", "cases in another order"} <= set(found)


# -- broken annotators ----------------------------------------------------------------


class Correct(ScriptedAnnotator):
    """An annotator without faults, for two languages, in batches."""

    def __init__(self) -> None:
        super().__init__(self.measure, "correct", languages=("en", "zh"), batch_size=2, calls_at_once=2)

    def measure(self, audio: AudioRef, language: str) -> Mapping[str, Any]:
        if audio.path.stat().st_size < 40:
            raise BadData("truncated file")
        return {"bytes": sum(audio.path.read_bytes()), "seconds": audio.seconds}


def changed(**members: Any) -> Correct:
    return type("Changed", (Correct,), members)()  # type: ignore[no-any-return]


NUMBERS = count()


def slow_batch(annotator: Any, audios: Any, *, language: str) -> list[Any]:
    return [annotator.annotate(audio, language=language) for audio in audios]


def overwrite(annotator: Any, audio: AudioRef, language: str) -> Any:
    values = Correct.measure(annotator, audio, language)
    if "copy" in audio.path.parts or annotator.call_sizes == [1]:
        return values
    audio.path.write_bytes(audio.path.read_bytes() + b"\0")
    return values


class Attribute:
    """A member that `__init__` cannot set."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __get__(self, *_: Any) -> Any:
        return self.value

    def __set__(self, *_: Any) -> None:
        pass


def without_batch_size(self: Any) -> None:
    ScriptedAnnotator.__init__(self, self.measure, "correct")
    self.annotate_batch = lambda audios, *, language: []


def fixed_values(values: Any) -> Any:
    return lambda self, audio, language: values


@pytest.mark.parametrize(
    ("members", "check", "outcome", "message"),
    [
        ({"name": Attribute(" ")}, "name", "fail", "' '"),
        ({"version": Attribute(1)}, "version", "fail", "1"),
        ({"settings": lambda _: {"k": "sk-abcdefghijklmnopqrst"}}, "settings", "fail", "looks like a key"),
        ({"settings": lambda _: {"k": object()}}, "settings", "fail", "not plain JSON"),
        ({"fingerprint": lambda _: None}, "fingerprint", "fail", "is None, a NoneType; expected text"),
        ({"fingerprint": lambda _: str(next(NUMBERS))}, "fingerprint", "fail", "differs between two calls"),
        ({"calls_at_once": Attribute(0)}, "calls at once", "fail", "expected a whole number from 1"),
        ({"batch_size": Attribute(0)}, "batch size", "fail", "expected a whole number from 1"),
        ({"batch_size": property(), "__init__": without_batch_size}, "batch size", "fail", "is missing"),
        ({"languages": Attribute(["en"])}, "languages", "fail", "expected a tuple of tags"),
        ({"load": lambda _: 1 / 0}, "load", "fail", "ZeroDivisionError"),
        ({"measure": fixed_values(3)}, "first recording", "fail", "returned a int; expected a mapping"),
        ({"measure": fixed_values({1: 2})}, "first recording", "fail", "must be text"),
        ({"measure": fixed_values({"x": float("nan")})}, "first recording", "fail", "not JSON compliant"),
        ({"measure": fixed_values({"x": object()})}, "first recording", "fail", "not JSON serializable"),
        (
            {"measure": lambda s, a, language: {"n": next(NUMBERS)}},
            "same recording again",
            "note",
            "not deterministic",
        ),
        (
            {"measure": lambda s, a, language: {"name": a.path.name}},
            "same bytes, other path",
            "fail",
            "must depend on the bytes and the language only",
        ),
        ({"measure": overwrite}, "file", "fail", "was changed; the file is not yours"),
        (
            {"annotate_batch": lambda s, a, *, language: slow_batch(s, a, language=language)[:1]},
            "batch",
            "fail",
            "values of 1 recordings for 3",
        ),
        (
            {"annotate_batch": lambda s, a, *, language: slow_batch(s, a, language=language)[::-1]},
            "batch",
            "fail",
            "the right values in the wrong order",
        ),
        (
            {"annotate_batch": lambda s, a, *, language: [{"bytes": 1} for _ in a]},
            "batch",
            "note",
            "values differ",
        ),
        (
            {"annotate_batch": lambda s, a, *, language: 1 / 0},
            "batch",
            "fail",
            "ZeroDivisionError",
        ),
        ({"measure": fixed_values({"a": 1})}, "truncated file", "note", "returned 1 values nevertheless"),
        ({"close": lambda _: 1 / 0}, "closing", "fail", "ZeroDivisionError"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_fault_of_an_annotator_is_found(
    members: dict[str, Any], check: str, outcome: str, message: str
) -> None:
    broken = changed(**members)
    if check == "closing":
        broken.close, closes = _once(broken.close), None  # type: ignore[method-assign]
        assert closes is None
    found = findings_of(check_annotator(broken))
    assert found[check][0] == outcome, found
    assert message in found[check][1]


def _once(call: Any) -> Any:
    """Return a function that makes the call the first time only."""
    calls = [call]
    return lambda: calls.pop()() if calls else None


def test_correct_annotator_has_no_fault() -> None:
    found = findings_of(check_annotator(Correct()))
    assert {outcome for outcome, _ in found.values()} == {"pass"}, found
    assert {"batch", "2 calls at once", "languages"} <= set(found)


def test_annotator_that_mixes_calls_up_is_found() -> None:
    class Mixed(Correct):
        """Returns the values of the recording that the last call brought."""

        def measure(self, audio: AudioRef, language: str) -> Mapping[str, Any]:
            self.last = super().measure(audio, language)
            time.sleep(0.02)
            return self.last

    assert findings_of(check_annotator(Mixed()))["2 calls at once"] == (
        "fail",
        "other values: calls are mixed up",
    )


def test_annotator_that_breaks_on_long_audio_is_found() -> None:
    class Fragile(Correct):
        broken = False

        def measure(self, audio: AudioRef, language: str) -> Mapping[str, Any]:
            if self.broken or audio.seconds > 30:
                self.broken = True
                raise ValueError("index out of range")
            return super().measure(audio, language)

    found = findings_of(check_annotator(Fragile()))
    assert found["60 s of audio"] == ("fail", "ValueError: index out of range")
    assert found["recording after the other checks"][0] == "fail"


def test_annotator_whose_values_change_after_reloading_is_found() -> None:
    class Reloaded(Correct):
        def measure(self, audio: AudioRef, language: str) -> Mapping[str, Any]:
            return {**super().measure(audio, language), "loads": self.loads}

    found = findings_of(check_annotator(Reloaded()))
    assert found["recording after closing and reloading"] == ("fail", "other values")


def test_unusable_annotator_is_reported_once() -> None:
    found = findings_of(check_annotator(ScriptedAnnotator(NotInstalled("no weights at /x"))))
    assert found["first recording"] == ("fail", "no weights at /x")
    assert found["stopped"][0] == "note"
    assert "batch" not in found


def test_hanging_annotator_is_abandoned() -> None:
    release = threading.Event()

    class Hanging(Correct):
        def measure(self, audio: AudioRef, language: str) -> Mapping[str, Any]:
            if audio.seconds > 30:
                release.wait(20)
            return super().measure(audio, language)

    found = findings_of(check_annotator(Hanging(), seconds=0.5))
    release.set()
    assert "TimeoutError: no reply in 0.5 s" in found["60 s of audio"][1]
    assert "still hangs" in found["stopped"][1]


# -- broken scorers ---------------------------------------------------------------------

PERCENT = Metric(
    name="percent", title="Percent", unit="%", low=0, high=100, higher_is_better=True, worst=0, headline=True
)
OTHER = replace(PERCENT, name="other", headline=False)


def scorer(value: Any = 50.0, *, metrics: Any = (PERCENT,), **settings: Any) -> ScriptedScorer:
    made = ScriptedScorer(value, "checked", **settings)
    made.metrics = metrics
    return made


def changing_rows(change: Any) -> ScriptedScorer:
    """Return a scorer whose rows are changed by a function of all rows and cases."""

    class Changed(ScriptedScorer):
        def score(self, cases: Sequence[Case]) -> Any:
            return change(super().score(cases), cases)

    return Changed(50.0, "checked", metrics=(PERCENT,))


def in_state(of: str, **facts: Any) -> ScriptedScorer:
    """Return a scorer that gives the responses of a state another row."""

    def value(case: Case) -> Score:
        right = case.score(PERCENT, case.response.state, value=50.0, reason="scripted")
        if case.response.state == "value":
            return replace(right, reason=None)
        return replace(right, **facts) if case.response.state == of else right

    return scorer(value, scores_all=True)


@pytest.mark.parametrize(
    ("broken", "check", "outcome", "message"),
    [
        (scorer(version=""), "version", "fail", "''"),
        (scorer(fingerprint=None), "fingerprint", "fail", "expected text"),
        (scorer(settings={"k": object()}), "settings", "fail", "not plain JSON"),
        (scorer(calls_at_once=0), "calls at once", "fail", "expected a whole number"),
        (scorer(metrics=()), "metrics", "fail", "expected a tuple of Metric"),
        (scorer(metrics=[PERCENT]), "metrics", "fail", "expected a tuple of Metric"),
        (scorer(metrics=(PERCENT, PERCENT)), "metrics", "fail", "'percent' is defined twice"),
        (scorer(metrics=(replace(PERCENT, low=100),)), "metrics", "fail", "has the range 100 to 100"),
        (scorer(metrics=(replace(PERCENT, worst=-1),)), "metrics", "fail", "worst value -1, outside"),
        (scorer(needs=["whisper"]), "needs", "fail", "expected a tuple of names"),
        (scorer(scope="group"), "scope", "fail", "expected 'sample' or 'contrast group'"),
        (scorer(families=("songs",)), "families", "fail", "expected 'dialogue', 'understanding' or both"),
        (scorer(failures=[ValueError("no cases")]), "first cases", "fail", "ValueError: no cases"),
        (changing_rows(lambda rows, _: [3]), "rows", "fail", "returned a int"),
        (changing_rows(lambda rows, _: []), "rows", "fail", "no score of"),
        (changing_rows(lambda rows, _: [*rows, *rows]), "rows", "fail", "two scores of"),
        (scorer(metrics=(PERCENT, OTHER)), "rows", "fail", "no score of"),
        (
            changing_rows(lambda rows, _: [replace(row, sample_id="s9") for row in rows]),
            "rows",
            "fail",
            "a score of no case or metric",
        ),
        (scorer(101.0), "values", "fail", "101.0 is outside 0 to 100"),
        (scorer(float("nan")), "values", "fail", "with the value nan"),
        (scorer(lambda c: c.score(PERCENT, "value")), "values", "fail", "with the value None"),
        (scorer(lambda c: c.score(PERCENT, "odd")), "values", "fail", "state 'odd'"),
        (scorer(lambda c: c.score(PERCENT, "missing")), "values", "fail", "without a reason"),
        (
            scorer(lambda c: replace(c.score(PERCENT, "missing", reason="r"), value=1.0)),
            "values",
            "fail",
            "state 'missing' with the value 1.0",
        ),
        (
            scorer(lambda c: c.score(PERCENT, "value", value=1.0, evidence={"x": object()})),
            "values",
            "fail",
            "the evidence is not plain JSON",
        ),
        (scorer(lambda _: float(next(NUMBERS) % 97)), "same cases again", "note", "not deterministic"),
        (
            changing_rows(lambda rows, cases: [replace(r, value=n * 1.0) for n, r in enumerate(rows)]),
            "cases together",
            "fail",
            "needs scope 'contrast group'",
        ),
        (in_state("failed", state="missing", value=None), "response that is failed", "fail", "missing;"),
        (in_state("failed", value=5.0), "response that is failed", "fail", "expected the worst value, 0"),
        (
            in_state("missing", state="value", value=0.0),
            "response that is missing",
            "fail",
            "expected missing or not applicable",
        ),
        (
            in_state("not applicable", state="missing", value=None),
            "response that is not applicable",
            "fail",
            "missing; expected not applicable",
        ),
        (
            scorer(
                lambda c: c.score(PERCENT, "value" if c.annotations else "failed", value=1.0),
                needs=("whisper",),
            ),
            "reply without annotations",
            "fail",
            "no fault of the system",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_fault_of_a_scorer_is_found(broken: ScriptedScorer, check: str, outcome: str, message: str) -> None:
    found = findings_of(check_scorer(broken))
    assert found[check][0] == outcome, found
    assert message in found[check][1], found[check]


def test_scorer_of_groups_that_depends_on_the_order_is_found() -> None:
    class Ranked(ScriptedScorer):
        def score(self, cases: Sequence[Case]) -> Any:
            return [replace(row, value=n * 1.0) for n, row in enumerate(super().score(cases))]

    found = findings_of(check_scorer(Ranked(50.0, metrics=(PERCENT,), scope="contrast group")))
    assert found["cases in another order"] == ("fail", "other scores")
    assert "cases together" not in found


def test_scorer_that_cannot_be_loaded_is_found() -> None:
    class Broken(ScriptedScorer):
        def load(self) -> None:
            raise NotInstalled("no embedder")

    found = findings_of(check_scorer(Broken()))
    assert found["load"] == ("fail", "no embedder")
    assert found["stopped"][0] == "note"


def test_made_up_cases_cover_the_states(tmp_path: Path) -> None:
    assert [case.response.state for case in scorer_cases(state="failed")] == ["failed", "value", "value"]
    assert {case.sample.asks for case in scorer_cases(asks="emotion")} == {"emotion"}
    assert set(scorer_cases(("whisper",))[0].annotations) == {"whisper"}
