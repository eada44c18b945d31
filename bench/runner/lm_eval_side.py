"""One measurement of lm-eval, in its own environment; prints one line of JSON. Run by speed.py."""

from __future__ import annotations

import os

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TQDM_DISABLE": "1"}

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import lm_eval
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager

#: A local task with one metric; the dummy model answers "lol" to everything.
TASK = """task: made
dataset_path: json
dataset_kwargs:
  data_files:
    test: {file}
test_split: test
output_type: generate_until
doc_to_text: {text}
doc_to_target: {target}
generation_kwargs:
  until: ["\\n"]
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1
"""


#: Of the tasks that lm-eval ships, nearly all fill a template; columns without one are faster.
TEMPLATES = {"text": '"{{question}}"', "target": '"{{answer}}"'}
COLUMNS = {"text": "question", "target": "answer"}


def write_task(folder: Path, samples: int, fields: dict[str, str]) -> Path:
    """Write the task and its rows; return its folder."""
    folder.mkdir()
    rows = (
        {"question": f"I got letter number {n // 2} today.", "answer": f"Lovely, {n}."}
        for n in range(samples)
    )
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "made.yaml").write_text(TASK.format(file=folder / "rows.jsonl", **fields))
    return folder


def once(task: Path, out: Path, cache: Path | None) -> None:
    """Read the task, ask, score, summarise, and write every row down."""
    tracker = EvaluationTracker(output_path=str(out))
    found: Any = lm_eval.simple_evaluate(
        model="dummy",
        tasks=["made"],
        task_manager=TaskManager(include_path=str(task), include_defaults=False),
        log_samples=True,
        use_cache=str(cache) if cache else None,
        evaluation_tracker=tracker,
    )
    rows = found.pop("samples")
    tracker.save_results_aggregated(results=found, samples=rows)
    for name, entry in rows.items():
        tracker.save_results_samples(task_name=name, samples=entry)
    assert "exact_match,none" in found["results"]["made"], found["results"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument(
        "--crash-safe", action="store_true", help="every answer goes to its SQLite cache at once"
    )
    parser.add_argument("--plain", action="store_true", help="name columns instead of filling templates")
    given = parser.parse_args()
    fields = COLUMNS if given.plain else TEMPLATES
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["HF_DATASETS_CACHE"] = name
        task = write_task(folder / "task", given.samples, fields)
        warm = write_task(folder / "warm", 4, fields)
        cache = folder / "cache" if given.crash_safe else None
        once(warm, folder / "warm-out", folder / "warm-cache" if given.crash_safe else None)
        before, begun = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        once(task, folder / "out", cache)
        seconds, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "samples": given.samples,
                "seconds": seconds,
                "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
                "peak_mb": after.ru_maxrss / 1024,
            }
        )
    )


if __name__ == "__main__":
    main()
