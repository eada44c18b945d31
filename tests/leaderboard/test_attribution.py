"""Cue gain, recognition and error attribution, against worked examples and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from echat_eval.errors import BadData
from echat_eval.labels import SHIPPED
from echat_eval.leaderboard.attribution import AttributionRow, attribution_shares, recognition
from echat_eval.leaderboard.cue_gain import cue_gain, paired_gain
from echat_eval.leaderboard.notes import gains_of
from echat_eval.records import Score
from echat_eval.stats import level_mean, macro_mean
from tests.support.present import present


def test_gain_at_the_floor_the_ceiling_and_between() -> None:
    rng = np.random.default_rng(0)
    floor = rng.normal(40, 8, 60)
    ceiling = floor + rng.normal(30, 5, 60)
    clusters = np.arange(60) // 2
    assert cue_gain(floor, floor, ceiling, clusters).value == 0
    assert cue_gain(ceiling, floor, ceiling, clusters).value == 1
    half = cue_gain((floor + ceiling) / 2, floor, ceiling, clusters)
    assert half.value == pytest.approx(0.5)
    assert (half.low, half.high) == pytest.approx((0.5, 0.5))


def test_fieller_interval_ends_where_the_difference_becomes_significant() -> None:
    """Its ends solve |mean(N - gD)| = t se(N - gD), by the one-sample t of scipy on single-sample clusters."""
    from scipy import stats

    rng = np.random.default_rng(1)
    floor = rng.normal(40, 8, 25)
    system, ceiling = floor + rng.normal(10, 6, 25), floor + rng.normal(25, 9, 25)
    found = cue_gain(system, floor, ceiling, np.arange(25))
    low, high = present(found.low), present(found.high)
    for end in (low, high):
        assert stats.ttest_1samp((system - floor) - end * (ceiling - floor), 0).pvalue == pytest.approx(0.05)
    assert low < present(found.value) < high


def test_gain_is_undefined_with_a_reason_if_floor_and_ceiling_do_not_differ() -> None:
    rng = np.random.default_rng(2)
    floor = rng.normal(40, 8, 30)
    found = cue_gain(floor + 5, floor, floor + rng.normal(0, 10, 30), np.arange(30))
    assert found.value is found.low is found.high is None
    assert "its interval includes 0" in present(found.reason)
    assert cue_gain(floor, floor, floor, np.arange(30)).reason == "floor and ceiling have the same scores"
    assert "one cluster" in present(cue_gain(floor, floor, floor + 9, np.zeros(30, int)).reason)


@pytest.mark.slow
def test_fieller_interval_covers_the_true_gain() -> None:
    rng = np.random.default_rng(3)
    hits = total = 0
    for _ in range(600):
        shared = np.repeat(rng.normal(0, 4, 20), 3)
        floor = rng.normal(40, 5, 60)
        ceiling = floor + 20 + shared + rng.normal(0, 8, 60)
        system = floor + 8 + 0.4 * shared + rng.normal(0, 8, 60)
        found = cue_gain(system, floor, ceiling, np.repeat(np.arange(20), 3))
        if found.low is not None:
            total += 1
            hits += found.low <= 0.4 <= present(found.high)
    assert total > 590
    assert hits / total == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / total))


def test_gain_uses_the_samples_that_all_three_share() -> None:
    clusters = dict.fromkeys("abcd", 0) | {"c": 1, "d": 2}
    found = paired_gain(
        {"a": 5, "b": 6, "c": 8, "d": 9},
        {"a": 0, "b": 1, "c": 2},
        {"a": 10, "b": 12, "c": 15, "x": 3},
        clusters,
    )
    assert (found.n, found.clusters) == (3, 2)
    with pytest.raises(BadData, match="share no sample"):
        paired_gain({"a": 1}, {"b": 1}, {"a": 1}, clusters)


# -- recognition ----------------------------------------------------------------


def test_uar_and_war_by_hand() -> None:
    # sad: 3 of 4; happy: 1 of 2. UAR = (75 + 50) / 2, WAR = 4 / 6.
    rows = [("sad", p, n) for n, p in enumerate(["sad", "sad", "sad", "unknown"])]
    rows += [("happy", p, 10 + n) for n, p in enumerate(["happy", "sad"])]
    found = recognition(SHIPPED["emotion"], rows)
    assert found.uar.value == pytest.approx(62.5)
    assert found.war.value == pytest.approx(100 * 4 / 6)
    assert found.per_label == {"happy": (1, 2), "sad": (3, 4)}
    assert present(found.uar.low) < 62.5 < present(found.uar.high)


def test_differences_between_labels_do_not_widen_the_uar_interval() -> None:
    rows = [(gold, "sad", 4 * (gold == "sad") + n) for gold in ("happy", "sad") for n in range(4)]
    found = recognition(SHIPPED["emotion"], rows)
    labels, right = [gold for gold, _, _ in rows], [100.0 * (gold == named) for gold, named, _ in rows]
    clusters = [cluster for _, _, cluster in rows]
    spread = macro_mean(right, labels, clusters)
    assert (found.uar.value, spread.se, found.war.value) == (50, 0, 50)
    # The interval covers what this number of clusters cannot exclude, as for every share on the leaderboard.
    assert found.uar == level_mean(right, clusters, low=0, high=100, strata=labels)
    assert present(found.war.se) > 10


def test_a_constant_label_has_the_uar_of_chance() -> None:
    rows = [(g, "sad", n) for n, g in enumerate(["sad"] * 90 + ["happy"] * 10)]
    found = recognition(SHIPPED["emotion"], rows)
    assert (found.uar.value, found.war.value) == pytest.approx((50, 90))


def test_permuted_gold_labels_change_the_uar() -> None:
    gold = ["sad", "happy", "anger"] * 5
    right = recognition(SHIPPED["emotion"], [(g, g, n) for n, g in enumerate(gold)])
    moved = recognition(SHIPPED["emotion"], [(gold[n - 1], g, n) for n, g in enumerate(gold)])
    assert (right.uar.value, moved.uar.value) == (100, 0)


def test_unknown_labels_and_empty_rows_are_refused() -> None:
    with pytest.raises(BadData, match="'angry' is not a label of emotion"):
        recognition(SHIPPED["emotion"], [("anger", "angry", 0)])
    with pytest.raises(BadData, match="no sample has a perceived emotion"):
        recognition(SHIPPED["emotion"], [])


# -- error attribution --------------------------------------------------------------


def row(
    perceived: str | None, cue: float | None, voice: float | None, cluster: int, gold: str = "sad"
) -> AttributionRow:
    return AttributionRow(
        cue="emotion", gold=gold, cluster=cluster, perceived=perceived, cue_awareness=cue, voice=voice
    )


def test_attribution_shares() -> None:
    rows = [
        row("sad", 5, 80, 0),
        row("sad", 4, 100, 1),
        row("sad", 1, 60, 2),
        row("happy", 1, 0, 3),
        row("sad", 3.9, 80, 4),
        row("unknown", 5, 79, 5),
        row(None, 5, 80, 6),
        row("sad", None, 80, 7),
    ]
    found = {str(s.outcome): s.estimate for s in attribution_shares(rows)}
    shares = {name: round(e.value, 1) for name, e in found.items() if e.value}
    assert shares == {
        "perceived, worded right, voiced right": 33.3,
        "perceived, worded wrong, voiced wrong": 16.7,
        "perceived, worded wrong, voiced right": 16.7,
        "not perceived, worded wrong, voiced wrong": 16.7,
        "not perceived, worded right, voiced wrong": 16.7,
    }
    assert sum(e.value for e in found.values()) == pytest.approx(100)
    assert {e.n for e in found.values()} == {6}  # two rows lack a perceived label or a verdict


def test_attribution_shares_per_label_and_without_voice_scores() -> None:
    rows = [
        row("sad", 5, None, 0),
        row("happy", 5, None, 1, gold="happy"),
        row("sad", 0, None, 2, gold="happy"),
    ]
    found = {(s.label, str(s.outcome)): s.estimate.value for s in attribution_shares(rows, by_label=True)}
    assert found["happy", "perceived, worded right, voice not scored"] == 50
    assert found["sad", "perceived, worded right, voice not scored"] == 100
    assert not any("voiced" in outcome for _, outcome in found)
    with pytest.raises(BadData, match="needs both"):
        attribution_shares([row(None, 5, 80, 0)])


def test_cue_gain_counts_the_samples_that_it_leaves_out() -> None:
    names = ("mine", "transcript-only", "gold-labels")
    scores = [
        Score(
            key=f"{s}{n}",
            system=s,
            task="emotion",
            sample_id=f"a{n}",
            metric="m",
            state="value",
            value=float(v + n),
        )
        for s, v in zip(names, (5, 0, 10), strict=True)
        for n in range(8)
    ]
    gone = [
        Score(key=f"x{s}{n}", system=s, task="emotion", sample_id=f"b{n}", metric="m", state="missing")
        for s, n in (("mine", 0), ("gold-labels", 0), ("gold-labels", 1), ("other", 2))
    ]
    clusters = {("emotion", f"a{n}"): n for n in range(8)}
    found = gains_of([*scores, *gone], "m", clusters)["mine"]
    assert found.value == pytest.approx(0.5)
    assert (found.n, found.missing) == (8, 2)
