"""Ask a llama.cpp server with the embedded SmolLM2-135M for sentences, and count what survives the rules.

Usage: python bench/testset/small_model.py [--sentences 16] [--tries 3] [--out FILE.json]
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from echat_eval.errors import RunError
from echat_eval.io.jsonl import read_rows
from echat_eval.systems.llama_server import EMBEDDED, LlamaServer
from echat_eval.testset import build, read_plan

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "build-testset"


def main() -> None:
    """Run the stage texts, and print every sentence that is left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sentences", type=int, default=16)
    parser.add_argument("--tries", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    server = LlamaServer(threads=1, context=4096)
    plan = read_plan(EXAMPLE / "plan.yaml")
    texts = replace(plan.texts, model=EMBEDDED, url=server.url, tries=arguments.tries, max_tokens=200)
    plan = replace(plan, texts=texts, sentences={"en": arguments.sentences}, same={"en": 4})
    started = time.monotonic()
    with TemporaryDirectory() as folder:
        out = Path(folder)
        try:
            left = build(plan, out, stages=["texts"]).sentences
        except RunError as error:  # no sentence is left
            print(error)
            left = 0
        rows = [row for _, row in read_rows(out / "work" / "sentences.jsonl")] if left else []
        dropped = [row for _, row in read_rows(out / "work" / "dropped-texts.jsonl")]
    server.close()
    options = f"--sentences {arguments.sentences} --tries {arguments.tries}"
    result = {
        "command": f"python bench/testset/small_model.py {options}",
        "machine": f"{os.cpu_count()} shared cores of an AMD EPYC",
        "model": EMBEDDED,
        "wanted": arguments.sentences + 4,
        "tries": arguments.tries,
        "answers": left + len(dropped),
        "left": left,
        "dropped": dict(Counter(row["reason"] for row in dropped).most_common()),
        "examples": {row["reason"]: row["detail"] for row in reversed(dropped)},
        "wall_seconds": round(time.monotonic() - started, 1),
        "sentences": [
            {"transcript": row["transcript"], "replies": [member["reply"] for member in row["members"]]}
            for row in rows
        ],
    }
    print(json.dumps(result, indent=1, ensure_ascii=False))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
