"""Evaluate empathetic spoken dialogue: does a system respond to how people speak, not only to their words?

>>> import echat_eval as ev
>>> ev.UsageError("no system").exit_code
<Exit.MISUSE: 2>

The verbs (`evaluate`, `compare`, ...) are imported when they are first used, so that the import is light.
`echat_eval.gate` is the verb, and also a package: import from it with `from echat_eval.gate import Policy`.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from echat_eval.errors import (
    BadData,
    Busy,
    EChatError,
    Exit,
    JudgeFailure,
    NotApplicable,
    NotInstalled,
    RowError,
    RunError,
    SystemFailure,
    Unavailable,
    UnknownName,
    UsageError,
    Withheld,
)
from echat_eval.records import (
    Annotation,
    AudioRef,
    JudgeEvidence,
    Metric,
    Reply,
    Request,
    Response,
    Sample,
    Score,
    Turn,
    Waveform,
)

if TYPE_CHECKING:
    from echat_eval.api import (
        Run,
        accept,
        compare,
        estimate,
        evaluate,
        gate,
        load_run,
        metric,
        plan,
        score,
    )

__version__ = "0.1.0"

__all__ = [
    "Annotation",
    "AudioRef",
    "BadData",
    "Busy",
    "EChatError",
    "Exit",
    "JudgeEvidence",
    "JudgeFailure",
    "Metric",
    "NotApplicable",
    "NotInstalled",
    "Reply",
    "Request",
    "Response",
    "RowError",
    "Run",
    "RunError",
    "Sample",
    "Score",
    "SystemFailure",
    "Turn",
    "Unavailable",
    "UnknownName",
    "UsageError",
    "Waveform",
    "Withheld",
    "accept",
    "compare",
    "estimate",
    "evaluate",
    "gate",
    "load_run",
    "metric",
    "plan",
    "score",
]


class _Package(ModuleType):
    """This package; importing the subpackage `gate` does not hide the verb of that name."""

    def __setattr__(self, name: str, value: object) -> None:
        if name not in __all__ or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name in __all__:  # a name of the API, which stands here from now on
        from echat_eval import api

        globals()[name] = value = getattr(api, name)
        return value
    raise AttributeError(f"module 'echat_eval' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
