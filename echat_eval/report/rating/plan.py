"""The analysis plan of a rating sheet: written before anyone rates, and checked when the key is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData, UsageError
from echat_eval.io.hashing import file_sha256, sha256_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from echat_eval.report.rating.assign import Crew

__all__ = ["PLAN_OPTION", "default_plan", "plan_facts", "plan_path", "require_plan"]

#: The option of `rate import` that opens a key although its plan changed.
PLAN_OPTION = "--plan-changed"


def plan_path(out: Path) -> Path:
    """Return the path of a sheet's plan, beside the sheet and its key."""
    return out.with_name(f"{out.name}.plan.md")


def default_plan(questions: int, what: str, crew: Crew) -> str:
    """Return the plan of a sheet that comes without one.

    Args:
        questions: number of questions about replies.
        what: what is asked, in words.
        crew: the raters.
    """
    who = (
        "Every rater answers every question."
        if crew.raters is None
        else f"{crew.raters} raters; each question has {crew.overlap} of them."
    )
    checks = (
        f"Each rater has {crew.checks} attention checks and {crew.checks} repeated questions. A rater who "
        "fails more than half of the attention checks is left out. Repeated answers are counted, and leave "
        "no rater out."
        if crew.checks
        else "No attention checks; no rater is left out."
    )
    return f"""# Analysis plan

- Asked: {what}, {questions} questions about replies.
- Raters: {who}
- Left out: {checks}
- Estimate: the mean over replies for each system, with a 95 % interval over replies and raters.
- With a judge: the same mean with the judge's scores of all replies (PPI++), if its interval is narrower.
- Ends: when every rater has answered, or is known to have stopped. The key is opened once, after that.
"""


def plan_facts(text: bytes, path: Path) -> dict[str, str]:
    """Return what the key keeps of a plan."""
    return {"file": path.name, "sha256": sha256_of(text)}


def require_plan(key: Path, facts: Mapping[str, Any], *, changed: bool) -> bool:
    """Return whether the plan beside a key is still the one that was written with the sheet.

    Args:
        key: the key file.
        facts: its content; keys of older sheets have no plan.
        changed: go on with a changed plan; the ratings state it.

    Raises:
        UsageError: the plan changed or is gone, and `changed` is not set.
    """
    plan = facts.get("plan")
    if plan is None:
        return True
    try:
        name, expected = str(plan["file"]), str(plan["sha256"])
    except (TypeError, KeyError) as error:
        raise BadData(f"{key}: 'plan' is {plan!r}, expected file and sha256; restore the file") from error
    path = key.parent / name
    if path.name != name:
        raise BadData(
            f"{key}: the plan's file is {name!r}, expected a name without folders; restore the file"
        )
    found = file_sha256(path) if path.is_file() else None
    if found == expected:
        return True
    if changed:
        return False
    state = "is gone" if found is None else f"changed after the sheet was written (sha256 {found[:12]}…)"
    raise UsageError(
        f"{path}: the analysis plan {state}, expected sha256 {expected[:12]}…; restore it, or open the key "
        f"with {PLAN_OPTION}, which the ratings will state"
    )
