"""The order of a run that is looked at, and the bounds of its looks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from echat_eval.gate import Policy
from echat_eval.gate.looks import Looks, look_policy, plan_looks, read_looks
from echat_eval.records import AudioRef, Sample

SCORE: Any = {"empathy": {"higher_is_better": True, "low": 0, "high": 100}}
POLICY = Policy(margin=3, metrics=SCORE)


def sample(number: int, speaker: int, sentence: int, group: str | None = None) -> Sample:
    sound = AudioRef(sha256=f"{number:064x}", path=Path("a.wav"), seconds=1.0)
    return Sample(
        id=f"s{number}",
        task="emotion",
        audio=sound,
        cues={"emotion": "sad"},
        language="en",
        source="real",
        speaker=f"p{speaker}",
        transcript=f"t{sentence}",
        contrast_group=group,
        references=("x",),
    )


def planned(samples: list[Sample], seed: int = 0) -> Looks:
    return plan_looks(samples, seed=seed, sentences="random", policy=POLICY, baseline="b" * 64)


def test_clusters_come_whole_in_an_order_that_the_seed_gives() -> None:
    samples = [sample(i, i // 3, i) for i in range(150)]  # 50 speakers of three samples
    found = planned(samples)
    assert [look.clusters for look in found.looks] == [10, 20, 30, 40, 50]
    assert [look.samples for look in found.looks] == [30, 60, 90, 120, 150]
    first = {int(ident[1:]) // 3 for _, ident in found.order[:30]}
    assert len(first) == 10
    assert first != set(range(10))
    assert planned(samples).order == found.order
    assert planned(samples, seed=1).order != found.order
    assert sorted(found.order) == sorted((s.task, s.id) for s in samples)


def test_crossed_data_come_by_the_factor_with_more_levels() -> None:
    samples = [sample(i, i // 40, i % 40) for i in range(8 * 40)]  # 8 speakers x 40 sentences
    found = planned(samples)
    assert [look.clusters for look in found.looks] == [10, 20, 30, 40]
    assert len({int(ident[1:]) % 40 for _, ident in found.order[:80]}) == 10


def test_contrast_groups_stay_whole() -> None:
    # Each group has two speakers, and speakers are in several groups: by groups, not by speakers.
    samples = [sample(i, (i * 7) % 10, i // 2, group=f"g{i // 2}") for i in range(80)]
    found = planned(samples)
    assert found.looks[-1].clusters == 40
    for look in found.looks:
        requested = [int(ident[1:]) // 2 for _, ident in found.order[: look.samples]]
        assert all(requested.count(group) == 2 for group in requested)


def test_looks_spend_the_error_of_bounds_and_of_the_family() -> None:
    looks = planned([sample(i, i, i) for i in range(50)]).looks
    policies = [look_policy(POLICY, looks, look.number) for look in looks]
    levels = [policy.level for policy in policies]
    assert levels == sorted(levels, reverse=True)
    assert 1 - levels[0] == pytest.approx(2 * 5.39e-7, rel=0.01)  # z = 4.8769
    assert 1 - levels[-1] == pytest.approx(2 * 0.02113, rel=0.01)  # z = 2.0310
    assert policies[-1].family_error == pytest.approx(0.0409, abs=2e-4)  # z = 1.7397
    assert [policy.margin for policy in policies] == [3] * 5


def test_one_look_is_the_policy_itself() -> None:
    looks = planned([sample(i, i, i) for i in range(12)]).looks
    only = look_policy(POLICY, looks, 1)
    assert only.level == pytest.approx(0.95)
    assert only.family_error == pytest.approx(0.05)


def test_only_planned_samples_that_are_not_asked_leave_the_baseline() -> None:
    looks = planned([sample(i, i, i) for i in range(30)])
    requested = set(looks.order[:10])
    baseline = pd.DataFrame(
        {"task": "emotion", "sample_id": [*(f"s{i}" for i in range(30)), "gone"], "metric": "empathy"}
    )
    kept = looks.of_asked(baseline, requested)
    # A sample that the candidate never planned stays, and counts as left out.
    assert set(kept["sample_id"]) == {ident for _, ident in requested} | {"gone"}


def test_looks_survive_their_file(tmp_path: Path) -> None:
    looks = planned([sample(i, i, i) for i in range(30)])
    looks.write(tmp_path / "looks.json")
    assert read_looks(tmp_path / "looks.json") == looks
    assert read_looks(tmp_path / "absent.json") is None
    assert [looks.at(count).number for count in (1, 10, 11, 30, 40)] == [1, 1, 2, 3, 3]
