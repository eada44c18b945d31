"""Print the line coverage of every package of echat_eval; exit 1 if one is below the limit.

python -m slipcover --source echat_eval --json --out coverage.json -m pytest
python tools/coverage_by_package.py coverage.json --at-least 85
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path


def by_package(report: dict[str, dict[str, dict[str, dict[str, int]]]]) -> dict[str, tuple[int, int]]:
    """Return package -> (covered lines, lines) of a report of slipcover."""
    covered: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    for name, facts in report["files"].items():
        package = str(Path(name).parent)
        covered[package] += facts["summary"]["covered_lines"]
        lines[package] += facts["summary"]["covered_lines"] + facts["summary"]["missing_lines"]
    return {package: (covered[package], lines[package]) for package in sorted(lines) if lines[package]}


def main() -> int:
    """Print the table; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path, help="JSON report of slipcover")
    parser.add_argument("--at-least", type=float, default=85.0, metavar="PERCENT", help="limit per package")
    options = parser.parse_args()
    packages = by_package(json.loads(options.report.read_text(encoding="utf-8")))
    low = []
    for package, (covered, lines) in packages.items():
        percent = 100 * covered / lines
        low += [package] if percent < options.at_least else []
        print(f"{package:<32} {lines:>6} lines {percent:>6.1f} %{' < limit' if package in low else ''}")
    total = [sum(column) for column in zip(*packages.values(), strict=True)]
    print(f"{'all':<32} {total[1]:>6} lines {100 * total[0] / total[1]:>6.1f} %")
    if low:
        print(f"coverage below {options.at_least:g} %: {', '.join(low)}; add tests for these packages")
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main())
