"""A YAML file means the same with libyaml as without it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from echat_eval.errors import BadData
from echat_eval.io.data_folder import data_folder
from echat_eval.io.strict_yaml import read_yaml


def read(path: Path) -> object:
    """Return the content and lines of a file, or why it is none."""
    try:
        file = read_yaml(path)
        return repr(file.content), file.lines
    except BadData as error:
        return str(error)


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\nb: [x, {c: 'd'}]\nc: |\n  two\n  lines\n",
        "a: b\tc\n",  # libyaml takes a tab in these two places, PyYAML's own parser does not
        "a: {b: c\t}\n",
        "a: {b: 't?e'}\nc: [d?e]\n",  # and this question mark
        "# c\n\ufeffa: 1\n",  # a byte order mark anywhere but at the start
        "a:\n\ufeff  b: c\n",
        "a: 1\n\ufeff",
        "\ufeff\ufeffa: 1\n",
        "\ufeffa: 1\n",
        "a: |#c\n  b\n",  # a comment directly after the head of a block text
        "a: >2#c\n   b\n",
        "a: |+1#c\n  b\n",
        "a: | #c\n  b\n",
        "a: *b\n",
        "a: !x 1\n",
        "a: [1\n",
        "a: 1\na: 2\n",
        "a: \x07\n",
        "- 1\n",
    ],
)
def test_both_parsers_agree(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text, encoding="utf-8")
    found = read(path)
    monkeypatch.setattr(yaml, "__with_libyaml__", False)
    assert found == read(path)


def test_libyaml_reads_the_shipped_cues_if_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    if not yaml.__with_libyaml__:
        pytest.skip("PyYAML without libyaml")

    def refuse(*_: object) -> None:
        raise AssertionError("PyYAML's own parser was used")

    monkeypatch.setattr(yaml.scanner.Scanner, "fetch_more_tokens", refuse)
    assert "emotion" in read_yaml(data_folder("tasks") / "cues.yaml").content
