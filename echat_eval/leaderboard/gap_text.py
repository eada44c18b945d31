"""The listening gap as a table, for terminal, notebook, Markdown, CSV, report and page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.io.csv_cells import table_csv
from echat_eval.io.display import number_text
from echat_eval.io.phrase import joined, phrase
from echat_eval.leaderboard.render import MARK, estimate_text
from echat_eval.leaderboard.text_table import TextTable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echat_eval.analysis.differences import ImputedEstimates
    from echat_eval.leaderboard.build import Leaderboard
    from echat_eval.leaderboard.listening_gap import ListeningGap

__all__ = ["CAPTION", "TITLES", "gap_cells", "gap_csv", "gap_notes", "gap_rows", "gap_tables", "side_text"]

CAPTION = "Listening gap, asked minus matched, points, with 95 % interval"
TITLES = ("system", "cue", "replies matched by", "n", "asked, %", "matched, %", "gap", "gap, normalised")
READING = (
    "Listening gap: of two voices with the same words, which one has this label? Asked: the system's answers "
    "to `run --ask`. Matched: its replies. Both are 50 % if it ignores the voice; a gap above 0 is what it "
    "can name and does not act on."
)
NORMALISED = (
    "Normalised: both sides in percent of what can be reached above chance; for replies, what the replies "
    "that people wrote (`reference`) reach."
)
AGAINST_WORDS = (
    "Words against voice: groups whose words suggest a label by themselves (`words_suggest`), so that some "
    "voice speaks against them; they are in no other row."
)
LEFT_OUT = (
    "Listening gap, samples left out, because they were not asked about or were compared also with a voice "
    "that has the same label: {counts}"
)
CSV_COLUMNS = (
    "system",
    "role",
    "cue",
    "words",
    "matched_by",
    *(
        f"{side}{end}"
        for side in ("asked", "matched", "gap")
        for end in ("", "_low", "_high", "_worst", "_best")
    ),
    "normalised",
    "normalised_low",
    "normalised_high",
    "n",
    "clusters",
    "missing",
    "left_out",
)


def gap_notes(gaps: Sequence[ListeningGap]) -> list[str]:
    """Return what the numbers mean, which samples are in none, and why a gap is unknown."""
    if not gaps:
        return []
    notes: list[str] = [phrase(READING)]
    if any(gap.normalised for gap in gaps):
        notes = [joined(" ", [*notes, phrase(NORMALISED)])]
    if any(gap.against_words for gap in gaps):
        notes.append(phrase(AGAINST_WORDS))
    unknown: dict[str, list[tuple[str, str]]] = {}
    left_out: list[tuple[str, str]] = []
    for gap in gaps:
        of = joined(", ", [gap.items, gap.instrument.title])
        if gap.gap.observed is None:
            unknown.setdefault(f"{gap.gap.why}", []).append((gap.system, of))
        if gap.left_out:
            left_out.append((gap.system, joined(": ", [of, str(gap.left_out)])))
    notes += [
        phrase("Listening gap of {name}: unknown; {why}", name=_by_system(found), why=why)
        for why, found in unknown.items()
    ]
    return [*notes, *([phrase(LEFT_OUT, counts=_by_system(left_out))] if left_out else [])]


def _by_system(facts: Sequence[tuple[str, str]]) -> str:
    """Return (system, fact) as a text that names every system once, those with the same facts together."""
    facts_of: dict[str, list[str]] = {}
    for system, fact in facts:
        facts_of.setdefault(system, []).append(fact)
    systems_of: dict[tuple[str, ...], list[str]] = {}
    for system, found in facts_of.items():
        systems_of.setdefault(tuple(found), []).append(system)
    return joined(
        "; ",
        [
            joined("", [", ".join(systems), " (", joined("; ", found), ")"])
            for found, systems in systems_of.items()
        ],
    )


def gap_cells(gap: ListeningGap, role: str) -> list[str]:
    """Return the texts of a row under TITLES."""
    return [
        joined("", [gap.system, phrase(MARK[role])]),
        gap.items,
        gap.instrument.title,
        str(gap.gap.n),
        side_text(gap.answered, interval=False),
        side_text(gap.matched, interval=False),
        side_text(gap.gap),
        "-" if gap.normalised is None else estimate_text(gap.normalised, 1),
    ]


def side_text(found: ImputedEstimates, *, interval: bool = True) -> str:
    """Return an estimate with its interval, and the values with missing rows at their worst and best."""
    observed, worst, best = found.estimates
    if observed is None:
        return "?"
    text = estimate_text(observed, 1) if interval else number_text(observed.value, 1)
    if found.missing:
        ends = ("?" if end is None else number_text(end.value, 1) for end in (worst, best))
        text += f" {{{'..'.join(ends)}}}"
    return text


def gap_tables(board: Leaderboard) -> list[TextTable]:
    """Return the table of the gaps, if there are any."""
    if not board.gaps:
        return []
    rows = [gap_cells(gap, board.roles[gap.system]) for gap in board.gaps]
    return [TextTable(caption=CAPTION, titles=TITLES, rows=rows, notes=gap_notes(board.gaps), texts=3)]


def gap_rows(board: Leaderboard) -> list[dict[str, object]]:
    """Return one row per system, cue and instrument, with the columns `CSV_COLUMNS`."""
    rows = []
    for gap in board.gaps:
        row: dict[str, object] = {
            "system": gap.system,
            "role": board.roles[gap.system],
            "cue": gap.cue,
            "words": "against the voice" if gap.against_words else "open",
            "matched_by": gap.instrument.name,
        }
        for name, side in (("asked", gap.answered), ("matched", gap.matched), ("gap", gap.gap)):
            observed, worst, best = side.estimates
            row[name] = None if observed is None else observed.value
            row[f"{name}_low"] = None if observed is None else observed.low
            row[f"{name}_high"] = None if observed is None else observed.high
            if side.missing:
                row[f"{name}_worst"] = None if worst is None else worst.value
                row[f"{name}_best"] = None if best is None else best.value
        if (found := gap.normalised) is not None:
            row |= {"normalised": found.value, "normalised_low": found.low, "normalised_high": found.high}
        facts = {"n": gap.gap.n, "clusters": gap.gap.clusters, "missing": gap.gap.missing}
        rows.append({**dict.fromkeys(CSV_COLUMNS), **row, **facts, "left_out": gap.left_out})
    return rows


def gap_csv(board: Leaderboard) -> str:
    """Return one line per system, cue and instrument."""
    return table_csv(CSV_COLUMNS, gap_rows(board))
