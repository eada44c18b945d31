"""Renders a decision as JUnit XML, as a Markdown summary and as lines for a terminal."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from echat_eval.gate.decide import blocks
from echat_eval.gate.plan_text import plan_line, share_text
from echat_eval.gate.reasons import Reason
from echat_eval.gate.summary import evidence_lines, to_message
from echat_eval.io.display import markdown_text, number_text, printable

if TYPE_CHECKING:
    from echat_eval.gate.decision import Decision
    from echat_eval.gate.rules import RuleResult

__all__ = ["difference_text", "step_lines", "to_json", "to_junit", "to_lines", "to_markdown", "to_message"]

#: Rules that one line names.
MOST_RULES = 3
#: Characters that XML 1.0 forbids.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_MARK = {"pass": "✅", "regress": "❌", "cannot tell": "❔"}


def to_json(decision: Decision) -> str:
    """Return the decision with all its evidence as JSON."""
    facts = {**asdict(decision), "title": decision.title, "exit_code": int(decision.exit_code)}
    text = json.dumps(facts, ensure_ascii=False, indent=1, sort_keys=True, default=_plain)
    return text + "\n"


def _plain(value: object) -> object:
    """Return a reason as its name."""
    if isinstance(value, Reason):
        return value.value
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def to_junit(decision: Decision) -> str:
    """Return one test case for the outcome and one per rule, for common JUnit parsers.

    A broken rule is a failure, an undecided one an error, and a guard that cannot be tested is skipped.
    """
    suite = ET.Element("testsuite", name="echat-eval gate")
    case = ET.SubElement(suite, "testcase", classname="gate", name="outcome", time="0")
    plan = "" if decision.plan is None else f"\nplan: {plan_line(decision.plan)}"
    headline = _xml(_headline(decision) + plan)
    if decision.outcome != "pass":
        kind = "failure" if decision.outcome == "regress" else "error"
        steps = [f"to do: {line}" for line in step_lines(decision)]
        text = _xml("; ".join([*decision.reasons, *steps]) or decision.outcome)
        ET.SubElement(case, kind, type=decision.outcome, message=_xml(decision.outcome)).text = text
    ET.SubElement(case, "system-out").text = headline
    for rule in decision.rules:
        case = ET.SubElement(suite, "testcase", classname=f"gate.{rule.kind}", name=_xml(rule.name), time="0")
        kind = "failure" if rule.state == "broken" else "error" if blocks(rule) else "skipped"
        if rule.state != "holds":
            # Some readers show the message, others the text.
            text = _xml(_numbers(rule) + _detail(rule))
            ET.SubElement(case, kind, type=rule.state, message=text).text = text
    for attribute, tag in (
        ("tests", "testcase"),
        ("failures", "failure"),
        ("errors", "error"),
        ("skipped", "skipped"),
    ):
        suite.set(attribute, str(len(list(suite.iter(tag)))))
    suite.set("time", "0")
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def to_markdown(decision: Decision, page: str = "") -> str:
    """Return the summary for a pull request; `page` as in `summary.evidence_lines`."""
    lines = [f"## {_MARK[decision.outcome]} EChat-eval gate: {decision.title}", ""]
    lines += [markdown_text(_headline(decision)), ""]
    if decision.reasons:
        lines += ["**Why**", "", *(f"- {markdown_text(reason)}" for reason in decision.reasons), ""]
    if decision.next_steps:
        lines += ["**What to do**", "", *(f"- {markdown_text(line)}" for line in step_lines(decision)), ""]
    if decision.plan is not None:
        lines += [f"**Plan:** {markdown_text(plan_line(decision.plan))}", ""]
    if decision.warnings:
        lines += ["**Notes**", "", *(f"- {markdown_text(warning)}" for warning in decision.warnings), ""]
    lines += [
        "| rule | state | difference or level [interval, not adjusted] | adjusted p | samples | clusters |",
        "|---|---|---|---|---|---|",
    ]
    for rule in decision.rules:
        p = "" if rule.p is None else f"{rule.p:.2g}"
        numbers = markdown_text(_numbers(rule) + _detail(rule))
        lines.append(
            f"| {markdown_text(rule.name)} | {rule.state} | {numbers} | {p} "
            f"| {rule.n} | {rule.clusters or ''} |"
        )
    return "\n".join([*lines, *evidence_lines(decision, page)]) + "\n"


def to_lines(decision: Decision) -> list[str]:
    """Return the lines for a terminal: outcome, primary difference, reasons, warnings."""
    lines = [f"{decision.title}: {_headline(decision)}"]
    lines += [f"  because  {printable(reason)}" for reason in decision.reasons]
    lines += [f"  to do    {printable(line)}" for line in step_lines(decision)]
    lines += [] if decision.plan is None else [f"  plan     {printable(plan_line(decision.plan))}"]
    lines += [f"  note     {printable(warning)}" for warning in decision.warnings]
    return lines


def step_lines(decision: Decision) -> list[str]:
    """Return what would decide: one line per action, with the rules that it concerns and their distance."""
    rules: dict[str, list[str]] = {}
    for step in decision.next_steps:
        away = f" by {step.open_by}" if step.open_by else ""
        rules.setdefault(step.action, []).append(f"{step.rule.partition(': ')[0]}{away}")
    return [
        f"{action} (open: {'; '.join(names[:MOST_RULES])}"
        f"{f' and {len(names) - MOST_RULES} more' if len(names) > MOST_RULES else ''})"
        for action, names in rules.items()
    ]


def difference_text(decision: Decision) -> str:
    """Return the primary difference with its bounds, or "cannot tell" without a difference."""
    if decision.difference is None:
        return "cannot tell"
    return f"{_signed(decision.difference.value)}{_interval(decision.low, decision.high)}"


def _headline(decision: Decision) -> str:
    detectable = "unknown" if decision.detectable is None else f"{decision.detectable:.2g}"
    if decision.pass_if_equal is not None:
        detectable += f" (an equal candidate passes in {share_text(decision.pass_if_equal)} of such runs)"
    missing = f", {decision.missing} of them with a missing value" if decision.missing else ""
    holds = f"holds for {decision.scope} only" if decision.scope else ""
    rows = decision.difference.n if decision.difference is not None else 0
    of = f"{rows} of " if rows and not decision.counts.startswith(f"{rows} ") else ""
    return (
        f"{decision.primary} {difference_text(decision)} on {of}{decision.counts}{missing}; "
        f"above 0 is better, margin {decision.margin:g}, smallest detectable difference {detectable}; "
        + "; ".join(
            text
            for text in (holds, decision.failures, decision.readability, decision.tries, decision.baseline)
            if text
        )
    )


def _signed(value: float) -> str:
    return number_text(value, 2, signed=True)


def _interval(low: float | None, high: float | None) -> str:
    return " [cannot tell]" if low is None or high is None else f" [{_signed(low)}, {_signed(high)}]"


def _numbers(rule: RuleResult) -> str:
    if rule.value is None:
        return "cannot tell"
    if rule.kind == "share":
        interval = ""
        if rule.low is not None and rule.high is not None:
            interval = f" [{100 * rule.low:.1f}, {100 * rule.high:.1f}]"
        return f"{100 * rule.value:.1f} %{interval}"
    return (
        f"{rule.value:.3g}"
        if rule.kind == "latency"
        else f"{_signed(rule.value)}{_interval(rule.low, rule.high)}"
    )


def _detail(rule: RuleResult) -> str:
    return f" ({rule.detail})" if rule.detail else ""


def _xml(text: str) -> str:
    return _NOT_XML.sub("�", text)
