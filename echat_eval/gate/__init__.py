"""The gate: may a candidate replace its baseline? Pass, regress or cannot tell.

`decide` takes two long tables and a `Policy`, `decide_first` one table where there is no baseline yet;
docs/gate.md has the rules and the error rates.
"""

from __future__ import annotations

from echat_eval.analysis.metric_rule import MetricRule
from echat_eval.gate.decide import decide
from echat_eval.gate.decision import Decision, Provenance
from echat_eval.gate.first import decide_first
from echat_eval.gate.policy import LatencyRule, Policy, build_policy, read_policy
from echat_eval.gate.rules import RuleResult

__all__ = [
    "Decision",
    "LatencyRule",
    "MetricRule",
    "Policy",
    "Provenance",
    "RuleResult",
    "build_policy",
    "decide",
    "decide_first",
    "read_policy",
]
