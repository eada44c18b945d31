"""The shift of the judges between a candidate's run and its baseline's, by the anchors that both graded."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

from echat_eval.gate.reasons import Blocker, Reason
from echat_eval.stats.drift import MIN_SHARED, JudgeShift, judge_shift
from echat_eval.stats.linking import TOLERANCE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from echat_eval.analysis import ScoredSystem
    from echat_eval.store.anchors import AnchorPoints

__all__ = ["JudgeDrift", "judge_drift"]

#: Suffixes of a judge's metrics on the scale of its anchors; in a contrast, a shift cancels.
_SAME_SCALE = ("", "_turns")


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeDrift:
    """The findings of the anchors of two runs.

    Attributes:
        shifts: metric -> shift by which its differences are corrected.
        blockers: shifts that no correction covers.
        notes: one line per judge.
    """

    shifts: Mapping[str, JudgeShift] = field(default_factory=dict)
    blockers: tuple[Blocker, ...] = ()
    notes: tuple[str, ...] = ()


def judge_drift(candidate: ScoredSystem, against: ScoredSystem) -> JudgeDrift:
    """Return the shifts of the judges that graded anchors in both runs."""
    shifts: dict[str, JudgeShift] = {}
    blockers: list[Blocker] = []
    notes: list[str] = []
    ours, theirs = (_by_metric(run.anchors) for run in (candidate, against))
    for metric, rows in ours.items():
        before = theirs.get(metric)
        judge = rows[0].judge
        if before is None:
            notes.append(f"judge {judge}: the baseline's run has no anchors; a shift of it would not show")
            continue
        shift = _shift(rows, before)
        if shift is None:
            notes.append(
                f"judge {judge}: fewer than {MIN_SHARED} anchors in both runs; a shift of it would not show"
            )
        elif shift.is_none:
            notes.append(f"judge {judge}: the same points twice on {shift.anchors} anchors")
        else:
            if reason := _beyond_correction(shift):
                blockers.append(Blocker(reason=Reason.JUDGE_MOVED, text=f"judge {judge} {reason}"))
            shifts.update({f"{metric}{suffix}": shift for suffix in _SAME_SCALE})
            notes.append(
                f"judge {judge}: {_number(shift)} points on {shift.anchors} anchors, judged in both runs; "
                f"differences of {metric} are corrected by it and have its uncertainty"
            )
    return JudgeDrift(shifts=shifts, blockers=tuple(blockers), notes=tuple(notes))


def _by_metric(rows: Sequence[AnchorPoints]) -> dict[str, list[AnchorPoints]]:
    found: dict[str, list[AnchorPoints]] = {}
    for row in rows:
        found.setdefault(row.metric, []).append(row)
    return found


def _shift(ours: Sequence[AnchorPoints], theirs: Sequence[AnchorPoints]) -> JudgeShift | None:
    """Return the shift over the anchors that both runs have; an anchor may be in a run several times."""
    before: dict[str, list[float]] = {}
    for row in theirs:
        before.setdefault(row.anchor, []).append(row.points)
    rows = [row for row in ours if row.anchor in before]
    if not rows:
        return None
    return judge_shift(
        [row.points for row in rows],
        [fmean(before[row.anchor]) for row in rows],
        [row.question for row in rows],
        [row.after for row in rows],
    )


def _beyond_correction(shift: JudgeShift) -> str:
    """Return why a shift cannot be corrected by one number; "" if it can."""
    level = shift.level
    if shift.moved is not None:
        return (
            f"moved by {shift.moved.value:+.1f} points between the halves of the candidate's run, so samples "
            "judged early and late do not compare"
        )
    if level.low is None or level.high is None:
        return "shifted by an amount that the anchors do not bound"
    if level.low > TOLERANCE or level.high < -TOLERANCE:
        return f"shifted by {_number(shift)} points, more than half a grade; one number does not correct that"
    return ""


def _number(shift: JudgeShift) -> str:
    level = shift.level
    if level.low is None or level.high is None:
        return f"{level.value:+.1f}"
    return f"{level.value:+.1f} [{level.low:+.1f}, {level.high:+.1f}]"
