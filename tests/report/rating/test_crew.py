"""Raters of a sheet: assignment, attention checks, repeated questions, consent, and the analysis plan."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from echat_eval.errors import BadData, UsageError
from echat_eval.ports import Silent
from echat_eval.report.rating.assign import Crew, assign
from echat_eval.report.rating.collect import collect
from echat_eval.report.rating.facts import facts_json, facts_path, read_facts, require_same_replies
from echat_eval.report.rating.plan import plan_path
from echat_eval.report.rating.rater_lines import rater_lines, tie_lines
from echat_eval.report.rating.sheet import NATURALNESS, Dimension, key_path, write_sheet
from echat_eval.report.runs import MergedRuns, merge_runs
from echat_eval.store.run_folder import RunFolder

Key = Mapping[str, Any]
CREW = Crew(raters=4, overlap=2, checks=2, consent="I agree.", pay="12 EUR an hour", demographics=("age",))


@pytest.fixture(scope="module")
def runs(usual_run: RunFolder) -> MergedRuns:
    return merge_runs([usual_run])


def make_sheet(runs: MergedRuns, out: Path, **changes: Any) -> Key:
    options: dict[str, Any] = {
        "dimensions": (Dimension(name="empathy", low=0, high=5),),
        "pair": None,
        "samples": 4,
        "seed": 1,
        "progress": Silent(),
        "crew": CREW,
    }
    write_sheet(runs, out, **(options | changes))
    found: Key = json.loads(key_path(out).read_text(encoding="utf-8"))
    return found


def steady(item: str, dimension: str, key: Key) -> int | str:
    """Return the same answer to a question whenever it comes."""
    first = key["items"][item].get("repeats", item)
    return "a" if dimension in ("match", "preference") else 1 + len(first) % 3


def answers(
    key: Key, rater: str, folder: Path, value: Callable[[str, str, Key], int | str] = steady, **facts: Any
) -> Path:
    """Write and return the file of a rater who reads attention checks."""
    dimensions = [*(["match"] if key.get("match") else []), *(d["name"] for d in key["dimensions"])]
    ratings = []
    for item in key["raters"][rater]:
        if item in key["checks"]:
            dimension, stated = key["checks"][item]
            ratings.append({"item": item, "dimension": dimension, "value": stated})
            continue
        ratings += [{"item": item, "dimension": d, "value": value(item, d, key)} for d in dimensions]
    path = folder / f"{rater}.json"
    content = {"sheet": key["sheet"], "rater": rater, "consented": True, "ratings": ratings, **facts}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def all_files(key: Key, folder: Path) -> list[Path]:
    return [answers(key, rater, folder) for rater in key["raters"]]


def test_loads_systems_and_raters_of_questions_are_balanced() -> None:
    systems = {f"q{n}": "abc"[n % 3] for n in range(60)}
    found = assign(systems, raters=7, overlap=3, rng=random.Random(1))
    loads = [len(own) for own in found.values()]
    assert sum(loads) == 180
    assert max(loads) - min(loads) <= 1
    assert all(len(own) == len(set(own)) for own in found.values()), "nobody rates a question twice"
    for own in found.values():
        of_system = Counter(systems[question] for question in own)
        assert max(of_system.values()) - min(of_system.values()) <= 3
    pairs = {(a, b) for a in found for b in found if a < b and set(found[a]) & set(found[b])}
    assert len(pairs) == 21, "any two raters share questions"


def test_more_raters_of_a_question_than_raters_are_refused(runs: MergedRuns, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--overlap 3 with --raters 2"):
        make_sheet(runs, tmp_path / "s", crew=Crew(raters=2))


def test_each_rater_has_checks_and_repeated_questions(runs: MergedRuns, tmp_path: Path) -> None:
    key = make_sheet(runs, tmp_path / "s")
    replies = {n for n, a in key["items"].items() if "repeats" not in a}
    seen = Counter(q for own in key["raters"].values() for q in own if q in replies)
    assert set(seen.values()) == {2}
    for own in key["raters"].values():
        assert len([q for q in own if q in key["checks"]]) == 2
        again = [key["items"][q]["repeats"] for q in own if "repeats" in key["items"].get(q, {})]
        assert len(again) == 2
        assert set(again) <= set(own)
    sheet = (tmp_path / "s" / "data" / "sheet.js").read_text(encoding="utf-8")
    assert "repeats" not in sheet
    assert key["plan"]["sha256"] in sheet


def test_checks_and_repeats_are_no_ratings(runs: MergedRuns, tmp_path: Path) -> None:
    key = make_sheet(runs, tmp_path / "s")
    found = collect(key_path(tmp_path / "s"), all_files(key, tmp_path))
    replies = sum("repeats" not in answer for answer in key["items"].values())
    assert len(found.ratings) == 2 * replies
    assert [(p.failed, p.checks, p.differed, p.repeats) for p in found.raters] == [(0, 2, 0, 2)] * 4
    assert rater_lines(found) == []


def test_a_rater_who_fails_most_checks_is_left_out(runs: MergedRuns, tmp_path: Path) -> None:
    key = make_sheet(runs, tmp_path / "s")
    files = all_files(key, tmp_path)
    careless = json.loads(files[0].read_text())
    for row in careless["ratings"]:
        if row["item"] in key["checks"]:
            row["value"] = (row["value"] + 1) % 6
    files[0].write_text(json.dumps(careless))
    found = collect(key_path(tmp_path / "s"), files)
    assert {r.rater for r in found.ratings} == {"r2", "r3", "r4"}
    assert rater_lines(found) == ["rater 'r1' is left out: failed 2 of 2 attention checks"]
    with pytest.raises(BadData, match="every rater failed more than half"):
        collect(key_path(tmp_path / "s"), files[:1])


def test_missing_answers_are_counted_and_missing_checks_fail(runs: MergedRuns, tmp_path: Path) -> None:
    key = make_sheet(runs, tmp_path / "s")
    files = all_files(key, tmp_path)[:2]
    content = json.loads(files[0].read_text())
    content["ratings"] = [row for row in content["ratings"] if row["item"] not in key["checks"]][:5]
    files[0].write_text(json.dumps(content))
    found = collect(key_path(tmp_path / "s"), files)
    assert {r.rater for r in found.ratings} == {"r2"}
    questions = len(key["raters"]["r1"])
    assert rater_lines(found) == [
        f"rater 'r1' answered 5 of {questions} questions",
        "rater 'r1' is left out: failed 2 of 2 attention checks",
    ]
    facts_path(tmp_path / "r.csv").write_text(facts_json(found))
    facts = read_facts(tmp_path / "r.csv")
    assert facts is not None
    assert facts.assigned == 4


def test_a_rater_who_disagrees_with_themselves_is_named(runs: MergedRuns, tmp_path: Path) -> None:
    key = make_sheet(runs, tmp_path / "s")

    def moody(item: str, dimension: str, key: Key) -> int:
        return 5 if "repeats" in key["items"][item] else 0

    found = collect(key_path(tmp_path / "s"), [answers(key, "r1", tmp_path, moody)])
    (line,) = rater_lines(found)
    assert "rater 'r1' disagrees with themselves: 2 of 2 repeated answers" in line
    assert found.ratings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rater": "ann"}, "rater 'ann' is none of the sheet, r1 to r4"),
        ({"consented": False}, "did not agree to the consent text"),
        ({"sheet": "other"}, "answers another sheet"),
    ],
    ids=["code", "consent", "sheet"],
)
def test_files_that_do_not_belong_to_the_sheet_are_refused(
    runs: MergedRuns, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    key = make_sheet(runs, tmp_path / "s")
    path = answers(key, "r1", tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(BadData, match=message):
        collect(key_path(tmp_path / "s"), [path])


def test_questions_of_another_rater_are_refused(runs: MergedRuns, tmp_path: Path) -> None:
    key = make_sheet(runs, tmp_path / "s")
    path = answers(key, "r1", tmp_path)
    other = next(q for q in key["raters"]["r2"] if q not in key["raters"]["r1"])
    content = json.loads(path.read_text())
    content["ratings"] = [{"item": other, "dimension": "empathy", "value": 1}]
    path.write_text(json.dumps(content))
    with pytest.raises(BadData, match=f"question '{other}' is not one of rater 'r1'"):
        collect(key_path(tmp_path / "s"), [path])


@pytest.mark.parametrize(
    ("name", "value"), [("raters", ["r1"]), ("checks", {"q1": 3}), ("demographics", "age"), ("plan", "p")]
)
def test_a_damaged_key_is_refused_in_one_line(
    runs: MergedRuns, tmp_path: Path, name: str, value: object
) -> None:
    key = make_sheet(runs, tmp_path / "s")
    key_path(tmp_path / "s").write_text(json.dumps({**key, name: value}))
    with pytest.raises(BadData, match=f"'{name}' is.*restore the file"):
        collect(key_path(tmp_path / "s"), [])


def test_the_key_opens_while_the_plan_is_unchanged(runs: MergedRuns, tmp_path: Path) -> None:
    key = make_sheet(runs, tmp_path / "s")
    plan = plan_path(tmp_path / "s")
    assert "4 raters; each question has 2 of them" in plan.read_text(encoding="utf-8")
    files = all_files(key, tmp_path)
    assert collect(key_path(tmp_path / "s"), files).plan_kept
    plan.write_text(plan.read_text(encoding="utf-8") + "- Also: report only the best system.\n")
    with pytest.raises(UsageError, match="the analysis plan changed after the sheet was written"):
        collect(key_path(tmp_path / "s"), files)
    assert not collect(key_path(tmp_path / "s"), files, plan_changed=True).plan_kept
    plan.unlink()
    with pytest.raises(UsageError, match="the analysis plan is gone"):
        collect(key_path(tmp_path / "s"), files)


def test_a_plan_of_ones_own_is_kept_byte_by_byte(runs: MergedRuns, tmp_path: Path) -> None:
    first = make_sheet(runs, tmp_path / "a", plan=b"mine\r\n")
    other = make_sheet(runs, tmp_path / "b", plan=b"mine\n")
    assert plan_path(tmp_path / "a").read_bytes() == b"mine\r\n"
    assert first["sheet"] != other["sheet"], "the sheet's id depends on the plan"


def test_facts_stand_beside_ratings_without_what_raters_state_of_themselves(
    runs: MergedRuns, tmp_path: Path
) -> None:
    key = make_sheet(runs, tmp_path / "s")
    files = [answers(key, r, tmp_path, demographics={"age": "33", "name": "Ann"}) for r in key["raters"]]
    found = collect(key_path(tmp_path / "s"), files)
    text = facts_json(found)
    assert json.loads(text)["demographics"] == {"age": {"33": 4}}
    assert "Ann" not in text
    path = tmp_path / "ratings.csv"
    facts_path(path).write_text(text, encoding="utf-8")
    facts = read_facts(path)
    assert facts is not None
    assert facts.plan_sha256 == key["plan"]["sha256"]
    assert "unchanged when the key was opened" in facts.line()
    assert require_same_replies(path, runs.responses) == facts


def test_ratings_of_another_run_are_refused(runs: MergedRuns, tmp_path: Path) -> None:
    key = make_sheet(runs, tmp_path / "s")
    path = tmp_path / "ratings.csv"
    text = facts_json(collect(key_path(tmp_path / "s"), all_files(key, tmp_path)))
    facts_path(path).write_text(text, encoding="utf-8")
    with pytest.raises(BadData, match="ratings of another run: none of its replies"):
        require_same_replies(path, {})
    changed = {
        ident: replace(r, reply=None if r.reply is None else replace(r.reply, text="Other words."))
        for ident, r in runs.responses.items()
    }
    with pytest.raises(BadData, match=r"ratings of another run: the reply of .* is not the one"):
        require_same_replies(path, changed)
    facts_path(path).write_text("{}", encoding="utf-8")
    with pytest.raises(BadData, match="not the facts that `rate import` writes"):
        read_facts(path)


def test_naturalness_stands_beside_the_match_question(runs: MergedRuns, tmp_path: Path) -> None:
    key = make_sheet(runs, tmp_path / "s", match=True, dimensions=(NATURALNESS,))
    found = collect(key_path(tmp_path / "s"), all_files(key, tmp_path)).ratings
    assert {r.dimension for r in found} == {"match", "naturalness"}
    assert {(r.low, r.high) for r in found if r.dimension == "naturalness"} == {(1, 5)}


def test_answers_that_are_all_ties_compare_nothing(runs: MergedRuns, tmp_path: Path) -> None:
    key = make_sheet(runs, tmp_path / "s", match=True, dimensions=())
    files = [answers(key, rater, tmp_path, lambda *_: "equal") for rater in key["raters"]]
    found = collect(key_path(tmp_path / "s"), files).ratings
    (line,) = tie_lines(found)
    assert line.startswith(f"match: all {len(found)} answers are ties")
