"""The text about an accepted baseline: what it keeps of its replies, and what another one changes."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from echat_eval.analysis.compare_runs import compare_runs
from echat_eval.analysis.content import shared_content
from echat_eval.errors import EChatError
from echat_eval.gate.accept import REPLIES
from echat_eval.gate.tries import tries_in
from echat_eval.io.display import printable
from echat_eval.store.manifest_file import read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import pandas as pd

    from echat_eval.analysis import ScoredSystem

__all__ = ["changes", "kept_lines", "row_lines", "tries_in"]


def kept_lines(baseline: Path) -> list[str]:
    """Return what a baseline keeps of its replies, for a terminal; private recordings are named."""
    folder = baseline / REPLIES
    if not folder.is_dir():
        return ["its replies are not kept: another judge or annotator cannot score them again"]
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    tasks = read_manifest(folder / "manifest.json").tasks
    lines = [
        f"its replies are kept, {len(sizes)} files of {sum(sizes) / 1e6:.1f} MB; score them again with "
        f"`echat-eval run {shlex.quote(str(baseline))}`, such as by --judge MODEL"
    ]
    if held := [name for name, facts in tasks.items() if not facts.redistributable]:
        lines.append(
            f"recordings of {', '.join(held)} are among them, and these tasks do not state that they may be "
            "passed on: keep the folder to yourself, or use --no-replies"
        )
    return lines


def row_lines(frame: pd.DataFrame) -> list[str]:
    """Return how many scores of a baseline are failed or missing; candidates are held against those too."""
    counts = [(state, int((frame["state"] == state).sum())) for state in ("failed", "missing")]
    found = [f"{count} are {state}" for state, count in counts if count]
    return [f"note: of its {len(frame)} rows {' and '.join(found)}"] if found else []


def changes(old: ScoredSystem, new: ScoredSystem) -> list[str]:
    """Return what another baseline changes, for a terminal: run, parts, samples, and every shared metric.

    Args:
        old: the accepted baseline.
        new: the run that would replace it.
    """
    when = f", accepted on {old.accepted_at[:10]}" if old.accepted_at else ""
    lines = [f"run: {new.name} ({new.system}); before: {old.name} ({old.system}{when})"]
    lines += _parts(old, new)
    before, now = _samples(old), _samples(new)
    lines.append(
        f"samples: {len(before & now)} in both, {len(now - before)} new, {len(before - now)} no longer there"
    )
    for name, run in (("before", old), ("now", new)):
        failed = run.frame.loc[run.frame["state"] == "failed", ["task", "sample_id"]].drop_duplicates()
        lines.append(f"failed replies {name}: {len(failed)}")
    try:
        aligned, notes = shared_content(new, old)
        compared = compare_runs([old, aligned], anyway=True)
        lines += [*notes, "", *compared.lines(flips=5)]
    except EChatError as error:
        lines.append(f"no metric is compared: {error}")
    return [printable(line) for line in lines]


def _parts(old: ScoredSystem, new: ScoredSystem) -> Iterator[str]:
    """Yield one line per task, scorer or annotator that is new, gone or of another version, and per judge."""
    for kind, name in sorted(set(old.hashes) | set(new.hashes)):
        before, now = old.hashes.get((kind, name)), new.hashes.get((kind, name))
        part = f"{kind.removesuffix('s')} '{name}'"
        if before is None or now is None:
            yield f"{part}: {'new' if before is None else 'no longer there'}"
        elif before != now:
            yield f"{part}: another version ({before[:8]} -> {now[:8]})"
    judges = [", ".join(judge.model for judge in run.judges) or "none" for run in (old, new)]
    if judges[0] != judges[1]:
        yield f"judge: {judges[0]} -> {judges[1]}"
    metrics = [set(run.frame["metric"]) for run in (old, new)]
    yield from _named("metric", "new", metrics[1] - metrics[0])
    yield from _named("metric", "no longer there", metrics[0] - metrics[1])


def _named(kind: str, word: str, names: Iterable[str]) -> Iterator[str]:
    for name in sorted(names):
        yield f"{kind} '{name}': {word}"


def _samples(run: ScoredSystem) -> set[tuple[str, str]]:
    pairs = run.frame[["task", "sample_id"]].drop_duplicates()
    return set(zip(pairs["task"].astype(str), pairs["sample_id"].astype(str), strict=True))
