"""The tutorials run as they are written, and print what they show."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.tutorials import PAGES, Shown, Walk, renewed


@pytest.mark.assets
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_tutorial_prints_what_it_shows(page: Path, tmp_path: Path) -> None:
    outputs = Walk(tmp_path).run(page.read_text(encoding="utf-8"))
    assert outputs
    assert [line for shown in outputs for line in shown.faults()] == []


PAGE = """
<!-- file: a.py -->
```python
print("2.31 of 4 in folder x1")
print("done")
```

```
make demo
python a.py
echat-eval nothing
echo $?
```

```text
2.4 of 4 in folder …
...
2
```
"""


def test_other_words_counts_and_decimals_are_found(tmp_path: Path) -> None:
    (shown,) = Walk(tmp_path).run(PAGE)
    assert shown.printed[0] == "2.31 of 4 in folder x1"
    assert shown.faults() == []
    for line in ("2.9 of 4 in folder x1", "2.31 of 5 in folder x1", "2.31 of 4 in folders x1", "3"):
        assert Shown([line], shown.printed, 0).faults() == [line]
    assert Shown(["done", "2.31 of 4 in folder x1"], shown.printed, 0).faults() == ["2.31 of 4 in folder x1"]


def test_the_tool_writes_the_printed_numbers(tmp_path: Path) -> None:
    old = PAGE.replace("2.4 of 4 in folder …", "2.9 of 3  in folder x0").replace("\n2\n", "\nno such line\n")
    page, faults = renewed(old, Walk(tmp_path).run(old))
    assert "```text\n2.31 of 4 in folder x1\n...\n" in page
    page, _ = renewed(
        PAGE.replace("2.4 of 4", "7 of 9"), Walk(tmp_path).run(PAGE.replace("2.4 of 4", "7 of 9"))
    )
    assert "```text\n2.31 of 4 in folder …\n...\n" in page
    assert faults == ["no such line"]


def test_a_failing_command_is_no_tutorial(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="exit code 2: echat-eval nothing"):
        Walk(tmp_path).run(PAGE.replace("echo $?\n", ""))
