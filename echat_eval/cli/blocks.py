"""The tables and lines of a leaderboard on the terminal, whatever they are about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from echat_eval.cli.fitted_table import Cells, fitted
from echat_eval.cli.terminal import show, show_table, table_width

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

__all__ = ["Lines", "print_blocks", "print_files"]


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines between tables.

    Attributes:
        form: "plain": printed as they are; "text": wrapped at the width of a terminal; "markup": as "text",
            with the markup of rich.
    """

    lines: Sequence[str]
    form: str = "markup"


def print_blocks(blocks: Iterable[Cells | Lines]) -> None:
    """Print the tables and lines of a leaderboard."""
    from rich.text import Text

    for block in blocks:
        if isinstance(block, Cells):
            show_table(*fitted(block, table_width()))
        elif block.form == "plain":
            show(*block.lines)
        else:
            show_table(*(map(Text, block.lines) if block.form == "text" else block.lines))


def print_files(files: Sequence[Path]) -> None:
    """Print the paths of the files that hold a leaderboard."""
    if files:
        show("written: " + ", ".join(str(path) for path in files))
