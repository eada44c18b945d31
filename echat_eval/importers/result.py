"""The result of an import: counts, refusals by kind with examples, and the aliases that were accepted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from echat_eval.importers.draft import Draft, Refusal
from echat_eval.io.schema import MAX_TEXT_CHARACTERS
from echat_eval.labels import CUES
from echat_eval.task.faults import EXAMPLES, kind_of
from echat_eval.task.row import MAX_ID_CHARACTERS, is_id

__all__ = ["Imported", "check_rows", "lacking_cues", "refusal_reason", "summary"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """The result of an import, or of a check of its rows.

    Attributes:
        rows: number of rows read; samples + refused.
        groups: number of contrast groups; of a check, of transcripts that have several labels.
        reasons: reason -> number of rows, most frequent first.
        examples: reason -> the first rows and their reasons in full.
        aliases: cue -> spelling and its label, "angry = anger" -> number of rows.
        speakers: number of speakers that are named.
        alone: number of rows that expect the same replies and are in no group, so that they lose this mark.
        graded_systems: systems whose replies, graded by people, were imported too.
    """

    rows: int
    samples: int
    refused: int
    groups: int
    cues: tuple[str, ...]
    reasons: Mapping[str, int]
    examples: Mapping[str, tuple[str, ...]]
    aliases: Mapping[str, Mapping[str, int]]
    speakers: int = 0
    alone: int = 0
    graded_systems: tuple[str, ...] = ()


def check_rows(
    entries: Iterable[Draft | Refusal],
    cues: Sequence[str] = (),
) -> Imported:
    """Check rows without reading their audio and without writing anything; only counts stay in memory."""
    rows = samples = 0
    tally = Tally()
    ids: set[str] = set()
    speakers: set[str] = set()
    named: Counter[str] = Counter()
    #: Hash of words -> labels of their first row; None once a row with other labels was seen.
    labels: dict[int, tuple[str, ...] | None] = {}
    for entry in entries:
        rows += 1
        if isinstance(entry, Draft) and (
            reason := refusal_reason(entry, ids) or lacking_cues(entry, tuple(cues))
        ):
            entry = Refusal(location=entry.location, id=entry.id, reason=reason)
        if isinstance(entry, Refusal):
            tally.add_refusal(entry)
            continue
        samples += 1
        ids.add(entry.id)
        for cue in entry.cues:
            named[cue] += 1
        tally.add_aliases(entry)
        if entry.speaker is not None:
            speakers.add(entry.speaker)
        words = hash((entry.language, entry.transcript))
        own = tuple(entry.cues.values())
        if labels.setdefault(words, own) != own:
            labels[words] = None
    return Imported(
        rows=rows,
        samples=samples,
        refused=rows - samples,
        groups=sum(first is None for first in labels.values()),
        cues=tuple(cues) or tuple(cue for cue in dict.fromkeys((*CUES, *named)) if named[cue] == samples > 0),
        reasons=tally.reasons(),
        examples=tally.examples(),
        aliases=tally.aliases,
        speakers=len(speakers),
    )


class Tally:
    """Counts of refusals by kind, with examples, and of aliases."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = defaultdict(list)
        self.aliases: dict[str, dict[str, int]] = {}

    def add_refusal(self, refusal: Refusal) -> None:
        kind = kind_of(refusal.reason)
        self._counts[kind] += 1
        if len(self._examples[kind]) < EXAMPLES:
            ident = f" ({refusal.id})" if refusal.id else ""
            self._examples[kind].append(f"{refusal.location}{ident}: {refusal.reason}")

    def add_aliases(self, draft: Draft) -> None:
        for cue, spelling in draft.spellings.items():
            counts = self.aliases.setdefault(cue, {})
            alias = f"{spelling} = {draft.cues[cue]}"
            counts[alias] = counts.get(alias, 0) + 1

    def reasons(self) -> dict[str, int]:
        return dict(self._counts.most_common())

    def examples(self) -> dict[str, tuple[str, ...]]:
        return {kind: tuple(self._examples[kind]) for kind, _ in self._counts.most_common()}


def summary(
    rows: int,
    refused: Sequence[Refusal],
    drafts: Sequence[Draft],
    cues: tuple[str, ...],
    groups: int,
    alone: int,
) -> Imported:
    """Return the result of an import that was written."""
    tally = Tally()
    for refusal in refused:
        tally.add_refusal(refusal)
    for draft in drafts:
        tally.add_aliases(draft)
    return Imported(
        rows=rows,
        samples=len(drafts),
        refused=len(refused),
        groups=groups,
        cues=cues,
        reasons=tally.reasons(),
        examples=tally.examples(),
        aliases=tally.aliases,
        speakers=len({draft.speaker for draft in drafts} - {None}),
        alone=alone,
        graded_systems=tuple(dict.fromkeys(reply.system for draft in drafts for reply in draft.replies)),
    )


def lacking_cues(draft: Draft, cues: tuple[str, ...]) -> str | None:
    """Return why a draft does not name enough of the task's cues; None if it does."""
    named = sum(cue in draft.cues for cue in cues)
    return f"names {named} of the task's cues ({', '.join(cues)})" if named < min(2, len(cues)) else None


def refusal_reason(draft: Draft, ids: Container[str]) -> str | None:
    """Return why a draft can be no sample beside those with the given ids; None if it can."""
    if draft.id in ids:
        return "a second row with this id"
    texts = (draft.transcript, *draft.references)
    if not is_id(draft.id) or any(len(text) > MAX_TEXT_CHARACTERS for text in texts):
        return (
            f"its id or a text is longer than {MAX_ID_CHARACTERS} or {MAX_TEXT_CHARACTERS:,} characters, "
            "or not printable"
        )
    return None
