"""Small files that save a later command its work; any fault of one means that nothing was kept."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData
from echat_eval.io import jsonl
from echat_eval.io.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["FAULTS", "keep", "kept"]

#: All that a damaged, forged or unwritable file can raise, when it is read and when its content is used.
FAULTS = (OSError, ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError, BadData)
#: A larger file was kept by no command.
_MAX_BYTES = 32 * 2**20


def kept(path: Path) -> dict[str, Any]:
    """Return what was kept in a file; empty if nothing was."""
    with suppress(*FAULTS):
        if path.is_file():  # no pipe, which waits, and no device, which has no end
            with path.open("rb") as file:
                content = file.read(_MAX_BYTES + 1)
            found = jsonl.loads(content) if len(content) <= _MAX_BYTES else None
            return found if isinstance(found, dict) else {}
    return {}


def keep(path: Path, content: Mapping[str, Any]) -> None:
    """Keep plain JSON in a file, if it can be written."""
    with suppress(*FAULTS):
        write_atomically(path, jsonl.dumps(content) + "\n", durable=False)
