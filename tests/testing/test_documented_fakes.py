"""The code of docs/testing.md runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import echat_eval.testing

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"<!-- run -->\n```python\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.parametrize("code", BLOCKS, ids=["checks", "run", "judge"])
def test_documented_test_passes(code: str, tmp_path: Path) -> None:
    module: dict[str, Any] = {}
    exec(compile(code, "docs/testing.md", "exec"), module)
    (test,) = (value for name, value in module.items() if name.startswith("test_"))
    test(tmp_path) if test.__code__.co_argcount else test()


def test_every_documented_option_exists() -> None:
    import inspect

    for part, options in re.findall(r"^\| `(Scripted\w+)` \|[^|]*\|([^|]*)\|$", PAGE, flags=re.MULTILINE):
        parameters = inspect.signature(getattr(echat_eval.testing, part)).parameters
        assert set(re.findall(r"`(\w+)`", options)) <= set(parameters), part
