"""First paint and memory of the page of a report with many samples, in Chromium.

A run of 200 samples, 5 systems and 12 metrics is repeated under new ids until there are enough. The page is
then opened from disk: time to the first paint that shows rows, of each view, in a context of its own; and one
long visit (search, sort, scroll, 40 samples opened, side by side), with its slowest step and its memory at
the end. The memory of a browser with an empty page stands beside it.

    python bench/report/page.py --samples 20000 --out bench/results/page.json
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.support.machine import machine  # noqa: E402
from bench.support.made_task import write_task  # noqa: E402
from echat_eval.ports import Case, Silent  # noqa: E402
from echat_eval.records import Metric, Reply, Request, Score, Waveform  # noqa: E402
from echat_eval.report.outlet import Outlet  # noqa: E402
from echat_eval.report.page import write_page  # noqa: E402
from echat_eval.report.runs import MergedRuns, merge_runs  # noqa: E402
from echat_eval.runner.evaluate import evaluate  # noqa: E402
from echat_eval.store.manifest import RunSettings  # noqa: E402
from echat_eval.store.run_folder import RunFolder  # noqa: E402
from echat_eval.task import load_task  # noqa: E402
from echat_eval.testing import ScriptedScorer, ScriptedSystem  # noqa: E402

__all__ = ["lines_of", "measure", "open_browser", "repeated", "small_run"]

MAX_PAINT_MS, MAX_MEMORY_MIB = 2000, 500
SYSTEMS, METRICS, SEED_SAMPLES = 5, 12, 200
ROUTES = ("#/", "#/samples", "#/compare")
#: Sets window.shownAt after the frame in which the view first shows rows.
WATCH = """
new MutationObserver((_, o) => { if (document.querySelector('main .row, main tr[data-system]')) {
  o.disconnect(); requestAnimationFrame(() => setTimeout(() => { window.shownAt = performance.now(); })); } })
  .observe(document, {childList: true, subtree: true});
"""
PAINTED = (
    "Math.max(window.shownAt, performance.getEntriesByName('first-contentful-paint')[0]?.startTime || 0)"
)
TWO_FRAMES = "new Promise(r => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(r))))"


def small_run(folder: Path) -> RunFolder:
    """Return a run whose replies have a voice and a dozen words, and whose scores differ."""
    draw = random.Random(0)
    voice = Waveform(samples=(np.sin(np.arange(4000) / 9) / 2).astype(np.float32), sample_rate=8000)

    def respond(request: Request) -> Reply:
        words = " ".join(draw.choice(("warm", "calm", "here", "with", "you", "today")) for _ in range(30))
        return Reply(text=f"I hear you. {words}.", audio=voice)

    metrics = tuple(
        Metric(name=f"m{n}", title=f"Metric {n}", unit="%", low=0, high=100, higher_is_better=True, worst=0)
        for n in range(METRICS)
    )

    def score(case: Case) -> list[Score]:
        row = case.response
        return [
            Score(
                key=f"{n}",
                system=row.system,
                task=row.task,
                sample_id=row.sample_id,
                metric=metric.name,
                state="value",
                value=round(100 * draw.random(), 2),
                evidence={"words": draw.randrange(30), "share": draw.random()},
            )
            for n, metric in enumerate(metrics)
        ]

    task = load_task("emotion", data=write_task(folder / "tasks", SEED_SAMPLES))
    with RunFolder(folder / "run").writing() as run:
        evaluate(
            run,
            systems=[ScriptedSystem(respond, f"system-{n}", fingerprint=f"{n}") for n in range(SYSTEMS)],
            tasks=[task],
            annotators=[],
            scorers=[ScriptedScorer(score, "drawn", metrics=metrics)],
            settings=RunSettings(),
            progress=Silent(),
        )
    return run


def repeated(runs: MergedRuns, samples: int) -> MergedRuns:
    """Return a run's rows repeated under new ids until there are enough of them; the leaderboard stays."""
    copies = samples // len(runs.samples) + 1
    names = [(key, f"{key[1]}-{n}") for n in range(copies) for key in runs.samples][:samples]
    responses, scores = {}, {}
    for system in runs.roles:
        for key, new in names:
            old, target = (system, *key), (system, key[0], new)
            responses[target] = replace(runs.responses[old], sample_id=new)
            scores[target] = {m: replace(s, sample_id=new) for m, s in runs.scores[old].items()}
    return replace(
        runs,
        samples={(key[0], new): replace(runs.samples[key], id=new) for key, new in names},
        responses=responses,
        scores=scores,
    )


def open_browser(driver: Any) -> Any:
    """Return Debian's Chromium, or the browser that Playwright brings."""
    return driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])


def first_paint_ms(browser: Any, page_folder: Path, route: str) -> float:
    """Return milliseconds from navigation to the first paint that shows rows of the view."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.add_init_script(WATCH)
    page.goto(f"file://{page_folder}/index.html{route}")
    page.wait_for_function("window.shownAt")
    found = float(page.evaluate(PAINTED))
    context.close()
    return found


def visit(browser: Any, page_folder: Path) -> dict[str, Any]:
    """Use one page for a while; return milliseconds of each step, and memory at the end."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto(f"file://{page_folder}/index.html#/samples")
    page.wait_for_selector(".row")
    steps: dict[str, float] = {}
    for name, step in _steps(page):
        started = time.perf_counter()
        step()
        page.evaluate(TWO_FRAMES)
        steps[name] = max(steps.get(name, 0.0), 1000 * (time.perf_counter() - started))
    found = {"steps_ms": {name: round(ms) for name, ms in steps.items()}, **_memory(browser, context, page)}
    context.close()
    return found


def _steps(page: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a reader does; repeated names keep their slowest time."""
    yield "search", lambda: page.fill("#search", "number 7")
    yield "clear", lambda: page.fill("#search", "")
    yield "sort", lambda: page.select_option("select[name=order]", "worst")
    yield "second metric", lambda: page.select_option("select[name=second]", index=1)
    page.locator(".side").hover()
    for _ in range(20):
        yield "scroll", lambda: page.mouse.wheel(0, 4000)
    for _ in range(40):
        yield "next sample", lambda: page.keyboard.press("j")
    yield "side by side", lambda: page.evaluate("location.hash = '#/compare'")
    yield "leaderboard", lambda: page.evaluate("location.hash = '#/'")
    yield "samples", lambda: page.evaluate("location.hash = '#/samples'")


def _memory(browser: Any, context: Any, page: Any) -> dict[str, int]:
    """Return MiB of the heap, of the page's process (without shared pages counted twice), and of all."""
    session = context.new_cdp_session(page)
    session.send("Performance.enable")
    metrics = {m["name"]: m["value"] for m in session.send("Performance.getMetrics")["metrics"]}
    processes = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    sizes = [(p["type"], _pss(int(p["id"]))) for p in processes]
    return {
        "heap_mib": round(metrics["JSHeapUsedSize"] / 2**20),
        "page_mib": round(max(size for kind, size in sizes if kind == "renderer") / 2**20),
        "browser_mib": round(sum(size for _, size in sizes) / 2**20),
    }


def _empty_mib(browser: Any) -> int:
    """Return the memory of the whole browser with an empty page, in MiB."""
    context = browser.new_context()
    found = _memory(browser, context, context.new_page())
    context.close()
    return found["browser_mib"]


def _pss(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def measure(folder: Path, samples: int, repeats: int) -> dict[str, Any]:
    """Build a page with this number of samples below a folder and measure it."""
    from playwright.sync_api import sync_playwright

    runs = repeated(merge_runs([small_run(folder)]), samples)
    started = time.perf_counter()
    with Outlet(folder / "out", ["page"]) as outlet:
        write_page(runs, outlet, published=[], progress=Silent())
    built = time.perf_counter() - started
    page_folder = folder / "out" / "page"
    files = [path for path in page_folder.rglob("*") if path.is_file()]
    with sync_playwright() as driver:
        browser = open_browser(driver)
        paints = {
            route: [round(first_paint_ms(browser, page_folder, route)) for _ in range(repeats)]
            for route in ROUTES
        }
        used = {**visit(browser, page_folder), "empty_mib": _empty_mib(browser)}
        version = browser.version
        browser.close()
    return {
        "samples": samples,
        "systems": SYSTEMS,
        "metrics": METRICS,
        "chromium": version,
        "build_s": round(built, 1),
        "page_mb": round(sum(path.stat().st_size for path in files) / 1e6, 1),
        "index_mb": round((page_folder / "data/index.js").stat().st_size / 1e6, 1),
        "first_paint_ms": paints,
        **used,
        "reached": all(statistics.median(p) < MAX_PAINT_MS for p in paints.values())
        and used["page_mib"] < MAX_MEMORY_MIB,
    }


def lines_of(found: dict[str, Any]) -> str:
    """Return the table of docs/performance.md."""
    facts, page = found["machine"], found["page"]
    cores = f"{facts['cores']} shared cores of an {' '.join(facts['cpu'].split()[:2])}"
    paints = [
        f"| first paint of {name}, ms, median of {len(ms)} (least to most) "
        f"| {statistics.median(ms):.0f} ({min(ms)} to {max(ms)}) | < {MAX_PAINT_MS:,} |"
        for name, ms in zip(
            ("the leaderboard", "the samples", "two systems side by side"),
            page["first_paint_ms"].values(),
            strict=True,
        )
    ]
    name, slowest = max(page["steps_ms"].items(), key=lambda item: item[1])
    return "\n".join(
        [
            f"{facts['date']}, {cores}, load {facts['load_before']:.1f} before it, "
            f"Chromium {page['chromium']}: {page['samples']:,} samples, "
            f"{page['systems']} systems, {page['metrics']} metrics, index {page['index_mb']:g} MB.",
            "",
            "| what | measured | asked for |",
            "|---|--:|--:|",
            *paints,
            f"| slowest step of a long visit ({name}), ms | {slowest} | |",
            f"| memory of the page's process after it, MiB | {page['page_mib']} | < {MAX_MEMORY_MIB} |",
            f"| memory of the whole browser; with an empty page, MiB "
            f"| {page['browser_mib']}; {page['empty_mib']} | |",
            f"| writing the page, s | {page['build_s']:g} | |",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    flags = parser.parse_args()
    found: dict[str, Any] = {"machine": machine()}
    with tempfile.TemporaryDirectory() as folder:
        found["page"] = measure(Path(folder), flags.samples, flags.repeats)
    print(json.dumps(found["page"], indent=1))
    print(lines_of(found))
    if flags.out:
        flags.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
