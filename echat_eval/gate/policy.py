"""The policy of a gate, and how gate.yaml is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from echat_eval.analysis.metric_rule import MetricRule, cap_fault
from echat_eval.analysis.stated import require_average
from echat_eval.errors import UnknownName, UsageError
from echat_eval.io.schema import Rule, build_record, is_number, is_whole, read_schema_yaml, record_schema
from echat_eval.stats import SENTENCES, Sentences

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "MAX_FAILED",
    "MAX_MORE_FAILED",
    "MAX_OVER_REACTION",
    "MAX_REPLY_WER",
    "MAX_UNREADABLE",
    "MAX_UNSHARED",
    "MIN_CLUSTERS",
    "LatencyRule",
    "Policy",
    "build_policy",
    "read_policy",
]

#: Built-in guards of every decision. A policy may change them; it cannot switch them off.
MAX_FAILED = 0.02
MAX_MORE_FAILED = 0.02
MAX_UNREADABLE = 0.05
MAX_UNSHARED = 0.02
#: Fewest clusters of a test, unless a policy states `min_clusters`; the error rates in docs/gate.md were
#: measured with as many and more.
MIN_CLUSTERS = 6
#: Percent, as the metrics `reply_wer` and `reply_cer`.
MAX_REPLY_WER = 50.0
#: Percent, as the metrics of over-reaction.
MAX_OVER_REACTION = 25.0
FIRST_RUN = ("cannot tell", "pass")
SHARED_SAMPLES = ("allow", "refuse")
#: Rules of keys of a policy and of its metrics; the values of the other keys are checked where they are used.
_RULES = {
    "metrics": Rule(
        lambda value: isinstance(value, Mapping) and bool(value),
        "a mapping with at least one metric, such as {empathy: {higher_is_better: true}}",
    ),
    "latency": Rule(lambda value: isinstance(value, Mapping), "a mapping of metrics to {at_most, quantile}"),
    "higher_is_better": Rule(lambda value: isinstance(value, bool), "true or false: there is no default"),
}

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyRule:
    """Limit on a time or real-time factor: `quantile` of the samples must be `at_most` or less."""

    at_most: float
    quantile: float = 0.95


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Requirements that a candidate must meet to pass.

    Attributes:
        margin: the drop of the primary metric, pooled over all tasks, that is too small to block; in the
            metric's units, above 0.
        metrics: name -> `MetricRule` or a mapping of its fields.
        primary: the metric whose pooled difference decides; by default the first of `metrics`.
        level: coverage of intervals; the lower bound (0.95: the lower 97.5 % bound) decides.
        family_error: accepted probability that any critical difference is called a drop if nothing changed.
        power: power of the smallest detectable difference that is printed.
        min_clusters: with fewer clusters a difference is not tested. By default 6, and fewer speakers or
            sentences than that are taken as fixed, which the decision states. If the policy states a number,
            as many of both are needed.
        sentences: "random", or "fixed" if the decision need hold for exactly these sentences only; clusters
            are then speakers, and the decision states this.
        max_failed: limit on the share of the candidate's replies that failed, 0 to 1. "Regress" if the share
            is significantly above it, "cannot tell" if only the observed share is.
        max_more_failed: limit on the candidate's share of failed replies minus the baseline's, on shared
            samples; likewise.
        max_unreadable: limit on the share of the candidate's replies that are empty or unreadable; likewise.
        max_reply_wer: limit in percent on the candidate's `reply_wer` and `reply_cer`, if the baseline is not
            above it; likewise.
        max_over_reaction: limit in percent on how often the candidate's replies suit the voice where a good
            reply is the same for every voice (`expect: same`), if the baseline is not above it; likewise.
        max_missing: limit on the share of the candidate's primary rows that are missing, 0 to 1; above it
            the outcome is "cannot tell".
        shared_samples: "allow": where a task's samples have changed, the runs are compared on those with the
            same content in both; "refuse": the outcome is then "cannot tell".
        max_unshared: limit on the share of the baseline's rows of a metric that the candidate lacks, or that
            no longer apply to it; above it a pass becomes "cannot tell".
        latency: metric -> rule; judged only if the run measured one call at a time on the same hardware.
        max_age_days: limit on the age of the baseline; above it the outcome is "cannot tell".
        max_tries: limit on the tries of one lineage at one baseline; above it the outcome is "cannot tell".
            The tries share the error of one decision (see `gate.tries`).
        first_run: outcome for a candidate without a baseline that breaks no limit: "cannot tell" or "pass".
    """

    margin: float
    metrics: Mapping[str, MetricRule]
    primary: str = ""
    level: float = 0.95
    family_error: float = 0.05
    power: float = 0.8
    min_clusters: int | None = None
    sentences: Sentences = "random"
    max_failed: float = MAX_FAILED
    max_more_failed: float = MAX_MORE_FAILED
    max_unreadable: float = MAX_UNREADABLE
    max_reply_wer: float = MAX_REPLY_WER
    max_over_reaction: float = MAX_OVER_REACTION
    shared_samples: Literal["allow", "refuse"] = "allow"
    max_unshared: float = MAX_UNSHARED
    max_missing: float | None = None
    latency: Mapping[str, LatencyRule] = field(default_factory=dict)
    max_age_days: float | None = None
    max_tries: int | None = None
    first_run: Literal["cannot tell", "pass"] = "cannot tell"

    def __post_init__(self) -> None:
        record_schema(Policy, _RULES).check({f.name: getattr(self, f.name) for f in fields(self)}, "policy")
        rules = {str(n): _built(MetricRule, m, f"metric '{n}'") for n, m in self.metrics.items()}
        timings = {str(n): _built(LatencyRule, m, f"latency '{n}'") for n, m in (self.latency or {}).items()}
        object.__setattr__(self, "metrics", rules)
        object.__setattr__(self, "latency", timings)
        object.__setattr__(self, "primary", self.primary or next(iter(rules)))
        if self.primary not in rules:
            raise UnknownName("primary metric", self.primary, rules)
        _check_margin("margin", self.margin)
        for name, share in (
            ("level", self.level),
            ("family_error", self.family_error),
            ("power", self.power),
        ):
            _check_share(name, share, exclusive=True)
        for name in ("max_failed", "max_more_failed", "max_unreadable", "max_unshared"):
            _check_guard(name, getattr(self, name))
        for name in ("max_reply_wer", "max_over_reaction"):
            if not is_number(getattr(self, name), low=0):
                raise UsageError(
                    f"policy: {name} is {getattr(self, name)!r}; expected a number of percent from 0"
                )
        if self.max_missing is not None:
            _check_share("max_missing", self.max_missing)
        if self.min_clusters is not None and not is_whole(self.min_clusters, low=2):
            raise UsageError(f"policy: min_clusters is {self.min_clusters!r}; expected a whole number from 2")
        if self.max_tries is not None and not is_whole(self.max_tries, low=1):
            raise UsageError(f"policy: max_tries is {self.max_tries!r}; expected a whole number from 1")
        if self.sentences not in SENTENCES:
            raise UsageError(f"policy: sentences is {self.sentences!r}; expected {' or '.join(SENTENCES)}")
        if self.max_age_days is not None and not is_number(self.max_age_days, low=0):
            raise UsageError(f"policy: max_age_days is {self.max_age_days!r}; expected a number from 0")
        for name, choices in (("first_run", FIRST_RUN), ("shared_samples", SHARED_SAMPLES)):
            if (word := getattr(self, name)) not in choices:
                raise UsageError(f"policy: {name} is {word!r}; expected {' or '.join(choices)}")
        for name, rule in rules.items():
            _check_metric(name, rule)
            largest = self.margin if name == self.primary else None
            _check_range(name, rule, rule.margin if rule.margin is not None else largest)
        for name, timing in timings.items():
            _check_share(f"latency '{name}': quantile", timing.quantile, exclusive=True)
            if not is_number(timing.at_most, low=0):
                raise UsageError(
                    f"policy: latency '{name}': at_most is {timing.at_most!r}; expected a number from 0"
                )

    @property
    def fewest_clusters(self) -> int:
        """Return the number of clusters below which a difference is not tested."""
        return MIN_CLUSTERS if self.min_clusters is None else self.min_clusters

    def spending(self, share: float) -> Policy:
        """Return the policy whose bounds may err in a share of this one's cases."""
        return replace(self, level=1 - (1 - self.level) * share)

    def tolerance(self, name: str) -> float:
        """Return the drop of a metric in one task that prevents a pass if significant."""
        rule, primary = self.metrics[name], self.metrics[self.primary]
        if rule.margin is not None:
            return rule.margin
        if name == self.primary:
            return self.margin
        if rule.width is None or not primary.width:
            return 0.0
        return self.margin * rule.width / primary.width


def read_policy(path: Path, *, known: Mapping[str, Mapping[str, Any]] | None = None) -> Policy:
    """Return the policy in a YAML file.

    Args:
        path: gate.yaml; its keys are `Policy`'s fields.
        known: as in `build_policy`.

    Raises:
        UsageError: as in `build_policy`; the message starts with the path.
        BadData: not YAML, or a key is unknown or missing; the message starts with path and line.
    """
    content = read_schema_yaml(path, record_schema(Policy, _RULES)).content
    try:
        return build_policy(content, known=known)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


def build_policy(
    content: Mapping[str, Any], *, known: Mapping[str, Mapping[str, Any]] | None = None
) -> Policy:
    """Return the policy with these fields.

    Args:
        content: `Policy`'s fields.
        known: metric -> facts from the run's manifest (direction, range, average); the content overrides
            them.

    Raises:
        UsageError: unknown keys, a margin of the wrong sign, a metric without direction, a direction that
            differs from the run's.
    """
    record_schema(Policy, _RULES).check(content, "policy")
    metrics = {name: _merged(name, rule, known) for name, rule in content["metrics"].items()}
    content = {**content, "metrics": metrics}
    return _built(Policy, content, "policy")


def _merged(name: str, rule: Any, known: Mapping[str, Mapping[str, Any]] | None) -> Any:
    """Return a metric's rule in the file, completed by the facts in the run's manifest."""
    facts = (known or {}).get(name)
    if facts is None and known and not (rule or {}):
        # An empty rule takes all facts from the run, which has no such metric.
        raise UnknownName("metric", name, known)
    if facts is None or not isinstance(rule, Mapping | None):
        return rule or {}
    rule = dict(rule or {})
    if (stated := facts.get("higher_is_better")) is not None:
        direction = rule.setdefault("higher_is_better", stated)
        if direction != stated:
            raise UsageError(f"metric '{name}': higher_is_better is {direction}, but the run has {stated}")
    require_average(name, facts, "average" in rule)
    defaults = {
        key: facts[key] for key in ("low", "high", "worst", "average", "unit") if facts.get(key) is not None
    }
    return {**defaults, **rule}


def _built(kind: type[T], content: Any, location: str) -> T:
    """Return a dataclass built from a mapping, or the instance itself.

    Raises:
        BadData: not a mapping, or a key is unknown or missing.
    """
    return content if isinstance(content, kind) else build_record(kind, content, location, _RULES)


def _check_margin(name: str, value: Any) -> None:
    if not is_number(value) or value <= 0:
        raise UsageError(
            f"policy: {name} is {value!r}; expected a number above 0: the size of a drop that is too small "
            "to block, in the metric's units, for either direction"
        )


def _check_range(name: str, rule: MetricRule, margin: float | None) -> None:
    """Refuse a margin that no drop of the metric can exceed."""
    if margin is not None and rule.width is not None and margin >= rule.width:
        raise UsageError(
            f"policy: a margin of {margin:g} for {name}, which only goes from {rule.low:g} to {rule.high:g}; "
            "every candidate would be within it: state a smaller one"
        )


def _check_share(name: str, value: Any, *, exclusive: bool = False) -> None:
    if not is_number(value, low=0) or value > 1 or (exclusive and value in {0, 1}):
        raise UsageError(f"policy: {name} is {value!r}; expected a share between 0 and 1, such as 0.05")


def _check_guard(name: str, value: Any) -> None:
    if value is None or isinstance(value, bool):
        raise UsageError(
            f"policy: {name} is {value!r}; this guard cannot be switched off. Leave the key out for the "
            "built-in limit, or write a larger share, which is printed with every outcome"
        )
    _check_share(name, value)


def _check_metric(name: str, rule: MetricRule) -> None:
    for key in ("low", "high", "missing_at_most", "worst", "at_least", "at_most"):
        if getattr(rule, key) is not None and not is_number(getattr(rule, key)):
            raise UsageError(
                f"policy: metric '{name}': {key} is {getattr(rule, key)!r}; expected a finite number"
            )
    if rule.width is not None and rule.width <= 0:
        raise UsageError(f"policy: metric '{name}': low {rule.low} is not below high {rule.high}")
    if fault := cap_fault(rule):
        raise UsageError(f"policy: metric '{name}': {fault}")
    if rule.average not in ("mean", "ratio", "macro"):  # a list from a file cannot be looked up in a set
        raise UsageError(
            f"policy: metric '{name}': average is {rule.average!r}; expected mean, ratio or macro"
        )
    if rule.margin is not None:
        _check_margin(f"metric '{name}': margin", rule.margin)
