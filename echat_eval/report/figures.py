"""The figures of a run, each at column and at page width, as PDF and PNG.

forest             mean and interval of every system, by task
bars               the same as bars from zero, with floors and ceilings as lines
heat-map           the same as cells of systems x tasks
where-it-went      error attribution: cue perceived or not, reply good or poor
confusion-<cue>    perceived labels against gold labels
score-latency      headline metric against first-audio latency or response time
radar              headline metric by task, because the field expects one
people-judge       with ratings: people's ratings against the judge's scores, reply by reply
trend              headline metric over checkpoints

The first three are drawn for the headline, and for every metric of a choice as `forest-<metric>` and so on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from echat_eval.io.display import needs_chinese
from echat_eval.report.figure_attribution import draw_attribution, draw_confusion
from echat_eval.report.figure_panels import (
    draw_latency,
    draw_radar,
    draw_trend,
)
from echat_eval.report.figure_people import draw_people
from echat_eval.report.figure_style import WIDTHS, chinese_font, save, styled
from echat_eval.report.figure_tasks import draw_bars, draw_forest, draw_heat_map
from echat_eval.report.figure_values import metrics_of
from echat_eval.report.tables import file_stem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from echat_eval.ports import Progress
    from echat_eval.report.outlet import Outlet
    from echat_eval.report.runs import MergedRuns

__all__ = ["write_figures"]


def write_figures(
    runs: MergedRuns,
    outlet: Outlet,
    *,
    trend: Sequence[str],
    progress: Progress,
    ratings: Path | None = None,
) -> list[str]:
    """Write every figure that the runs have numbers for; return a note for each omitted figure.

    Args:
        runs: merged runs with scores.
        outlet: output folder; files go to `figures/`.
        trend: systems in the order of training; a trend needs two.
        progress: receives the progress.
        ratings: ratings.csv of `rate import`.
    """
    labels = [label for cue in runs.cues.values() for label in cue.labels]
    chinese = any(map(needs_chinese, (*runs.roles, *_titles(runs), *labels)))
    font = chinese_font() if chinese else None
    drawings: list[tuple[str, Callable[..., Any]]] = [
        *(
            (name + (f"-{file_stem(metric)}" if number else ""), partial(draw, metric=metric))
            for number, metric in enumerate(metrics_of(runs))
            for name, draw in (("forest", draw_forest), ("bars", draw_bars), ("heat-map", draw_heat_map))
        ),
        ("where-it-went", draw_attribution),
        ("score-latency", draw_latency),
        ("radar", draw_radar),
        *((f"confusion-{cue}", lambda *args, cue=cue: draw_confusion(*args, cue=cue)) for cue in runs.cues),
        ("people-judge", lambda *args: draw_people(*args, ratings=ratings)),
        ("trend", lambda *args: draw_trend(*args, stages=trend)),
    ]
    notes = []
    if font is None and chinese:
        notes.append(
            "no installed font has Chinese characters, so figures print code points (U+...); "
            "install one, such as fonts-noto-cjk, and run the report again"
        )
    progress.stage("figures", len(drawings), 0)
    for name, draw in drawings:
        for width, inches in WIDTHS.items():
            with styled(font) as plt:
                figure = draw(plt, runs, inches, font)
                if isinstance(figure, str):
                    if width == "page" and figure:
                        notes.append(f"figure '{name}' is omitted: {figure}")
                else:
                    save(figure, outlet, f"{name}-{width}")
        progress.advance()
    return notes


def _titles(runs: MergedRuns) -> list[str]:
    return list(runs.board.titles.values()) if runs.board is not None else []
