"""Match sheets: blind, balanced, collected without loss, and intervals over raters and groups."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from echat_eval.cli.rate import rate_export, rate_import
from echat_eval.errors import BadData, UsageError
from echat_eval.ports import Silent
from echat_eval.report.rating.collect import match_groups, read_ratings
from echat_eval.report.rating.match import match_rates, match_values
from echat_eval.report.rating.sheet import key_path, write_sheet
from echat_eval.report.rating.table import Rating
from echat_eval.report.runs import merge_runs
from echat_eval.store.run_folder import RunFolder
from tests.support.present import present


@pytest.fixture
def sheet(usual_run: RunFolder, tmp_path: Path) -> Path:
    out = tmp_path / "sheet"
    write_sheet(
        merge_runs([usual_run]),
        out,
        dimensions=(),
        pair=None,
        samples=4,
        seed=3,
        progress=Silent(),
        match=True,
    )
    return out


def key_of(sheet: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(key_path(sheet).read_text(encoding="utf-8"))
    return found


def items_of(sheet: Path) -> list[dict[str, Any]]:
    text = (sheet / "data" / "sheet.js").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(json.loads(text[text.index(",") + 1 : text.rindex(")")]))
    return found["items"]  # type: ignore[no-any-return]


def answers(sheet: Path, rater: str, answer: Any, dimension: str = "match") -> Path:
    """Write a rater's file; `answer` is a value, or a function of the key's facts of a question."""
    key = key_of(sheet)
    ratings = [
        {"item": name, "dimension": dimension, "value": answer(facts) if callable(answer) else answer}
        for name, facts in key["items"].items()
    ]
    path = sheet.parent / f"{rater}.json"
    path.write_text(json.dumps({"sheet": key["sheet"], "rater": rater, "ratings": ratings}), encoding="utf-8")
    return path


def test_a_sheet_shows_two_voices_and_not_which_is_the_own(sheet: Path) -> None:
    items, key = items_of(sheet), key_of(sheet)["items"]
    assert len(items) == len(key) > 10
    for item in items:
        first, second = item["voices"]
        assert first != second
        assert len(item["replies"]) == 1
        assert not {"audio", "own", "group", "systems"} & set(item)
    own = [facts["own"] for facts in key.values()]
    assert abs(own.count("a") - own.count("b")) <= 1


def test_answers_become_shares_of_the_own_voice(sheet: Path) -> None:
    other = {"a": "b", "b": "a"}
    files = [
        answers(sheet, "right", lambda facts: facts["own"]),
        answers(sheet, "wrong", lambda facts: other[facts["own"]]),
        answers(sheet, "open", "equal"),
    ]
    ratings = read_ratings(key_path(sheet), files)
    assert {(r.rater, r.dimension, r.value) for r in ratings} == {
        ("right", "match", 1.0), ("wrong", "match", 0.0), ("open", "match", 0.5)
    }  # fmt: skip
    rates = match_rates(ratings, match_groups(key_path(sheet)))
    assert {estimate.value for estimate in rates.values()} == {50.0}
    always_first = match_rates(
        read_ratings(key_path(sheet), [answers(sheet, "first", "a")]), match_groups(key_path(sheet))
    )
    total = sum(e.value * e.n for e in always_first.values()) / sum(e.n for e in always_first.values())
    assert total == pytest.approx(50, abs=100 / len(items_of(sheet))), "the order is balanced"


def test_groups_that_expect_the_same_are_over_reaction() -> None:
    assert match_values("a", {"own": "a"}) == ("match", 1.0, 0, 1)
    assert [match_values(x, {"own": "a", "expect": "same"})[1] for x in ("a", "b", "equal")] == [
        1.0,
        -1.0,
        0.0,
    ]


@pytest.mark.parametrize(("value", "dimension"), [("c", "match"), (1, "match"), ("a", "preference")])
def test_bad_answers_are_one_line(sheet: Path, value: Any, dimension: str) -> None:
    with pytest.raises(BadData, match=r"rating 1: expected the match a, b or equal, got"):
        read_ratings(key_path(sheet), [answers(sheet, "ann", value, dimension)])


def test_a_damaged_key_is_one_line(sheet: Path) -> None:
    path, key = key_path(sheet), key_of(sheet)
    file = answers(sheet, "ann", "a")
    next(iter(key["items"].values())).pop("own")
    path.write_text(json.dumps(key))
    with pytest.raises(BadData, match="lack 'own'"):
        read_ratings(path, [file])


def test_the_commands(usual_run: RunFolder, tmp_path: Path) -> None:
    def invoke(command: Any, *words: object) -> Any:
        return CliRunner().invoke(command, list(map(str, words)), standalone_mode=False)

    out = tmp_path / "sheet"
    done = invoke(rate_export, usual_run.path, "--match", "--samples", 2, "--out", out)
    assert done.exception is None, done.exception
    files = [answers(out, name, lambda facts: facts["own"]) for name in ("ann", "ben", "cho")]
    done = invoke(rate_import, *files, "--key", key_path(out), "--out", tmp_path / "ratings.csv")
    assert done.exception is None, done.exception
    assert "match 100.0 [" in done.output
    assert "(interval over raters and groups)" in done.output
    both = invoke(rate_export, usual_run.path, "--match", "--ab", "a,b", "--out", tmp_path / "other")
    assert isinstance(both.exception, UsageError)


def test_intervals_over_raters_and_groups_hold_the_truth() -> None:
    """Raters differ in how often they find the voice, and groups in how well it can be found."""
    rng = np.random.default_rng(7)
    held = []
    for _ in range(150):
        raters, groups = rng.normal(0, 0.1, 8), rng.normal(0, 0.15, 30)
        chance = np.clip(0.65 + raters[:, None] + groups[None, :], 0, 1)
        right = rng.random(chance.shape) < chance
        ratings = [
            Rating(
                rater=str(r),
                system="s",
                task="t",
                sample_id=str(g),
                dimension="match",
                value=float(right[r, g]),
                low=0,
                high=1,
            )
            for r, g in np.ndindex(right.shape)
        ]
        (rate,) = match_rates(ratings, {("t", str(g)): str(g) for g in range(30)}).values()
        held.append(present(rate.low) <= 65 <= present(rate.high))
    assert np.mean(held) >= 0.92
