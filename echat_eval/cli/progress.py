"""A progress bar: stage, counts, time left. Without a terminal, one line a stage."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.console import RenderableType
    from rich.progress import TaskID

__all__ = ["Bar"]


class Bar:
    """Draws what the runner tells; use it as a context manager.

    Args:
        told: asked again and again for one more line, such as what was spent so far; "" for none.
    """

    def __init__(self, told: Callable[[], str] = lambda: "") -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
        from rich.progress import TimeRemainingColumn as Left
        from rich.text import Text

        self._console = Console(stderr=True)
        self._drawn = sys.stderr.isatty()

        class Bars(Progress):
            def get_renderables(self) -> Iterable[RenderableType]:
                yield self.make_tasks_table(self.tasks)
                if line := told():
                    yield Text(line)

        self._bars = Bars(
            TextColumn("{task.description:<24}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            Left(),
            console=self._console,
        )
        self._current: TaskID | None = None
        self._stages: dict[str, TaskID] = {}

    def __enter__(self) -> Bar:
        if self._drawn:
            self._bars.start()
        return self

    def __exit__(self, *_: Any) -> None:
        if self._drawn:
            self._bars.stop()

    def stage(self, name: str, total: int, done: int) -> None:
        """Begin a line."""
        if self._drawn:
            # Rows that were there already do not count into the speed.
            self._current = self._stages[name] = self._bars.add_task(name, total=total, completed=done)
        else:
            self._console.print(f"{name}: {total - done} of {total} rows to do", highlight=False)

    def advance(self, count: int = 1, *, stage: str | None = None) -> None:
        """Move a stage's line; by default the newest one's."""
        line = self._current if stage is None else self._stages.get(stage)
        if self._drawn and line is not None:
            self._bars.advance(line, count)

    def note(self, text: str) -> None:
        """Print a line above the bars."""
        self._console.print(text, highlight=False, markup=False)
