"""Match sheets: blind, balanced, collected without loss, and intervals over raters and groups."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench.stats import match_people
from echat_eval.cli.rate import rate_export, rate_import
from echat_eval.errors import BadData, UsageError
from echat_eval.io.ratings import Rating
from echat_eval.ports import Silent
from echat_eval.report.rating.collect import match_groups, read_ratings
from echat_eval.report.rating.match import match_lines, match_rates, match_values
from echat_eval.report.rating.sheet import key_path, write_sheet
from echat_eval.report.runs import merge_runs
from echat_eval.stats import rated_mean
from echat_eval.store.run_folder import RunFolder


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
    assert {(rate.estimate.value, rate.raters) for rate in rates.values()} == {(50.0, 3)}
    always_first = match_rates(
        read_ratings(key_path(sheet), [answers(sheet, "first", "a")]), match_groups(key_path(sheet))
    )
    alone = [rate.estimate for rate in always_first.values()]
    total = sum(e.value * e.n for e in alone) / sum(e.n for e in alone)
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


def test_a_rate_is_the_mean_of_ratings_over_groups_and_raters() -> None:
    """The interval is that of `rated_mean`, whose coverage bench/stats/match_people.py measures."""
    answers = {
        ("ann", 0): 1.0,
        ("ann", 1): 0.0,
        ("ann", 2): 0.5,
        ("ben", 0): 1.0,
        ("ben", 1): 1.0,
        ("ben", 2): 0.0,
    }
    ratings = [
        Rating(
            rater=who, system="s", task="t", sample_id=str(n), dimension="match", value=value, low=0, high=1
        )
        for (who, n), value in answers.items()
    ]
    groups = {("t", "0"): "g", ("t", "1"): "g", ("t", "2"): "h"}
    (found,) = match_rates(ratings, groups).values()
    wanted = rated_mean(
        [100 * v for v in answers.values()], [0, 0, 1] * 2, [who for who, _ in answers], low=0, high=100
    )
    assert found == wanted
    (alone,) = match_lines(ratings[:3], groups)
    assert "(interval over groups, for this rater only)" in alone


def test_the_interval_covers_in_a_short_run() -> None:
    assert match_people.measure(match_people.CELLS[1], 150, 0)["coverage"] >= 90
