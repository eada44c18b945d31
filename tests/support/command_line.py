"""The command line inside the test's process: as its entry point runs it, without a second of imports."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
from pathlib import Path

from echat_eval.cli import main


def call_here(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in this process; return its exit code and what it printed."""
    out, err, argv = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["echat-eval", *map(str, words)]
    code = 0
    try:
        with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        sys.argv = argv
    return subprocess.CompletedProcess(sys.argv, code, out.getvalue(), err.getvalue())
