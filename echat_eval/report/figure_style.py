"""Style and saving of figures: two widths, available fonts, reproducible bytes."""

from __future__ import annotations

import io
import textwrap
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from echat_eval.io.data_folder import data_folder
from echat_eval.io.display import FIGURE_NAME_CHARACTERS, one_line, spelled, unique_labels

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from echat_eval.report.outlet import Outlet

__all__ = [
    "CHINESE_FONTS",
    "WIDTHS",
    "Look",
    "axis_label",
    "chinese_font",
    "legend_below",
    "look_of",
    "save",
    "save_as",
    "shown_name",
    "shown_names",
    "styled",
    "written",
]

#: Inches: one column of a two-column paper, and the full page.
WIDTHS = {"column": 3.35, "page": 7.0}

#: Font families with Chinese characters, in order of preference.
CHINESE_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "Noto Sans CJK JP",
    "PingFang SC",
    "Hiragino Sans GB",
    "Microsoft YaHei",
    "SimHei",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Droid Sans Fallback",
    "Arial Unicode MS",
)

#: Okabe-Ito colours, reordered so that neighbours also differ in lightness.
_COLOURS = ("#0072B2", "#E69F00", "#000000", "#56B4E9", "#D55E00", "#009E73", "#CC79A7", "#8a8a8a")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_LINES = ("-", "--", ":", "-.")
_HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\", "oooo", "++++", "----")


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Colour, marker, line and hatch of one system, and the fill and outline of its bars."""

    colour: str
    fill: str
    outline: str
    marker: str
    line: str
    hatch: str


def look_of(number: int) -> Look:
    """Return the look of the n-th system."""
    colour = _COLOURS[number % len(_COLOURS)]
    return Look(
        colour=colour,
        # Hatches are drawn in the colour of the outline.
        fill=colour if not _HATCHES[number % len(_HATCHES)] else "white",
        outline=colour,
        marker=_MARKERS[number % len(_MARKERS)],
        line=_LINES[number % len(_LINES)],
        hatch=_HATCHES[number % len(_HATCHES)],
    )


def chinese_font() -> str | None:
    """Return the first installed font family with Chinese characters; None if there is none."""
    from matplotlib import font_manager

    manager = font_manager.fontManager
    found = _first_of({font.name for font in manager.ttflist})
    if found is None:  # matplotlib keeps a list of fonts, which lacks those that were installed later
        listed = {font.fname for font in manager.ttflist}
        for path in sorted(set(font_manager.findSystemFonts()) - listed):
            with suppress(RuntimeError, OSError):  # not a font that it can read
                manager.addfont(path)
        found = _first_of({font.name for font in manager.ttflist})
    return found


def _first_of(installed: set[str]) -> str | None:
    return next((name for name in CHINESE_FONTS if name in installed), None)


def shown_name(name: str, font: str | None) -> str:
    """Return a short name for a figure; without a font, Chinese characters become code points.

    >>> shown_name("系统 one", None)
    'U+7CFB U+7EDF one'
    """
    return one_line(written(name, font), FIGURE_NAME_CHARACTERS)


def shown_names(names: Iterable[str], font: str | None) -> dict[str, str]:
    """Return name -> label of the systems of a figure; labels differ where names do.

    >>> shown_names(["osum-echat-lora-rank16-step-1000", "osum-echat-lora-rank16-step-2000"], None).values()
    dict_values(['osum-echat-…rank16-step-1000', 'osum-echat-…rank16-step-2000'])
    """
    return unique_labels(names, FIGURE_NAME_CHARACTERS, lambda name: written(name, font))


def written(name: str, font: str | None) -> str:
    """Return a name in characters that a figure can write."""
    return spelled(name, chinese=font is not None)


@contextmanager
def styled(font: str | None) -> Iterator[Any]:
    """Apply the project style without a display, and yield pyplot."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    families = ["DejaVu Sans", *([font] if font else [])]
    with plt.style.context([str(data_folder("reports") / "figures.mplstyle"), {"font.family": families}]):
        yield plt


def save(figure: Any, outlet: Outlet, name: str) -> None:
    """Write a figure into `figures/` as PDF and PNG."""
    save_as(figure, outlet, f"figures/{name}")


def save_as(figure: Any, outlet: Outlet, name: str) -> None:
    """Write a figure as PDF and PNG, without dates and versions, so that the bytes are reproducible."""
    import matplotlib.pyplot as plt

    for ending, metadata in (
        ("pdf", {"CreationDate": None, "ModDate": None, "Producer": None, "Creator": None}),
        ("png", {"Software": None}),
    ):
        image = io.BytesIO()
        figure.savefig(image, format=ending, metadata=metadata)
        outlet.write(f"{name}.{ending}", image.getvalue())
        figure.set_layout_engine("none")  # keep the first layout
    plt.close(figure)


#: Inches of one character of a legend or an axis label (7 to 8 points), and of a legend's sample and gaps.
_CHARACTER, _SAMPLE, _LINE = 0.062, 0.5, 0.165


def axis_label(text: str, inches: float) -> str:
    """Return text in lines that fit a width.

    >>> axis_label("Judge r0, points, mean and 95 % interval", 1.5).splitlines()
    ['Judge r0, points, mean', 'and 95 % interval']
    """
    return textwrap.fill(text, max(8, int(inches / _CHARACTER)), break_long_words=False)


def legend_below(figure: Any, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Put one legend under all panels, in as many columns as fit, and make the figure higher by it."""
    width, height = figure.get_size_inches()
    longest = max((len(label) for label in labels), default=1)
    columns = max(1, min(len(labels), int(width / (_SAMPLE + _CHARACTER * longest))))
    figure.set_size_inches(width, height + _LINE * -(-len(labels) // columns))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)
