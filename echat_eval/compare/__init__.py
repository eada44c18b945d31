"""Two or more systems on the samples they share: paired differences, who won, what flipped, and a trend."""

from __future__ import annotations

from echat_eval.compare.paired import Cell, Comparison, Flip, compare
from echat_eval.compare.report import to_text
from echat_eval.compare.trend import Trend, trend

__all__ = ["Cell", "Comparison", "Flip", "Trend", "compare", "to_text", "trend"]
