"""A comparison as text: what is sure first, slices named secondary, marked where runs were not alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from echat_eval.analysis.compare import ComparedMetric, Comparison
    from echat_eval.analysis.trend import Trend

__all__ = ["to_text", "trend_text"]

#: Stands behind every number of runs that were compared though they are not alike.
MARK = " †"


def to_text(comparison: Comparison, *, flips: int = 10) -> list[str]:
    """Return the lines a terminal shows.

    Args:
        comparison: of two systems.
        flips: how many of the samples that got worse to list.
    """
    mark = MARK if comparison.unlike else ""
    lines = [f"{_plain(comparison.other)} minus {_plain(comparison.one)}; above 0 is better{mark}"]
    for metric in dict.fromkeys(cell.metric for cell in comparison.cells):
        cells = [cell for cell in comparison.cells if cell.metric == metric]
        lines += [
            "",
            f"{_plain(metric):<28} difference  95 % interval       p adj.  won  lost  tied     n  clusters",
        ]
        lines += [_line(cell, mark) for cell in cells if cell.part != "slice"]
        if any(cell.part == "slice" for cell in cells):
            lines.append("  secondary (slices: not adjusted, they decide nothing)")
            lines += [_line(cell, mark) for cell in cells if cell.part == "slice"]
    worse = [flip for flip in comparison.flips if flip.change < 0]
    if worse and flips:
        lines += [
            "",
            f"{len(worse)} samples got worse, {len(comparison.flips) - len(worse)} better; worst first",
        ]
        lines += [
            f"  {_plain(flip.task)}/{_plain(flip.sample_id)}  {flip.before:g} -> {flip.after:g}{mark}"
            for flip in worse[:flips]
        ]
    lines += ["", *(f"note: {_plain(note)}" for note in comparison.notes)]
    lines += [
        f"†  not comparable, shown because of --anyway: {_plain(reason)}" for reason in comparison.unlike
    ]
    return lines


def trend_text(trends: list[Trend], *, marked: bool) -> list[str]:
    """Return the trends as lines: means in order, and the change from one run to the next."""
    mark, lines = MARK if marked else "", []
    for one in trends:
        if one.task is None:
            lines += ["", f"{_plain(one.metric)}: {' -> '.join(_plain(name) for name in one.runs)}"]
        slope = one.slope
        told = "cannot tell" if slope.low is None else f"[{slope.low:+.2f}, {slope.high:+.2f}]"
        means = " -> ".join(f"{mean:.2f}" for mean in one.means)
        lines.append(
            f"  {_plain(one.task or 'all tasks'):<24} {means}; {slope.value:+.2f} a step {told}, "
            f"{slope.n} samples, {slope.clusters} clusters{mark}"
        )
    return lines


def _line(cell: ComparedMetric, mark: str) -> str:
    name = f"  {_plain(cell.name):<26}"
    if cell.difference is None or cell.low is None or cell.high is None:
        shown = "" if cell.difference is None else f"{cell.difference.value:+10.2f}"
        return f"{name} {shown:>10}  cannot tell: {cell.why or 'missing values'}{mark}"
    span = f"[{cell.low:+.2f}, {cell.high:+.2f}]"
    p = "" if cell.adjusted is None else f"{cell.adjusted:.2g}"
    shares = "".join(f"{100 * share:4.0f}%" for share in (cell.won, cell.lost, cell.tied))
    gap = f"  {cell.missing} missing" if cell.missing else ""
    return (
        f"{name} {cell.difference.value:+10.2f}  {span:<18} {p:>7} {shares} {cell.n:6d} {cell.clusters:6d}"
        f"{gap}{mark}"
    )


def _plain(text: str) -> str:
    """Names come from data: no control character of theirs reaches a terminal."""
    return "".join(c if c.isprintable() else "�" for c in text)
