"""Where the rows of an import are from: the data set, its commit, and the hash of every file of rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from echat_eval.io.hashing import file_sha256
from echat_eval.io.jsonl import loads

__all__ = ["origin_of"]

#: Suffixes of the files of rows that the importers read.
_ROW_SUFFIXES = frozenset((".csv", ".tsv", ".jsonl", ".json", ".list", ".parquet", ".arrow", ".tar"))


def origin_of(form: str, source: Path) -> dict[str, Any]:
    """Return the origin of a source for `import.json`.

    The commit is known if `--from-hub` fetched the folder; of a copy made in another way the hashes are.
    """
    root = source if source.is_dir() else source.parent
    files = [source] if source.is_file() else sorted(p for p in source.rglob("*") if p.is_file())
    hashes = {
        path.relative_to(root).as_posix(): file_sha256(path)
        for path in files
        if path.suffix.lower() in _ROW_SUFFIXES
    }
    return {"form": form, **_fetched(root), "sha256": hashes}


def _fetched(folder: Path) -> Mapping[str, Any]:
    """Return data set, hub and commit of a fetched folder; empty for any other."""
    try:
        facts = loads(folder.with_name(f"{folder.name}.fetched.json").read_bytes())
    except (OSError, ValueError):
        return {}
    keys = ("data_set", "hub", "commit")
    return {key: facts[key] for key in keys if key in facts} if isinstance(facts, dict) else {}
