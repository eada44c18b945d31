"""Long tables of scores: one row per task, sample, system and metric. `frames` reads and checks them, `runs`
finds them in run folders with what is known of how they came to be, `pairs` joins two systems."""

from __future__ import annotations

from echat_eval.tables.frames import COLUMNS, check_table, one_system, read_table
from echat_eval.tables.pairs import Pairs, cluster_numbers, pair
from echat_eval.tables.runs import Run, differences, load_run

__all__ = [
    "COLUMNS",
    "Pairs",
    "Run",
    "check_table",
    "cluster_numbers",
    "differences",
    "load_run",
    "one_system",
    "pair",
    "read_table",
]
