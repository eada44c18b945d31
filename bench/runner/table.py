"""Results of bench/runner/run.py against their goals, and as a table in docs/performance.md.

    python bench/runner/table.py

writes the table anew from bench/results/speed.json.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench" / "results" / "speed.json"
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- speed: begin, written by bench/runner/table.py -->", "<!-- speed: end -->"

Figures = Sequence[Mapping[str, Any]]


def _median(figures: Figures, name: str) -> float:
    return median(float(one[name]) for one in figures)


def _rate(figures: Figures, seconds: str = "seconds") -> float:
    return float(median(one["samples"] / one[seconds] for one in figures))


def _spread(values: Sequence[float], digits: int = 0) -> str:
    return f"{median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def summarise(cases: Mapping[str, Mapping[str, Figures]]) -> dict[str, Any]:
    """Return every figure that something was asked of: value, target and whether it is met."""
    found: dict[str, Any] = {}

    def hold(name: str, value: float, target: float | None, *, most: bool = False) -> None:
        found[name] = {"value": round(value, 4)}
        if target is not None:
            found[name]["at most" if most else "at least"] = target
            found[name]["met"] = value <= target if most else value >= target

    if "mock" in cases:
        mock, wanted = cases["mock"], {"lm-eval": 1.0, "inspect_ai": 8.0}
        for rival in mock:
            if rival != "ours":
                hold(
                    f"mock, samples/s over {rival}",
                    _rate(mock["ours"]) / _rate(mock[rival]),
                    wanted.get(rival),
                )
    if "async" in cases:
        hold(
            "async mock while asking, samples/s of 1,000/s",
            _rate(cases["async"]["ours"], "asking_seconds"),
            800,
        )
        hold("async mock from task to summary, samples/s", _rate(cases["async"]["ours"]), None)
    if "again" in cases:
        hold("no-op re-run in a process, s", _median(cases["again"]["ours"], "seconds"), 1.0, most=True)
        hold(
            "no-op re-run as a command, s",
            _median(cases["again"]["ours, command"], "process_seconds"),
            1.0,
            most=True,
        )
    if "help" in cases:
        hold("--help, s", _median(cases["help"]["ours"], "process_seconds"), 0.3, most=True)
    if "judge" in cases:
        each = {
            name: median(one["cpu_seconds"] / one["samples"] for one in case)
            for name, case in cases["judge"].items()
        }
        hold("judge, CPU time over inspect_ai's", each["ours"] / each["inspect_ai"], 1.0, most=True)
        judging = median(one["server"]["calls"] / one["server"]["seconds"] for one in cases["judge"]["ours"])
        hold("judge while judging, verdicts/s of 1,000/s", judging, 250)
        hold("judge from task to summary, verdicts/s", _rate(cases["judge"]["ours"]), None)
    if "sizes" in cases:
        sizes = {int(name): case[0] for name, case in cases["sizes"].items()}
        small, large = min(sizes), max(sizes)
        growth = (sizes[large]["cpu_seconds"] / large) / (sizes[small]["cpu_seconds"] / small)
        hold(f"CPU time a sample, {large:,} over {small:,}", growth, 1.25, most=True)
        if 10_000 in sizes:
            hold("peak of 10,000 samples, MB", sizes[10_000]["peak_mb"], 300, most=True)
    return found


def table(found: Mapping[str, Any]) -> str:
    """Return the figures as Markdown."""
    cases, machine = found["cases"], found["machine"]
    busy = " **Preliminary: the machine was busy with other work.**" if found["preliminary"] else ""
    lines = [
        f"{machine['date']}, {machine['cores']} cores of an {machine['cpu']}, Python {machine['python']}, "
        f"median of {found['repeats']} (least to most), commit {machine['commit'][:12]}.{busy}",
        "",
        "| what | ours | asked for | beside it |",
        "|---|--:|--:|---|",
    ]
    lines += [f"| {' | '.join(row)} |" for row in _rows(cases)]
    return "\n".join(lines)


def _rows(cases: Mapping[str, Mapping[str, Figures]]) -> list[list[str]]:
    rates = {
        name: _spread([one["samples"] / one["seconds"] for one in case])
        for name, case in cases["mock"].items()
    }
    others = "; ".join(f"{name} {rate}" for name, rate in rates.items() if name != "ours")
    again, helps, judge = cases["again"], cases["help"], cases["judge"]

    def seconds(figures: Figures, name: str = "process_seconds") -> str:
        return _spread([one[name] for one in figures], 2)

    costs = {
        name: _spread([1000 * one["cpu_seconds"] / one["samples"] for one in case], 1)
        for name, case in judge.items()
    }
    verdicts = {
        name: _spread([one["samples"] / one["seconds"] for one in case]) for name, case in judge.items()
    }
    judging = {
        name: _spread([one["server"]["calls"] / one["server"]["seconds"] for one in case])
        for name, case in judge.items()
    }
    sizes = {int(name): case[0] for name, case in cases["sizes"].items()}
    whole = [one["samples"] / one["seconds"] for one in cases["async"]["ours"]]
    return [
        ["mock system, samples/s", rates["ours"], "≥ 1.0 × lm-eval, ≥ 8 × inspect_ai", others],
        [
            "async mock while asking, 50 ms, 50 at once, samples/s",
            _spread([one["samples"] / one["asking_seconds"] for one in cases["async"]["ours"]]),
            "≥ 800",
            f"ideal 1,000; from task to summary {_spread(whole)}",
        ],
        [
            "1,000 samples again, nothing to do, s",
            seconds(again["ours"], "seconds"),
            "< 1",
            f"as a command, all imports and the leaderboard with it: {seconds(again['ours, command'])}",
        ],
        [
            "`--help`, s",
            seconds(helps["ours"]),
            "< 0.3",
            "; ".join(f"{name} {seconds(case)}" for name, case in helps.items() if name != "ours"),
        ],
        [
            "judge over HTTP, CPU ms a verdict",
            costs["ours"],
            "below inspect_ai",
            f"inspect_ai {costs['inspect_ai']}",
        ],
        [
            "judge over HTTP while judging, verdicts/s",
            judging["ours"],
            "≥ 250",
            f"ideal 1,000; inspect_ai {judging['inspect_ai']}; from task to summary {verdicts['ours']}, "
            f"inspect_ai {verdicts['inspect_ai']}",
        ],
        *(
            [
                f"{count:,} mock samples: CPU ms a sample; peak MB",
                f"{1000 * one['cpu_seconds'] / count:.2f}; {one['peak_mb']:.0f}",
                "< 300 MB" if count == 10_000 else "linear",
                f"{one['seconds']:.1f} s in all, once",
            ]
            for count, one in sorted(sizes.items())
        ),
    ]


def write_between(begin: str, end: str, text: str) -> None:
    """Replace what stands between two lines of docs/performance.md."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    PAGE.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def write_table(found: Mapping[str, Any]) -> None:
    """Replace the table in docs/performance.md."""
    write_between(BEGIN, END, table(found))


if __name__ == "__main__":
    write_table(json.loads(RESULTS.read_text(encoding="utf-8")))
