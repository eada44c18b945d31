"""The findings about a task as lines of at most 80 columns."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING

from echat_eval.checks.task_finding import SECTIONS, STATES
from echat_eval.task.faults import EXAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from echat_eval.checks.task_check import TaskCheck
    from echat_eval.checks.task_finding import Finding

__all__ = ["MARKS", "check_lines", "check_name", "summary_line"]

WIDTH = 80
#: As printed: a fault must not be overlooked.
MARKS = {state: state.upper() if state == "fault" else state for state in STATES}
_MARK = max(len(mark) for mark in MARKS.values())
_INDENT = " " * (_MARK + 4)


def check_lines(checked: TaskCheck, *, every: bool = False) -> list[str]:
    """Return the lines that `check task` prints.

    Args:
        checked: the findings.
        every: list every sample and detail, not three of each finding.
    """
    lines = [*wrap(f"{checked.name} version {checked.version}: {len(checked.samples)} samples", WIDTH)]
    for section, title in SECTIONS.items():
        found = [finding for finding in checked.findings if finding.section == section]
        if found:
            lines += ["", title]
            for finding in found:
                lines += _lines(finding, every)
    return [*lines, "", *wrap(f"{checked.folder}: {summary_line(checked)}", WIDTH)]


def check_name(finding: Finding) -> str:
    """Return the name of the check, with the cue."""
    return finding.check if finding.cue is None else f"{finding.cue} from {finding.check}"


def summary_line(checked: TaskCheck) -> str:
    """Return the numbers of findings by state."""
    counts = checked.counts()
    listed = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    end = "refused" if checked.refused else "no fault found"
    return f"{end}; checks: {listed}"


def _lines(finding: Finding, every: bool) -> Iterator[str]:
    head = f"  {MARKS[finding.state]:{_MARK}}  {check_name(finding)}: {finding.message}"
    yield from wrap(head, WIDTH, subsequent_indent=_INDENT)
    if finding.remedy:
        yield from _wrapped(f"-> {finding.remedy}")
    if finding.state not in ("fault", "allowed", "review") and not every:
        return
    details = [*finding.details, *(f"{ident}: {reason}" for ident, reason in finding.samples.items())]
    shown = details if every else details[:EXAMPLES]
    for line in shown:
        yield from _wrapped(line)
    if len(details) > len(shown):
        yield from _wrapped(f"... and {len(details) - len(shown)} more; --all lists each")


def _wrapped(text: str) -> list[str]:
    return wrap(text, WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT + "  ")
