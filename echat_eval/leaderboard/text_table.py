"""A small table of texts below the leaderboard: one content for terminal, notebook, Markdown and page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from echat_eval.io.display import markdown_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

__all__ = ["TextTable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTable:
    """One table.

    Attributes:
        rows: cells under the titles; the first is the system.
        notes: what the numbers mean, one line each.
        texts: number of leading columns that hold texts, not numbers.
    """

    caption: str
    titles: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]
    texts: int

    def lines(self) -> list[str]:
        """Return the table with its notes as lines of Markdown."""
        lines = [f"**{self.caption}**", "", "| " + " | ".join(self.titles) + " |"]
        lines.append("|" + "---|" * self.texts + "--:|" * (len(self.titles) - self.texts))
        lines += ["| " + " | ".join(map(markdown_text, row)) + " |" for row in self.rows]
        for note in self.notes:
            lines += ["", markdown_text(note)]
        return lines

    def frame(self) -> pd.DataFrame:
        """Return the cells as shown."""
        import pandas as pd

        return pd.DataFrame(list(map(list, self.rows)), columns=list(self.titles))
