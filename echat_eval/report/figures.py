"""The figures of a run, each at column and at page width, as PDF and PNG.

forest             every system's mean and interval, by task
contrast           the headline metric between floor and ceiling
where-it-went      heard or not, answered accordingly or not
confusion-<cue>    what systems say they heard, against the gold label
score-latency      the headline metric against the time to the first sound, or to the reply
radar              the headline metric by task, because the field expects one
trend              the headline metric over checkpoints
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from echat_eval.errors import NotInstalled
from echat_eval.labels import LABELS
from echat_eval.report.figure_attribution import draw_confusion, draw_where
from echat_eval.report.figure_panels import (
    draw_contrast,
    draw_forest,
    draw_latency,
    draw_radar,
    draw_trend,
)
from echat_eval.report.figure_style import WIDTHS, chinese_font, needs_chinese, save, styled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echat_eval.ports import Progress
    from echat_eval.report.outlet import Outlet
    from echat_eval.report.runs import MergedRuns

__all__ = ["write_figures"]


def write_figures(runs: MergedRuns, outlet: Outlet, *, trend: Sequence[str], progress: Progress) -> list[str]:
    """Write every figure that the runs have numbers for; return what was left out, and why.

    Args:
        runs: with a board.
        outlet: where to; files go to `figures/`.
        trend: systems in the order of training; no trend without two.
        progress: told what is going on.
    """
    try:
        font = chinese_font()
    except ModuleNotFoundError as error:
        raise NotInstalled(f"figures need the package '{error.name}'; pip install matplotlib") from error
    drawings: list[tuple[str, Callable[..., Any]]] = [
        ("forest", draw_forest),
        ("contrast", draw_contrast),
        ("where-it-went", draw_where),
        ("score-latency", draw_latency),
        ("radar", draw_radar),
        *((f"confusion-{cue}", lambda *args, cue=cue: draw_confusion(*args, cue=cue)) for cue in LABELS),
        ("trend", lambda *args: draw_trend(*args, stages=trend)),
    ]
    notes = []
    wanted = any(map(needs_chinese, (*runs.roles, *_titles(runs))))
    if font is None and wanted:
        notes.append(
            "no installed font has Chinese letters, so figures print them by number (U+...); "
            "install one, such as fonts-noto-cjk, and make the report again"
        )
    progress.stage("figures", len(drawings), 0)
    for name, draw in drawings:
        for width, inches in WIDTHS.items():
            # A font with Chinese letters is large: it is read only where it is needed.
            with styled(font if wanted else None) as plt:
                made = draw(plt, runs, inches, font)
                if isinstance(made, str):
                    if width == "page" and made:
                        notes.append(f"figure '{name}' is left out: {made}")
                else:
                    save(made, outlet, f"{name}-{width}")
        progress.advance()
    return notes


def _titles(runs: MergedRuns) -> list[str]:
    return list(runs.board.titles.values()) if runs.board is not None else []
