"""A decision for people: the facts and the worst samples for a pull request, and one line for a chat."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from echat_eval.io.display import markdown_text, number_text, one_line, printable

if TYPE_CHECKING:
    from echat_eval.gate.decision import Decision
    from echat_eval.gate.evidence import WorstSample

__all__ = ["evidence_lines", "to_message"]

#: Chat tools cut longer messages, or fold them.
MESSAGE_CHARACTERS = 400


def evidence_lines(decision: Decision, page: str = "") -> list[str]:
    """Return runs, levels and worst samples as Markdown.

    Args:
        page: address of the report's page; each of the worst samples is then a link into it.
    """
    before, after = decision.levels
    facts = [f"{run.role}: {run.line}" for run in decision.runs]
    if before is not None and after is not None:
        facts.append(f"{decision.primary}: {number_text(before, 2)} before, {number_text(after, 2)} now")
    facts += [f"decided: {decision.date}"] if decision.date else []
    lines = ["", "**Runs**", "", *(f"- {markdown_text(fact)}" for fact in facts)] if facts else []
    if not decision.worst:
        return lines
    lines += [
        "",
        f"**The {len(decision.worst)} samples that fell most**, by {markdown_text(decision.primary)}",
        "",
    ]
    lines += ["| sample | before | now | words | reply before | reply now |", "|---|--:|--:|---|---|---|"]
    return [*lines, *(_row(sample, page) for sample in decision.worst)]


def _row(sample: WorstSample, page: str) -> str:
    name = markdown_text(f"{sample.task}/{sample.sample_id}")
    if page:
        name = f"[{name}]({page}#/samples/{quote(sample.task, safe='')}/{quote(sample.sample_id, safe='')})"
    texts = (sample.words, sample.reply_before, sample.reply)
    cells = [name, number_text(sample.before, 2), number_text(sample.after, 2), *map(markdown_text, texts)]
    return f"| {' | '.join(cells)} |"


def to_message(decision: Decision, page: str = "") -> str:
    """Return one line of plain text, without markup or escapes, such as for a chat tool."""
    found = "cannot tell"
    if decision.difference is not None:
        low, high = (
            number_text(bound, 2, signed=True) if bound is not None else "?" for bound in _bounds(decision)
        )
        found = f"{number_text(decision.difference.value, 2, signed=True)} [{low}, {high}]"
    names = " vs ".join(run.name for run in decision.runs)
    parts = [
        f"{decision.title}: {names}" if names else decision.title,
        f"{decision.primary} {found}, margin {decision.margin:g}",
        *decision.reasons[:1],
        decision.tries.partition(":")[0] if decision.tries.startswith("try ") else "",
    ]
    text = one_line(printable("; ".join(filter(None, parts))), MESSAGE_CHARACTERS)
    return f"{text} {page}".rstrip() + "\n"


def _bounds(decision: Decision) -> tuple[float | None, float | None]:
    return decision.low, decision.high
