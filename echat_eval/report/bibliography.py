"""References of a report: the entries of BibTeX, and the same as a list that LaTeX prints without BibTeX."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from echat_eval.io.data_folder import data_folder

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["latex_bibliography", "shipped_references"]

_FIELD = re.compile(r"(\w+) = \{((?:[^{}]|\{[^{}]*\})*)\}")


def shipped_references() -> dict[str, str]:
    """Return key -> entry of the shipped references."""
    text = (data_folder("reports") / "references.bib").read_text(encoding="utf-8")
    return {
        entry.partition("{")[2].partition(",")[0]: entry for entry in re.split(r"(?m)^(?=@)", text) if entry
    }


def latex_bibliography(entries: Iterable[str]) -> str:
    """Return entries of BibTeX as the environment `thebibliography`.

    >>> print(latex_bibliography(["@misc{key, author = {A. Writer}, title = {Words}, year = {2026}}"]))
    \\begin{thebibliography}{9}
    \\bibitem{key} A. Writer. Words. 2026.
    \\end{thebibliography}
    """
    items = []
    for entry in entries:
        key, fields = entry.partition("{")[2].partition(",")[0], dict(_FIELD.findall(entry))
        volume = fields.get("volume", "")
        volume += f"({fields['number']})" if "number" in fields else ""
        volume += f":{fields['pages']}" if "pages" in fields else ""
        source = fields.get("journal") or fields.get("booktitle") or fields.get("institution")
        eprint = f"arXiv:{fields['eprint']}" if "eprint" in fields else ""
        last = ", ".join(
            filter(None, (rf"\emph{{{source}}}" if source else "", volume, eprint, fields.get("year")))
        )
        parts = [
            fields.get("author", "").replace(" and ", "; "),
            fields.get("title"),
            last,
            fields.get("note"),
        ]
        items.append(rf"\bibitem{{{key}}} " + " ".join(f"{part}." for part in parts if part))
    return "\n".join([r"\begin{thebibliography}{9}", *items, r"\end{thebibliography}"])
