"""A progress bar: stage, counts, time left. Without a terminal, one line per stage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from echat_eval.cli.terminal import console, is_terminal, show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.console import RenderableType
    from rich.progress import TaskID

__all__ = ["Bar"]


class Bar:
    """Progress of the runner's stages, with the cost so far below the bars; a context manager."""

    def __init__(self) -> None:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.text import Text

        self._console = console(err=True)
        self._is_terminal = is_terminal(err=True)
        self._cost_line: Callable[[], str] = lambda: ""

        def cost_line() -> str:
            return self._cost_line()

        class Bars(Progress):
            def get_renderables(self) -> Iterable[RenderableType]:
                yield self.make_tasks_table(self.tasks)
                if line := cost_line():
                    yield Text(line)

        self._bars = Bars(
            TextColumn("{task.description:<24}", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._current: TaskID | None = None
        self._stages: dict[str, TaskID] = {}

    def __enter__(self) -> Bar:
        if self._is_terminal:
            self._bars.start()
        return self

    def __exit__(self, *_: Any) -> None:
        if self._is_terminal:
            self._bars.stop()

    def stage(self, name: str, total: int, done: int) -> None:
        """Start a line for a stage of `total` rows, of which `done` exist already."""
        if self._is_terminal:
            # `completed` keeps existing rows out of the speed.
            self._current = self._stages[name] = self._bars.add_task(name, total=total, completed=done)
        else:
            show(f"{name}: {total - done} of {total} rows to do", err=True)

    def advance(self, count: int = 1, *, stage: str | None = None) -> None:
        """Advance the bar of a stage; by default the newest."""
        line = self._current if stage is None else self._stages.get(stage)
        if self._is_terminal and line is not None:
            self._bars.advance(line, count)

    def note(self, text: str) -> None:
        """Print a line above the bars."""
        if self._is_terminal:
            self._console.print(text, soft_wrap=True)
        else:
            show(text, err=True)

    def show_cost(self, line: Callable[[], str]) -> None:
        """Show what `line` returns below the bars, at every redraw; "" for nothing."""
        self._cost_line = line
