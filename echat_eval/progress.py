"""What a long piece of work tells of itself while it goes on."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Progress", "Silent"]


class Progress(Protocol):
    """Told what is going on; the command line draws it. Stages may overlap."""

    def stage(self, name: str, total: int, done: int) -> None:
        """A stage begins: `total` rows, of which `done` were there already."""

    def advance(self, count: int = 1, *, stage: str | None = None) -> None:
        """So many more rows of a stage are done; by default of the stage begun last."""

    def note(self, text: str) -> None:
        """Something to know while it goes on."""


class Silent:
    """Progress that nobody watches."""

    def stage(self, name: str, total: int, done: int) -> None:
        """Say nothing."""

    def advance(self, count: int = 1, *, stage: str | None = None) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""
