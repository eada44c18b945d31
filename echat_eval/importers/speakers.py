"""Speakers found from equal words: what differs between rows that have the same transcript and label."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

__all__ = ["Speaker", "find_speakers"]

#: Parts of a file's name.
_PART = re.compile(r"[^_\-. ]+")
#: Speakers needed, and transcripts that several of them read.
MIN_SPEAKERS, MIN_SHARED = 2, 2
#: Share of the transcripts that one set of speakers must have read; counters and takes have no such set.
REPEATED = 0.5
#: Cues that a speaker acts; age and gender are the speaker's own.
_ACTED = ("emotion", "event")


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """Where the speaker is named.

    Attributes:
        column: the column.
        pattern: expression whose first group is the speaker; None: the whole cell.
        count: number of speakers.
    """

    column: str
    pattern: str | None
    count: int

    def yaml(self) -> str:
        """Return the column for a mapping file."""
        column = json.dumps(self.column, ensure_ascii=False)
        return column if self.pattern is None else f"{{column: {column}, pattern: '{self.pattern}'}}"


def find_speakers(
    rows: Sequence[Mapping[str, str]], field_columns: Mapping[str, str], columns: Iterable[str]
) -> Speaker | None:
    """Return the column, or the part of the audio's name, that names who reads the same words.

    In a corpus of acted speech the same people read each sentence equally often, in each emotion. So the same
    values appear equally often with each transcript, and no spelling of a label goes with one of them alone.
    """
    if "transcript" not in field_columns:
        return None
    same = _same_words(rows, field_columns["transcript"])
    if len(same) < MIN_SHARED:
        return None
    candidates: list[tuple[str, str | None]] = [(n, None) for n in columns if n not in field_columns.values()]
    if "audio" in field_columns:
        candidates += [
            (field_columns["audio"], pattern) for pattern in _patterns(rows, field_columns["audio"])
        ]
    found = []
    for column, pattern in candidates:
        values = [_part(row.get(column, ""), pattern) for row in rows]
        labels = [row.get(field_columns[cue], "") for cue in _ACTED if cue in field_columns for row in rows]
        if _repeats(values, same) and not _follows(values, labels):
            found.append(Speaker(column=column, pattern=pattern, count=len(set(values))))
    return max(found, key=lambda speaker: speaker.count, default=None)


def _same_words(rows: Sequence[Mapping[str, str]], transcript: str) -> list[list[int]]:
    """Return the rows of each transcript, where there are several."""
    groups: dict[str, list[int]] = defaultdict(list)
    for number, row in enumerate(rows):
        groups[row.get(transcript, "")].append(number)
    return [numbers for numbers in groups.values() if len(numbers) > 1]


def _repeats(values: Sequence[str], same: Sequence[Sequence[int]]) -> bool:
    """Return whether the same values appear equally often with most transcripts."""
    if not all(values):
        return False
    sets: Counter[frozenset[str]] = Counter()
    for numbers in same:
        counts = Counter(values[number] for number in numbers)
        if len(counts) >= MIN_SPEAKERS and len(set(counts.values())) == 1:
            sets[frozenset(counts)] += 1
    return bool(sets) and sets.most_common(1)[0][1] >= max(MIN_SHARED, REPEATED * len(same))


def _follows(values: Sequence[str], labels: Sequence[str]) -> bool:
    """Return whether most spellings of the label go with one value: it is the label in other words."""
    if not labels:
        return False
    found: dict[str, set[str]] = defaultdict(set)
    for number, label in enumerate(labels):
        found[label].add(values[number % len(values)])
    return sum(len(with_label) == 1 for with_label in found.values()) > len(found) / 2


def _patterns(rows: Sequence[Mapping[str, str]], column: str) -> Iterator[str]:
    """Yield an expression for each part of the audio's name, and for its folder."""
    names = [PurePosixPath(row.get(column, "").replace("\\", "/")) for row in rows]
    parts = [len(_PART.findall(name.stem)) for name in names]
    if min(parts, default=0) > 1 and min(parts) == max(parts):
        for number in range(parts[0]):
            skipped = f"(?:[^_\\-. /]+[_\\-. ]+){{{number}}}" if number else ""
            yield f"^(?:.*/)?{skipped}([^_\\-. /]+)[_\\-. ][^/]*$"
    if all(len(name.parts) > 1 for name in names):
        yield "([^/]+)/[^/]+$"


def _part(cell: str, pattern: str | None) -> str:
    if pattern is None:
        return cell
    match = re.search(pattern, cell)
    return match[1] if match else ""
