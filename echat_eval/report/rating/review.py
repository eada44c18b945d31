"""Review sheets: people label the recordings of a task, blind to the intended labels, and name unfit ones.

The sheet has the words and the recording of a sample, and asks for each cue which label its voice has. A
label that people choose instead of the intended one relabels the sample; see `review_answers`.
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData, UsageError
from echat_eval.io.hashing import digest
from echat_eval.io.jsonl import loads
from echat_eval.io.unfinished import NewFolder
from echat_eval.labels.declared import cues_of
from echat_eval.languages import lookup
from echat_eval.report.page import SoundStore, data_script, page_assets
from echat_eval.report.rating.sheet import SHARED_ASSETS, key_path

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from echat_eval.ports import Progress
    from echat_eval.records import Cue, Sample
    from echat_eval.task import Task

__all__ = ["CANNOT_TELL", "KEEP", "REJECTIONS", "USE", "flagged_samples", "write_review"]

#: The question whether a sample can be used, and its answers.
USE, KEEP = "use", "keep"
#: Answer -> reason of a dropped row.
REJECTIONS = {
    "recording": "people: bad recording",
    "words": "people: the words are not those of the transcript",
    "offensive": "people: offensive, or a stereotype",
}
CANNOT_TELL = "cannot tell"


def flagged_samples(path: Path) -> set[str]:
    """Return the ids of the samples that a report of `check task` lists.

    Raises:
        BadData: not the check.json of such a report.
    """
    try:
        findings = loads(path.read_bytes())["findings"]
        return {ident for finding in findings for ident in finding["samples"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadData(
            f"{path}: cannot be read as the check.json of a report ({error}); make one with "
            "`echat-eval check task FOLDER --report REPORT`"
        ) from error


def write_review(
    task: Task,
    out: Path,
    *,
    only: Collection[str] | None,
    seed: int,
    progress: Progress,
    with_audio: bool = False,
) -> int:
    """Write a review sheet and its key; return the number of samples.

    Args:
        task: the task.
        out: absent, empty, or left half made by the same command when it was killed.
        only: ids of the samples to review; None: all.
        seed: of the order.
        progress: receives the progress.
        with_audio: the raters may hear recordings that the task does not allow to pass on.

    Raises:
        UsageError: `out` or the key exists, no sample is left to review, or the recordings may not be passed
            on.
    """
    if task.redistributable is not True and not with_audio:
        raise UsageError(
            f"task '{task.name}' does not state `redistributable: true`, so a sheet for raters may not have "
            "its recordings; add --with-audio if these raters may hear them"
        )
    samples = [sample for sample in task.samples if only is None or sample.id in only]
    if not samples:
        raise UsageError(f"task '{task.name}': no sample to review; none of those that were flagged is in it")
    random.Random(f"order {seed}").shuffle(samples)
    known, key = cues_of(samples), key_path(out)
    occupied = "exists already and may have been answered; choose another --out"
    with NewFolder(out, "echat-eval rate export", occupied=occupied, beside=[key.name]) as folder:
        sound = SoundStore(folder, "")
        progress.stage("review sheet", len(samples), 0)
        items: list[dict[str, Any]] = []
        for number, sample in enumerate(samples, 1):
            cues = {name: _choices(known[name], sample.language) for name in task.cues if name in sample.cues}
            items.append(
                {
                    "name": f"q{number}",
                    "language": sample.language,
                    "words": sample.transcript,
                    "audio": sound(sample.audio),
                    "cues": cues,
                    "replies": [],
                }
            )
            progress.advance()
        kept = {item["name"]: sample.id for item, sample in zip(items, samples, strict=True)}
        sheet_id = digest("review", [task.sha256, items, kept])
        for path in (*(p for p in page_assets("page") if p.name in SHARED_ASSETS), *page_assets("rate")):
            folder.write(path.name, path.read_bytes())
        sheet = {"id": sheet_id, "review": True, "dimensions": [], "items": items}
        folder.write("data/sheet.js", data_script("sheet", sheet))
        facts = {"review": sheet_id, "task": task.name, "task_sha256": task.sha256, "items": kept}
        folder.write(f"../{key.name}", json.dumps(facts, ensure_ascii=False, indent=1) + "\n")
    return len(samples)


def _choices(cue: Cue, language: str) -> list[list[str]]:
    """Return [label, word for it in the language of the sample] of every label."""
    words = cue.words.get(lookup(language, cue.words) or "", {})
    return [[label, words.get(label, label)] for label in cue.labels]


def labels_of(task_samples: Sequence[Sample]) -> dict[str, tuple[str, ...]]:
    """Return cue -> its labels."""
    return {name: cue.labels for name, cue in cues_of(task_samples).items()}
