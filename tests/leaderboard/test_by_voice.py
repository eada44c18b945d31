"""Shares of the ceiling and means by label, against hand calculations and a simulation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from echat_eval.leaderboard.by_voice import CEILING, ceiling_shares, label_means
from echat_eval.leaderboard.cue_gain import paired_gain
from echat_eval.records import Sample, Score
from echat_eval.scorers.cue_contrast import MATCH
from tests.support.cases import case
from tests.support.present import present


def sample(task: str, name: str, cues: dict[str, str]) -> Sample:
    return replace(case(name, None).sample, task=task, cues=cues)


def score(system: str, task: str, name: str, value: float) -> Score:
    return Score(
        key="", system=system, task=task, sample_id=name, metric=MATCH.name, state="value", value=value
    )


def drawn(seed: int, *, groups: int = 30) -> tuple[list[Score], dict[tuple[str, str], Sample]]:
    """Return scores of a system with shares of 0.2, 0.6 and 1 of the ceiling in three tasks."""
    rng = np.random.default_rng(seed)
    samples, scores = {}, []
    for task, cue, share, top in (("a", "emotion", 0.2, 90), ("b", "event", 0.6, 70), ("c", "gender", 1, 60)):
        for n in range(groups):
            name, common = f"{task}{n}", rng.normal(0, 8)
            samples[task, name] = sample(task, name, {cue: ("female", "male")[n % 2]})
            room = top - 50 + common + rng.normal(0, 6)
            scores += [
                score(CEILING, task, name, 50 + room),
                score("mine", task, name, 50 + share * (top - 50) + common + rng.normal(0, 10)),
            ]
    return scores, samples


def test_the_average_is_that_of_the_tasks_and_leaves_out_age_and_gender() -> None:
    scores, samples = drawn(0)
    clusters = {ident: ident for ident in samples}
    (found,) = ceiling_shares(scores, MATCH, samples, clusters).values()
    values = {
        s: {(x.task, x.sample_id): present(x.value) for x in scores if x.system == s}
        for s in ("mine", CEILING)
    }
    for task, gain in found.tasks.items():
        own = {ident: value for ident, value in values["mine"].items() if ident[0] == task}
        alone = paired_gain(own, dict.fromkeys(own, 50.0), values[CEILING], clusters)
        assert (gain.value, gain.low, gain.high) == (alone.value, alone.low, alone.high)
    average = present(found.average)
    assert average.value == pytest.approx(
        (present(found.tasks["a"].value) + present(found.tasks["b"].value)) / 2
    )
    assert average.n == 60


def test_the_interval_of_the_average_holds_the_truth_as_often_as_it_states() -> None:
    held = []
    for seed in range(400):
        scores, samples = drawn(seed)
        (found,) = ceiling_shares(scores, MATCH, samples, {i: i for i in samples}).values()
        average = present(found.average)
        held.append(present(average.low) <= 0.4 <= present(average.high))
    assert 0.92 <= np.mean(held) <= 0.98


def test_a_task_whose_ceiling_is_chance_has_no_share_and_no_average() -> None:
    samples = {("a", f"a{n}"): sample("a", f"a{n}", {"emotion": "sad"}) for n in range(8)}
    scores = [
        score(system, task, name, 50 + (-1) ** k * 20 + (system == "mine"))
        for k, (task, name) in enumerate(samples)
        for system in ("mine", CEILING)
    ]
    (found,) = ceiling_shares(scores, MATCH, samples, {i: i for i in samples}).values()
    assert (found.tasks["a"].value, found.average) == (None, None)
    assert "includes 0" in str(found.tasks["a"].reason)
    assert ceiling_shares([s for s in scores if s.system == "mine"], MATCH, samples, {}) == {}


def test_means_by_label_cover_age_and_gender_only() -> None:
    scores, samples = drawn(1)
    found = label_means(scores, MATCH, samples, {i: i for i in samples})
    assert {(m.system, m.task, m.label) for m in found} == {
        (system, "c", label) for system in ("mine", CEILING) for label in ("female", "male")
    }
    women = [
        s.value for s in scores if s.system == "mine" and s.task == "c" and int(s.sample_id[1:]) % 2 == 0
    ]
    (mean,) = [m for m in found if (m.system, m.label) == ("mine", "female")]
    assert mean.estimate.value == pytest.approx(np.mean([present(v) for v in women]))
