"""Rows of Parquet files and of Arrow files that the `datasets` library saved, in small batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from echat_eval.errors import BadData, NotInstalled
from echat_eval.io.jsonl import loads

__all__ = ["arrow_columns", "arrow_rows"]

#: Rows in memory at once: few, if the cells hold audio.
_ROWS, _ROWS_WITH_AUDIO = 4096, 16


def arrow_columns(path: Path) -> list[str]:
    """Return the names of the columns."""
    with _opened(path) as table:
        return list(table.schema.names)


def arrow_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (location, row) for each row; numbered classes become their names.

    Raises:
        NotInstalled: pyarrow is not installed.
        BadData: the file, or a part of it, is damaged.
    """
    number = 0
    with _opened(path) as table:
        names = _class_names(table.schema)
        for batch in table.batches():
            for row in batch.to_pylist():
                number += 1
                for column, classes in names.items():
                    value = row.get(column)
                    if isinstance(value, int) and 0 <= value < len(classes):
                        row[column] = classes[value]
                yield f"{path.name}#{number}", row


class _Table:
    """An open file: its schema, and its rows in batches."""

    def __init__(self, path: Path, pyarrow: Any) -> None:
        self._path, self._pyarrow = path, pyarrow
        self._parquet: Any = None
        if path.suffix.lower() == ".parquet":
            import pyarrow.parquet as parquet

            self._parquet = parquet.ParquetFile(path, page_checksum_verification=True)
            self.schema: Any = self._parquet.schema_arrow
        else:
            self._stream: Any = pyarrow.ipc.open_stream(pyarrow.OSFile(str(path)))
            self.schema = self._stream.schema

    def batches(self) -> Iterator[Any]:
        size = _ROWS_WITH_AUDIO if _holds_bytes(self.schema, self._pyarrow) else _ROWS
        if self._parquet is None:
            for batch in self._stream:
                for start in range(0, batch.num_rows, size):
                    yield batch.slice(start, size)
            return
        groups = self._parquet.num_row_groups
        for group in range(groups):
            try:
                yield from self._parquet.iter_batches(batch_size=size, row_groups=[group])
            except (self._pyarrow.ArrowException, OSError, ValueError) as error:
                raise BadData(
                    f"{self._path}: row group {group + 1} of {groups} cannot be read "
                    f"({_reason(error)}); fetch or write the file again"
                ) from error


@contextmanager
def _opened(path: Path) -> Iterator[_Table]:
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError as error:
        raise NotInstalled(
            f"{path}: reading it needs pyarrow; install it: pip install 'echat-eval[hub]'"
        ) from error
    kind = "a Parquet file" if path.suffix.lower() == ".parquet" else "an Arrow file of a saved data set"
    try:
        yield _Table(path, pyarrow)
    except (pyarrow.ArrowException, OSError) as error:
        raise BadData(f"{path}: not {kind}, or damaged ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:100]


def _holds_bytes(schema: Any, pyarrow: Any) -> bool:
    """Return whether a column holds bytes: audio, as itself or as the `bytes` of a structure."""
    kinds = [field.type for field in schema]
    kinds += [
        kind.field(i).type for kind in kinds if pyarrow.types.is_struct(kind) for i in range(kind.num_fields)
    ]
    return any(pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind) for kind in kinds)


def _class_names(schema: Any) -> dict[str, list[str]]:
    """Return column -> names of its numbered classes, from the features that `datasets` stores in a file."""
    try:
        features = loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        found = {column: feature.get("names") for column, feature in features.items()}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}
    return {column: names for column, names in found.items() if isinstance(names, list)}
