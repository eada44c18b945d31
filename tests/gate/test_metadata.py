"""A column with speakers or sentences never makes a decision impossible: it can only widen an interval."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echat_eval.gate import MetricRule, Policy, decide
from echat_eval.gate.report import to_junit, to_lines, to_markdown

SCORE = MetricRule(higher_is_better=True, low=0, high=100)
POLICY: dict[str, Any] = {"margin": 3, "metrics": {"empathy": SCORE}}
LAYOUTS = {
    "crossed": ([i // 20 for i in range(200)], [i % 20 for i in range(200)]),
    "crossed, four sentences": ([i // 4 for i in range(96)], [i % 4 for i in range(96)]),
    "crossed, two sentences": ([i // 16 for i in range(384)], [i % 2 for i in range(384)]),
    "crossed, four speakers": ([i % 4 for i in range(160)], [i // 4 for i in range(160)]),
    "crossed, few of both": ([i % 4 for i in range(160)], [i // 4 % 4 for i in range(160)]),
    "one speaker": ([0] * 100, list(range(100))),
    "speakers with sentences of their own": ([i // 5 for i in range(150)], list(range(150))),
    "five speakers with sentences of their own": ([i // 20 for i in range(100)], list(range(100))),
    "four sentences with speakers of their own": (
        [i // 2 for i in range(120)],
        [i // 30 for i in range(120)],
    ),
    "five pairs": ([i // 20 for i in range(100)], [i // 20 for i in range(100)]),
    "some sentences shared": (
        [i // 10 for i in range(300)],
        [i % 30 if i % 10 == 0 else 100 + i for i in range(300)],
    ),
}


def table(speakers: list[int], sentences: list[int], seed: int, shift: float = 0.0) -> pd.DataFrame:
    n = len(speakers)
    return pd.DataFrame(
        {
            "task": "emotion",
            "sample_id": [f"s{i}" for i in range(n)],
            "metric": "empathy",
            "value": 60 + shift + np.random.default_rng(seed).normal(0, 0.5, n),
            "state": "value",
            "speaker": [f"p{i}" for i in speakers],
            "transcript": [f"line {i}" for i in sentences],
        }
    )


def outcomes(speakers: list[int], sentences: list[int], shift: float) -> dict[frozenset[str], str]:
    """Return the outcome for every choice of columns."""
    candidate, against = table(speakers, sentences, 1, shift), table(speakers, sentences, 2)
    columns = ("speaker", "transcript")
    found: dict[frozenset[str], str] = {}
    for kept in (c for size in range(len(columns) + 1) for c in combinations(columns, size)):
        gone = [name for name in columns if name not in kept]
        one, other = (frame.drop(columns=gone) for frame in (candidate, against))
        found[frozenset(kept)] = decide(one, other, Policy(**POLICY)).outcome
    return found


def assert_columns_keep_a_decision(found: dict[frozenset[str], str]) -> None:
    for fewer, decided in found.items():
        for more, outcome in found.items():
            if fewer < more and decided != "cannot tell":
                assert outcome == decided, f"{set(more - fewer)} beside {set(fewer)}"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("shift", "outcome"), [(0.5, "pass"), (-14, "regress")])
def test_no_column_turns_a_clear_decision_into_cannot_tell(layout: str, shift: float, outcome: str) -> None:
    found = outcomes(*LAYOUTS[layout], shift)
    assert set(found.values()) == {outcome}


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(st.data())
def test_no_column_turns_a_decision_about_drawn_layouts_into_cannot_tell(data: st.DataObject) -> None:
    # A search at random finds rare layouts that do turn, such as 10 samples in 7 speakers and 9 sentences: both
    # factors leave few degrees of freedom.
    n = data.draw(st.integers(20, 60))
    speakers = data.draw(st.lists(st.integers(0, data.draw(st.integers(0, 12))), min_size=n, max_size=n))
    sentences = data.draw(
        st.lists(st.integers(1, data.draw(st.integers(2, 12))), min_size=n - 1, max_size=n - 1)
    )
    shift = data.draw(st.sampled_from([6.0, -20.0]))
    assert_columns_keep_a_decision(outcomes(speakers, [0, *sentences], shift))


@pytest.mark.parametrize(
    ("layout", "scope", "clusters"),
    [
        ("crossed", "", 10),
        ("crossed, four sentences", "4 sentences", 24),
        ("crossed, four speakers", "4 speakers", 40),
        ("crossed, few of both", "4 speakers and 4 sentences", 160),
        ("one speaker", "1 speaker", 100),
    ],
)
def test_every_report_names_the_few_levels_that_a_decision_holds_for(
    layout: str, scope: str, clusters: int
) -> None:
    got = decide(table(*LAYOUTS[layout], 1), table(*LAYOUTS[layout], 2), Policy(**POLICY))
    assert got.scope == scope
    assert got.difference is not None
    assert got.difference.clusters == clusters
    text = f"holds for {scope} only"
    for report in (to_lines(got)[0], to_junit(got), to_markdown(got)):
        assert (text in report) == bool(scope)
    few = f"{scope}, too few to generalise over: the decision holds for these only"
    assert any(warning.endswith(few) for warning in got.warnings) == bool(scope)


def test_from_six_on_other_sentences_count() -> None:
    def clusters(sentences: int, **more: Any) -> int:
        layout = (
            [i // sentences for i in range(40 * sentences)],
            [i % sentences for i in range(40 * sentences)],
        )
        got = decide(table(*layout, 1), table(*layout, 2), Policy(**POLICY, **more))
        return 0 if got.difference is None else got.difference.clusters

    assert [clusters(n) for n in (5, 6)] == [40, 6]
    assert clusters(5, min_clusters=5) == 5


@pytest.mark.parametrize("layout", ["crossed, four sentences", "crossed, four speakers", "one speaker"])
def test_a_policy_that_states_min_clusters_demands_as_many_speakers_and_sentences(layout: str) -> None:
    got = decide(table(*LAYOUTS[layout], 1), table(*LAYOUTS[layout], 2), Policy(**POLICY, min_clusters=6))
    assert (got.outcome, got.scope) == ("cannot tell", "")
    assert "6 clusters are needed" in got.reasons[0]


def test_one_sentence_is_no_test_set_unless_sentences_are_fixed() -> None:
    layout = list(range(40)), [0] * 40
    tables = table(*layout, 1), table(*layout, 2)
    got = decide(*tables, Policy(**POLICY))
    assert got.outcome == "cannot tell"
    assert got.reasons == ("sentences: at least two: open (every sample has the same sentence)",)
    assert got.next_steps[-1].action.startswith("more sentences would help, or `sentences: fixed` if")
    fixed = decide(*tables, Policy(**POLICY, sentences="fixed"))
    assert (fixed.outcome, fixed.scope) == ("pass", "these sentences")
    assert "holds for these sentences only" in to_lines(fixed)[0]
    assert decide(table(*layout, 1, -14), tables[1], Policy(**POLICY)).outcome == "regress"


def test_samples_that_are_scored_against_each_other_stay_linked() -> None:
    """A contrast's rows share their pairs, so four groups without speakers are four units."""
    rule = MetricRule(higher_is_better=True, low=-100, high=100)
    one, two = (table([0] * 80, [i % 4 for i in range(80)], seed).drop(columns="speaker") for seed in (1, 2))
    got = decide(one, two, Policy(margin=3, metrics={"empathy": rule}))
    assert got.outcome == "cannot tell"
    assert got.reasons[0].endswith("4 sentences; 6 clusters are needed; more sentences would help)")
    one, two = (frame.assign(speaker=[f"p{i // 4}" for i in range(80)]) for frame in (one, two))
    assert decide(one, two, Policy(margin=3, metrics={"empathy": rule})).scope == "4 sentences"
