"""Protection of CSV cells against formula injection."""

from __future__ import annotations

__all__ = ["safe_cell"]


def safe_cell(value: object) -> object:
    """Return a CSV cell that no spreadsheet interprets as a formula.

    >>> safe_cell("=1+1"), safe_cell(-1.5)
    ("'=1+1", -1.5)
    """
    if isinstance(value, str) and value.lstrip()[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return value
