"""Text from data, such as names and replies, made safe and short for terminals, tables and figures."""

from __future__ import annotations

__all__ = [
    "FIGURE_NAME_CHARACTERS",
    "TABLE_NAME_CHARACTERS",
    "markdown_text",
    "one_line",
    "printable",
]

#: Limit of a name in a figure, and in a printed table; CSV keeps the full name.
FIGURE_NAME_CHARACTERS, TABLE_NAME_CHARACTERS = 24, 48


def one_line(text: str, limit: int) -> str:
    """Return text on one line of at most `limit` characters; a longer one ends in an ellipsis.

    >>> one_line("so  long\\na name", 9)
    'so long …'
    """
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def printable(text: str) -> str:
    """Return text with a replacement character for each control character.

    >>> printable("a\\x1b[31mb")
    'a�[31mb'
    """
    return "".join(c if c.isprintable() else "�" for c in text)


def markdown_text(text: str) -> str:
    """Return text on one line that Markdown shows as it is, also in a table cell.

    >>> markdown_text("a|b <i> *c*\\n& d")
    'a\\\\|b &lt;i&gt; \\\\*c\\\\* &amp; d'
    """
    line = printable(" ".join(text.split()))
    for character in "\\`*_{}[]#|~$":
        line = line.replace(character, "\\" + character)
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
