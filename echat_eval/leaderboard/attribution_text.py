"""Error attribution as a table, for terminal, notebook and Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echat_eval.leaderboard.attribution import VOICED_FROM, WORDED_FROM, attribution_shares
from echat_eval.leaderboard.render import estimate_text
from echat_eval.leaderboard.text_table import TextTable

if TYPE_CHECKING:
    from echat_eval.leaderboard.attribution import Perceptions, Share

__all__ = ["attribution_table"]

#: Decimals of a share in percent.
_DIGITS = 1


def attribution_table(found: Perceptions) -> TextTable | None:
    """Return the shares of outcomes by system, cue and label; None if no reply has a label and a verdict."""
    blocks: list[tuple[list[str], list[Share]]] = []
    notes = []
    for (system, cue, source), rows in found.items():
        unjudged = sum(row.cue_awareness is None for row in rows)
        if unjudged == len(rows) or all(row.perceived is None for row in rows):
            continue
        shares = attribution_shares(rows, by_label=True)
        for label in dict.fromkeys(share.label for share in shares):
            blocks.append(([system, cue, source, label], [s for s in shares if s.label == label]))
        if unjudged:
            notes.append(
                f"{system}, {cue}: {unjudged} missing verdicts are left out, and no bound covers them."
            )
    outcomes = list(dict.fromkeys(str(s.outcome) for _, shares in blocks for s in shares if s.estimate.value))
    if not blocks:
        return None
    rows_shown = []
    for names, shares in blocks:
        cells = {str(share.outcome): estimate_text(share.estimate, _DIGITS) for share in shares}
        count = str(shares[0].estimate.n)
        rows_shown.append([*names, count, *(cells.get(outcome, "-") for outcome in outcomes)])
    return TextTable(
        caption="Error attribution, % of the replies with a verdict, with 95 % interval",
        titles=("system", "cue", "label given", "label", "n", *outcomes),
        rows=rows_shown,
        notes=[
            "Perceived: the label is right. Worded: the judge's grade of how the words suit the cue is "
            f"{WORDED_FROM} or more of 5. Voiced: the voice's score is {VOICED_FROM:g} or more.",
            *notes,
        ],
        texts=4,
    )
