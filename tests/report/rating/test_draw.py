"""The draw of rated samples: over clusters, with the labels' shares, each sample with the same chance."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from echat_eval.records import AudioRef, Sample
from echat_eval.report.rating.draw import draw_samples

LABELS = ("anger", "anger", "joy", "sadness")


def samples(speakers: int = 12, each: int = 4) -> list[Sample]:
    return [
        Sample(
            task="t",
            id=f"{speaker}-{n}",
            audio=AudioRef(path=Path("x.wav"), sha256="0" * 64, seconds=1.0),
            transcript=f"words {speaker} {n}",
            cues={"emotion": LABELS[n % 4]},
            language="en",
            source="real",
            speaker=f"s{speaker}",
        )
        for speaker in range(speakers)
        for n in range(each)
    ]


@pytest.mark.parametrize("limit", [4, 8, 12])
def test_every_cluster_gives_one_sample_before_another_gives_two(limit: int) -> None:
    drawn = draw_samples(samples(), limit, random.Random(1))
    assert len(drawn) == limit == len({s.speaker for s in drawn})


def test_more_samples_than_clusters_spread_over_them() -> None:
    per_speaker = Counter(s.speaker for s in draw_samples(samples(), 30, random.Random(1)))
    assert set(per_speaker.values()) <= {2, 3}


def test_labels_keep_their_shares_of_the_task() -> None:
    for seed in range(5):
        labels = Counter(s.cues["emotion"] for s in draw_samples(samples(), 12, random.Random(seed)))
        assert labels == {"anger": 6, "joy": 3, "sadness": 3}


def test_a_draw_is_random_and_repeatable() -> None:
    first, again, other = ([s.id for s in draw_samples(samples(), 8, random.Random(n))] for n in (1, 1, 2))
    assert first == again != other


def test_samples_have_nearly_the_same_chance_whatever_the_size_of_their_cluster() -> None:
    # One speaker has 4 samples, the other twelve have 2 each, all of one label.
    data = [*samples(12, 2), *(s for s in samples(13, 4) if s.speaker == "s12")]
    data = [replace(s, cues={"emotion": "joy"}) for s in data]
    drawn = Counter(s.speaker for n in range(1000) for s in draw_samples(data, 4, random.Random(n)))
    assert drawn["s12"] / 1000 / 4 == pytest.approx(4 / 28, rel=0.2)


def test_a_limit_above_the_task_takes_all_and_no_samples_are_none() -> None:
    assert len(draw_samples(samples(3, 4), 100, random.Random(0))) == 12
    assert draw_samples([], 5, random.Random(0)) == []
