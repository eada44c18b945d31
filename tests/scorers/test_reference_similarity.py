"""Similarity to references: the mean cosine in percent; a copy is compared with the other references."""

from __future__ import annotations

from dataclasses import replace

import pytest

from echat_eval.records import State
from echat_eval.scorers.reference_similarity import ReferenceSimilarity
from tests.support.cases import Angles, case


@pytest.mark.parametrize(
    ("reply", "references", "value"),
    [
        ("0", ("60",), 50.0),
        ("0", ("60", "90"), 25.0),
        ("0", ("180",), 0.0),
        ("0", ("0",), 100.0),
        ("0", ("0", "60"), 50.0),
    ],
)
def test_the_mean_cosine_in_percent(reply: str, references: tuple[str, ...], value: float) -> None:
    one = case("a", reply, references[0])
    one = replace(one, sample=replace(one.sample, references=references))
    (score,) = ReferenceSimilarity(embedder=Angles()).score([one])
    assert score.value == pytest.approx(value)


@pytest.mark.parametrize("state", ["failed", "missing", "not applicable"])
def test_a_reply_that_is_none_keeps_its_state(state: State) -> None:
    (score,) = ReferenceSimilarity(embedder=Angles()).score(
        [case("a", None, "60", state=state, reason="why")]
    )
    assert (score.state, score.value) == (state, 0.0 if state == "failed" else None)


def test_without_references_there_is_nothing_to_compare() -> None:
    one = case("a", "0", "60")
    (score,) = ReferenceSimilarity(embedder=Angles()).score(
        [replace(one, sample=replace(one.sample, references=()))]
    )
    assert score.state == "not applicable"
