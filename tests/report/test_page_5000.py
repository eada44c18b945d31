"""First paint and storage of a page with 5,000 samples; `-s` prints the numbers."""

from __future__ import annotations

import importlib.util
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from echat_eval.ports import Silent
from echat_eval.report.outlet import Outlet
from echat_eval.report.page import write_page
from echat_eval.report.runs import MergedRuns, merge_runs
from tests.support.scripted_world import make_run, make_task, scripted_system

SAMPLES = 5000
pytestmark = pytest.mark.skipif(
    shutil.which("chromium") is None or importlib.util.find_spec("playwright") is None,
    reason="needs chromium (Debian: apt-get install chromium) and playwright (pip install playwright)",
)


def repeated(runs: MergedRuns) -> MergedRuns:
    """Return a run's rows repeated under new ids until there are SAMPLES of them."""
    names = [(key, f"{key[1]}-{n}") for n in range(SAMPLES // len(runs.samples) + 1) for key in runs.samples][
        :SAMPLES
    ]
    samples = {(key[0], new): replace(runs.samples[key], id=new) for key, new in names}
    responses, scores, annotations = {}, {}, {}
    for system in runs.roles:
        for key, new in names:
            old, target = (system, *key), (system, key[0], new)
            responses[target] = replace(runs.responses[old], sample_id=new)
            scores[target] = {m: replace(s, sample_id=new) for m, s in runs.scores[old].items()}
            annotations[target] = runs.annotations.get(old, ())
    return replace(runs, samples=samples, responses=responses, scores=scores, annotations=annotations)


@pytest.mark.slow
def test_5000_samples_paint_within_a_second_and_are_stored_once(tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    task = make_task(tmp_path / "tasks", "emotion", 50)
    run = make_run(
        tmp_path / "run", [task], [scripted_system(name, skill) for name, skill in (("a", 0.9), ("b", 0.6))]
    )
    runs = repeated(merge_runs([run]))
    started = time.monotonic()
    with Outlet(tmp_path / "out", ["page"]) as outlet:
        write_page(runs, outlet, published=[], progress=Silent())
    built = time.monotonic() - started
    page_folder = tmp_path / "out" / "page"
    distinct = {s.audio.sha256: s.audio.path for s in runs.samples.values()}
    distinct |= {r.reply.audio.sha256: r.reply.audio.path for r in runs.responses.values()}  # type: ignore[union-attr]
    stored = sum(p.stat().st_size for p in (page_folder / "audio").iterdir())
    ratio = stored / sum(p.stat().st_size for p in distinct.values())
    paints: dict[str, list[float]] = {}
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for route in ("#/", "#/samples", "#/compare?a=a&b=b"):
            paints[route] = [first_paint_ms(browser, page_folder, route) for _ in range(3)]
        browser.close()
    print(
        f"\n{SAMPLES} samples: built in {built:.1f} s, audio x {ratio:.3f}, first paint (best of 3), ms: "
        + ", ".join(f"{route} {min(found):.0f}" for route, found in paints.items())
    )
    assert ratio <= 1.05
    # The best of three excludes the load of other programs.
    assert all(min(found) < 1000 for found in paints.values()), paints


def first_paint_ms(browser: Any, folder: Path, route: str) -> float:
    """Return milliseconds from navigation to the first paint that shows rows of the view."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.add_init_script(
        "new MutationObserver((_, o) => { if (document.querySelector('main .row, main tr[data-system]')) {"
        " o.disconnect(); requestAnimationFrame(() => setTimeout(() => { window.shownAt = performance.now(); })); } })"
        ".observe(document, {childList: true, subtree: true});"
    )
    page.goto(f"file://{folder}/index.html{route}")
    page.wait_for_function("window.shownAt")
    found = page.evaluate(
        "Math.max(window.shownAt, performance.getEntriesByName('first-contentful-paint')[0]?.startTime || 0)"
    )
    context.close()
    return float(found)
