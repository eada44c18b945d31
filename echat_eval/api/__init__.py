"""The verbs: evaluate, score, estimate, compare, gate, accept, load_run, leaderboard.

A notebook and the command line call the same functions. Arguments take names, specs or objects:

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as folder:
...     run = evaluate(
...         "canned", tasks="emotion", limit=4, annotators="acoustics", scorers="outcome", out=folder
...     )
...     run.scores()[["sample_id", "metric", "state", "cue_emotion"]].head(2)
  sample_id   metric  state cue_emotion
0    mvrvf7   failed  value       happy
1    mvrvf7  seconds  value       happy
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from echat_eval.api.baselines import accept, baseline_changes
    from echat_eval.api.comparing import compare, trend
    from echat_eval.api.deciding import evaluate_until_decided, gate, plan
    from echat_eval.api.evaluating import estimate, evaluate, score
    from echat_eval.api.progress import Logged
    from echat_eval.api.reading import leaderboard, load_run
    from echat_eval.leaderboard.run import Run
    from echat_eval.scorers.function_metric import metric

__all__ = [
    "Logged",
    "Run",
    "accept",
    "baseline_changes",
    "compare",
    "estimate",
    "evaluate",
    "evaluate_until_decided",
    "gate",
    "leaderboard",
    "load_run",
    "metric",
    "plan",
    "score",
    "trend",
]

#: Name -> module; each verb is imported when it is first used, so that a run does not import the gate.
_HOMES = {
    "Logged": "api.progress",
    "Run": "leaderboard.run",
    "accept": "api.baselines",
    "baseline_changes": "api.baselines",
    "compare": "api.comparing",
    "estimate": "api.evaluating",
    "evaluate": "api.evaluating",
    "evaluate_until_decided": "api.deciding",
    "gate": "api.deciding",
    "leaderboard": "api.reading",
    "load_run": "api.reading",
    "metric": "scorers.function_metric",
    "plan": "api.deciding",
    "score": "api.evaluating",
    "trend": "api.comparing",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'echat_eval.api' has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(f"echat_eval.{_HOMES[name]}"), name)
    return value
