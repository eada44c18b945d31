"""The part of the conformance checks that systems, annotators and scorers share."""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

from echat_eval.concurrency import event_loop
from echat_eval.errors import EChatError, UsageError
from echat_eval.plugins import require_members
from echat_eval.ports import Closable, Concurrent, Loadable, calls_at_once_of
from echat_eval.testing.finding import CheckOutcome, Finding, fact, finding_from_error
from echat_eval.testing.timed_calls import TimedCalls

__all__ = ["STOPPED", "PartSuite"]

#: Name of the note that the remaining checks were not made.
STOPPED = "stopped"
#: Calls of the check of concurrent calls.
_MAX_CALLS = 4
_SECRET = re.compile(r"sk-[\w-]{16,}|hf_\w{16,}|bearer\s+\S+", re.I)

#: A result, or None and the error of the call.
Called = tuple[Any, BaseException | None]


class PartSuite(ABC):
    """The checks of one part, which is closed at the end; the time of every call is limited.

    Args:
        part: a system, an annotator or a scorer.
        seconds: time limit of a call; a slower call fails its check.

    Attributes:
        kind: "system", "annotator" or "scorer".
        ports: protocols, one of which the part must have.
        results, inputs: what it returns, and for what, in messages.
        varying: outcome if concurrent calls return other results than calls one by one.
    """

    kind: str
    ports: tuple[type, ...]
    results: str
    inputs: str
    varying: CheckOutcome = "fail"

    def __init__(self, part: Any, seconds: float) -> None:
        self.part = part
        self.calls = TimedCalls(seconds)

    @abstractmethod
    def checks(self) -> Iterator[Finding]:
        """Yield the findings on a part that has the members and facts of its port."""

    def run(self) -> Iterator[Finding]:
        """Yield all findings; stop when the part cannot be used or a call hangs; close the part."""
        try:
            require_members(self.kind, self.part, *self.ports)
        except UsageError as error:
            yield Finding(outcome="fail", check="members", message=str(error))
            yield self._stopped()
            return
        try:
            for finding in chain(self._facts(), self.checks()):
                yield finding
                if finding.final or self.calls.hung:
                    yield self._stopped()
                    return
        finally:
            if not self.calls.hung and isinstance(self.part, Closable):
                event_loop.call(self.part.close)

    def _stopped(self) -> Finding:
        message = "a call still hangs; the other checks were skipped"
        if not self.calls.hung:
            article = "an" if self.kind[0] in "aeiou" else "a"
            message = f"the other checks need {article} {self.kind} that can be used"
        return Finding(outcome="note", check=STOPPED, message=message)

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Called:
        """Return the result of a function or coroutine function, or None and its error."""
        return self.calls.call(lambda: event_loop.call(function, *args, **kwargs))

    # -- facts, which need no call of the part's work --------------------------------

    @property
    def has_version(self) -> bool:
        """Return whether parts of this kind state a version, and always a fingerprint."""
        return self.kind != "system"

    def _facts(self) -> Iterator[Finding]:
        yield _text_fact("name", self.part.name)
        if self.has_version:
            yield _text_fact("version", self.part.version)
        try:
            text = json.dumps(dict(self.part.settings()), allow_nan=False)
            message = "contain what looks like a key; remove it" if _SECRET.search(text) else text[:200]
            yield fact("settings", _SECRET.search(text) is None, message)
        except (TypeError, ValueError) as error:
            yield fact("settings", False, f"are not plain JSON: {error}")
        try:
            first, second = self.part.fingerprint(), self.part.fingerprint()
        except (EChatError, OSError) as error:
            yield finding_from_error("fingerprint", error)
        else:
            yield self._fingerprint(first, second)
        yield self.count("calls at once", self.part.calls_at_once if isinstance(self.part, Concurrent) else 1)

    def _fingerprint(self, first: object, second: object) -> Finding:
        check = "fingerprint"
        if first is None and not self.has_version:
            message = "unknown, so replies of other runs are never reused; return one if you can"
            return Finding(outcome="note", check=check, message=message)
        if not isinstance(first, str):
            unknown = "" if self.has_version else ", or None if it is unknown"
            return fact(check, False, f"is {first!r}, a {type(first).__name__}; expected text{unknown}")
        message = f"{first[:16]}…" if first == second else f"differs between two calls: {first!r}, {second!r}"
        return fact(check, first == second, message)

    @staticmethod
    def count(check: str, value: object) -> Finding:
        """Return the finding on a number of calls, requests or files."""
        valid = isinstance(value, int) and not isinstance(value, bool) and value >= 1
        return fact(check, valid, f"{value}" if valid else f"is {value!r}; expected a whole number from 1")

    # -- checks that several kinds of parts share -------------------------------------

    def load(self) -> Iterator[Finding]:
        """Yield the finding on loading, if the part can be loaded."""
        if isinstance(self.part, Loadable):
            _, error = self.call(self.part.load)
            yield fact("load", True, "done") if error is None else finding_from_error("load", error)

    def reload(self, again: Callable[[], Finding]) -> Iterator[Finding]:
        """Close and load the part, if it can be closed, and yield the finding of a call after that."""
        if not isinstance(self.part, Closable):
            return
        _, error = self.call(self.part.close)
        if error is not None:
            yield finding_from_error("closing", error)
            return
        yield from self.load()
        yield again()

    def same(
        self,
        check: str,
        called: Called,
        expected: object,
        *,
        hint: str = "",
        outcome: CheckOutcome = "fail",
    ) -> Finding:
        """Return the finding on a call that should have an expected result.

        Args:
            hint: what to do if it has another.
            outcome: of a call with another result.
        """
        result, error = called
        if error is not None:
            return finding_from_error(check, error)
        if result == expected:
            return fact(check, True, f"same {self.results}")
        return Finding(outcome=outcome, check=check, message=f"other {self.results}{hint}")

    def repeated(self, check: str, called: Called, expected: object) -> Finding:
        """Return the finding on a repeated call; other results are no fault."""
        hint = f": the {self.kind} is not deterministic; set a seed"
        return self.same(check, called, expected, hint=hint, outcome="note")

    def batch(self, batch: Called, one_by_one: Called, expected: int) -> Finding:
        """Return the finding on the results of a batch beside those of calls one by one.

        Args:
            expected: number of results.
        """
        results, error = batch
        single, single_error = one_by_one
        if fault := error or single_error:
            return finding_from_error("batch", fault)
        if len(results) != expected:
            return fact("batch", False, f"{self.results} of {len(results)} {self.inputs} for {expected}")
        if results == single:
            return fact("batch", True, f"same {self.results} as one by one, in order")
        if sorted(map(str, results)) == sorted(map(str, single)):
            return fact("batch", False, f"the right {self.results} in the wrong order")
        message = f"{self.results} differ from those one by one"
        return Finding(outcome="note", check="batch", message=message)

    def parallel(self, one: Callable[[Any], object], items: Sequence[object]) -> Iterator[Finding]:
        """Yield the finding on concurrent calls, if the part takes several: each item twice."""
        limit = min(calls_at_once_of(self.part), _MAX_CALLS)
        if limit == 1:
            return

        def run_all() -> list[object]:
            with ThreadPoolExecutor(max_workers=limit) as pool:
                return list(pool.map(one, [*items, *items]))

        results, error = self.calls.call(run_all)
        half = None if error is not None else results[: len(items)]
        called = (None, error) if error is not None else (results[len(items) :], None)
        hint = ": calls are mixed up" + (", or it is not deterministic" if self.varying == "note" else "")
        yield self.same(f"{limit} calls at once", called, half, hint=hint, outcome=self.varying)


def _text_fact(check: str, value: object) -> Finding:
    return fact(check, isinstance(value, str) and bool(value.strip()), repr(value))
