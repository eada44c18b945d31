"""The page in Chromium, driven by Playwright and opened from disk."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echat_eval.leaderboard.build import build_leaderboard
from echat_eval.leaderboard.rank_text import rank_text
from echat_eval.report.human import human_means
from echat_eval.report.page import PageFront
from echat_eval.report.runs import merge_runs
from echat_eval.store.run_folder import RunFolder
from tests.support.present import present
from tests.support.report_runs import make_page, rated
from tests.support.scripted_world import HOSTILE, make_run, make_task, scripted_system

INHERITED = ["constructor", "toString", "__proto__", "plain"]
CHROMIUM = shutil.which("chromium")
AXE = next(
    (
        p
        for p in (os.environ.get("ECHAT_AXE", ""), "node_modules/axe-core/axe.min.js")
        if p and Path(p).is_file()
    ),
    None,
)
if CHROMIUM is None:
    pytest.skip("no chromium on the path (Debian: apt-get install chromium)", allow_module_level=True)
if importlib.util.find_spec("playwright") is None:
    pytest.skip("no playwright (pip install playwright)", allow_module_level=True)


class Tab:
    """A browser tab that records its requests and its console errors."""

    def __init__(self, browser: Any, folder: Path, **context: Any) -> None:
        self.folder = folder
        self.context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 800}, "locale": "en-GB", **context}
        )
        self.page = self.context.new_page()
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on(
            "console", lambda m: self.errors.append(m.text) if m.type in {"error", "warning"} else None
        )
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))
        self.page.on("request", lambda r: self.requests.append(r.url))

    def open(self, route: str = "#/") -> Any:
        self.page.goto("about:blank")
        self.page.goto(f"file://{self.folder}/index.html{route}")
        self.page.wait_for_selector("main > div")
        return self.page

    def close(self) -> None:
        self.context.close()
        assert self.errors == []
        inside = f"file://{self.folder}/"
        assert [u for u in self.requests if not u.startswith((inside, "data:", "blob:", "about:"))] == []


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        )
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def usual_page(usual_run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_page([usual_run], tmp_path_factory.mktemp("usual-page") / "out")


@pytest.fixture(scope="module")
def hostile_page(hostile_run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_page([hostile_run], tmp_path_factory.mktemp("hostile-page") / "out")


@pytest.fixture
def tab(browser: Any, usual_page: Path) -> Iterator[Tab]:
    opened = Tab(browser, usual_page)
    yield opened
    opened.close()


def names(page: Any) -> list[str]:
    found: list[str] = page.locator("tbody:not(.frame) tr[data-system]").evaluate_all(
        "rows => rows.map(r => r.dataset.system)"
    )
    return found


def test_leaderboard_numbers_match_build_leaderboard(tab: Tab, usual_run: RunFolder) -> None:
    board = build_leaderboard([usual_run])
    page = tab.open()
    for system in board.roles:
        for task in ("all", *board.tasks):
            estimate = board.summaries[system, task, "cue_contrast"].estimate
            cell = page.locator(f'tr[data-system="{system}"] td[data-task="{task}"]')
            assert estimate is not None
            shown = cell.locator(".value").inner_text().replace("−", "-")
            assert float(shown) == pytest.approx(estimate.value, abs=0.05)
            if estimate.low is not None:
                low, high = cell.locator(".range").inner_text().replace("−", "-").split(" … ")
                assert (float(low), float(high)) == pytest.approx((estimate.low, estimate.high), abs=0.05)
    assert page.locator("tbody.frame tr[data-system]").count() == 2


def test_ranks_are_those_of_the_terminal(browser: Any, hostile_page: Path, hostile_run: RunFolder) -> None:
    board = build_leaderboard([hostile_run])
    opened = Tab(browser, hostile_page)
    page = opened.open()
    shown = {
        row.get_attribute("data-system"): row.locator(".rank").inner_text()
        for row in page.locator("tr[data-system]").all()
    }
    assert shown == {system: rank_text(board, system) for system in board.roles}
    assert any("to" in rank for rank in shown.values())
    opened.close()


def test_two_metrics_stand_side_by_side_and_against_each_other(tab: Tab, usual_run: RunFolder) -> None:
    board = build_leaderboard([usual_run])
    page = tab.open()
    assert page.locator(".scatter").count() == 0
    page.select_option("#second", "judge_r0")
    cell = page.locator('tr[data-system="careful"] td[data-task="age"]')
    for metric in ("cue_contrast", "judge_r0"):
        shown = cell.locator(f'[data-metric="{metric}"] .value').inner_text().replace("−", "-")
        estimate = present(board.summaries["careful", "age", metric].estimate)
        assert float(shown) == pytest.approx(estimate.value, abs=0.05)
    centres = page.locator(".scatter .mark").evaluate_all(
        "marks => marks.map(m => [m.dataset.system, +m.querySelector('circle').getAttribute('cx'),"
        " -m.querySelector('circle').getAttribute('cy')])"
    )
    means = {
        system: [
            present(board.summaries[system, "all", m].estimate).value for m in ("cue_contrast", "judge_r0")
        ]
        for system in board.roles
    }
    assert {name for name, *_ in centres} == set(means)
    for axis in (0, 1):
        drawn = np.array([point[1 + axis] for point in centres])
        stated = np.array([means[point[0]][axis] for point in centres])
        assert np.corrcoef(drawn, stated)[0, 1] == pytest.approx(1, abs=1e-9)
    page.locator("#nav a").nth(1).click()
    page.goto(page.url.split("#")[0] + "#/samples?metric=cue_contrast&second=judge_r0&system=careful")
    assert page.locator(".row").first.locator(".standing .one").count() == 2


def test_people_stand_beside_the_judge(browser: Any, usual_run: RunFolder, tmp_path: Path) -> None:
    front = PageFront(title="Heard", authors="Ada and Ben")
    ratings = rated(usual_run, tmp_path / "ratings.csv")
    opened = Tab(browser, make_page([usual_run], tmp_path / "out", ratings=ratings, front=front))
    page = opened.open()
    assert (page.title(), page.locator("h1").inner_text()) == ("Heard", "Heard")
    assert page.locator(".authors").inner_text() == "Ada and Ben"
    assert page.locator("#second").input_value() == "people ratings"
    means, _ = human_means(ratings, merge_runs([usual_run]))
    for (system, task), mean in means.items():
        cell = page.locator(
            f'tr[data-system="{system}"] td[data-task="{task}"] [data-metric="people ratings"]'
        )
        assert float(cell.locator(".value").inner_text()) == pytest.approx(mean.estimate.value, abs=0.05)
    page = opened.open("#/samples/emotion/g1-sad?system=careful")
    page.wait_for_selector(".card")
    assert page.title() == "Samples – Heard"
    own = page.locator('.card[data-system="careful"]')
    judge = usual_run.scores()["careful", "emotion", "g1-sad", "judge_r0"]
    grades = own.locator(".grades > div")
    assert grades.locator("dd").first.inner_text() == f"{judge.value:.1f}"
    assert [text.split(" (")[0] for text in grades.locator("dt").all_inner_texts()] == ["Judge r0", "People"]
    assert "empathy: " in own.locator(".rated").inner_text()
    assert "2 ratings" in own.locator(".rated").inner_text()
    opened.close()


def test_views_open_on_the_best_systems(tab: Tab, usual_run: RunFolder) -> None:
    board = build_leaderboard([usual_run])
    found = {s: board.summaries[s, "all", board.headline.name].estimate for s in board.roles}
    best = sorted((s for s in found if board.roles[s] == "system"), key=lambda s: -present(found[s]).value)
    page = tab.open("#/samples")
    assert page.locator("select[name=system]").input_value() == best[0]
    page = tab.open("#/compare")
    assert [page.locator(f"select[name={side}]").input_value() for side in "ab"] == best[:2]


def test_sorting_by_a_column_and_by_name(tab: Tab) -> None:
    page = tab.open()
    down = names(page)
    page.locator('th[data-column="all"] button').click()
    assert names(page) == down[::-1]
    assert page.locator('th[data-column="all"]').get_attribute("aria-sort") == "ascending"
    page.locator('th[data-column="name"] button').click()
    assert names(page) == sorted(names(page), reverse=True) or names(page) == sorted(names(page))


def test_filters_show_exactly_the_matching_samples(tab: Tab, usual_run: RunFolder) -> None:
    page = tab.open("#/samples")
    samples = usual_run.samples()

    def shown() -> set[str]:
        page.evaluate("document.querySelector('.list').growTo(1e9)")
        return set(
            page.locator(".row").evaluate_all("rows => rows.map(r => r.getAttribute('href').split('?')[0])")
        )

    def expected(test: Any) -> set[str]:
        return {f"#/samples/{s.task}/{s.id}" for s in samples if test(s)}

    assert shown() == expected(lambda s: True)
    page.select_option("select[name=task]", "emotion")
    page.select_option("select[name=label]", "emotion:sad")
    assert shown() == expected(lambda s: s.task == "emotion" and s.cues["emotion"] == "sad")
    page.select_option("select[name=language]", "zh")
    page.select_option("select[name=source]", "real")

    def test(s: Any) -> bool:
        return (s.cues.get("emotion"), s.language, s.source) == ("sad", "zh", "real")

    assert shown() == expected(test) != set()
    page.get_by_role("button", name="Clear filters").click()
    page.select_option("select[name=system]", "average")
    page.select_option("select[name=state]", "f")
    failed = {(r.task, r.sample_id) for r in usual_run.responses().values() if r.state == "failed"}
    assert shown() == expected(lambda s: (s.task, s.id) in failed) != set()
    page.get_by_role("button", name="Clear filters").click()
    page.locator("#search").type("letter")
    assert shown() == expected(lambda s: "letter" in s.transcript)


def test_only_one_sound_plays_at_a_time(tab: Tab) -> None:
    page = tab.open("#/samples/emotion/g1-sad?system=careful")
    page.locator('.player[data-slot="query"] .play').click()
    page.wait_for_selector('.player[data-slot="query"][data-playing="yes"]')
    page.locator('.player[data-slot="reply-1"] .play').click()
    page.wait_for_selector('.player[data-slot="reply-1"][data-playing="yes"]')
    assert page.locator('[data-playing="yes"]').count() == 1
    page.wait_for_selector('.player[data-slot="reply-1"][data-playing="no"]')
    assert any("/audio/" in url for url in tab.requests)
    assert page.locator(".fault").all_inner_texts() == ["" for _ in range(page.locator(".fault").count())]


def test_a_deep_link_opens_the_sample_with_all_details(tab: Tab, usual_run: RunFolder) -> None:
    sample = next(s for s in usual_run.samples() if s.id == "g1-sad")
    page = tab.open("#/samples/emotion/g1-sad?system=careful&task=emotion")
    page.wait_for_selector(".card")
    text = page.locator(".pane").inner_text()
    assert all(part in text for part in (sample.transcript, "sad", sample.speaker))
    card = page.locator('.card[data-system="careful"]')
    card.locator("details").evaluate_all("all => all.forEach(d => { d.open = true; })")
    words = card.inner_text()
    score = usual_run.scores()["careful", "emotion", "g1-sad", "judge_r0"]
    for part in (
        "Warm, and takes up the voice.",
        "Second opinion.",
        "The voice trembles",
        "transcribed <b>0.4</b>",
        "hypothesis",
        score.key,
        f"{score.value:.1f}",
    ):
        assert part in words, part
    assert page.locator(".row[aria-current]").count() == 1
    assert sorted(page.locator(".sibling").all_inner_texts()) == ["anger", "happy", "neutral"]


def test_an_unknown_deep_link_shows_a_notice(tab: Tab) -> None:
    assert "no such sample" in tab.open("#/samples/emotion/nowhere").locator(".pane").inner_text()


def test_the_keyboard_can_navigate_play_and_go_back(tab: Tab) -> None:
    page = tab.open("#/")
    page.keyboard.press("s")
    page.wait_for_selector(".row")
    page.keyboard.press("j")
    first = page.evaluate("location.hash")
    assert first.startswith("#/samples/emotion/g0-happy")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("k")
    assert page.evaluate("location.hash") == first
    page.wait_for_selector(".card")
    page.keyboard.press("Space")
    page.wait_for_selector('.player[data-slot="query"][data-playing="yes"]')
    spoken = present(page.locator('.player[data-slot^="reply-"]').first.get_attribute("data-slot"))
    page.keyboard.press(spoken.removeprefix("reply-"))
    page.wait_for_selector(f'.player[data-slot="{spoken}"][data-playing="yes"]')
    page.keyboard.press("Escape")
    assert page.evaluate("location.hash").split("?")[0] == "#/samples"
    page.keyboard.press("/")
    page.keyboard.type("sss")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert page.locator("dialog[open]").count() == 1
    page.locator("#keys-on").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("l")
    assert page.evaluate("location.hash").startswith("#/samples"), "shortcuts that are off do nothing"


def test_side_by_side_lists_flips_first(tab: Tab, usual_run: RunFolder) -> None:
    page = tab.open("#/compare?a=careful&b=text-only&metric=cue_contrast")
    scores = usual_run.scores()
    gaps = {}
    for s in usual_run.samples():
        a, b = (
            present(scores[name, s.task, s.id, "cue_contrast"].value) for name in ("careful", "text-only")
        )
        gaps[f"#/compare/{s.task}/{s.id}"] = ((a > 0) != (b > 0), abs(a - b))
    page.evaluate("document.querySelector('.list').growTo(1e9)")
    order = page.locator(".row").evaluate_all("rows => rows.map(r => r.getAttribute('href').split('?')[0])")
    keys = [(not gaps[href][0], round(-gaps[href][1], 3)) for href in order]
    assert keys == sorted(keys)
    assert len(order) == len(gaps)
    assert page.locator(".chip.flip").count() == sum(flip for flip, _ in gaps.values()) > 0
    page.locator(".row").first.click()
    page.wait_for_selector(".card")
    assert page.locator(".card h3").all_inner_texts() == ["A careful", "B text-only"]
    page.keyboard.press("x")
    page.wait_for_selector(".card")
    assert page.locator(".card h3").all_inner_texts() == ["A text-only", "B careful"]


def test_a_failure_against_a_score_is_a_flip_and_sorts_before_gaps(tab: Tab) -> None:
    # A word error rate has no upper end: only failed against scored is a flip, and it has no gap.
    page = tab.open("#/compare?a=careful&b=average&metric=reply_wer")
    page.evaluate("document.querySelector('.list').growTo(1e9)")
    flips = page.locator(".row").evaluate_all("rows => rows.map(r => r.querySelector('.flip') !== null)")
    assert flips == sorted(flips, reverse=True)
    assert 0 < sum(flips) < len(flips)


def test_times_have_a_table_per_mode_and_turns_have_theirs(
    browser: Any, timed_run: RunFolder, tmp_path: Path
) -> None:
    opened = Tab(browser, make_page([timed_run], tmp_path / "out"))
    page = opened.open()
    for mode, tag in (("commit", "exact turns"), ("vad", "server VAD")):
        rows = page.locator(f'table[data-clock="{mode}"] tbody tr')
        cells = [row.locator("th, td").all_inner_texts() for row in rows.all()]
        assert [row[:2] for row in cells] == [[mode, "1"], [mode, "2 to 3"]]
        assert cells[0][3:] == ["2", "0.10 (0.10)", "0.35 (0.35)", "12 (12)", "0"]
        assert page.locator(f'tr[data-system="{mode}"] .tag').all_inner_texts() == [tag, "4 earlier replies"]
    assert page.locator("table[data-clock]").count() == 2
    page = opened.open("#/samples/emotion/s0h")
    page.wait_for_selector(".card")
    card = page.locator('.card[data-system="vad"]')
    times = [text for text in card.locator(".turn .quiet").all_inner_texts() if "first audio" in text]
    assert times == [f"first audio after {s:.2f} s · audible after {s + 0.25:.2f} s" for s in (0.1, 0.3)]
    assert "first audio after 0.50 s · audible after 0.75 s" in card.inner_text()
    opened.close()


def test_the_listening_gap_is_a_table_of_its_own(browser: Any, asked_run: RunFolder, tmp_path: Path) -> None:
    opened = Tab(browser, make_page([asked_run], tmp_path / "out"))
    page = opened.open()
    table = page.locator("table.gaps")
    assert table.count() == 1
    cells = table.locator("tbody tr").locator("th, td").all_inner_texts()
    assert cells == ["mine", "emotion", "Match rate (proxy)", "16", "100.0", "60.0", cells[6], "-"]
    assert cells[6].startswith("40.0")
    assert "Asked: the system's answers" in page.locator("main").inner_text()
    # The match rate does not apply to the task of questions, which gets no column.
    shown = page.locator("tr[data-system] td[data-task]").evaluate_all(
        "cells => cells.map(c => c.dataset.task)"
    )
    assert shown == ["all", "emotion"]
    opened.close()


def test_names_replies_and_transcripts_are_shown_as_text(browser: Any, hostile_page: Path) -> None:
    tab = Tab(browser, hostile_page)
    page = tab.open()
    assert HOSTILE in page.locator("main").inner_text()
    assert "__proto__" in page.locator("main").inner_text()
    page = tab.open("#/samples/emotion/g0-anger")
    page.wait_for_selector(".card")
    page.locator("details").evaluate_all("all => all.forEach(d => { d.open = true; })")
    text = page.locator(".pane").inner_text()
    assert text.count(HOSTILE) >= 4  # the transcript, the system's name, its reply, its verdict
    assert page.locator(".pane img, .pane script, main img, main script, main b b").count() == 0
    page = tab.open("#/compare")
    page.wait_for_selector(".card")
    page.keyboard.press("j")
    assert page.evaluate("window.pwned") is None
    assert page.evaluate("Object.prototype.pwned") is None
    tab.close()


@pytest.mark.parametrize("scored", [True, False])
def test_names_that_every_object_inherits_are_ordinary_names(
    browser: Any, scored: bool, tmp_path: Path
) -> None:
    task = make_task(tmp_path / "tasks", "emotion", 2)
    systems = [scripted_system(name, 0.5) for name in INHERITED]
    run = make_run(tmp_path / "run", [task], systems, scorers=None if scored else [])
    tab = Tab(browser, make_page([run], tmp_path / "out"))
    for name in INHERITED if scored else ["__proto__"]:
        for route in ("", "samples", "compare"):
            page = tab.open(f"#/{route}?system={name}&metric={name}&a={name}&b=plain")
            assert name in page.locator("main").inner_text() or not (scored or route), route
        tab.open(f"#/samples/emotion/g0-anger?system={name}").wait_for_selector(".card")
        tab.open(f"#/{name}")
        tab.open(f"#/samples/{name}/{name}")
    assert tab.errors == []
    tab.close()


def test_no_view_is_wider_than_a_phone_with_long_names(browser: Any, hostile_page: Path) -> None:
    tab = Tab(browser, hostile_page, viewport={"width": 360, "height": 740})
    for route in (
        "#/",
        "#/?second=judge_r0",
        "#/samples",
        "#/samples/emotion/g0-anger",
        "#/compare",
        "#/compare/emotion/g0-anger",
    ):
        page = tab.open(route)
        page.wait_for_timeout(100)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, route
        tables = page.locator(".scroll").evaluate_all("all => all.map(e => e.scrollWidth - e.clientWidth)")
        assert all(over <= 0 for over in tables), (route, tables)
    tab.close()


def test_language_and_theme_are_switched_and_stored(tab: Tab) -> None:
    page = tab.open()
    page.locator("#language").click()
    assert page.locator("h1").inner_text() == "排行榜"
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    assert page.locator('th[data-column="emotion"]').inner_text().strip() == "情绪"
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.locator("#theme").click()
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark != light
    page = tab.open()
    assert page.locator("h1").inner_text() == "排行榜"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark


def test_the_policy_refuses_a_request_to_the_network(browser: Any, usual_page: Path) -> None:
    tab = Tab(browser, usual_page)
    page = tab.open()
    refused = page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'sent', () => 'refused')")
    assert refused == "refused"
    assert any("Content Security Policy" in c for c in tab.errors)
    tab.context.close()


#: Schemes, widths and languages, each with each of the others' values.
LOOKS = [("light", 1280, "en-GB"), ("dark", 1280, "zh-CN"), ("light", 420, "zh-CN"), ("dark", 420, "en-GB")]


@pytest.mark.skipif(AXE is None, reason="no axe-core (npm install axe-core, or ECHAT_AXE=.../axe.min.js)")
@pytest.mark.parametrize(("scheme", "width", "locale"), LOOKS)
def test_axe_finds_nothing(browser: Any, usual_page: Path, scheme: str, width: int, locale: str) -> None:
    viewport = {"width": width, "height": 800}
    tab = Tab(browser, usual_page, color_scheme=scheme, bypass_csp=True, viewport=viewport, locale=locale)
    for route in (
        "#/?second=judge_r0",
        "#/samples/emotion/g1-sad",
        "#/compare/emotion/g0-sad?a=careful&b=average",
        "#/samples?state=f",
    ):
        page = tab.open(route)
        page.wait_for_selector(".card, .row, table, .notice", state="attached", timeout=5000)
        page.locator("details").evaluate_all("all => all.forEach(d => { d.open = true; })")
        page.add_script_tag(content=Path(str(AXE)).read_text(encoding="utf-8"))
        found = page.evaluate(
            "axe.run(document, {preload: false}).then(r => r.violations.map(v => [v.impact, v.id, v.nodes.length, v.nodes[0].html]))"
        )
        assert found == [], route
    tab.close()
