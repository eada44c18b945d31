"""A comparison as text: pooled and per task first, then slices; marked if the runs are not comparable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.io.display import number_text, printable

if TYPE_CHECKING:
    from echat_eval.analysis.compare import ComparedMetric, Comparison
    from echat_eval.analysis.trend import Trend

__all__ = ["to_text", "trend_text"]

#: Follows every number of a comparison made with --anyway.
MARK = " †"
#: Decimals of differences and means.
DIGITS = 2


def to_text(comparison: Comparison, *, flips: int = 10) -> list[str]:
    """Return the lines of a comparison for a terminal.

    Args:
        comparison: result of `compare`.
        flips: how many worsened samples to list.
    """
    mark = MARK if comparison.unlike else ""
    lines = [
        f"{printable(comparison.candidate)} minus {printable(comparison.baseline)}; above 0 is better{mark}"
    ]
    for metric in dict.fromkeys(cell.metric for cell in comparison.cells):
        cells = [cell for cell in comparison.cells if cell.metric == metric]
        lines += [
            "",
            f"{printable(metric):<28} difference  95 % interval       p adj."
            "  won  lost  tied     n  clusters",
        ]
        lines += [_line(cell, mark) for cell in cells if cell.part != "slice"]
        if any(cell.part == "slice" for cell in cells):
            lines.append("  secondary (slices: p not adjusted, no effect on the result)")
            lines += [_line(cell, mark) for cell in cells if cell.part == "slice"]
    worse = [flip for flip in comparison.flips if flip.change < 0]
    if worse and flips:
        lines += [
            "",
            f"{len(worse)} samples are worse, {len(comparison.flips) - len(worse)} better; worst first",
        ]
        lines += [
            f"  {printable(flip.task)}/{printable(flip.sample_id)}  {flip.before:g} -> {flip.after:g}{mark}"
            for flip in worse[:flips]
        ]
    lines += ["", *(f"note: {printable(note)}" for note in comparison.notes)]
    lines += [
        f"†  not comparable, shown because --anyway is set: {printable(reason)}"
        for reason in comparison.unlike
    ]
    return lines


def trend_text(trends: list[Trend], *, marked: bool) -> list[str]:
    """Return one line per trend: means in order, and the change from one run to the next."""
    mark, lines = MARK if marked else "", []
    for number, trend in enumerate(trends):
        if number == 0 or trend.metric != trends[number - 1].metric:
            lines += ["", f"{printable(trend.metric)}: {' -> '.join(printable(name) for name in trend.runs)}"]
        slope = trend.slope
        interval = (
            "cannot tell" if trend.low is None or trend.high is None else _interval(trend.low, trend.high)
        )
        gap = f", {trend.missing} missing" if trend.missing else ""
        means = " -> ".join(number_text(mean, DIGITS) for mean in trend.means)
        lines.append(
            f"  {printable(trend.task or 'all tasks'):<24} {means}; {_signed(slope.value)} per run "
            f"{interval}, {slope.n} samples, {slope.clusters} clusters{gap}{mark}"
        )
    return lines


def _line(cell: ComparedMetric, mark: str) -> str:
    name = f"  {printable(cell.name):<26}"
    if cell.difference is None or cell.low is None or cell.high is None:
        value = "" if cell.difference is None else _signed(cell.difference.value)
        return f"{name} {value:>10}  cannot tell: {cell.why or 'missing values'}{mark}"
    span = _interval(cell.low, cell.high)
    p = "" if cell.adjusted is None else f"{cell.adjusted:.2g}"
    shares = "".join(f"{100 * share:4.0f}%" for share in (cell.won, cell.lost, cell.tied))
    gap = f"  {cell.missing} missing" if cell.missing else ""
    return (
        f"{name} {_signed(cell.difference.value):>10}  {span:<18} {p:>7} {shares} {cell.n:6d} "
        f"{cell.clusters:6d}{gap}{mark}"
    )


def _signed(value: float) -> str:
    return number_text(value, DIGITS, signed=True)


def _interval(low: float, high: float) -> str:
    return f"[{_signed(low)}, {_signed(high)}]"
