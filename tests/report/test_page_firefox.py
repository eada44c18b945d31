"""The page in Firefox: the same numbers, both languages, a phone, sound, and no error on the console."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from echat_eval.io.display import number_text
from echat_eval.leaderboard.build import build_leaderboard
from echat_eval.store.run_folder import RunFolder
from tests.support.firefox import FIREFOX, Firefox
from tests.support.present import present
from tests.support.report_runs import make_page, rated

pytestmark = pytest.mark.skipif(
    FIREFOX is None, reason="no firefox on the path (Debian: apt-get install firefox-esr)"
)
ROUTES = (
    "#/?second=judge_r0",
    "#/samples?second=judge_r0",
    "#/samples/emotion/g1-sad",
    "#/compare/emotion/g0-sad?a=careful&b=average",
)


@pytest.fixture(scope="module")
def page(usual_run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("firefox-page")
    return make_page([usual_run], root / "out", ratings=rated(usual_run, root / "ratings.csv"))


@pytest.fixture(scope="module")
def firefox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
    browser = Firefox(
        tmp_path_factory.mktemp("profile"),
        {"intl.accept_languages": "en-GB", "media.autoplay.default": 0, "media.autoplay.blocking_policy": 0},
    )
    yield browser
    browser.close()


def test_the_page_holds_in_firefox(firefox: Firefox, page: Path, usual_run: RunFolder) -> None:
    board = build_leaderboard([usual_run])
    address = f"file://{page}/index.html"
    firefox.resize(1280)
    firefox.open(f"{address}#/?second=none")
    firefox.wait_for("tr[data-system]")
    shown = firefox.evaluate(
        "Object.fromEntries([...document.querySelectorAll('tr[data-system]')].map(row =>"
        " [row.dataset.system, row.querySelector('td[data-task=all] .value').textContent]))"
    )
    means = {s: present(board.summaries[s, "all", board.headline.name].estimate).value for s in board.roles}
    assert {s: text.replace("−", "-") for s, text in shown.items()} == {
        s: number_text(mean, board.headline.digits) for s, mean in means.items()
    }
    for width in (1280, 420):
        firefox.resize(width)
        for number, route in enumerate(ROUTES):
            firefox.open(address + route)
            firefox.wait_for(".card, .row, .scatter")
            wide = "Math.max(...[document.documentElement, ...document.querySelectorAll('.scroll')].map(e => e.scrollWidth - e.clientWidth))"
            assert firefox.evaluate(wide) <= 0, (width, route)
            if folder := os.environ.get("ECHAT_PICTURES"):
                firefox.picture(Path(folder) / f"firefox-{width}-{number}.png")
    firefox.evaluate("document.getElementById('language').click()")
    assert firefox.evaluate("document.documentElement.lang") == "zh-CN"
    firefox.open(f"{address}#/samples/emotion/g1-sad")
    firefox.wait_for(".player")
    firefox.evaluate("document.querySelector('.player').toggle()")
    firefox.wait_for('.player[data-playing="yes"]')
    assert firefox.errors == []
    inside = (f"file://{page}/", "data:", "blob:", "about:")
    assert [url for url in firefox.requests if not url.startswith(inside)] == []
