"""Text from data, such as names and replies, made safe and short for terminals, tables and figures."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = [
    "FIGURE_NAME_CHARACTERS",
    "TABLE_NAME_CHARACTERS",
    "counted",
    "markdown_text",
    "needs_chinese",
    "number_text",
    "one_line",
    "printable",
    "spelled",
    "unique_labels",
    "unseen_characters",
]

#: Characters that act on a terminal or are invisible; tabs and joiners of letters are harmless.
_ACTS = re.compile(
    "[\x00-\x08\x0a-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f\ud800-\udfff]"
)
#: Where Markdown programs see a link (also in mail addresses), a mention, or the number of an issue.
_LINK_SIGN = re.compile(r"@(?=\w)|:(?=//)|\bwww(?=\.)|#(?=\d)|\bGH-(?=\d)|\b(?:mailto|xmpp):", re.IGNORECASE)
#: Limit of a name in a figure, and in a printed table; CSV keeps the full name.
FIGURE_NAME_CHARACTERS, TABLE_NAME_CHARACTERS = 28, 48


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, for nouns whose plural ends in s.

    >>> counted(1, "sentence"), counted(0, "clip")
    ('1 sentence', '0 clips')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def one_line(text: str, limit: int) -> str:
    """Return text on one line of at most `limit` characters; a longer one ends in an ellipsis.

    >>> one_line("so  long\\na name", 9)
    'so long …'
    """
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def unseen_characters(text: str) -> str:
    """Return the code points in a text that act on a terminal or are invisible; "" if none are.

    >>> unseen_characters("a line\\nand\\ta \\x07 bell"), unseen_characters("我 café")
    ('U+0007', '')
    """
    found = dict.fromkeys(_ACTS.findall(text.replace("\r\n", "\n").replace("\n", " ")))
    return ", ".join(f"U+{ord(character):04X}" for character in found)


def unique_labels(names: Iterable[str], limit: int, write: Callable[[str], str] = str) -> dict[str, str]:
    """Return name -> label of at most `limit` characters; different names have different labels.

    A name that is too long is shortened at its end, or in its middle if another one would look the same.
    Names that still look the same get a number.

    Args:
        names: all names of a figure or table.
        limit: characters.
        write: how a name is spelled before it is shortened.

    >>> unique_labels(["lora-stage-2-step-1000", "lora-stage-2-step-2000", "a"], 12)
    {'lora-stage-2-step-1000': 'lora-…p-1000', 'lora-stage-2-step-2000': 'lora-…p-2000', 'a': 'a'}
    """
    lines = {name: " ".join(write(name).split()) for name in names}
    labels = {name: one_line(line, limit) for name, line in lines.items()}
    tail = (limit - 1) * 3 // 5
    for name in _repeated(labels):
        if len(lines[name]) > limit:
            labels[name] = lines[name][: limit - 1 - tail] + "\N{HORIZONTAL ELLIPSIS}" + lines[name][-tail:]
    repeated = _repeated(labels)
    taken = {label for name, label in labels.items() if name not in repeated}
    for name in repeated:
        label, number = labels[name], 1
        while label in taken:
            number += 1
            ending = f" ({number})"
            label = one_line(labels[name], limit - len(ending)) + ending
        labels[name] = label
        taken.add(label)
    return labels


def needs_chinese(text: str) -> bool:
    """Return whether text has characters that the default font of figures does not have."""
    return any(ord(c) >= 0x2E80 for c in text)


#: Scripts that figures cannot write: those from right to left, and those whose letters change beside others
#: (Hebrew to Arabic, Indic, Thai, Tibetan, Burmese, Ethiopic to Khmer and Mongolian).
_UNWRITTEN = re.compile("[\u0590-\u109f\u1200-\u18af\u1900-\u1aff\ufb1d-\ufdff\ufe70-\ufefc]")


def spelled(text: str, *, chinese: bool = False) -> str:
    """Return text for a figure: characters that it cannot write become code points.

    Args:
        text: any text.
        chinese: the figure has a font with East Asian characters.

    >>> spelled("系统 one"), spelled("系统", chinese=True), spelled("א")
    ('U+7CFB U+7EDF  one', '系统', 'U+05D0 ')
    """

    def lacks(character: str) -> bool:
        return bool(_UNWRITTEN.match(character)) or (not chinese and needs_chinese(character))

    return "".join((f"U+{ord(c):04X} " if lacks(c) else c) if c.isprintable() else " " for c in text)


def _repeated(labels: Mapping[str, str]) -> list[str]:
    """Return the names whose label another name has too."""
    counts = Counter(labels.values())
    return [name for name, label in labels.items() if counts[label] > 1]


def printable(text: str, keep: str = "") -> str:
    """Return text with an escape for each character that acts on a terminal or hides, except tabs.

    These are control characters, line breaks, marks that change the direction of writing, characters without
    width, and lone surrogates.

    Args:
        text: any text.
        keep: characters to keep, such as line breaks.

    >>> print(printable("a\\x1b[31mb\\n\\u202ec"))
    a\\x1b[31mb\\n\\u202ec
    """
    return _ACTS.sub(
        lambda found: found[0] if found[0] in keep else found[0].encode("unicode_escape").decode(), text
    )


def markdown_text(text: str) -> str:
    """Return text on one line that Markdown shows as it is, also in a table cell.

    A space without width separates what GitHub and others would make a link, a mention or a reference.

    >>> markdown_text("a|b <i> *c*\\n& d")
    'a\\\\|b &lt;i&gt; \\\\*c\\\\* &amp; d'
    >>> markdown_text("@team http://a.b")
    '@&ZeroWidthSpace;team http:&ZeroWidthSpace;//a.b'
    """
    line = printable(" ".join(text.split()))
    for character in "\\`*_{}[]#|~$":
        line = line.replace(character, "\\" + character)
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _LINK_SIGN.sub(r"\g<0>&ZeroWidthSpace;", line)


def number_text(value: float, digits: int, *, signed: bool = False) -> str:
    """Return a number with `digits` decimals; a number that rounds to zero has no minus sign.

    Args:
        value: the number.
        digits: decimals; an exact half is rounded to the even digit.
        signed: print a plus sign, also before zero.

    >>> number_text(-0.01, 1), number_text(-1.25, 1), number_text(-0.01, 1, signed=True)
    ('0.0', '-1.2', '+0.0')
    """
    text = f"{value:{'+' if signed else ''}.{digits}f}"
    return text.replace("-", "+" if signed else "") if float(text) == 0 else text
