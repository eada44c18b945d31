"""Figures of perceived cues: error attribution and confusion of labels."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from echat_eval.labels import UNKNOWN
from echat_eval.leaderboard.attribution import ASKED, NAMED, attribution_shares
from echat_eval.leaderboard.render import by_role
from echat_eval.report.figure_style import axis_label, legend_below, shown_names, written

if TYPE_CHECKING:
    from echat_eval.leaderboard.attribution import Attribution, Share
    from echat_eval.report.runs import MergedRuns

__all__ = ["attributions_of", "confusion_of", "draw_attribution", "draw_confusion"]

#: (cue perceived, words fit it) -> colour and hatch, so that grey copies tell them apart.
_LOOKS = {
    (True, True): ("#0072B2", ""),
    (True, False): ("#56B4E9", "...."),
    (False, True): ("#F0E442", ""),
    (False, False): ("#D55E00", "xxxx"),
}
#: Added where the voice of the reply does not fit.
_WRONG_VOICE = "////"
#: Inches from which a figure is as wide as a page.
_PAGE = 5.0
#: Panels that one column of a paper holds above each other.
_ABOVE_EACH_OTHER = 3
_NO_VOICE = ", voice not scored"


def attributions_of(runs: MergedRuns) -> dict[tuple[str, str], list[Share]]:
    """Return system, cue -> shares of outcomes over all gold labels, as under the leaderboard."""
    assert runs.board is not None
    systems = by_role(runs.board, runs.board.headline)["system"]
    found = {}
    for system in systems:
        for (name, cue, source), rows in runs.perceptions.items():
            if name == system and any(row.cue_awareness is not None for row in rows):
                found[system, cue + " (asked)" * (source == ASKED)] = attribution_shares(rows)
    return found


def draw_attribution(plt: Any, runs: MergedRuns, width: float, font: str | None) -> Any:
    """Draw where replies went wrong: the leaderboard's shares of outcomes, one bar per system and cue."""
    bars = attributions_of(runs)
    if not bars:
        return "no reply has both a perceived cue and a verdict"
    figure, panel = plt.subplots(layout="constrained", figsize=(width, 1.15 + 0.3 * len(bars)))
    parts: dict[Attribution, Any] = {}
    for y, shares in enumerate(bars.values()):
        left = 0.0
        for share in shares:
            outcome, percent = share.outcome, share.estimate.value
            if not percent:
                continue
            colour, hatch = _LOOKS[outcome.perceived, outcome.worded]
            parts[outcome] = panel.barh(
                [y],
                [percent],
                left=left,
                color=colour,
                hatch=hatch + _WRONG_VOICE * (outcome.voiced is False),
                edgecolor="white",
                linewidth=0.6,
                height=0.68,
            )
            left += percent
    short = shown_names([system for system, _ in bars], font)
    # In a column of a paper, the bars need the room that names in one line would take.
    end = ",\n" if width < _PAGE else ", "
    names = [
        f"{short[system]}{end}{written(cue, font)} (n={shares[0].estimate.n})"
        for (system, cue), shares in bars.items()
    ]
    panel.set_yticks(range(len(bars)), names)
    panel.invert_yaxis()
    panel.set_xlim(0, 100)
    panel.set_xlabel(axis_label("% of replies with a perceived label and a verdict", width), loc="right")
    panel.grid(axis="y", visible=False)
    # In the order of the parts of a bar; what all of them lack stands below the axis alone.
    ordered = sorted(parts, key=lambda outcome: (not outcome.perceived, not outcome.worded, str(outcome)))
    unscored = all(outcome.voiced is None for outcome in ordered)
    labels = [str(outcome).removesuffix(_NO_VOICE) if unscored else str(outcome) for outcome in ordered]
    legend_below(figure, [parts[outcome] for outcome in ordered], labels)
    return figure


def confusion_of(runs: MergedRuns, cue: str) -> dict[str, Counter[tuple[str, str]]]:
    """Return system -> (gold, perceived) -> replies; "unknown" stands for replies that name no label."""
    return {
        system: Counter((row.gold, row.perceived or UNKNOWN) for row in rows)
        for (system, name, source), rows in runs.perceptions.items()
        if name == cue and source == NAMED
    }


def draw_confusion(plt: Any, runs: MergedRuns, width: float, font: str | None, *, cue: str) -> Any:
    """Draw the confusion of gold and perceived labels, one panel per system, as row shares with counts."""
    counts = confusion_of(runs, cue)
    if not counts:
        return ""
    labels = runs.cues[cue].labels
    rows = [label for label in labels if any(g == label for c in counts.values() for g, _ in c)]
    known = (*labels, UNKNOWN)
    columns = [
        label for label in known if label in rows or any(p == label for c in counts.values() for _, p in c)
    ]
    column_count = min(len(counts), 3 if width > _PAGE else 1 if len(counts) <= _ABOVE_EACH_OTHER else 2)
    row_count = math.ceil(len(counts) / column_count)
    figure, panels = plt.subplots(
        row_count,
        column_count,
        squeeze=False,
        sharey=True,
        layout="constrained",
        figsize=(width, row_count * (0.75 + 0.3 * len(rows)) + 0.35),
    )
    names = shown_names(counts, font)
    for panel in panels.flat[len(counts) :]:
        panel.set_visible(False)
    for panel, (system, confusion) in zip(panels.flat, sorted(counts.items()), strict=False):
        shares = [
            [confusion[g, p] / max(1, sum(v for (h, _), v in confusion.items() if h == g)) for p in columns]
            for g in rows
        ]
        panel.imshow(shares, cmap="Greys", vmin=0, vmax=1, aspect="auto")
        for y, gold in enumerate(rows):
            for x, perceived in enumerate(columns):
                panel.text(
                    x,
                    y,
                    str(confusion[gold, perceived]),
                    ha="center",
                    va="center",
                    fontsize=6,
                    color="white" if shares[y][x] > 0.55 else "black",
                )
        panel.set_xticks(range(len(columns)), [written(c, font) for c in columns], rotation=45, ha="right")
        panel.set_yticks(range(len(rows)), [written(r, font) for r in rows])
        panel.set_title(names[system], fontsize=5.5 if width < _PAGE and column_count == 2 else 8)
        panel.grid(visible=False)
    figure.supxlabel(f"{cue}: perceived (count; shade: share of the gold label)", fontsize=7)
    figure.supylabel("gold", fontsize=8)
    return figure
