"""Mapping files: every fault is one line with its place, and the shipped ones are valid."""

from __future__ import annotations

from pathlib import Path

import pytest

from echat_eval.errors import BadData, UnknownName
from echat_eval.importers.mapping import known_mappings, read_mapping


def fault_of(tmp_path: Path, text: str) -> str:
    path = tmp_path / "m.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadData) as raised:
        read_mapping(str(path))
    message = str(raised.value)
    assert "\n" not in message
    return message.removeprefix(f"{tmp_path}/")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "columns: {audio: a}\nlabels: {emotion: {bored: boredom}}\n",
            "m.yaml:2: emotion 'bored' is mapped to 'boredom': unknown emotion 'boredom'; labels are anger,",
        ),
        (
            "labels: {emotion: {mad: angry}}\n",
            "m.yaml:1: emotion 'mad' is mapped to 'angry': emotion 'angry' is an",
        ),
        ("labels: {emotion: {mad: 3}}\n", "m.yaml:1: emotion 'mad' is mapped to 3, expected a label"),
        ("labels: {emotion: sad}\n", "m.yaml:1: labels of emotion are 'sad', expected spelling: label"),
        (
            "labels: {source: {x: studio}}\n",
            "m.yaml:1: source 'x' is mapped to 'studio': expected real or synthetic",
        ),
        (
            "labels: {expect: {x: other}}\n",
            "m.yaml:1: expect 'x' is mapped to 'other': expected same, or null where replies differ",
        ),
        ("colums: {audio: a}\n", "m.yaml:1: unknown key 'colums'; did you mean 'columns'?"),
        (
            "columns: {adio: a}\n",
            "m.yaml:1: unknown key 'adio' in columns. Did you mean 'audio'? Keys are id,",
        ),
        ("columns: {audio: [a]}\n", "m.yaml:1: column ['a'], expected a name, {column: NAME, pattern:"),
        (
            "columns: {age: {column: a, pattern: '('}}\n",
            "m.yaml:1: pattern '(' is no regular expression: missing ), unterminated subpattern",
        ),
        (
            "columns: {age: {column: a, pattern: x}}\n",
            "m.yaml:1: pattern 'x' has 0 groups, expected one: (...)",
        ),
        ("columns: {audio: {first: a.wav}}\n", "m.yaml:1: first is 'a.wav', expected a name with a number"),
        (
            "constants: {language: null}\n",
            "m.yaml:1: constant 'language' has no value; fill it in, or name a column",
        ),
        (
            "constants: {emotion: angry}\n",
            "m.yaml:1: constant 'emotion' is 'angry': emotion 'angry' is an alias",
        ),
        (
            "columns: {age: a}\nconstants: {age: old}\n",
            "m.yaml:2: 'age' is a column as well; leave out one of",
        ),
        (
            "cut_offs: {age: {young: 3}}\n",
            "m.yaml:1: cut-offs of age: age 'young' is an alias; write 'adult'",
        ),
        (
            "cut_offs: {age: {old: x}}\n",
            "m.yaml:1: cut-offs of age are {'old': 'x'}, expected label: lowest number",
        ),
        ("cut_offs: {age: {old: 3, adult: 3}}\n", "m.yaml:1: two labels of age begin at the same number"),
        ("cues: [mood]\n", "m.yaml:1: unknown cue 'mood'; the shipped cues are emotion, age, gender, event."),
        (
            "task: {redistributable: maybe}\n",
            "m.yaml:1: 'redistributable' is 'maybe', expected true or false",
        ),
        ("task: {license: x}\n", "m.yaml:1: unknown key 'license'; did you mean 'licence'?"),
    ],
)
def test_fault_of_a_mapping_is_one_line_with_its_place(tmp_path: Path, text: str, fault: str) -> None:
    assert fault_of(tmp_path, text).startswith(fault)


def test_unknown_mapping_names_the_shipped_ones() -> None:
    with pytest.raises(UnknownName, match=r"unknown mapping 'vocalbench-zg'\. Did you mean 'vocalbench-zh'"):
        read_mapping("vocalbench-zg")


def test_shipped_mappings_are_valid() -> None:
    assert {"echomind", "televal"} <= set(known_mappings())
    assert {"speechparaling-situational-en", "vocalbench-zh"} <= set(known_mappings())
    for name in known_mappings():
        mapping = read_mapping(name)
        assert mapping.facts.citation
        assert mapping.facts.licence


def test_documented_mapping_is_valid(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "import.md").read_text(encoding="utf-8")
    path = tmp_path / "m.yaml"
    text = page.split("```yaml\n")[1].split("```")[0]
    path.write_text(text, encoding="utf-8")
    mapping = read_mapping(str(path))
    assert (mapping.labels["language"], mapping.files) == ({"deutsch": "de"}, "data/test-*.parquet")
    assert mapping.facts.redistributable is False
