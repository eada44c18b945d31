"""One measurement of inspect_ai, in its own environment; prints one line of JSON. Run by speed.py."""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from inspect_ai import Task, eval
from inspect_ai.dataset import json_dataset
from inspect_ai.model import GenerateConfig, ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import match, model_graded_qa
from inspect_ai.solver import generate


def reply(*_: Any) -> ModelOutput:
    """Answer one word. Without the usage inspect_ai would fetch a tokenizer from the network to count it."""
    answer = ModelOutput.from_content(model="mockllm/model", content="lol")
    answer.usage = ModelUsage(input_tokens=8, output_tokens=1, total_tokens=9)
    return answer


def write_rows(file: Path, samples: int) -> Path:
    """Write as many questions as wanted."""
    rows = (
        {"input": f"I got letter number {n // 2} today.", "target": f"Lovely, {n}."} for n in range(samples)
    )
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def scorer_of(given: argparse.Namespace) -> Any:
    """Return one scorer: a comparison of words, or a model that grades over HTTP."""
    if given.case == "mock":
        return match()
    grader = get_model(
        "openai/judge-2026-01-01",
        base_url=given.url,
        api_key="none",
        responses_api=False,
        config=GenerateConfig(max_connections=given.connections, max_retries=0),
    )
    return model_graded_qa(model=grader)


def once(rows: Path, out: Path, given: argparse.Namespace) -> None:
    """Read the rows, ask, score, summarise; the log is written as its defaults say."""
    task = Task(dataset=json_dataset(str(rows)), solver=generate(), scorer=scorer_of(given))
    model = get_model(
        "mockllm/model", custom_outputs=reply, config=GenerateConfig(max_connections=given.connections)
    )
    (log,) = eval(
        task, model=model, log_dir=str(out), display="none", log_level="error", max_samples=given.connections
    )
    assert log.status == "success", log.error and log.error.message[:300]
    assert log.results is not None
    assert log.results.completed_samples == log.results.total_samples, log.results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", choices=["mock", "judge"])
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--url", help="base URL of the grader's server")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chdir(folder)
        rows, warm = write_rows(folder / "rows.jsonl", given.samples), write_rows(folder / "warm.jsonl", 4)
        once(warm, folder / "warm", given)
        if given.url:
            urllib.request.urlopen(given.url.removesuffix("/v1") + "/reset", timeout=10).close()
        before, begun = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        once(rows, folder / "log", given)
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
