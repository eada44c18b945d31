"""Repeats: ids, and the one score per sample that tables read, against a mean by hand."""

from __future__ import annotations

import pytest

from echat_eval.records import Response, Score, State
from echat_eval.store.repeats import (
    averaged_scores,
    first_replies,
    join_repeat,
    repeats_in,
    split_repeat,
    worst_responses,
)
from echat_eval.task.row import is_id


def scores(*rows: tuple[State, float | None, float]) -> dict[tuple[str, str, str, str], Score]:
    """Return the scores of the repeats of one sample: state, value, weight."""
    found = {}
    for number, (state, value, weight) in enumerate(rows, 1):
        ident = ("a", "t", join_repeat("s", number), "m")
        found[ident] = Score(
            key=str(number),
            system="a",
            task="t",
            sample_id=ident[2],
            metric="m",
            state=state,
            value=value,
            weight=weight,
        )
    return found


def test_no_sample_can_have_the_id_of_a_repeat() -> None:
    assert join_repeat("s", 1) == "s"
    assert split_repeat(join_repeat("s 2", 12)) == ("s 2", 12)
    assert not is_id(join_repeat("s", 2))
    assert repeats_in([("a", "t", join_repeat("s", 3)), ("b", "t", "s")]) == {"a": 3, "b": 1}


@pytest.mark.parametrize(
    ("rows", "state", "value", "weight"),
    [
        ((("value", 1.0, 1.0), ("value", 2.0, 1.0), ("value", 6.0, 1.0)), "value", 3.0, 1.0),
        ((("value", 10.0, 30.0), ("value", 40.0, 10.0)), "value", 17.5, 20.0),
        ((("value", 1.0, 0.0), ("value", 2.0, 0.0)), "value", 1.5, 0.0),
        ((("value", 4.0, 1.0), ("failed", 0.0, 1.0)), "failed", 2.0, 1.0),
        ((("value", 4.0, 1.0), ("failed", None, 1.0)), "failed", 4.0, 1.0),
        ((("value", 4.0, 1.0), ("missing", None, 1.0)), "missing", None, 1.0),
        ((("not applicable", None, 1.0), ("value", 4.0, 1.0)), "value", 4.0, 1.0),
        ((("not applicable", None, 1.0), ("not applicable", None, 1.0)), "not applicable", None, 1.0),
    ],
)
def test_repeats_count_as_one_row_and_hide_no_failure(
    rows: tuple[tuple[State, float | None, float], ...], state: str, value: float | None, weight: float
) -> None:
    (score,) = averaged_scores(scores(*rows)).values()
    assert (score.sample_id, score.state, score.value, score.weight) == ("s", state, value, weight)


def test_a_run_without_repeats_is_unchanged() -> None:
    rows = scores(("value", 1.0, 1.0))
    assert averaged_scores(rows) == rows == first_replies(rows)


def test_a_reply_that_fails_once_is_a_failure() -> None:
    def response(number: int, state: State) -> Response:
        return Response(key="", system="a", task="t", sample_id=join_repeat("s", number), state=state)

    for states, expected in ((("value", "failed"), "failed"), (("failed", "value"), "failed")):
        found = [response(n, state) for n, state in enumerate(states, 1)]  # type: ignore[arg-type]
        rows = {(r.system, r.task, r.sample_id): r for r in found}
        assert [(r.sample_id, r.state) for r in worst_responses(rows).values()] == [("s", expected)]
