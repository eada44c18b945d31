"""The report on a task: one page with plots, and the findings as JSON. Nothing is asked of the network."""

from __future__ import annotations

import json
from dataclasses import asdict
from html import escape
from typing import TYPE_CHECKING, Any

from echat_eval.checks.task_figures import FIGURES, draw_figures
from echat_eval.checks.task_finding import SECTIONS
from echat_eval.checks.task_text import MARKS, check_name, summary_line
from echat_eval.report.outlet import Outlet
from echat_eval.report.page import page_assets

if TYPE_CHECKING:
    from pathlib import Path

    from echat_eval.checks.task_check import TaskCheck
    from echat_eval.checks.task_finding import Finding

__all__ = ["check_json", "require_report", "write_report"]

_PARTS = (
    "index.html",
    "check.json",
    "page.css",
    "check.css",
    *(f"{n}.{e}" for n in FIGURES for e in ("pdf", "png")),
)


def require_report(folder: Path) -> None:
    """Check, before any work, that a report can be written.

    Raises:
        UsageError: as `write_report`.
    """
    outlet = Outlet(folder, _PARTS)
    try:
        outlet.check()
    finally:
        outlet.give_up()


def write_report(checked: TaskCheck, folder: Path) -> None:
    """Write the report.

    Args:
        checked: the findings.
        folder: absent, empty, or written by an earlier report.

    Raises:
        UsageError: the folder holds files that no report wrote, or that changed since.
    """
    with Outlet(folder, _PARTS) as outlet:
        outlet.check()
        figures = draw_figures(checked, outlet)
        outlet.write("check.json", check_json(checked))
        for path in (*(p for p in page_assets("page") if p.name == "page.css"), *page_assets("check")):
            outlet.write(path.name, path.read_bytes())
        outlet.write("index.html", _page(checked, figures))


def check_json(checked: TaskCheck) -> str:
    """Return the findings as JSON."""
    facts: dict[str, Any] = {
        "task": checked.name,
        "version": checked.version,
        "sha256": checked.sha256,
        "samples": len(checked.samples),
        "refused": checked.refused,
        "counts": dict(checked.counts()),
        "findings": [asdict(finding) for finding in checked.findings],
    }
    return json.dumps(facts, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _page(checked: TaskCheck, figures: list[str]) -> str:
    title = f"{checked.name}, version {checked.version}"
    sections = [
        f"<section><h2>{escape(heading)}</h2><table>{''.join(map(_row, found))}</table></section>"
        for section, heading in SECTIONS.items()
        if (found := [finding for finding in checked.findings if finding.section == section])
    ]
    plots = [
        f'<figure><img src="{name}.png" alt="{escape(FIGURES[name], quote=True)}">'
        f"<figcaption><small>{escape(FIGURES[name])}</small></figcaption></figure>"
        for name in figures
    ]
    drawn = f"<section><h2>Plots</h2>{''.join(plots)}</section>" if plots else ""
    policy = "default-src 'none'; style-src 'self' file:; img-src 'self' file: data:; base-uri 'none'"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="page.css">
<link rel="stylesheet" href="check.css">
</head>
<body>
<main>
<div><h1>{escape(title)}</h1>
<p>{len(checked.samples)} samples, sha256 <code>{escape(checked.sha256[:16])}</code></p>
<p><strong>{escape(summary_line(checked))}</strong></p></div>
{"".join(sections)}
{drawn}
</main>
</body>
</html>
"""


def _row(finding: Finding) -> str:
    listed = [*finding.details, *(f"{ident}: {reason}" for ident, reason in finding.samples.items())]
    items = "".join(f'<li dir="auto">{escape(text)}</li>' for text in listed)
    many = f"<details><summary>{len(listed)} lines</summary><ul>{items}</ul></details>"
    lines = "" if not listed else f"<ul>{items}</ul>" if len(listed) <= 6 else many
    remedy = f'<p class="quiet">→ {escape(finding.remedy)}</p>' if finding.remedy else ""
    name = f"<strong>{escape(check_name(finding))}</strong>"
    return (
        f'<tr class="state-{finding.state.replace(" ", "-")}"><td>{escape(MARKS[finding.state])}</td>'
        f"<td>{name}: {escape(finding.message)}{remedy}{lines}</td></tr>"
    )
