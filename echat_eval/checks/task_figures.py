"""Plots of the findings about a task, for its report."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from echat_eval.checks.task_text import check_name
from echat_eval.report.figure_style import chinese_font, legend_below, look_of, save_as, shown_name, styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echat_eval.checks.task_check import TaskCheck
    from echat_eval.checks.task_finding import Finding
    from echat_eval.report.outlet import Outlet

__all__ = ["FIGURES", "draw_figures"]

#: Name of the file -> caption.
FIGURES = {
    "recalls": "Macro recall of each cue from something other than the voice, with its 95 % interval over "
    "groups. Grey: chance. Red: refused above this.",
    "recordings": "Length and level of the recordings by label.",
    "labels": "Samples of each speaker by label.",
    "confusion": "Labels by annotators beside the intended ones.",
}
_WIDTH = 7.0
_ROW = 0.24
#: Speakers that are drawn.
_SPEAKERS = 24


def draw_figures(checked: TaskCheck, outlet: Outlet) -> list[str]:
    """Write the figures that the findings have data for, as PDF and PNG; return their names."""
    font = chinese_font()
    drawn = []
    with styled(font) as plt:
        for name, draw in (
            ("recalls", _recalls),
            ("recordings", _recordings),
            ("labels", _speakers),
            ("confusion", _confusion),
        ):
            if (figure := draw(plt, checked, font)) is not None:
                save_as(figure, outlet, name)
                drawn.append(name)
    return drawn


def _recalls(plt: Any, checked: TaskCheck, font: str | None) -> Any:
    rows = [finding for finding in checked.findings if finding.numbers.get("recall") is not None]
    if not rows:
        return None
    figure, panel = plt.subplots(layout="constrained", figsize=(_WIDTH, 0.9 + _ROW * len(rows)))
    for y, finding in enumerate(rows):
        numbers = finding.numbers
        panel.plot([numbers["chance"]] * 2, [y - 0.4, y + 0.4], color="0.5", linewidth=1)
        panel.plot([numbers["allowed"]] * 2, [y - 0.4, y + 0.4], color="#D55E00", linewidth=1)
        refused = finding.state in ("fault", "allowed")
        low, high = numbers["low"], numbers["high"]
        panel.errorbar(
            [numbers["recall"]],
            [y],
            xerr=None if low is None else [[numbers["recall"] - low], [high - numbers["recall"]]],
            fmt="o",
            color="#D55E00" if refused else "black",
            capsize=2,
        )
    panel.set_yticks(range(len(rows)), [shown_name(check_name(f), font) for f in rows])
    panel.invert_yaxis()
    panel.set_xlim(-1, 101)
    panel.set_xlabel("macro recall, %")
    return figure


def _recordings(plt: Any, checked: TaskCheck, font: str | None) -> Any:
    cues = sorted({cue for sample in checked.samples for cue in sample.cues} & set(checked.cues))
    if not cues:
        return None
    figure, panels = plt.subplots(
        len(cues), 2, squeeze=False, layout="constrained", figsize=(_WIDTH, 0.5 + 1.5 * len(cues))
    )
    for row, cue in zip(panels, cues, strict=True):
        labels = _labels(checked, cue)
        for panel, title, values in (
            (row[0], "length, s", [r.seconds for r in checked.recordings]),
            (row[1], "level, dB", [np.nan if r.level is None else r.level for r in checked.recordings]),
        ):
            for x, label in enumerate(labels):
                own = [v for v, s in zip(values, checked.samples, strict=True) if s.cues.get(cue) == label]
                spread = np.linspace(-0.25, 0.25, len(own)) if len(own) > 1 else np.zeros(1)
                panel.plot(x + spread, own, look_of(x).marker, color=look_of(x).colour, ms=3, alpha=0.7)
            panel.set_xticks(range(len(labels)), [shown_name(label, font) for label in labels])
            panel.tick_params(axis="x", labelrotation=30 if len(labels) > 4 else 0)
            panel.set_title(f"{shown_name(cue, font)}: {title}")
    return figure


def _speakers(plt: Any, checked: TaskCheck, font: str | None) -> Any:
    names = Counter(sample.speaker for sample in checked.samples if sample.speaker is not None)
    if len(names) < 2 or not checked.cues:
        return None
    cue = checked.cues[0]
    shown = [name for name, _ in names.most_common(_SPEAKERS)]
    labels = _labels(checked, cue)
    figure, panel = plt.subplots(layout="constrained", figsize=(_WIDTH, 1.2 + _ROW * len(shown)))
    left = np.zeros(len(shown))
    handles = []
    for number, label in enumerate(labels):
        own = Counter(s.speaker for s in checked.samples if s.cues.get(cue) == label)
        counts = np.array([own[name] for name in shown], dtype=float)
        look = look_of(number)
        handles.append(
            panel.barh(range(len(shown)), counts, left=left, color=look.colour, hatch=look.hatch, height=0.7)
        )
        left += counts
    panel.set_yticks(range(len(shown)), [shown_name(str(name), font) for name in shown])
    panel.invert_yaxis()
    panel.set_xlabel(f"samples by {shown_name(cue, font)}")
    legend_below(figure, handles, [shown_name(label, font) for label in labels])
    return figure


def _confusion(plt: Any, checked: TaskCheck, font: str | None) -> Any:
    found = [finding for finding in checked.findings if finding.numbers.get("confusion")]
    if not found:
        return None
    figure, panels = plt.subplots(
        1, len(found), squeeze=False, layout="constrained", figsize=(min(_WIDTH, 3.4 * len(found)), 3.0)
    )
    for panel, finding in zip(panels[0], found, strict=True):
        _draw_confusion(panel, finding, font)
    return figure


def _draw_confusion(panel: Any, finding: Finding, font: str | None) -> None:
    counts: Sequence[tuple[str, str, int]] = [tuple(row) for row in finding.numbers["confusion"]]
    gold = list(dict.fromkeys(row[0] for row in counts))
    predicted = list(dict.fromkeys([*gold, *(row[1] for row in counts)]))
    table = np.zeros((len(gold), len(predicted)))
    for label, other, count in counts:
        table[gold.index(label), predicted.index(other)] = count
    shares = table / table.sum(axis=1, keepdims=True)
    panel.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for y, x in np.ndindex(table.shape):
        colour = "white" if shares[y, x] > 0.5 else "black"
        panel.text(x, y, f"{table[y, x]:.0f}", ha="center", va="center", color=colour, fontsize=7)
    panel.set_xticks(range(len(predicted)), [shown_name(name, font) for name in predicted], rotation=45)
    panel.set_yticks(range(len(gold)), [shown_name(name, font) for name in gold])
    panel.set_xlabel("predicted")
    panel.set_ylabel("intended")
    panel.set_title(shown_name(f"{finding.cue}, {finding.message.partition(':')[0]}", font))


def _labels(checked: TaskCheck, cue: str) -> list[str]:
    return list(dict.fromkeys(sorted(s.cues[cue] for s in checked.samples if cue in s.cues)))
