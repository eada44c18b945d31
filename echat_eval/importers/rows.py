"""Reads the rows of a data set's files; a row that cannot become a sample is a refusal with its reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from echat_eval.errors import UsageError
from echat_eval.importers.draft import Refusal, RowRefused, read_objects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from echat_eval.importers.draft import Draft

    #: Location, row and file -> drafts and refusals of the row.
    RowReader: TypeAlias = Callable[[str, Mapping[str, Any], Path], Iterable[Draft | Refusal]]

__all__ = ["drafts_of_rows"]


def drafts_of_rows(
    folder: Path, patterns: tuple[str, ...], read: RowReader, *, ids: tuple[str, ...] = ("id",)
) -> Iterator[Draft | Refusal]:
    """Yield what a reader makes of every row of every matching file below a folder, or of one file.

    Args:
        folder: the data set, or one of its files.
        patterns: names of files.
        read: reads a row; it may raise RowRefused.
        ids: keys of a row; the first that it has names it in a refusal.

    Raises:
        UsageError: the folder holds no such file.
    """
    files = (
        [folder] if folder.is_file() else [path for name in patterns for path in sorted(folder.rglob(name))]
    )
    if not files:
        raise UsageError(f"{folder}: no {' or '.join(patterns)} below it")
    for path in dict.fromkeys(files):
        for location, row in read_objects(path):
            try:
                if not isinstance(row, dict):
                    raise RowRefused("not a JSON object")
                yield from read(location, row, path)
            except RowRefused as refused:
                yield Refusal(location=location, id=_ident(row, ids), reason=str(refused))


def _ident(row: Any, ids: Iterable[str]) -> str | None:
    named = (row.get(key) for key in ids) if isinstance(row, dict) else ()
    return next((str(value) for value in named if value is not None), None)
