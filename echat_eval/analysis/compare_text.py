"""A comparison as text: pooled and per task first, then slices; marked if the runs are not comparable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.io.display import number_text, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    without = []
    for metric in dict.fromkeys(cell.metric for cell in comparison.cells):
        cells = [cell for cell in comparison.cells if cell.metric == metric]
        primary = [cell for cell in cells if cell.part != "slice" and cell.n]
        slices = [cell for cell in cells if cell.part == "slice" and cell.n]
        if not primary:
            without.append(printable(metric))
            continue
        rows = _rows(printable(metric), [*primary, *slices], mark)
        lines += ["", *rows[: 1 + len(primary)]]
        if absent := [printable(cell.name) for cell in cells if cell.part != "slice" and not cell.n]:
            lines.append(f"  applies to no sample of {', '.join(absent)}")
        if slices:
            lines += [
                "  secondary (slices: p not adjusted, no effect on the result)",
                *rows[1 + len(primary) :],
            ]
    if without:
        lines += ["", f"apply to no sample: {', '.join(without)}"]
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


def _rows(title: str, cells: Sequence[ComparedMetric], mark: str) -> list[str]:
    """Return the line of titles and one line per cell, as narrow as the numbers allow."""
    titles = ("change", "95 % interval", "p adj.", "won", "lost", "tied", "n", "clusters")
    names = [f"  {printable(cell.name)}" for cell in cells]
    texts = [_texts(cell) for cell in cells]
    first = max(map(len, (title, *names)))
    widths = [max(map(len, (name, *(t[k] for t in texts if t)))) for k, name in enumerate(titles)]
    head = " ".join(
        [title.ljust(first), *(name.rjust(size) for name, size in zip(titles, widths, strict=True))]
    )
    lines = [head]
    for cell, name, found in zip(cells, names, texts, strict=True):
        if found:
            numbers = " ".join(text.rjust(size) for text, size in zip(found, widths, strict=True))
            gap = f"  {cell.missing} missing" if cell.missing else ""
            lines.append(f"{name.ljust(first)} {numbers}{gap}{mark}")
        else:
            value = "" if cell.difference is None else _signed(cell.difference.value)
            why = f"cannot tell: {cell.why or 'missing values'}{mark}"
            lines.append(f"{name.ljust(first)} {value.rjust(widths[0])} {why}")
    return lines


def _texts(cell: ComparedMetric) -> list[str]:
    """Return the numbers of a line; none of a cell without an interval."""
    if cell.difference is None or cell.low is None or cell.high is None:
        return []
    return [
        _signed(cell.difference.value),
        _interval(cell.low, cell.high),
        "" if cell.adjusted is None else f"{cell.adjusted:.2g}",
        *(f"{100 * share:.0f}%" for share in (cell.won, cell.lost, cell.tied)),
        str(cell.n),
        str(cell.clusters),
    ]


def _signed(value: float) -> str:
    return number_text(value, DIGITS, signed=True)


def _interval(low: float, high: float) -> str:
    return f"[{_signed(low)}, {_signed(high)}]"
