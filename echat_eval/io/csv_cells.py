"""Tables as CSV, with cells protected against formula injection."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

__all__ = ["safe_cell", "table_csv"]


#: First characters of a formula.
_SIGNS = ("=", "+", "-", "@", "\N{MINUS SIGN}")
#: Spaces and invisible characters that a spreadsheet may skip before a formula.
_SKIPPED = re.compile(r"^[\s\x00-\x1f\x7f\u00ad\u200b-\u200f\u2060\ufeff]+")


def safe_cell(value: object) -> object:
    """Return a CSV cell that no spreadsheet interprets as a formula, also in its full-width or small signs.

    >>> safe_cell("=1+1"), safe_cell("\N{FULLWIDTH EQUALS SIGN}1"), safe_cell(-1.5)
    ("'=1+1", "'\N{FULLWIDTH EQUALS SIGN}1", -1.5)
    """
    if isinstance(value, str):
        sign = unicodedata.normalize("NFKC", _SKIPPED.sub("", value)[:1])
        if sign[:1] in _SIGNS or value[:1] in ("\t", "\r"):
            return "'" + value
    return value


def table_csv(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """Return rows as CSV with a header; None is an empty cell.

    >>> table_csv(["a", "b"], [{"a": "=1", "b": None}])
    "a,b\\n'=1,\\n"
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([safe_cell("" if row[name] is None else row[name]) for name in columns])
    return out.getvalue()
