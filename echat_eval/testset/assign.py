"""Labels and speakers of each sentence, all equally often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from echat_eval.testset.plan import Plan
    from echat_eval.testset.sentences import Sentence

__all__ = ["Assignment", "assignments", "speakers_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """One sentence to be written.

    Attributes:
        id: of the sentence.
        voices: the labels of each voice, cue -> label.
        expect: "same" if a good reply must not depend on the voice.
        topic: what to write about; empty: any of the domain.
    """

    id: str
    language: str
    voices: tuple[Mapping[str, str], ...]
    expect: str | None = None
    topic: str = ""


def assignments(plan: Plan) -> tuple[Assignment, ...]:
    """Return the sentences that a plan asks for; within a language every label is equally frequent."""
    return tuple(_assigned(plan))


def _assigned(plan: Plan) -> Iterator[Assignment]:
    for language in plan.voices:
        random = np.random.default_rng([plan.seed, *language.encode()])
        used: Counter[tuple[str, str]] = Counter()
        plain, same = plan.sentences.get(language, 0), plan.same.get(language, 0)
        for number in range(plain + same):
            cues = _least_used(list(plan.cues), plan.cues_per_sentence, _cue_counts(used), random)
            columns = []
            for cue in cues:
                counts = Counter({label: used[cue, label] for label in plan.cues[cue]})
                labels = _least_used(list(plan.cues[cue]), plan.labels_per_sentence, counts, random)
                columns.append([(cue, label) for label in labels])
                used.update(columns[-1])
            yield Assignment(
                id=f"{language}-{number + 1:02d}",
                language=language,
                voices=tuple(dict(pairs) for pairs in zip(*columns, strict=True)),
                expect="same" if number >= plain else None,
                topic=plan.topics[number % len(plan.topics)] if plan.topics else "",
            )


def _cue_counts(used: Counter[tuple[str, str]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for (cue, _), count in used.items():
        counts[cue] += count
    return counts


def _least_used(
    names: Sequence[str], count: int, used: Mapping[str, int], random: np.random.Generator
) -> list[str]:
    """Return the `count` names that were used least, in random order; ties are broken at random."""
    order = {name: (used.get(name, 0), random.random()) for name in names}
    return [str(name) for name in random.permutation(sorted(names, key=order.__getitem__)[:count])]


def speakers_of(plan: Plan, sentences: Sequence[Sentence]) -> dict[str, tuple[str, ...]]:
    """Return the speakers of each sentence, by its id.

    Speakers who spoke least come first, and among them those who lack the labels of the sentence, so that
    every speaker gets every label as soon as there are enough sentences. Two speakers share few sentences,
    so that neither speakers nor sentences are nested.
    """
    spoken: Counter[tuple[str, str]] = Counter()
    labelled: Counter[tuple[str, str, str, str]] = Counter()
    pairs: Counter[frozenset[str]] = Counter()
    selected: dict[str, tuple[str, ...]] = {}
    for sentence in sentences:
        language, names = sentence.language, list(plan.voices[sentence.language].speakers)
        labels = [pair for member in sentence.members for pair in member.cues.items()]
        picked: list[str] = []
        while len(picked) < min(len(names), sentence.speakers or plan.speakers_per_sentence):
            best = min(
                (name for name in names if name not in picked),
                key=lambda name: (
                    spoken[language, name],
                    sum(labelled[(language, name, *pair)] for pair in labels),
                    sum(pairs[frozenset({name, other})] for other in picked),
                    names.index(name),
                ),
            )
            picked.append(best)
        for name in picked:
            spoken[language, name] += 1
            labelled.update((language, name, *pair) for pair in labels)
            pairs.update(frozenset({name, other}) for other in picked if other != name)
        selected[sentence.id] = tuple(picked)
    return selected
