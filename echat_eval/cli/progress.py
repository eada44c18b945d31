"""Progress: a bar for everything and one per stage, with the time left. Without a terminal, lines instead.

A pipe, such as the log of a job, gets one line per stage and then one line every half minute.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from echat_eval.cli.terminal import console, is_terminal, show

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rich.console import RenderableType
    from rich.progress import Progress, TaskID

__all__ = ["EVERY", "Bar", "loading_bar"]

#: Seconds between two lines in a pipe.
EVERY = 30.0


class Bar:
    """Progress of the runner's stages, with the cost so far below the bars; a context manager."""

    def __init__(self) -> None:
        self._cost_line: Callable[[], str] = lambda: ""
        self._bars: Progress | None = _bars(lambda: self._cost_line()) if is_terminal(err=True) else None
        self._overall: TaskID | None = None
        self._current: TaskID | None = None
        self._stages: dict[str, TaskID] = {}
        self._counts = _Counts()
        self._ended = threading.Event()

    def __enter__(self) -> Bar:
        if self._bars is not None:
            self._bars.start()
        else:
            threading.Thread(target=self._print_lines, daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._ended.set()
        if self._bars is not None:
            self._bars.stop()

    def stage(self, name: str, total: int, done: int) -> None:
        """Start a line for a stage of `total` rows, of which `done` exist already."""
        self._counts.add(name, total - done)
        if self._bars is None:
            show(f"{name}: {total - done} of {total} rows to do", err=True)
            return
        if self._overall is None and self._stages:
            self._overall = self._bars.add_task("all, %", total=100)
        # `completed` keeps existing rows out of the speed.
        self._current = self._stages[name] = self._bars.add_task(name, total=total, completed=done)
        self._update_overall()

    def advance(self, count: int = 1, *, stage: str | None = None) -> None:
        """Advance the bar of a stage; by default the newest."""
        self._counts.advance(count, stage)
        line = self._current if stage is None else self._stages.get(stage)
        if self._bars is not None and line is not None:
            self._bars.advance(line, count)
            self._update_overall()

    def note(self, text: str) -> None:
        """Print a line above the bars."""
        if self._bars is not None:
            self._bars.console.print(text, soft_wrap=True)
        else:
            show(text, err=True)

    def show_cost(self, line: Callable[[], str]) -> None:
        """Show what `line` returns below the bars, at every redraw; "" for nothing."""
        self._cost_line = line

    def _update_overall(self) -> None:
        if self._bars is not None and self._overall is not None:
            self._bars.update(self._overall, completed=int(100 * (self._counts.share() or 0.0)))

    def _print_lines(self) -> None:
        while not self._ended.wait(EVERY):
            if line := self._counts.line(time.monotonic()):
                show(line, err=True)


def _bars(cost_line: Callable[[], str]) -> Progress:
    """Return the bars of a terminal, with a line of what the run has cost below them."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Bars(Progress):
        def get_renderables(self) -> Iterable[RenderableType]:
            yield self.make_tasks_table(self.tasks)
            if line := cost_line():
                yield Text(line)

    return Bars(
        TextColumn("{task.description:<24}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console(err=True),
    )


@contextmanager
def loading_bar() -> Iterator[Callable[[int, int], None] | None]:
    """Show how much of a checkpoint is read; yields what to call, None without a terminal."""
    if not is_terminal(err=True):
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("loading"), BarColumn(bar_width=30), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console(err=True), transient=True) as bars:
        task = bars.add_task("loading", total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


@dataclass(slots=True)
class _Stage:
    """Rows of one stage: how many to do, done, and done when the last line was printed.

    Attributes:
        began, moved: moments of the first and the last report of done rows.
        first: rows of the first report, whose time is not known.
    """

    rows: int
    done: int = 0
    shown: int = 0
    began: float | None = None
    moved: float = 0.0
    first: int = 0

    def seconds_a_row(self) -> float | None:
        """Return the time per row so far; None if it is not known yet."""
        if self.began is None or self.done == self.first:
            return None
        return (self.moved - self.began) / (self.done - self.first)


class _Counts:
    """Rows to do and done, over all stages."""

    def __init__(self) -> None:
        self.total = self.done = 0
        self._began = time.monotonic()
        self._stages: dict[str, _Stage] = {}

    def add(self, stage: str, rows: int) -> None:
        """Count a stage in."""
        self._stages[stage] = _Stage(rows)
        self.total += rows

    def advance(self, count: int, stage: str | None) -> None:
        """Count rows of a stage, by default of the newest."""
        name = next(reversed(self._stages), None) if stage is None else stage
        if (at_work := self._stages.get(name or "")) is not None:
            at_work.moved = time.monotonic()
            if at_work.began is None:
                at_work.began, at_work.first = at_work.moved, count
            at_work.done += count
            self.done += count

    def share(self) -> float | None:
        """Return the share of the work that is done, in time, not in rows; None: it is not known yet.

        A row of one stage can take as long as a thousand of another. A stage that has not begun is taken to
        be as fast as the mean of its kind, such as "respond". Kinds without a speed are left out (`whole`).
        """
        if self.done >= self.total:
            return 1.0 if self.total else None
        kinds = self._speeds()
        work = done = 0.0
        for name, stage in self._stages.items():
            alike = kinds.get(_kind(name)) or [0.0]
            each = stage.seconds_a_row() or sum(alike) / len(alike)
            work, done = work + each * stage.rows, done + each * stage.done
        return min(done / work, 0.99) if work else None

    def whole(self) -> bool:
        """Return whether every kind of stage has a speed."""
        return all(self._speeds().values())

    def _speeds(self) -> dict[str, list[float]]:
        """Return the seconds per row of the stages of each kind."""
        kinds: dict[str, list[float]] = {}
        for name, stage in self._stages.items():
            if stage.rows:
                speed = stage.seconds_a_row()
                kinds.setdefault(_kind(name), []).extend([] if speed is None else [speed])
        return kinds

    def line(self, now: float) -> str:
        """Return how far it is, and the stages that moved since the last line; "" if all is done."""
        if self.done >= self.total:
            return ""
        open_stages = {name: stage for name, stage in self._stages.items() if stage.done < stage.rows}
        moved = {name: stage for name, stage in open_stages.items() if stage.done > stage.shown}
        texts = [
            f"{name} {stage.done:,} of {stage.rows:,}{_left(stage, now)}"
            for name, stage in (moved or open_stages).items()
        ]
        for stage in self._stages.values():
            stage.shown = stage.done
        elapsed, share, whole = now - self._began, self.share(), self.whole()
        if not whole and share is not None and share >= 0.99:
            share = None  # what has begun is done, and of the others nothing is known
        of, to = ("done", "left") if whole else ("of what has begun", "left for it")
        how_far = "" if share is None else f"about {int(100 * share)} % {of}"
        if share:
            how_far += f", about {_duration(elapsed * (1 - share) / share)} {to}"
        return f"{_duration(elapsed)}: {'; '.join(part for part in (how_far, ', '.join(texts)) if part)}"


def _kind(name: str) -> str:
    """Return what a stage does, such as "respond" of "respond: mine"; each scorer is a kind of its own."""
    kind = name.partition(":")[0]
    return name if kind == "score" else kind


def _left(stage: _Stage, now: float) -> str:
    """Return the time left at the speed so far; "" before the first row."""
    if stage.began is None or not stage.done:
        return ""
    return f" (about {_duration((now - stage.began) * (stage.rows - stage.done) / stage.done)} left)"


def _duration(seconds: float) -> str:
    """Return seconds as text.

    >>> _duration(42), _duration(150), _duration(7300)
    ('42 s', '2 min 30 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
