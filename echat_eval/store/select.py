"""Selection of a run, or of one of its systems, by `NAME=PATH:SYSTEM`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echat_eval.errors import UnknownName, UsageError
from echat_eval.store.run_folder import RunFolder
from echat_eval.systems import check_name

__all__ = ["SelectedRun", "open_run"]
if TYPE_CHECKING:
    from collections.abc import Mapping

    from echat_eval.records import Annotation, Response, Score


class SelectedRun(RunFolder):
    """A view of one system of a run folder, optionally under another name.

    Args:
        system: name of the system in the run.
        shown: name of the system in this view; None for the same name.
    """

    def __init__(self, path: Path, system: str, shown: str | None = None) -> None:
        super().__init__(path)
        self.system = system
        self.shown = shown or system

    def manifest(self) -> dict[str, Any]:
        """Return the manifest, restricted to the system."""
        manifest = super().manifest()
        systems = manifest.get("systems", {})
        if self.system not in systems:
            raise UnknownName(f"system in {self.path}:", self.system, systems)
        return {**manifest, "systems": {self.shown: systems[self.system]}}

    def _select(self, rows: Mapping[Any, Any]) -> dict[Any, Any]:
        return {
            (self.shown, *ident[1:]): replace(row, system=self.shown)
            for ident, row in rows.items()
            if ident[0] == self.system
        }

    def responses(self) -> dict[tuple[str, str, str], Response]:
        """Return the responses of the system."""
        return self._select(super().responses())

    def annotations(self) -> dict[tuple[str, str, str, str], Annotation]:
        """Return the annotations of the system."""
        return self._select(super().annotations())

    def scores(self) -> dict[tuple[str, str, str, str], Score]:
        """Return the scores of the system."""
        return self._select(super().scores())


def open_run(name: str) -> RunFolder:
    """Return the run named `runs/a`, or one of its systems: `runs/a:system`, or `label=runs/a:system`.

    Raises:
        BadData: no run folder at the path.
        UnknownName: the run does not have the system.
        UsageError: a label for a run of several systems.
    """
    shown = None
    label, equals, rest = name.partition("=")
    if equals and "/" not in label and not Path(name).exists():
        shown, name = label, rest
        check_name(shown)
    path, colon, system = name.rpartition(":")
    if not colon or (Path(name) / "manifest.json").is_file():
        whole = RunFolder.existing(Path(name))
        if shown is None:
            return whole
        systems = list(whole.manifest().get("systems", {}))
        if len(systems) != 1:
            names = ", ".join(systems) or "none"
            raise UsageError(f"{name} has {len(systems)} systems ({names}); name one: {shown}={name}:SYSTEM")
        path, system = name, systems[0]
    RunFolder.existing(Path(path))
    selected = SelectedRun(Path(path), system, shown)
    selected.manifest()  # raises UnknownName if the run does not have the system
    return selected
