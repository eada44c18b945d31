"""Selection of a run, or of one of its systems, by `NAME=PATH:SYSTEM`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData, UnknownName, UsageError
from echat_eval.store.run_folder import Cached, RunFolder
from echat_eval.systems import check_name

__all__ = ["RunSpec", "SelectedRun", "is_baseline", "open_run", "parse_spec"]
if TYPE_CHECKING:
    from collections.abc import Mapping

    from echat_eval.records import Annotation, Response, Score
    from echat_eval.store.manifest import RunManifest


class SelectedRun(RunFolder):
    """A view of one system of a run folder, optionally under another name.

    Args:
        system: name of the system in the run.
        shown: name of the system in this view; None for the same name.
        cached: as of `RunFolder`.
    """

    def __init__(
        self, path: Path, system: str, shown: str | None = None, cached: Cached | None = None
    ) -> None:
        super().__init__(path, cached)
        self.system = system
        self.shown = shown or system

    def manifest(self) -> RunManifest:
        """Return the manifest, restricted to the system."""
        manifest = super().manifest()
        if self.system not in manifest.systems:
            raise UnknownName(f"system in {self.path}:", self.system, manifest.systems)
        replies = manifest.cache.get("response", {})
        own = {self.shown: replies[self.system]} if self.system in replies else {}
        return replace(
            manifest,
            systems={self.shown: manifest.systems[self.system]},
            cache={**manifest.cache, "response": own},
        )

    def _select(self, rows: Mapping[Any, Any]) -> dict[Any, Any]:
        return {
            (self.shown, *ident[1:]): replace(row, system=self.shown)
            for ident, row in rows.items()
            if ident[0] == self.system
        }

    def every_response(self) -> dict[tuple[str, str, str], Response]:
        """Return the responses of the system."""
        return self._select(super().every_response())

    def every_annotation(self) -> dict[tuple[str, str, str, str], Annotation]:
        """Return the annotations of the system."""
        return self._select(super().every_annotation())

    def every_score(self) -> dict[tuple[str, str, str, str], Score]:
        """Return the scores of the system."""
        return self._select(super().every_score())


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """A run as every command takes it: `[NAME=]PATH[:SYSTEM]`.

    Attributes:
        text: the spec as written.
        label: name to show the system under; None: its own.
        path: a run folder, a baseline of `gate accept`, or a table file.
        system: the system to select; None: the only one, or all of them.
    """

    text: str
    label: str | None
    path: Path
    system: str | None

    @property
    def shown(self) -> str:
        """Return the name of the run in messages and tables."""
        return self.label or self.text


def parse_spec(text: str) -> RunSpec:
    """Return the parts of `runs/a`, `runs/a:system`, `name=runs/a` or `name=runs/a:system`.

    A path that exists is taken whole, whatever characters are in it.

    Raises:
        UsageError: the name cannot be the name of a system.

    >>> spec = parse_spec("new=runs/b:mine")
    >>> spec.label, str(spec.path), spec.system
    ('new', 'runs/b', 'mine')
    """
    label, equals, rest = text.partition("=")
    if not equals or "/" in label or Path(text).exists():
        label, rest = "", text
    else:
        check_name(label)
    path, colon, system = rest.rpartition(":")
    if not colon or Path(rest).exists():
        path, system = rest, ""
    return RunSpec(text=text, label=label or None, path=Path(path), system=system or None)


def is_baseline(path: Path) -> bool:
    """Return whether `gate accept` wrote a folder."""
    return (path / "accepted.json").is_file()


@lru_cache(maxsize=2)
def _cached(path: Path, resolved: Path) -> Cached:
    """Return what commands over several systems of a run folder share, so that its files are read once.

    Args:
        path: as it is spelled, which is how the rows name their files.
        resolved: it differs where a link or the working folder has changed.
    """
    return Cached()


def open_run(text: str) -> RunFolder:
    """Return the run folder of a spec, or a view of the one system that it selects.

    Raises:
        BadData: no run folder at the path.
        UnknownName: the run does not have the system.
        UsageError: a name for a run of several systems.
    """
    spec = parse_spec(text)
    if spec.path.is_file() or is_baseline(spec.path):
        kind = (
            "a table file, which holds scores alone" if spec.path.is_file() else "a baseline of `gate accept`"
        )
        replies = spec.path / "replies"
        hint = f", and {replies} is the run folder of its replies" if replies.is_dir() else ""
        raise BadData(f"{spec.path}: {kind}; expected a run folder. `compare` and `gate` read it{hint}")
    cached = _cached(spec.path, spec.path.resolve())
    whole = RunFolder.existing(spec.path, cached)
    system = spec.system
    if system is None:
        if spec.label is None:
            return whole
        systems = list(whole.manifest().systems)
        if len(systems) != 1:
            names = ", ".join(systems) or "none"
            raise UsageError(
                f"{spec.path} has {len(systems)} systems ({names}); name one: {spec.label}={spec.path}:SYSTEM"
            )
        system = systems[0]
    selected = SelectedRun(spec.path, system, spec.label, cached)
    selected.manifest()  # raises UnknownName if the run does not have the system
    return selected
