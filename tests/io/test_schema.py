"""Closed schemas: one check for every kind of file, with file, line, found and expected values."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echat_eval.checks import attacks, golden
from echat_eval.checks.labelled import read_clips
from echat_eval.cost.prices import read_prices
from echat_eval.errors import BadData, UsageError
from echat_eval.gate import read_policy
from echat_eval.io.data_folder import data_folder
from echat_eval.io.schema import (
    MAX_TEXT_CHARACTERS,
    Rule,
    Schema,
    build_record,
    is_number,
    is_text,
    is_whole,
    list_of,
    mapping_of,
    number,
    one_of,
    record_schema,
    shorten,
    text,
    whole,
)
from echat_eval.judge.rubric import read_judge
from echat_eval.leaderboard import published
from echat_eval.systems import settings_files
from echat_eval.systems.wire import fault_of
from echat_eval.task import find_faults

SCHEMA = Schema({"name": text(), "version": whole(1), "note": text().optional()})


@pytest.mark.parametrize(
    ("values", "faults"),
    [
        ({"name": "a", "version": 1}, []),
        ({"name": "a", "version": 1, "note": None}, []),
        (
            {"name": "a", "version": 1, "nota": "x", "zz": 1},
            [
                ("nota", "unknown key 'nota'; did you mean 'note'? keys are name, version, note"),
                ("zz", "unknown key 'zz'; keys are name, version, note"),
            ],
        ),
        ({"name": "a"}, [("version", "key 'version' is missing; expected a whole number from 1")]),
        (
            {"name": " ", "version": True},
            [
                ("name", "'name' is ' ', expected text of 1 to 20,000 characters"),
                ("version", "'version' is True, expected a whole number from 1"),
            ],
        ),
        ([1], [("", "is [1], expected a mapping of name, version, note")]),
    ],
)
def test_every_fault_has_a_key_and_a_message(values: Any, faults: list[tuple[str, str]]) -> None:
    assert list(SCHEMA.faults(values)) == faults
    assert SCHEMA.holds(values) == (not faults)


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["a", "b", "c", "other", 1]), st.sampled_from([None, "", "x", 0, 2.5])),
    st.booleans(),
)
def test_a_mapping_holds_if_each_key_follows_its_rule(values: dict[Any, Any], closed: bool) -> None:
    schema = Schema({"a": text(), "b": number().optional(), "c": whole(1)}, closed=closed)
    given_values = {key: value for key, value in values.items() if value is not None}
    expected = (
        (values.keys() <= {"a", "b", "c"} or not closed)
        and {"a", "c"} <= given_values.keys()
        and all(schema.rules[key].holds(value) for key, value in given_values.items() if key in schema.rules)
    )
    assert schema.holds(values) == expected
    assert bool(list(schema.faults(values))) != expected


def test_check_raises_the_first_fault_at_its_location() -> None:
    SCHEMA.check({"name": "a", "version": 1}, "here")
    with pytest.raises(BadData, match=r"^here: key 'version' is missing"):
        SCHEMA.check({"name": "a"}, "here")
    with pytest.raises(BadData, match=r"^f:version: key 'version' is missing"):
        SCHEMA.check({"name": "a"}, lambda key: f"f:{key}")


def test_open_schema_accepts_other_keys() -> None:
    assert Schema({"a": whole(0)}, closed=False).holds({"a": 1, "b": 2})


@dataclass(frozen=True)
class Limits:
    most: int
    least: int = 0
    words: tuple[str, ...] = field(default=())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"most": 1, "leest": 2},
            r"x: unknown key 'leest'; did you mean 'least'\? keys are most, least, words",
        ),
        ({"least": 2}, "x: key 'most' is missing"),
        ({"most": -1}, "x: 'most' is -1, expected a whole number from 0"),
        ([1], "x: is \\[1\\], expected a mapping of most, least, words"),
    ],
)
def test_the_fields_of_a_record_are_its_schema(values: Any, message: str) -> None:
    with pytest.raises(BadData, match=message):
        build_record(Limits, values, "x", {"most": whole(0)})


def test_a_record_is_built_from_its_fields() -> None:
    assert build_record(Limits, {"most": 3, "words": ("a",)}, "x") == Limits(3, words=("a",))
    assert [key for key, rule in record_schema(Limits).rules.items() if rule.required] == ["most"]


def test_long_value_is_shortened() -> None:
    (fault,) = SCHEMA.faults({"name": "a", "version": "x\n" * 500_000})
    assert len(fault[1]) < 120
    assert "\n" not in fault[1]
    assert len(shorten(list(range(1000)))) == 60


@pytest.mark.parametrize(
    ("rule", "valid", "invalid"),
    [
        (whole(1, 5), [1, 5], [0, 6, 1.0, True, "1", None]),
        (number(0, 1), [0, 0.5, 1], [-0.1, 1.1, float("nan"), float("inf"), True, "1"]),
        (number(), [-1e300, 10**300], [float("-inf"), float("nan"), 10**400]),
        (one_of(("a", "b")), ["a", "b"], ["c", "", 1, ["a"]]),
        (text(), ["x", "é", "x" * MAX_TEXT_CHARACTERS], ["", " ", "x" * (MAX_TEXT_CHARACTERS + 1), "\ud800"]),
        (list_of(whole(0), ""), [[], [1]], [(1,), [-1], "1"]),
        (mapping_of(whole(0), ""), [{}, {"a": 1}], [{"a": -1}, {1: 1}, []]),
    ],
)
def test_rules(rule: Rule, valid: list[Any], invalid: list[Any]) -> None:
    assert [value for value in valid if not rule.holds(value)] == []
    assert [value for value in invalid if rule.holds(value)] == []


def test_descriptions_of_ranges_and_choices() -> None:
    assert whole(1).expected == "a whole number from 1"
    assert number(0, 1).expected == "a finite number from 0 to 1"
    assert number(high=1).expected == "a finite number up to 1"
    assert number().expected == "a finite number"
    assert one_of(("a", "b", "c")).expected == "a, b or c"
    assert one_of(("a",)).expected == "a"


def test_predicates_reject_booleans() -> None:
    assert not is_number(True)
    assert not is_whole(False)
    assert not is_text(b"x")


# -- every kind of closed file ------------------------------------------------------------------------


def _jsonl(row: dict[str, Any]) -> str:
    return json.dumps(row) + "\n"


GOLDEN = {
    "id": "a",
    "kind": "good",
    "task": "emotion",
    "language": "en",
    "transcript": "Hi.",
    "cues": {"emotion": "sad"},
    "reply": "Oh.",
    "band": [0, 100],
    "grades": {"empathy": [0, 5]},
}
ATTACK = {"id": "a", "kind": "k", "language": "en", "reply": "5"}
SETTINGS = (data_folder("baselines") / "systems" / "glm-4-voice.yaml").read_text()
PUBLISHED = (
    "title: T\nsource: S\nunit: points\nmeasure: judge\ncolumns: [a]\nrows: [{system: x, values: [1]}]\n"
)
PRICES = "m: {currency: USD, date: 2026-01-31, source: x, text_in: 1}\n"
TASK = "name: mood\nversion: 1\ntitle: {en: Mood}\ndescription: D\ncues: [emotion]\nlicence: CC0 1.0\nsource: x\n"


def _shipped(module: Any, name: str) -> Callable[[Path, str, pytest.MonkeyPatch], None]:
    """Return a reader of a shipped file that reads `text` in its place."""

    def read(folder: Path, content: str, patch: pytest.MonkeyPatch) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        if module in (golden, attacks):
            patch.setattr(module, "rubric_file", lambda *_: path)
        else:
            patch.setattr(module, "data_folder", lambda _: folder)
        if module is golden:
            golden.golden_replies.__wrapped__("echat-r1")
        elif module is attacks:
            attacks.attacks("echat-r1")
        elif module is published:
            published.published("t")
        else:
            settings_files.system_settings("t")

    return read


def _golden(folder: Path, content: str, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(golden, "judge_names", lambda: ["echat-r1"])
    _shipped(golden, "echat-r1/golden.jsonl")(folder, content, patch)


def _judge(folder: Path, content: str, _: pytest.MonkeyPatch) -> None:
    (folder / "judge.yaml").write_text(content)
    read_judge(folder)


def _file(read: Callable[[Path], object], name: str) -> Callable[[Path, str, pytest.MonkeyPatch], None]:
    def call(folder: Path, content: str, _: pytest.MonkeyPatch) -> None:
        (folder / name).write_text(content)
        read(folder / name)

    return call


def _task(folder: Path, content: str, _: pytest.MonkeyPatch) -> None:
    (folder / "task.yaml").write_text(content)
    (folder / "samples.jsonl").write_text("")
    raise BadData(find_faults(folder)[0])


def _task_row(folder: Path, content: str, _: pytest.MonkeyPatch) -> None:
    (folder / "task.yaml").write_text(TASK.replace("source: x\n", ""))
    (folder / "samples.jsonl").write_text(content)
    raise BadData(find_faults(folder)[0])


JUDGE = (data_folder("judges") / "echat-r1" / "judge.yaml").read_text()
ROW = {"id": "a", "audio": "a.wav", "cues": {"emotion": "sad"}}
READERS: dict[str, tuple[Callable[[Path, str, pytest.MonkeyPatch], None], str, str]] = {
    "golden": (_golden, _jsonl({**GOLDEN, "repli": "x"}), ":1: unknown key 'repli'; did you mean 'reply'?"),
    "golden value": (_golden, _jsonl({**GOLDEN, "band": [5, 1]}), ":1: 'band' is [5, 1], expected low and"),
    "golden label": (_golden, _jsonl({**GOLDEN, "cues": {"emotion": "angry"}}), ":1: emotion 'angry' is an"),
    "attacks": (
        _shipped(attacks, "echat-r1/attacks.jsonl"),
        _jsonl(ATTACK) + _jsonl({**ATTACK, "time": 3}),
        ":2: unknown key 'time'; did you mean 'times'?",
    ),
    "attacks value": (
        _shipped(attacks, "echat-r1/attacks.jsonl"),
        _jsonl({**ATTACK, "times": 0}),
        ":1: 'times' is 0, expected a whole number from 1",
    ),
    "clips": (
        _file(read_clips, "c.jsonl"),
        _jsonl({"audio": "a.wav"}),
        ":1: key 'language' is missing; expected",
    ),
    "clips key": (
        _file(read_clips, "c.jsonl"),
        _jsonl({"audio": "a.wav", "language": "en", "emotoin": "sad"}),
        ":1: unknown key 'emotoin'; did you mean 'emotion'?",
    ),
    "clips label": (
        _file(read_clips, "c.jsonl"),
        _jsonl({"audio": "a.wav", "language": "en", "emotion": "angry"}),
        ":1: emotion 'angry' is an alias",
    ),
    "prices": (
        _file(read_prices, "p.yaml"),
        PRICES + PRICES.replace("m:", "n:").replace("source", "sourse"),
        ":2: n: unknown key 'sourse'; did you mean 'source'?",
    ),
    "policy": (
        _file(read_policy, "gate.yaml"),
        "margin: 1\nmetrics: {m: {higher_is_better: true}}\nmagrin: 2\n",
        ":3: unknown key 'magrin'; did you mean 'margin'?",
    ),
    "policy's metric": (
        _file(read_policy, "gate.yaml"),
        "margin: 1\nmetrics: {m: {higher_is_better: true, hihg: 3}}\n",
        ": metric 'm': unknown key 'hihg'; did you mean 'high'?",
    ),
    "system settings": (
        _shipped(settings_files, "systems/t.yaml"),
        SETTINGS + "licens: MIT\n",
        "unknown key 'licens'; did you mean 'licence'?",
    ),
    "system settings value": (
        _shipped(settings_files, "systems/t.yaml"),
        SETTINGS.replace("adapter: http", "adapter: 5"),
        "'adapter' is 5, expected text",
    ),
    "published": (
        _shipped(published, "published/t.yaml"),
        PUBLISHED.replace("unit: points\n", ""),
        ":1: key 'unit' is missing; expected text",
    ),
    "published value": (
        _shipped(published, "published/t.yaml"),
        PUBLISHED.replace("[a]", "a"),
        ":5: 'columns' is 'a', expected a list",
    ),
    "rubric": (_judge, JUDGE + "highness: 5\n", "unknown key 'highness'; did you mean 'highest'?"),
    "rubric value": (
        _judge,
        JUDGE.replace("points: 20", "points: many"),
        "'cap' is {'dimension': 'cue_awareness', 'points': 'many'}, expected a mapping of dimension",
    ),
    "task": (_task, TASK, ":7: unknown key 'source'; keys are name, version"),
    "task value": (_task, TASK.replace("version: 1", "version: '1'"), ":7: unknown key 'source'"),
    "row": (
        _task_row,
        _jsonl({**ROW, "langauge": "en"}),
        ":1: unknown key 'langauge'; did you mean 'language'?",
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_every_closed_file_reports_place_and_fault(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, content, message = READERS[name]
    with pytest.raises(UsageError) as error:
        read(tmp_path, content, monkeypatch)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert Path(str(error.value).split(":")[0]).suffix in {".yaml", ".jsonl"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"txt": "x"}, "unknown key 'txt'; did you mean 'text'? keys are"),
        ({"text": 7}, "'text' is 7, expected text"),
        ({"first_audio_seconds": -1}, "'first_audio_seconds' is -1, expected seconds"),
        ({"perceived": {"emotion": 5}}, "'perceived' is {'emotion': 5}, expected an object of cue: label"),
        ({"usage": {"tokens": "5"}}, "'usage' is {'tokens': '5'}, expected an object of name: number"),
        ([1], "is [1], expected a mapping of"),
    ],
)
def test_reply_uses_the_same_check(row: Any, message: str) -> None:
    assert message in str(fault_of(row))


def test_reply_without_faults_has_none() -> None:
    assert fault_of({"id": "a", "text": "", "usage": None, "perceived": {}}) is None
