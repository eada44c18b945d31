"""Runs one task with scripted parts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from echat_eval.ports import Silent
from echat_eval.runner.evaluate import evaluate
from echat_eval.store.run_folder import RunFolder
from echat_eval.task import load_task
from tests.support.scripted_parts import IMPATIENT, Length


def run(out: Path, data: Path, system: Any, **more: Any) -> RunFolder:
    """Evaluate a system, or a list of systems; `more` overrides arguments of `evaluate`."""
    parts = {"annotators": [], "scorers": [Length()], **more}
    with RunFolder(out).writing() as folder:
        evaluate(
            folder,
            systems=[system] if not isinstance(system, list) else system,
            tasks=[load_task("emotion", data=data)],
            retry_policy=IMPATIENT,
            progress=Silent(),
            **parts,
        )
    return folder
