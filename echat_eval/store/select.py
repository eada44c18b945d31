"""Select a run by `NAME=PATH:SYSTEM`."""

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
    """A run folder of which only one system is looked at, perhaps under another name.

    Args:
        system: as the run names it.
        shown: the name it goes by here; None: its own.
    """

    def __init__(self, path: Path, system: str, shown: str | None = None) -> None:
        super().__init__(path)
        self.system = system
        self.shown = shown or system

    def manifest(self) -> dict[str, Any]:
        """Return the manifest with the one system in it."""
        found = super().manifest()
        systems = found.get("systems", {})
        if self.system not in systems:
            raise UnknownName(f"system in {self.path}:", self.system, systems)
        return {**found, "systems": {self.shown: systems[self.system]}}

    def _own(self, rows: Mapping[Any, Any]) -> dict[Any, Any]:
        return {
            (self.shown, *ident[1:]): replace(row, system=self.shown)
            for ident, row in rows.items()
            if ident[0] == self.system
        }

    def responses(self) -> dict[tuple[str, str, str], Response]:
        """Return the responses of the one system."""
        return self._own(super().responses())

    def annotations(self) -> dict[tuple[str, str, str, str], Annotation]:
        """Return the annotations of the one system."""
        return self._own(super().annotations())

    def scores(self) -> dict[tuple[str, str, str, str], Score]:
        """Return the scores of the one system."""
        return self._own(super().scores())


def open_run(name: str) -> RunFolder:
    """Return the run that `runs/a` or `runs/a:system` names; `other=` before it shows a system as `other`.

    Raises:
        BadData: no run folder there.
        UnknownName: the run has no such system.
        UsageError: another name for a run of several systems.
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
            held = ", ".join(systems) or "none"
            raise UsageError(f"{name} holds several systems ({held}); name one: {shown}={name}:SYSTEM")
        path, system = name, systems[0]
    RunFolder.existing(Path(path))
    chosen = SelectedRun(Path(path), system, shown)
    chosen.manifest()
    return chosen
