"""Contents of a run folder, as run.py compares them, and how to damage it as a power loss may."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["FILES", "lines_of", "lost_rows", "rows_of", "tear", "written"]

FILES = ("responses.jsonl", "annotations.jsonl", "scores.jsonl", "verdicts.jsonl")


def whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file that may end in the middle of one."""
    if not path.exists():
        return
    for line in path.read_bytes().split(b"\n")[:-1]:
        if line.strip():
            yield json.loads(line)


def rows_of(out: Path) -> dict[str, Any]:
    """Return all rows of a finished run but measured times, and the sound files by content."""
    found: dict[str, Any] = {}
    for name in FILES[:3]:
        found[name] = [_without_times(row) for row in whole_lines(out / name)]
    # Verdicts stand in the order in which the judge answered.
    found[FILES[3]] = {row["key"]: row for row in whole_lines(out / FILES[3])}
    found["samples.jsonl"] = list(whole_lines(out / "samples.jsonl"))
    for folder in ("audio", "requests"):
        found[folder] = {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted((out / folder).iterdir())
            if path.suffix != ".tmp"
        }
    return found


def _without_times(row: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in row.items() if key != "seconds"}
    if "metric" in kept:
        del kept["key"]  # the case a score was made of includes how long the reply took
        if kept["metric"] == "seconds":
            del kept["value"]
    return kept


def written(out: Path, whole: dict[str, Any]) -> dict[str, Counter[str]]:
    """Return stage -> what was asked for the rows on the disk, named as the logs of calls name it."""
    question = {row["id"]: row["audio"]["sha256"] for row in whole["samples.jsonl"]}
    voice = {row["sample_id"]: row["reply"]["audio"]["sha256"] for row in whole["responses.jsonl"]}
    return {
        "system": Counter(question[row["sample_id"]] for row in whole_lines(out / FILES[0])),
        "annotator": Counter(voice[row["sample_id"]] for row in whole_lines(out / FILES[1])),
        "judge": Counter(row["key"] for row in whole_lines(out / FILES[3])),
    }


def lost_rows(out: Path, whole: dict[str, Any]) -> dict[str, int]:
    """Return stage -> how many rows of a finished run are no longer there."""
    kept = written(out, whole)
    before = {"system": FILES[0], "annotator": FILES[1], "judge": FILES[3]}
    return {stage: len(whole[name]) - len(kept[stage]) for stage, name in before.items()}


def tear(out: Path, dice: random.Random) -> list[str]:
    """Cut some files at any byte, also inside a character; leave sound half written; say what was done."""
    done = []
    for name in dice.sample(FILES, dice.randrange(1, len(FILES) + 1)):
        path = out / name
        content = path.read_bytes()
        at = dice.randrange(len(content))
        wide = [n for n in range(at, min(at + 4000, len(content))) if content[n] & 0xC0 == 0x80]
        if wide and dice.random() < 0.5:
            at = wide[0]  # the second byte of a character
        # Data that a file system had not written yet may read as zeros.
        zeros = dice.choice((0, 0, 512))
        path.write_bytes(content[:at] + b"\0" * zeros)
        done.append(f"{name} at {at} of {len(content)}{', then zeros' if zeros else ''}")
    # Sound is forced to the disk before its row is written: half of it can be there only without the row.
    named = {row["reply"]["audio"]["file"] for row in whole_lines(out / FILES[0])}
    orphans = [path for path in sorted((out / "audio").iterdir()) if f"audio/{path.name}" not in named]
    for path in dice.sample(orphans, min(3, len(orphans))):
        half = path.read_bytes()
        path.write_bytes(half[: dice.randrange(len(half))])
        done.append(f"audio/{path.name} half written")
    return done


def lines_of(found: dict[str, Any]) -> str:
    """Return what was found as lines for docs/performance.md."""
    at, calls, totals = found["machine"], found["calls"], found["summary"]

    def each(counts: dict[str, int]) -> str:
        return f"system {counts['system']}, annotator {counts['annotator']}, judge {counts['judge']}"

    early = " **Preliminary: ended by hand before all kills.**" if found.get("preliminary") else ""
    return "\n".join(
        [
            f"{at['date']}, {at['cores']} cores of an {at['cpu']}, commit {at['commit'][:12]}, "
            f"`{found['command']}`. Calls of an undisturbed run: {each(calls)}.{early}",
            "",
            f"- SIGKILL at {len(found['killed'])} points, {totals['killed before they ended']} before the "
            f"end: "
            f"{totals['killed']}. Most calls in flight: {each(totals['most in flight'])}. Most repeated: "
            f"{each(totals['most repeated'])}.",
            f"- Files cut at any byte, zeros behind the cut, sound half written: {totals['torn']}.",
            f"- No file may grow beyond a drawn size, as if the disk were full: {totals['full']}.",
        ]
    )
