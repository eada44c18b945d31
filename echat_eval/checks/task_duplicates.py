"""Near-duplicates of words and of recordings."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_matrix

from echat_eval.checks.task_data import text_of
from echat_eval.checks.task_finding import Finding
from echat_eval.io.schema import shorten
from echat_eval.scorers.normalize import characters
from echat_eval.stats.clusters import linked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from echat_eval.checks.task_audio import Recording
    from echat_eval.records import Sample

    Codes = NDArray[np.int64]

__all__ = ["ALIKE", "SAME_SOUND", "alike_recordings", "alike_words", "duplicate_findings"]

#: Share of three-letter pieces that two texts have in common, of all that either has, from which they are
#: near-duplicates.
ALIKE = 0.7
#: Cosine of two recordings' pictures from which they are the same sound.
SAME_SOUND = 0.999
_PIECE = 3
#: Rows of a product of matrices at once.
_BLOCK = 512


def alike_words(samples: Sequence[Sample]) -> list[tuple[int, int]]:
    """Return pairs of samples, by place, of the same language whose words differ and are near-duplicates.

    Of samples with equal words the first one stands for all.
    """
    first: dict[tuple[str, str], int] = {}
    for place, sample in enumerate(samples):
        first.setdefault((sample.language, "".join(characters(text_of(sample)))), place)
    found = []
    for language in {language for language, _ in first}:
        texts = [(text, place) for (tag, text), place in first.items() if tag == language and text]
        found += [(texts[a][1], texts[b][1]) for a, b in _common_pieces([text for text, _ in texts])]
    return sorted(found)


def _common_pieces(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield the places of near-duplicates."""
    known: dict[str, int] = {}
    columns, starts = [], [0]
    for text in texts:
        pieces = {text[i : i + _PIECE] for i in range(max(len(text) - _PIECE + 1, 1))}
        columns += [known.setdefault(piece, len(known)) for piece in pieces]
        starts.append(len(columns))
    x = csr_matrix((np.ones(len(columns)), columns, starts), shape=(len(texts), max(len(known), 1)))
    sizes = np.diff(starts)
    for start in range(0, len(texts), _BLOCK):
        both = (x[start : start + _BLOCK] @ x.T).tocoo()
        rows, columns = both.row + start, both.col
        share = both.data / (sizes[rows] + sizes[columns] - both.data)
        alike = (rows < columns) & (share >= ALIKE)
        yield from zip(rows[alike].tolist(), columns[alike].tolist(), strict=True)


def alike_recordings(recordings: Sequence[Recording]) -> list[tuple[int, int]]:
    """Return pairs of recordings, by place, with the same sound, whatever their format and level."""
    if not recordings:
        return []
    x = np.stack([recording.picture for recording in recordings])
    found = []
    for start in range(0, len(x), _BLOCK):
        rows, columns = np.nonzero(x[start : start + _BLOCK] @ x.T >= SAME_SOUND)
        found += [(int(a) + start, int(b)) for a, b in zip(rows, columns, strict=True) if a + start < b]
    return found


def linked_pairs(count: int, pairs: Sequence[tuple[int, int]]) -> Codes:
    """Return numbers of samples, equal for those that pairs connect."""
    members: dict[int, int] = {}

    def root(place: int) -> int:
        while members.get(place, place) != place:
            place = members[place]
        return place

    for a, b in pairs:
        low, high = sorted((root(a), root(b)))
        members[high] = low
    return linked([np.array([root(place) for place in range(count)], dtype=np.int64)])


def duplicate_findings(
    samples: Sequence[Sample], words: Sequence[tuple[int, int]], sounds: Sequence[tuple[int, int]] | None
) -> list[Finding]:
    """Return the findings about near-duplicates.

    Args:
        samples: of the task.
        words: pairs with similar words.
        sounds: pairs with the same sound; None: recordings were not measured.
    """
    other_groups = [
        (a, b)
        for a, b in words
        if samples[a].contrast_group is None or samples[a].contrast_group != samples[b].contrast_group
    ]
    found = [_words_finding(samples, other_groups)]
    if sounds is not None:
        found.append(_sounds_finding(samples, sounds))
    return found


def _words_finding(samples: Sequence[Sample], pairs: Sequence[tuple[int, int]]) -> Finding:
    reasons: dict[str, str] = {}
    for a, b in pairs:
        reasons.setdefault(samples[b].id, f"nearly the words of {samples[a].id}")
    return Finding(
        check="similar-words",
        section="duplicates",
        state="review" if pairs else "pass",
        message=f"{len(pairs)} pair{'s' if len(pairs) != 1 else ''} of different sentences nearly alike",
        remedy="replace one of each pair: together they count as one sentence" if pairs else "",
        samples=reasons,
        details=tuple(
            f"{shorten(samples[a].transcript)} and {shorten(samples[b].transcript)}" for a, b in pairs
        ),
        numbers={"pairs": [[samples[a].id, samples[b].id] for a, b in pairs]},
    )


def _sounds_finding(samples: Sequence[Sample], pairs: Sequence[tuple[int, int]]) -> Finding:
    """Return the finding about equal sound; it is a fault where the labels differ."""
    reasons: dict[str, str] = {}
    opposed = []
    for a, b in pairs:
        if dict(samples[a].cues) != dict(samples[b].cues):
            opposed.append((a, b))
        reasons.setdefault(samples[b].id, f"the sound of {samples[a].id}")
    state = "fault" if opposed else "review" if pairs else "pass"
    message = f"{len(pairs)} pair{'s' if len(pairs) != 1 else ''} of recordings with the same sound"
    shown = defaultdict(list)
    for a, b in pairs:
        shown[(a, b) in opposed].append(f"{samples[a].id} and {samples[b].id}")
    return Finding(
        check="same-sound",
        section="duplicates",
        state=state,  # type: ignore[arg-type]
        message=message + (f", {len(opposed)} with different labels" if opposed else ""),
        remedy="record one of each pair again" if pairs else "",
        samples=reasons,
        details=tuple([f"{pair}, different labels" for pair in shown[True]] + shown[False]),
        numbers={"pairs": [[samples[a].id, samples[b].id] for a, b in pairs]},
    )
