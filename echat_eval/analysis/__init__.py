"""Long tables of scores and what is computed from them: pairs, differences, comparisons and trends.

A long table has one row per task, sample, system and metric. `frames` reads and checks tables, `runs` builds
them from run folders, `pairs` joins two systems, `differences` estimates paired differences, `compare` and
`trend` summarise them.
"""

from __future__ import annotations

from echat_eval.analysis.compare import ComparedMetric, Comparison, Flip, compare
from echat_eval.analysis.compare_text import to_text
from echat_eval.analysis.frames import COLUMNS, check_table, has_states, one_system, read_table
from echat_eval.analysis.metric_rule import MetricRule
from echat_eval.analysis.pairs import Pairs, pair, table_units
from echat_eval.analysis.runs import ScoredSystem, differences, load_scored_system
from echat_eval.analysis.trend import Trend, trend

__all__ = [
    "COLUMNS",
    "ComparedMetric",
    "Comparison",
    "Flip",
    "MetricRule",
    "Pairs",
    "ScoredSystem",
    "Trend",
    "check_table",
    "compare",
    "differences",
    "has_states",
    "load_scored_system",
    "one_system",
    "pair",
    "read_table",
    "table_units",
    "to_text",
    "trend",
]
