"""Human ratings: blind sheets, collection, agreement and the human table."""

from __future__ import annotations

import csv
import importlib.util
import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from echat_eval.errors import BadData, UnknownName, UsageError
from echat_eval.io.ratings import COLUMNS, ratings_csv
from echat_eval.ports import Silent
from echat_eval.report.pack import build_report
from echat_eval.report.rating.agreement import krippendorff_alpha as alpha
from echat_eval.report.rating.assign import Crew
from echat_eval.report.rating.collect import collect, read_ratings, units_of
from echat_eval.report.rating.sheet import (
    NATURALNESS,
    Dimension,
    dimensions_of,
    key_path,
    write_sheet,
)
from echat_eval.report.runs import merge_runs
from echat_eval.store.run_folder import RunFolder

DIMENSIONS = (Dimension(name="content", low=0, high=5), Dimension(name="empathy", low=0, high=5))


def make_sheet(
    run: RunFolder, out: Path, *, pair: tuple[str, str] | None = None, samples: int = 3, seed: int = 1
) -> int:
    return write_sheet(
        merge_runs([run]),
        out,
        dimensions=DIMENSIONS,
        pair=pair,
        samples=samples,
        seed=seed,
        progress=Silent(),
    )


def answer_file(out: Path, rater: str, value: Any = 4) -> Path:
    """Write and return a rater's file with the same answer to every question."""
    key = json.loads(key_path(out).read_text(encoding="utf-8"))
    names = [d["name"] for d in key["dimensions"]] or ["preference"]
    ratings = [{"item": item, "dimension": d, "value": value} for item in key["items"] for d in names]
    path = out.parent / f"{rater}.json"
    path.write_text(json.dumps({"sheet": key["sheet"], "rater": rater, "ratings": ratings}), encoding="utf-8")
    return path


def test_a_sheet_is_blind_and_its_key_is_outside(usual_run: RunFolder, tmp_path: Path) -> None:
    questions = make_sheet(usual_run, tmp_path / "sheet")
    key = json.loads(key_path(tmp_path / "sheet").read_text(encoding="utf-8"))
    assert questions == len(key["items"]) == 2 * 3 * 5  # tasks x samples x systems
    texts = [
        p for p in (tmp_path / "sheet").rglob("*") if p.is_file() and p.suffix in {".js", ".html", ".json"}
    ]
    everything = "\n".join(p.read_text(encoding="utf-8") for p in texts)
    for system in usual_run.manifest().systems:
        assert system not in everything.replace("canned", "") or system == "canned"
    assert '"canned"' not in everything
    assert "g0-" not in everything, "a sample's id names its gold label"
    assert key_path(tmp_path / "sheet").parent == tmp_path


def test_order_is_random_and_repeatable(usual_run: RunFolder, tmp_path: Path) -> None:
    keys = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        make_sheet(usual_run, tmp_path / name, seed=seed)
        keys.append(json.loads(key_path(tmp_path / name).read_text(encoding="utf-8"))["items"])
    assert keys[0] == keys[1] != keys[2]
    order = [answer["systems"][0] for answer in keys[0].values()]
    assert order != sorted(order)


def test_every_system_is_rated_on_the_same_samples(usual_run: RunFolder, tmp_path: Path) -> None:
    make_sheet(usual_run, tmp_path / "sheet", samples=4)
    items = json.loads(key_path(tmp_path / "sheet").read_text(encoding="utf-8"))["items"].values()
    by_system: dict[str, set[tuple[str, str]]] = {}
    for item in items:
        by_system.setdefault(item["systems"][0], set()).add((item["task"], item["sample_id"]))
    assert len({frozenset(found) for found in by_system.values()}) == 1


def test_an_existing_sheet_is_never_replaced(usual_run: RunFolder, tmp_path: Path) -> None:
    make_sheet(usual_run, tmp_path / "sheet")
    with pytest.raises(UsageError, match="exists already and may have been rated"):
        make_sheet(usual_run, tmp_path / "sheet")


def test_collected_ratings_name_the_right_system(usual_run: RunFolder, tmp_path: Path) -> None:
    out = tmp_path / "sheet"
    make_sheet(usual_run, out)
    key = json.loads(key_path(out).read_text(encoding="utf-8"))
    found = read_ratings(key_path(out), [answer_file(out, "ann", 4), answer_file(out, "ben", 2)])
    assert len(found) == 2 * len(key["items"]) * 2
    text = ratings_csv(found)
    rows = list(csv.DictReader(text.splitlines()))
    assert tuple(rows[0]) == COLUMNS
    first = next(iter(key["items"].values()))
    assert (rows[0]["system"], rows[0]["task"], rows[0]["sample_id"]) == (
        first["systems"][0],
        first["task"],
        first["sample_id"],
    )
    assert sorted(units_of(found, "content")[0]) == [2, 4]


def test_a_preference_becomes_one_row_for_each_system(usual_run: RunFolder, tmp_path: Path) -> None:
    out = tmp_path / "ab"
    make_sheet(usual_run, out, pair=("careful", "text-only"))
    key = json.loads(key_path(out).read_text(encoding="utf-8"))
    assert {tuple(sorted(i["systems"])) for i in key["items"].values()} == {("careful", "text-only")}
    assert len({tuple(i["systems"]) for i in key["items"].values()}) == 2, "the order of the pair is random"
    found = read_ratings(key_path(out), [answer_file(out, "ann", "a")])
    for (name, item), rows in zip(
        key["items"].items(), zip(found[::2], found[1::2], strict=True), strict=True
    ):
        assert {r.system: r.value for r in rows} == {item["systems"][0]: 1.0, item["systems"][1]: 0.0}, name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: {**f, "sheet": "other"}, "answers another sheet"),
        (lambda f: {**f, "rater": " "}, "not a rater's file"),
        (
            lambda f: {**f, "ratings": [{"item": "q1", "dimension": "content", "value": 6}]},
            "not a whole number from 0 to 5",
        ),
        (
            lambda f: {**f, "ratings": [{"item": "q1", "dimension": "content", "value": True}]},
            "not a whole number",
        ),
        (
            lambda f: {**f, "ratings": [{"item": "q1", "dimension": "charm", "value": 1}]},
            "asks for content, empathy",
        ),
        (
            lambda f: {**f, "ratings": [{"item": "q999", "dimension": "content", "value": 1}]},
            "no question 'q999'",
        ),
        (
            lambda f: {**f, "ratings": [{"item": "q1", "dimension": "content", "value": 1}] * 2},
            "answered twice",
        ),
        (
            lambda f: {**f, "ratings": ["q1"]},
            "rating 1: is 'q1', expected a mapping of item, dimension, value",
        ),
        (
            lambda f: {**f, "ratings": [{"item": "q1", "dimension": ["content"], "value": 1}]},
            r"rating 1: 'dimension' is \['content'\], expected text",
        ),
        (lambda f: [], "expected an object"),
    ],
)
def test_an_invalid_file_is_refused_in_one_line(
    usual_run: RunFolder, tmp_path: Path, change: Any, message: str
) -> None:
    out = tmp_path / "sheet"
    make_sheet(usual_run, out, samples=1)
    path = answer_file(out, "ann")
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(BadData, match=message) as caught:
        read_ratings(key_path(out), [path])
    assert "\n" not in str(caught.value)


def test_one_rater_in_two_files_is_refused(usual_run: RunFolder, tmp_path: Path) -> None:
    out = tmp_path / "sheet"
    make_sheet(usual_run, out, samples=1)
    path = answer_file(out, "ann")
    with pytest.raises(BadData, match="rater 'ann' is also in"):
        read_ratings(key_path(out), [path, path])


def test_alpha_matches_krippendorffs_example() -> None:
    # Krippendorff (2011), Computing Krippendorff's alpha-reliability, section D: 4 observers, 12 units.
    observers = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
        [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
    ]
    units = [[float(v) for v in unit if v is not None] for unit in zip(*observers, strict=True)]
    assert alpha(units, "nominal") == pytest.approx(0.743, abs=5e-4)
    assert alpha(units, "ordinal") == pytest.approx(0.815, abs=5e-4)
    assert alpha(units, "interval") == pytest.approx(0.849, abs=5e-4)


def test_alpha_without_repeated_or_varying_ratings_is_undefined() -> None:
    assert alpha([[1.0], [2.0]]) is None
    assert alpha([[3.0, 3.0], [3.0, 3.0]]) is None
    assert alpha([[1.0, 1.0], [5.0, 5.0]]) == 1.0


def test_rubrics_define_the_questions() -> None:
    questions = [(d.name, d.low, d.high) for d in dimensions_of("echat-r1")]
    assert questions == [(name, 0, 5) for name in ("content", "cue_awareness", "empathy")]
    with pytest.raises(UnknownName, match="unknown judge 'nobody'"):
        dimensions_of("nobody")


def test_the_human_table_contains_the_ratings(usual_run: RunFolder, tmp_path: Path) -> None:
    out = tmp_path / "sheet"
    make_sheet(usual_run, out, samples=5)
    found = read_ratings(key_path(out), [answer_file(out, "ann", 4), answer_file(out, "ben", 1)])
    (tmp_path / "ratings.csv").write_text(ratings_csv(found), encoding="utf-8")
    build_report(
        [str(usual_run.path)],
        tmp_path / "out",
        progress=Silent(),
        only=["tables"],
        ratings=tmp_path / "ratings.csv",
        with_published=True,
    )
    rows = list(
        csv.DictReader((tmp_path / "out/tables/human-automatic.csv").read_text(encoding="utf-8").splitlines())
    )
    mine = {(r["row"], r["column"]): r["value"] for r in rows if r["block"] == "measured"}
    assert float(mine["careful", "emotion, human"]) == pytest.approx(50.0)  # mean of 4/5 and 1/5
    # Ann and Ben differ by 60 points on every reply: nothing is known of a third rater, and the interval
    # over replies alone would have no width.
    limits = {(r["row"], r["column"]): (float(r["low"]), float(r["high"])) for r in rows if r["low"]}
    assert limits["careful", "emotion, human"] == pytest.approx((0, 100))
    table = (tmp_path / "out/tables/human-automatic.md").read_text(encoding="utf-8")
    assert "2 raters a cell; the interval is over replies and raters" in table
    scores = [
        s.value
        for s in usual_run.scores().values()
        if (s.system, s.task, s.metric) == ("careful", "emotion", "judge_r0") and s.value is not None
    ]
    assert float(mine["careful", "emotion, automatic"]) == pytest.approx(math.fsum(scores) / len(scores))
    reported = {(r["row"], r["column"]): r["value"] for r in rows if r["block"] == "published"}
    assert float(reported["OSUM-EChat", "emotion, human"]) == 72.0


NEEDS_BROWSER = pytest.mark.skipif(
    shutil.which("chromium") is None or importlib.util.find_spec("playwright") is None,
    reason="needs chromium (Debian: apt-get install chromium) and playwright (pip install playwright)",
)


@NEEDS_BROWSER
def test_ratings_in_the_browser_are_saved_and_collected(usual_run: RunFolder, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    out = tmp_path / "sheet"
    make_sheet(usual_run, out, samples=1)
    errors: list[str] = []
    requests: list[str] = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        context = browser.new_context(locale="en-GB", viewport={"width": 390, "height": 844})
        page = context.new_page()
        page.on("console", lambda m: errors.append(m.text) if m.type in {"error", "warning"} else None)
        page.on("pageerror", lambda e: errors.append(str(e)))
        page.on("request", lambda r: requests.append(r.url))
        page.goto(f"file://{out}/index.html")
        page.fill("#rater", "Ann B.")
        page.click("#begin")
        page.locator('fieldset[data-dimension="content"] label').nth(3).click()
        page.keyboard.press("ArrowRight")  # the scale can be moved along by keyboard alone
        page.locator('fieldset[data-dimension="empathy"] label').nth(5).click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.reload()
        page.click("#begin")
        assert "1 answered" in page.locator("#where").inner_text(), "progress is kept in the browser"
        for _ in range(9):
            for name in ("content", "empathy"):
                page.locator(f'fieldset[data-dimension="{name}"] label').nth(2).click()
            if page.locator("#next").is_enabled():
                page.click("#next")
        with page.expect_download() as download:
            page.click("#save")
        download.value.save_as(tmp_path / "ann.json")
        browser.close()
    found = read_ratings(key_path(out), [tmp_path / "ann.json"])
    assert len(found) == 2 * 5 * 2
    assert sorted(r.value for r in found) == [2] * 18 + [4, 5]
    assert {r.rater for r in found} == {"Ann B."}
    assert errors == []
    assert [u for u in requests if not u.startswith((f"file://{out}/", "blob:", "data:"))] == []


@NEEDS_BROWSER
def test_an_assigned_rater_agrees_and_answers_checks_in_the_browser(
    usual_run: RunFolder, tmp_path: Path
) -> None:
    from playwright.sync_api import sync_playwright

    out = tmp_path / "sheet"
    crew = Crew(raters=3, overlap=2, checks=1, consent="One.\n\nTwo.", pay="5 EUR", demographics=("age",))
    write_sheet(
        merge_runs([usual_run]),
        out,
        dimensions=(NATURALNESS,),
        pair=None,
        samples=1,
        seed=1,
        progress=Silent(),
        match=True,
        crew=crew,
    )
    key = json.loads(key_path(out).read_text(encoding="utf-8"))
    errors: list[str] = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_context(locale="en-GB", viewport={"width": 390, "height": 844}).new_page()
        page.on("pageerror", lambda e: errors.append(str(e)))
        page.goto(f"file://{out}/index.html")
        page.fill("#rater", "r9")
        page.click("#begin")
        assert "no rater “r9”" in page.locator("#problem").inner_text()
        page.fill("#rater", "r2")
        page.fill("#yourself-age", "41")
        page.click("#begin")
        assert "after you agree" in page.locator("#problem").inner_text()
        page.check("#agree")
        page.click("#begin")
        for _ in key["raters"]["r2"]:
            if page.locator("#stated").count():
                words = page.locator("#stated").inner_text()
                page.locator("fieldset label").filter(has_text=words.split("“")[1].split("”")[0]).click()
            else:
                page.locator('fieldset[data-dimension="match"] label').first.click()
                page.locator('fieldset[data-dimension="naturalness"] label').nth(2).click()
            if page.locator("#next").is_enabled():
                page.click("#next")
        with page.expect_download() as download:
            page.click("#save")
        download.value.save_as(tmp_path / "r2.json")
        browser.close()
    assert errors == []
    found = collect(key_path(out), [tmp_path / "r2.json"])
    (person,) = found.raters
    assert (person.failed, person.checks, person.differed, person.repeats) == (0, 1, 0, 2)
    assert person.demographics == {"age": "41"}
    assert {r.value for r in found.ratings if r.dimension == "naturalness"} == {3}
