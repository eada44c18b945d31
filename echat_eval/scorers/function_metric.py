"""A metric that is a plain function of a case, and the scorer that the decorator `metric` makes of it."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, Literal

from echat_eval.concurrency.retry import reason_of
from echat_eval.errors import NotApplicable, SystemFailure, Unavailable, UsageError, scrub
from echat_eval.io.hashing import digest, file_sha256, sha256_of
from echat_eval.plugins import loaded_source
from echat_eval.ports import Family
from echat_eval.records import Metric

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from echat_eval.ports import Case
    from echat_eval.records import Score, State

__all__ = ["FunctionMetric", "metric", "refuse_plain_function"]

#: Longest text of a wrong value in a row's reason.
_SHOWN = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionMetric:
    """The scorer of a metric that is a function; calling it calls the function."""

    function: FunctionType
    metric: Metric
    needs: tuple[str, ...]
    families: tuple[Family, ...]
    version: str
    scope: Literal["sample", "contrast group"] = field(default="sample", init=False)

    @property
    def name(self) -> str:
        """Return the name of the metric."""
        return self.metric.name

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Return the metric alone."""
        return (self.metric,)

    def __call__(self, case: Case) -> Any:
        """Return what the function returns."""
        return self.function(case)

    def score(self, cases: Sequence[Case]) -> Sequence[Score]:
        """Return one score per case, in order."""
        return [self._score(case) for case in cases]

    def fingerprint(self) -> str:
        """Return the hash of the function's file, since functions beside it may take part."""
        return digest("function metric", [self.name, self.version, _code_of(self.function)])

    def settings(self) -> Mapping[str, Any]:
        """Return no settings."""
        return {}

    def _score(self, case: Case) -> Score:
        if (gap := case.no_reply or _absent_annotation(case, self.needs)) is not None:
            return case.score(self.metric, gap[0], reason=gap[1])
        try:
            value = self.function(case)
        except SystemFailure as error:
            return case.score(self.metric, "failed", reason=reason_of(error))
        except NotApplicable as error:
            return case.score(self.metric, "not applicable", reason=reason_of(error))
        except Unavailable as error:
            return case.score(self.metric, "missing", reason=reason_of(error))
        except UsageError:
            raise
        except Exception as error:  # noqa: BLE001  a user's function may raise anything; the run continues
            return case.score(self.metric, "missing", reason=f"the metric raised {reason_of(error)}")
        if value is None:
            return case.score(self.metric, "not applicable", reason="the metric returned None")
        if isinstance(value, bool) or not isinstance(value, Real):
            shown = f"a {type(value).__name__}, {scrub(repr(value))[:_SHOWN]}"
            reason = f"the metric returned {shown}; expected a number or None"
            return case.score(self.metric, "missing", reason=reason)
        # The runner refuses what is not finite or out of range, for every scorer alike.
        return case.score(self.metric, "value", value=float(value))


def metric(
    *,
    unit: str,
    higher_is_better: bool,
    low: float | None = None,
    high: float | None = None,
    worst: float | None = None,
    title: str | None = None,
    name: str | None = None,
    digits: int = 1,
    needs: Sequence[str] = (),
    families: Sequence[Family] = ("dialogue",),
    version: str = "1",
) -> Callable[[Callable[[Case], Any]], FunctionMetric]:
    """Make a metric of a function that takes a `Case` and returns a number, or None where it does not apply.

    The function is called for replies only. If it raises, or returns anything else, the score is missing.

    Args:
        unit: "points", "%", "s" or another unit; "" for none.
        higher_is_better: direction.
        low, high: range of values; None where unbounded. Values outside are missing.
        worst: value of a failed reply; None: the bad end of the range, or none if that is open.
        title: as in tables; None: the name in words.
        name: as in files; None: that of the function.
        digits: decimals in tables.
        needs: names of the annotators whose values the function reads; without them a reply has no score.
        families: "dialogue", "understanding" or both.
        version: change it if the values change but the function's file does not.

    Raises:
        UsageError: the wrong kind of function, or a wrong fact.

    >>> @metric(unit="words", higher_is_better=False, low=0)
    ... def length(case):
    ...     return len(case.response.reply.text.split())
    >>> length.metric.title, length.metric.failure_value
    ('Length', None)
    """
    if not isinstance(unit, str) or not isinstance(higher_is_better, bool):
        raise UsageError(
            f"metric: got unit={unit!r}, higher_is_better={higher_is_better!r}; expected a text, and True or "
            "False"
        )
    if isinstance(needs, str) or isinstance(families, str):
        raise UsageError("metric: expected tuples of names as needs and families")

    def decorate(function: Callable[[Case], Any]) -> FunctionMetric:
        if not isinstance(function, FunctionType) or inspect.iscoroutinefunction(function):
            raise UsageError(f"metric {function!r}: expected a plain function of a case")
        own = name or function.__name__
        if not own.isidentifier():
            raise UsageError(f"metric {own!r}: expected a name of letters, digits and underscores")
        definition = Metric(
            name=own,
            title=title or own.replace("_", " ").capitalize(),
            unit=unit,
            low=low,
            high=high,
            higher_is_better=higher_is_better,
            worst=worst,
            digits=digits,
        )
        return FunctionMetric(
            function=function,
            metric=definition,
            needs=tuple(needs),
            families=tuple(families),
            version=version,
        )

    return decorate


def refuse_plain_function(part: object, settings: Mapping[str, Any]) -> None:
    """Raise UsageError for a function in place of a scorer, unless the settings are all that it needs."""
    if not isinstance(part, FunctionType):
        return
    parameters = inspect.signature(part).parameters.values()
    if any(p.default is p.empty and p.name not in settings for p in parameters):
        raise UsageError(
            f"metric '{part.__name__}': a plain function; state its unit and direction: put "
            '@ev.metric(unit="...", higher_is_better=True) above it, or False'
        )


def _absent_annotation(case: Case, needs: Sequence[str]) -> tuple[State, str] | None:
    """Return state and reason of a score if an annotation is not there; None if all are."""
    for name in needs:
        annotation = case.annotations.get(name)
        if annotation is None:
            return "not applicable", f"annotator '{name}' is not in this run"
        if annotation.state != "value":
            state: State = "missing" if annotation.state == "missing" else "not applicable"
            return state, f"{name}: {annotation.reason or annotation.state}"
    return None


def _code_of(function: FunctionType) -> str:
    """Return the hash of the file that defines a function, or its code if there is none."""
    if (loaded := loaded_source(function.__code__.co_filename)) is not None:
        return sha256_of(loaded)
    try:
        path = Path(inspect.getsourcefile(function) or "")
        return file_sha256(path) if path.is_file() else inspect.getsource(function)
    except (OSError, TypeError):
        code = function.__code__
        return repr((code.co_code, code.co_names, [c for c in code.co_consts if isinstance(c, str | float)]))
