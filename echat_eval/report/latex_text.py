"""Text escaped for LaTeX, in any engine and font encoding.

pdfTeX has no glyph for most scripts: it prints their code points. XeTeX and LuaTeX print what the document's
font has, or a second font if the file compiles alone.
"""

from __future__ import annotations

import re

__all__ = ["MACROS", "latex_text", "needs_font"]

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "-": "{-}",
    "[": "{[}",
    "]": "{]}",
    "†": r"$^\dagger$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "…": r"\ldots{}",
    "Δ": r"$\Delta$",
    "–": "--",
}
#: The first letters without a glyph in the fonts of pdfTeX, and letters of Latin Extended-A without one.
_NO_GLYPH_FROM, _NO_GLYPH = 0x180, set("ĦħĸĿŀŉŦŧſ")
#: Letters that the encoding OT1 lacks; T1, which every LaTeX has, prints them.
_T1_ONLY = set("«»ÐÞðþĄąĐđĘęĮįŊŋŲų")
#: A number below zero.
_MINUS = re.compile(r"(?<![\w-])-(?=\d)")
#: Stands for a minus sign while text is escaped.
_MINUS_SIGN = "\N{MINUS SIGN}"

#: Definitions of the commands that escaped text uses. They are robust, because captions are moved.
MACROS = r"""\ifdefined\EChatLetter\else
\DeclareRobustCommand{\EChatLatin}[1]{\ifdefined\Umathchar#1\else{\fontencoding{T1}\selectfont#1}\fi}
\DeclareRobustCommand{\EChatCode}[1]{{\scriptsize[U+#1]}}
% pdfTeX prints other letters as code points. XeTeX and LuaTeX print those of the document's font.
\DeclareRobustCommand{\EChatLetter}[2]{\ifdefined\Umathchar
  \ifdefined\xeCJKsetup#2\else\ifdefined\ltjsetparameter#2\else
  \iffontchar\font\string"#1 #2\else\ifdefined\EChatFont
  {\EChatFont\iffontchar\font\string"#1 #2\else\EChatCode{#1}\fi}\else\EChatCode{#1}\fi
  \fi\fi\fi\else\EChatCode{#1}\fi}
\fi
"""


def latex_text(text: str) -> str:
    r"""Return text escaped for LaTeX.

    >>> latex_text("a_b \\input{x}"), latex_text('"-6.1"')
    ('a\\_b \\textbackslash{}input\\{x\\}', "``$-$6.1''")
    """
    shown = "".join(c for c in text if c.isprintable())
    shown = _MINUS.sub(_MINUS_SIGN, shown)
    return "".join(_letter(c, shown[n - 1] if n else " ") for n, c in enumerate(shown))


def needs_font(text: str) -> bool:
    """Return whether escaped text has letters that a Latin font lacks."""
    return r"\EChatLetter{" in text


def _letter(character: str, before: str) -> str:
    if character == '"':  # OT1 has no straight quotation mark
        return "``" if before in " ([{" else "''"
    if character == _MINUS_SIGN:
        return "$-$"
    if character in _LATEX:
        return _LATEX[character]
    if character in _T1_ONLY:
        return rf"\EChatLatin{{{character}}}"
    if ord(character) < _NO_GLYPH_FROM and character not in _NO_GLYPH:
        return character
    return rf"\EChatLetter{{{ord(character):04X}}}{{{character}}}"
