"""Protection of CSV cells against formula injection."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["safe_cell"]


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
