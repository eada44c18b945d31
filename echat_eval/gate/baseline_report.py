"""The text about an accepted baseline: what it keeps of its replies."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from echat_eval.gate.accept import REPLIES
from echat_eval.store.manifest_file import read_manifest

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["kept_lines"]


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
