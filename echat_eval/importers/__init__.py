"""Convert external data sets to task folders; each row becomes a sample or a refusal with its reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from echat_eval.errors import UnknownName

if TYPE_CHECKING:
    from echat_eval.importers.draft import Draft, ImportOptions, Refusal

__all__ = ["IMPORTERS", "importer"]

#: Data format -> "module:function", each `(folder, options)` -> one draft or refusal per row.
IMPORTERS: dict[str, str] = {
    "echat": "echat_eval.importers.echat:read_echat",
    "echomind": "echat_eval.importers.siblings:read_echomind",
    "vocalbench": "echat_eval.importers.siblings:read_vocalbench",
    "televal": "echat_eval.importers.siblings:read_televal",
    "sd-eval": "echat_eval.importers.siblings:read_sd_eval",
    "table": "echat_eval.importers.table:read_table",
    "humdial": "echat_eval.importers.humdial:read_humdial",
    "wavbench": "echat_eval.importers.dialogues:read_wavbench",
    "audiomc": "echat_eval.importers.dialogues:read_audiomc",
    "trace": "echat_eval.importers.judge_sets:read_trace",
    "vstyle": "echat_eval.importers.judge_sets:read_vstyle",
}


def importer(form: str) -> Callable[[Path, ImportOptions], Iterator[Draft | Refusal]]:
    """Return the function that reads a data format.

    Raises:
        UnknownName: no importer has this name.
    """
    if form not in IMPORTERS:
        raise UnknownName("data format", form, IMPORTERS)
    module, _, name = IMPORTERS[form].partition(":")
    read: Callable[[Path, ImportOptions], Iterator[Draft | Refusal]] = getattr(import_module(module), name)
    return read
