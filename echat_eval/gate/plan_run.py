"""The plan from runs or from assumed numbers, with what it costs."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from echat_eval.analysis import pair
from echat_eval.analysis.frames import over_all_tasks
from echat_eval.errors import UsageError
from echat_eval.gate.critical import critical_tests
from echat_eval.gate.decide import with_caps
from echat_eval.gate.plan import layout_of_rows, plan_for, plan_of_differences, primary_design
from echat_eval.gate.plan_cost import UnitCost, unit_cost
from echat_eval.gate.plan_scores import SHARED, plan_of_scores
from echat_eval.gate.plan_text import plan_lines, to_json
from echat_eval.gate.units import scope
from echat_eval.stats.power import Layout, Variances

if TYPE_CHECKING:
    from echat_eval.analysis import ScoredSystem
    from echat_eval.gate.plan import Plan
    from echat_eval.gate.policy import Policy

__all__ = ["Assumed", "RunPlan", "assumed", "plan_run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumed:
    """Assumed numbers of a plan; None: from the runs.

    Attributes:
        sd: standard deviation of one sample's difference.
        by_speaker, by_sentence: shares of its variance.
        correlation: of two systems' scores of one sample.
        samples, speakers, sentences: of the run; with both of the last two they cross.
        judge_sd: standard deviation of a judge's verdicts on one reply.
        repeats: verdicts a reply.
        tests: size of the family of critical differences.
    """

    sd: float | None = None
    by_speaker: float = 0.0
    by_sentence: float = 0.0
    correlation: float = SHARED
    samples: float | None = None
    speakers: float | None = None
    sentences: float | None = None
    judge_sd: float = 0.0
    repeats: int = 1
    tests: int | None = None

    def __post_init__(self) -> None:
        for name in ("sd", "samples", "speakers", "sentences", "tests"):
            value = getattr(self, name)
            if value is not None and not (value > 0 and value < 1e12):
                raise UsageError(f"plan: {name} is {value}; expected a number above 0")
        for name in ("by_speaker", "by_sentence", "correlation"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(
                    f"plan: {name} is {getattr(self, name)}; expected a number from 0 to below 1"
                )
        if self.by_speaker + self.by_sentence >= 1:
            raise UsageError(
                "plan: by_speaker and by_sentence add up to 1 or more; expected shares of a variance"
            )
        if not 0 <= self.judge_sd < 1e12 or self.repeats < 1:
            raise UsageError(
                f"plan: judge_sd is {self.judge_sd}, repeats {self.repeats}; expected from 0 and from 1"
            )
        for name in ("speakers", "sentences"):
            value = getattr(self, name)
            if value is not None and self.samples is not None and value > self.samples:
                raise UsageError(
                    f"plan: {value:g} {name} of {self.samples:g} samples; expected one sample of each"
                )

    @property
    def layout(self) -> Layout | None:
        """Return the assumed layout; None if no number of it is assumed."""
        if (self.samples, self.speakers, self.sentences) == (None, None, None):
            return None
        crossed = self.speakers is not None and self.sentences is not None
        levels = self.speakers or self.sentences or self.samples or 0.0
        samples = self.samples or (levels * (self.sentences or 1.0) if crossed else levels)
        name = "speakers" if self.speakers else "sentences" if self.sentences else "independent samples"
        return Layout(
            samples=samples, speakers=levels, sentences=(self.sentences or 0.0) if crossed else 0.0, name=name
        )


def assumed(words: str) -> Assumed:
    """Return assumed numbers from words such as "sd=25,by_speaker=0.1,speakers=20,samples=400".

    Raises:
        UsageError: an unknown name, or a word that is no number.

    >>> assumed("sd=25,speakers=20,samples=400").layout.samples
    400.0
    """
    known = {field.name for field in fields(Assumed)}
    found: dict[str, float] = {}
    for word in filter(None, (part.strip() for part in words.split(","))):
        name, _, text = word.partition("=")
        if name not in known:
            raise UsageError(f"plan: unknown assumption '{name}'; known: {', '.join(sorted(known))}")
        try:
            found[name] = float(text)
        except ValueError:
            raise UsageError(f"plan: {name} is {text!r}; expected a number, as in {name}=1") from None
        if name in ("repeats", "tests") and not found[name].is_integer():
            raise UsageError(f"plan: {name} is {text!r}; expected a whole number")
    whole = {name: int(value) for name, value in found.items() if name in ("repeats", "tests")}
    numbers: dict[str, float | int] = {**found, **whole}
    return Assumed(**numbers)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """A plan, and what one sample costs; None if no run shows it."""

    plan: Plan
    cost: UnitCost | None = None

    def lines(self) -> list[str]:
        """Return lines of at most 80 columns."""
        return plan_lines(self.plan, self.cost)

    def to_json(self) -> str:
        """Return the plan as JSON."""
        return to_json(self.plan, self.cost)

    def __str__(self) -> str:
        return "\n".join(self.lines())


def plan_run(
    candidate: ScoredSystem | None, against: ScoredSystem | None, policy: Policy, numbers: Assumed
) -> RunPlan:
    """Return the plan of a run.

    Args:
        candidate: a run like those to come; with it the spread is that of paired differences.
        against: the baseline; None if everything is assumed.
        policy: the requirements.
        numbers: assumed numbers.

    Raises:
        UsageError: no baseline, and neither a spread nor a layout is assumed.
        BadData: a metric of the policy is absent, or the scores have no spread.
    """
    if against is None:
        return RunPlan(plan=_assumed_plan(policy, numbers, None, numbers.tests or len(policy.metrics) + 1))
    ours = candidate or against
    pairs = pair(ours.frame, against.frame, metrics=list(policy.metrics), sentences=policy.sentences)
    policy, _ = with_caps(policy, pairs)
    tests = critical_tests(pairs, policy)
    count = numbers.tests or len(tests)
    rows = pairs.frame[pairs.frame["metric"] == policy.primary]
    fixed = scope(primary_design(over_all_tasks(rows), policy), policy)
    holds = f"; the plan holds for {fixed} only" if fixed else ""
    if candidate is not None:
        source = f"the differences of {candidate.name} and {against.name}{holds}"
        plan = plan_of_differences(rows, tests[0].imputations, policy, tests=count, source=source)
    else:
        source = (
            f"scores of {against.name}; two systems' scores of a sample are assumed to correlate by "
            f"{numbers.correlation:g} (`--assume correlation=...`)"
        )
        source += holds
        plan = plan_of_scores(rows, policy, tests=count, source=source, correlation=numbers.correlation)
    cost = unit_cost(ours)
    if numbers.sd is not None:
        return RunPlan(plan=_assumed_plan(policy, numbers, layout_of_rows(rows, policy), count), cost=cost)
    if plan is None:
        raise UsageError(
            f"plan: {policy.primary} of {against.name} has no spread: too few clusters, or nothing varies; "
            "assume one: --assume sd=25"
        )
    if numbers.layout is not None or numbers.judge_sd:
        variances = replace(plan.variances, judge=min(2 * numbers.judge_sd**2, plan.variances.rest))
        plan = plan_for(
            variances,
            numbers.layout or plan.now.layout,
            policy,
            tests=count,
            source=source,
            caution=plan.caution,
            repeats=numbers.repeats,
        )
    return RunPlan(plan=plan, cost=cost)


def _assumed_plan(policy: Policy, numbers: Assumed, layout: Layout | None, tests: int) -> Plan:
    """Return the plan from assumed numbers, and a layout that they do not have to state."""
    layout = numbers.layout or layout
    if numbers.sd is None or layout is None:
        raise UsageError(
            "plan: neither a baseline nor numbers; expected `--against RUN`, or at least "
            "`--assume sd=25,samples=300`"
        )
    total = numbers.sd**2
    rest = total * (1 - numbers.by_speaker - numbers.by_sentence)
    variances = Variances(
        by_speaker=total * numbers.by_speaker,
        by_sentence=total * numbers.by_sentence,
        rest=rest,
        # Both runs are judged, each with its own verdicts.
        judge=min(2 * numbers.judge_sd**2, rest),
    )
    source = "assumed numbers"
    return plan_for(variances, layout, policy, tests=tests, source=source, repeats=numbers.repeats)
