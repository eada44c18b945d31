"""A folder of runs, such as one per night, as the specs of its runs in order."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from echat_eval.errors import BadData, UsageError
from echat_eval.store.select import is_baseline, parse_spec

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["specs_of"]

TABLES = (".csv", ".tsv", ".jsonl")


def specs_of(specs: Iterable[str]) -> list[str]:
    """Return specs in which every folder of runs is replaced by its runs, in the order of their names.

    Numbers in names count as numbers: night-9 comes before night-10. `FOLDER:SYSTEM` selects one system of
    each.

    Raises:
        BadData: a folder without runs; UsageError: a name for a folder of several.
    """
    found = []
    for text in specs:
        spec = parse_spec(text)
        if not spec.path.is_dir() or _is_run(spec.path):
            found.append(text)
            continue
        inside = sorted(filter(_is_run, spec.path.iterdir()), key=lambda path: _natural(path.name))
        if not inside:
            raise BadData(f"{spec.path}: a folder without runs, baselines or tables; expected one per night")
        if spec.label is not None:
            raise UsageError(f"{text}: the folder has {len(inside)} runs, which have names of their own")
        tail = f":{spec.system}" if spec.system else ""
        for path in inside:
            name = path.name if path.is_dir() else path.stem
            named = name == name.strip() and not {":", "="} & set(name)
            found.append(f"{name}={path}{tail}" if named else f"{path}{tail}")
    return found


def _is_run(path: Path) -> bool:
    if path.is_dir():
        return (path / "manifest.json").is_file() or is_baseline(path)
    return path.suffix in TABLES


def _natural(name: str) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", name) if part]
