"""TeX engines, for the tests of files that they read."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def typeset(engine: str, folder: Path, name: str) -> str:
    """Return the log of an engine; the test is skipped without it."""
    if shutil.which(engine) is None:
        package = {"xelatex": "texlive-xetex"}.get(engine, "texlive-latex-recommended")
        pytest.skip(f"no {engine} (Debian: {package})")
    done = subprocess.run(
        [engine, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", f"{name}.tex"],
        cwd=folder,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-1500:].decode(errors="replace")
    return (folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")
