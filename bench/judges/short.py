"""The short form of every bench of judges, one after another, to a folder that is removed.

    python bench/judges/short.py

Takes minutes on one core. It shows that each command runs and how large its rates are, with fewer runs than
the committed results and so a larger Monte Carlo error. Each command's own help gives its long form.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.gate.short import measure  # noqa: E402

#: Bench -> the options of its short form.
BENCHES: dict[str, list[str]] = {
    "link": ["--runs", "30"],
    "listening": [],
    "listening_words": [],
    "ppi": ["--runs", "200"],
}
#: Benches that print their result anyway; the others do with --table.
PRINTING = {"listening", "listening_words"}


def main() -> int:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, options in BENCHES.items():
            show = None if name in PRINTING else "--table"
            rows.append(measure("judges", name, options, show, python=sys.executable, out=Path(folder)))
            print(json.dumps(rows[-1]), flush=True)
    return max(int(str(row["exit"])) for row in rows)


if __name__ == "__main__":
    raise SystemExit(main())
