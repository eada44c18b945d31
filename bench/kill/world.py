"""A run over all stages whose calls are counted by who is called; killed and started again by kill.py.

    python bench/kill/world.py --data DIR --out RUN --calls DIR --url http://127.0.0.1:8000/v1

System and annotator write a line to a file when a call begins; the judge's server does the same.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402

from echat_eval.concurrency.retry import RetryPolicy  # noqa: E402
from echat_eval.errors import EChatError  # noqa: E402
from echat_eval.ports import Silent  # noqa: E402
from echat_eval.records import AudioRef, Reply, Request, Waveform  # noqa: E402
from echat_eval.runner.evaluate import evaluate  # noqa: E402
from echat_eval.scorers.judged import judged_scorers  # noqa: E402
from echat_eval.scorers.outcome import OutcomeScorer  # noqa: E402
from echat_eval.store.manifest import RunSettings  # noqa: E402
from echat_eval.store.run_folder import RunFolder  # noqa: E402
from echat_eval.task import load_task  # noqa: E402
from echat_eval.testing import ScriptedAnnotator, ScriptedSystem  # noqa: E402

#: Calls at once of the system, the annotator and the judge.
SYSTEM_CALLS, ANNOTATOR_CALLS, JUDGE_CALLS = 4, 2, 8


class Log:
    """A file of the calls that began: one write a line, so that a kill cannot tear or lose it."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def begun(self, what: str) -> None:
        os.write(self._file, f"{what}\n".encode())


def speaker(log: Log) -> ScriptedSystem:
    """Return a system that replies with words and a voice that depend on the question's sound alone."""

    async def respond(request: Request) -> Reply:
        log.begun(request.audio.sha256)
        await asyncio.sleep(0.001)
        return spoken(request.audio.sha256)

    return ScriptedSystem(respond, "speaker", calls_at_once=SYSTEM_CALLS)


def spoken(digest: str) -> Reply:
    """Return the reply to a question: also in Chinese, so that a cut can fall inside a character."""
    seed = int(digest[:8], 16)
    samples = np.random.default_rng(seed).normal(0, 0.1, 800).astype(np.float32)
    return Reply(
        text=f"{'真好，我替你高兴' if seed % 2 else 'I am sorry'} {seed}.",
        audio=Waveform(samples=samples, sample_rate=8000),
    )


def emotion_annotator(log: Log) -> ScriptedAnnotator:
    """Return an annotator that the judge's scorer needs; its emotion depends on the reply's bytes alone."""

    def annotate(audio: AudioRef, language: str) -> dict[str, Any]:
        log.begun(audio.sha256)
        content = hashlib.sha256(audio.path.read_bytes()).hexdigest()
        if content != audio.sha256:
            raise ValueError(f"{audio.path} does not match the hash in its name")
        time.sleep(0.001)
        return {"emotion": ("happy", "sad")[int(content[:2], 16) % 2], "confidence": 0.9}

    return ScriptedAnnotator(annotate, "emotion2vec", calls_at_once=ANNOTATOR_CALLS)


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--calls", type=Path, required=True, help="folder of the files of calls")
    parser.add_argument("--url", required=True, help="base URL of the judge's server")
    parser.add_argument("--contrast", action="store_true", help="let the judge compare within groups as well")
    parser.add_argument("--most-bytes", type=int, help="no file may grow beyond it, as if the disk were full")
    given = parser.parse_args(words)
    system = speaker(Log(given.calls / "system"))
    annotator = emotion_annotator(Log(given.calls / "annotator"))
    judged = judged_scorers(
        "judge-2026-01-01", given.url, calls_at_once=JUDGE_CALLS, store=given.out / "verdicts.jsonl"
    )
    task = load_task("emotion", data=given.data)
    if given.most_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (given.most_bytes, given.most_bytes))
    try:
        with RunFolder(given.out).writing() as run:
            states = evaluate(
                run,
                systems=[system],
                tasks=[task],
                annotators=[annotator],
                scorers=[OutcomeScorer(), *judged[: 1 + given.contrast]],
                settings=RunSettings(retry_policy=RetryPolicy(tries=3, first_wait=0.01)),
                progress=Silent(),
            )
    except (EChatError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        return 130
    return 3 if states["missing"] else 0


if __name__ == "__main__":
    sys.exit(main())
