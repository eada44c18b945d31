"""Writes the tables of docs/osum-echat.md out of bench/results: python bench/osum/tables.py"""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[1] / "results"
PAGE = RESULTS.parents[1] / "docs" / "osum-echat.md"
PARTS = {"language-model": "osum_cpu_language_model", "token2wav": "osum_cpu_token2wav"}


def read(part: str) -> dict[str, Any]:
    """Return one part's report."""
    found: dict[str, Any] = json.loads((RESULTS / f"{PARTS[part]}.json").read_text(encoding="utf-8"))
    return found


def table(part: str) -> str:
    """Return one part's table as Markdown: a line a batch and reply length, seconds of CPU time."""
    report = read(part)
    cases = {(c["batch"], c["tokens"], c["side"]): c for c in report["cases"]}
    ratios = {(r["batch"], r["tokens"], r["side"]): r["public_over_ours"] for r in report["ratios"]}
    lines = [
        "| batch | tokens a reply | rounds | ours: s a request | requests/s | tokens/s | peak MB "
        "| public: s a request | requests/s | tokens/s | peak MB | public / ours |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for batch, tokens in dict.fromkeys((batch, tokens) for batch, tokens, _ in cases):
        ours, public = (cases[batch, tokens, side] for side in ("ours", "public"))
        ratio = ratios[batch, tokens, "public"]["cpu_seconds"]
        rounds = ours["rounds"]
        lines.append(f"| {batch} | {tokens:,} | {rounds} | {cells(ours)} | {cells(public)} | {ratio:.2f} |")
    return "\n".join([*lines, "", conditions(report)])


def conditions(report: dict[str, Any]) -> str:
    """Return under what the table was measured, in sentences."""
    loads = [load[0] for case in report["cases"] for load in case["load_average"].values()]
    said = [
        f"{report['machine']}; torch {report['torch']}; load average {min(loads):.0f} to {max(loads):.0f}.",
        f"The public side's compile: {report['public_compile']}.",
    ]
    for ratio in report["ratios"]:
        if ratio["side"] != "public":
            times = ratio["public_over_ours"]["cpu_seconds"]
            location = f"batch {ratio['batch']}, {ratio['tokens']} tokens"
            said.append(f"{ratio['side'].capitalize()} ({location}): {times:.2f} times ours.")
    if "greedy_ids_equal" in report:
        said.append(f"Ids of a greedy reply that agree: the first {report['greedy_ids_equal']} of 50.")
    return "\n".join(said)


def cells(case: dict[str, Any]) -> str:
    """Return the four cells of one side."""
    seconds = case["per_request"]["cpu_seconds"]
    rate, tokens = case["requests_per_second"], case["tokens_per_second"]
    return f"{seconds:.2f} | {rate:.3g} | {tokens:.3g} | {case['peak_mb']:,}"


def voice_error() -> str:
    """Return the mel errors of the voice as Markdown: of windows by length, and of half precision."""
    report = json.loads((RESULTS / "osum_voice_error.json").read_text(encoding="utf-8"))
    lines = [
        "| mel error, to the whole in fp32 | tokens | mean | largest | mean, of spread | surplus samples |",
        "|---|---|---|---|---|---|",
    ]
    rows = [
        (f"windows, {name}", tokens, found)
        for name, lengths in report["windows"].items()
        for tokens, found in lengths.items()
    ]
    rows += [
        (name, str(found["tokens"]), found | {"samples_too_many": 0})
        for name, found in report["dtypes"].items()
    ]
    for name, tokens, found in rows:
        lines.append(
            f"| {name} | {tokens} | {found['mean']:.4f} | {found['max']:.3f} | "
            f"{100 * found['mean_of_spread']:.1f} % | {found['samples_too_many']} |"
        )
    return "\n".join(
        [*lines, "", f"{report['machine']}; torch {report['torch']}; weights: {report['weights']}."]
    )


def fill(page: str) -> str:
    """Return a page with the tables between their marks."""
    for part in (*PARTS, "voice-error"):
        pattern = re.compile(rf"<!-- {part} -->\n.*?<!-- end -->", re.DOTALL)
        page = pattern.sub(partial(_fenced, part), page)
    return page


def _fenced(part: str, _: re.Match[str]) -> str:
    made = voice_error() if part == "voice-error" else table(part)
    return f"<!-- {part} -->\n{made}\n<!-- end -->"


if __name__ == "__main__":
    PAGE.write_text(fill(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
