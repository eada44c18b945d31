"""The reasons for "cannot tell" and their next steps: each reason has one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from echat_eval.store.finish import finish_command

__all__ = ["AGAIN", "FINISH", "STEPS", "Blocker", "NextStep", "Reason"]

#: How missing rows get a value; a decision about run folders names the folders (`Provenance.finish`).
FINISH = finish_command("")
AGAIN = "ask again for failed replies (`run FOLDER --retry-failed`), or more samples would help"


class Reason(Enum):
    """Why the gate cannot tell. The value is a name for JSON."""

    MISSING_ROWS = "missing rows"
    WIDE_INTERVAL = "wide interval"
    FEW_CLUSTERS = "few clusters"
    ONE_SENTENCE = "one sentence"
    NOT_APPLICABLE = "not applicable"
    OPEN_RANGE = "open range"
    LABEL_IN_ONE_CLUSTER = "label in one cluster"
    NOT_SHARED = "rows not shared"
    FAILED_REPLIES = "failed replies"
    NO_REPLIES = "no replies"
    UNREADABLE_REPLIES = "unreadable replies"
    LEVEL_ABOVE_LIMIT = "level above its limit"
    LATENCY_NOT_TIMED = "latency not timed"
    LATENCY_OPEN = "latency near its limit"
    NO_BASELINE = "no baseline"
    BASELINE_TOO_OLD = "baseline too old"
    BASELINE_AGE_UNKNOWN = "age of the baseline unknown"
    BASELINE_IN_FUTURE = "baseline from the future"
    BASELINE_CHANGED = "baseline changed"
    VERSIONS_DIFFER = "versions differ"
    POLICY_CHANGED = "policy changed between tries"
    CLOCK_IN_PAST = "clock before the last try"
    TOO_MANY_TRIES = "too many tries"
    JUDGE_MOVED = "judge moved"


#: The next step of a reason whose rule does not have a more precise one.
STEPS: dict[Reason, str] = {
    Reason.MISSING_ROWS: FINISH,
    Reason.WIDE_INTERVAL: "more samples would help",
    Reason.FEW_CLUSTERS: "more speakers and sentences would help",
    Reason.ONE_SENTENCE: "more sentences would help, or `sentences: fixed` if it need hold for this one only",
    Reason.NOT_APPLICABLE: "choose a metric that applies to these samples",
    Reason.OPEN_RANGE: "give the metric's range (`low`, `high`)",
    Reason.LABEL_IN_ONE_CLUSTER: "more speakers of each label would help: a label that only one cluster has "
    "shows no spread",
    Reason.NOT_SHARED: "run the candidate on every sample of the baseline, or accept a part by a larger "
    "`max_unshared`",
    Reason.FAILED_REPLIES: AGAIN,
    Reason.NO_REPLIES: FINISH,
    Reason.UNREADABLE_REPLIES: "more samples would help",
    Reason.LEVEL_ABOVE_LIMIT: "more samples would help",
    Reason.LATENCY_NOT_TIMED: "time the run one call at a time (`--no-overlap --no-cache`) on the baseline's "
    "hardware",
    Reason.LATENCY_OPEN: "more samples would help",
    Reason.NO_BASELINE: "keep a run as the baseline: `echat-eval gate accept RUN --to FOLDER`",
    Reason.BASELINE_TOO_OLD: "run the baseline again and accept it: `echat-eval gate accept RUN --to FOLDER`",
    Reason.BASELINE_AGE_UNKNOWN: "keep the baseline with its date: `echat-eval gate accept RUN --to FOLDER`",
    Reason.BASELINE_IN_FUTURE: "correct the clock of this machine, or accept the baseline again",
    Reason.BASELINE_CHANGED: "restore the accepted files, or accept the baseline again: `echat-eval gate "
    "accept RUN --to FOLDER`",
    Reason.VERSIONS_DIFFER: "make both runs with the same tasks, scorers, judges and annotators: run one of "
    "them again, or score its replies again (`echat-eval run FOLDER`)",
    Reason.POLICY_CHANGED: "restore the policy, or accept a run as the next baseline, which starts a new "
    "ledger",
    Reason.CLOCK_IN_PAST: "correct the clock of this machine, or accept a run as the next baseline, which "
    "starts a new ledger",
    Reason.JUDGE_MOVED: "let the judge grade both runs again, one after the other, in new folders "
    "(`--no-cache`), or name a dated model",
    Reason.TOO_MANY_TRIES: "accept a run as the next baseline, which starts a new ledger: `echat-eval gate "
    "accept RUN --to FOLDER`",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocker:
    """A reason why two runs cannot be compared, whatever their scores; the outcome is "cannot tell".

    Attributes:
        reason: gives the next step.
        text: what was found, for the reader.
        step: a more precise next step than the reason's.
    """

    reason: Reason
    text: str
    step: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NextStep:
    """The action that would decide one open rule, or remove one blocker.

    Attributes:
        reason: why the gate cannot tell.
        rule: name of the open rule, or the blocker's text.
        open_by: how far the rule is from holding, such as "1.2 points"; empty without a number.
        action: what to do, with the command if there is one.
    """

    reason: Reason
    rule: str
    open_by: str
    action: str
