"""The match question put to people: one reply and two recordings of the same words; which does it answer?

Replies that every rater attributes at random give 50 %. Raters and contrast groups are both drawn from many,
so the interval of a match rate is over both, as that of a mean of grades (`stats.rated`). Measured by
bench/stats/match_people.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from echat_eval.leaderboard.render import estimate_text
from echat_eval.stats import RatedMean, rated_mean
from echat_eval.stats.factors import numbered

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

    from echat_eval.io.ratings import Rating
    from echat_eval.records import Sample
    from echat_eval.report.runs import MergedRuns

__all__ = [
    "MATCH",
    "OVER_REACTION",
    "match_facts",
    "match_lines",
    "match_rates",
    "match_values",
    "other_voices",
    "voice_pairs",
]

#: Dimension of a rater's answer; in the table also for groups marked `expect: same`, where 0 is right.
MATCH, OVER_REACTION = "match", "over_reaction"
#: Position of the voice that a reply was given to.
POSITIONS = ("a", "b")


def other_voices(runs: MergedRuns, sample: Sample) -> list[Sample]:
    """Return the samples with the same words in another voice."""
    if sample.contrast_group is None or sample.asks is not None:
        return []
    return [
        other
        for other in runs.samples.values()
        if (other.task, other.contrast_group) == (sample.task, sample.contrast_group)
        and other.id != sample.id
    ]


def voice_pairs(
    samples: Sequence[Sample], runs: MergedRuns, rng: random.Random
) -> list[tuple[Sample, Sample]]:
    """Return the two voices of each question, the sample's own first in half of them."""
    own_first = [number % 2 == 0 for number in range(len(samples))]
    rng.shuffle(own_first)
    pairs = []
    for sample, first in zip(samples, own_first, strict=True):
        other = rng.choice(other_voices(runs, sample))
        pairs.append((sample, other) if first else (other, sample))
    return pairs


def match_facts(sample: Sample, voices: tuple[Sample, Sample]) -> dict[str, Any]:
    """Return what the key keeps of a question: where the own voice is, its group, and what is expected."""
    own = POSITIONS[0] if voices[0].id == sample.id else POSITIONS[1]
    expected = {"expect": sample.expect} if sample.expect else {}
    return {"own": own, "group": sample.contrast_group, **expected}


def match_values(answer: str, facts: Mapping[str, Any]) -> tuple[str, float, float, float]:
    """Return dimension, value, low and high of an answer ("a", "b" or "equal")."""
    share = 0.5 if answer == "equal" else float(answer == facts["own"])
    return (OVER_REACTION, 2 * share - 1, -1, 1) if facts.get("expect") == "same" else (MATCH, share, 0, 1)


def match_rates(
    ratings: Sequence[Rating], groups: Mapping[tuple[str, str], str]
) -> dict[tuple[str, str], RatedMean]:
    """Return (system, dimension) -> mean in percent, with an interval over raters and contrast groups.

    Args:
        ratings: answers to match questions.
        groups: (task, sample id) -> contrast group.
    """
    found: dict[tuple[str, str], list[Rating]] = {}
    for rating in ratings:
        found.setdefault((rating.system, rating.dimension), []).append(rating)
    return {
        key: rated_mean(
            [100 * r.value for r in rows],
            numbered([(r.task, groups[r.task, r.sample_id]) for r in rows]),
            [r.rater for r in rows],
            low=100 * rows[0].low,
            high=100 * rows[0].high,
        )
        for key, rows in found.items()
    }


def match_lines(ratings: Sequence[Rating], groups: Mapping[tuple[str, str], str]) -> list[str]:
    """Return one line per system and dimension of a match sheet; none for other sheets."""
    if not groups:
        return []
    return [
        f"{system}: {dimension} {estimate_text(rate.estimate, 1)} % "
        + (
            "(interval over groups, for this rater only)"
            if rate.raters == 1
            else "(interval over raters and groups)"
        )
        for (system, dimension), rate in match_rates(ratings, groups).items()
    ]
