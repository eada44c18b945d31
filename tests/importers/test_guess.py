"""Guessed mappings: what a person must fill in is empty, and the rest can be used as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from echat_eval.cli import command_line
from echat_eval.errors import BadData, UsageError
from echat_eval.importers.draft import Draft, ImportOptions, Refusal
from echat_eval.importers.guess import guessed_mapping, write_guess
from echat_eval.importers.mapping import read_mapping
from echat_eval.importers.result import check_rows
from echat_eval.importers.table import read_table
from echat_eval.task import load_task
from tests.support.recordings import recordings, write_csv
from tests.support.tones import write_tone


def drafts_of(table: Path, options: ImportOptions) -> list[Draft]:
    entries = list(read_table(table, options))
    assert not [entry for entry in entries if isinstance(entry, Refusal)]
    return [entry for entry in entries if isinstance(entry, Draft)]


def test_guess_finds_columns_and_leaves_open_what_the_table_does_not_state(tmp_path: Path) -> None:
    table = write_csv(tmp_path / "calls.csv", recordings(tmp_path))
    path = tmp_path / "m.yaml"
    remarks = write_guess(table, path)
    assert "found: audio in Datei, transcript in Text, language in Sprache, speaker in Person" in remarks[0]
    assert "emotion: 4 rows have 2 spellings that are no label: wütend, bored; map them" in remarks
    assert "source: fill in: real or synthetic" in remarks
    with pytest.raises(BadData, match="constant 'source' has no value; fill it in"):
        read_mapping(str(path))
    text = path.read_text().replace("source: null", "source: real").replace('"bored": null', "bored: other")
    path.write_text(text.replace('"wütend": null', "wütend: anger"))
    mapping = read_mapping(str(path))
    assert list(mapping.cut_offs["age"]) == [(60, "old"), (18, "adult"), (0, "child")]
    done = check_rows(read_table(table, ImportOptions(mapping=mapping)), mapping.cues)
    assert (done.samples, done.refused, done.cues) == (8, 0, ("emotion",))
    with pytest.raises(UsageError, match="exists already; remove it"):
        write_guess(table, path)


def test_columns_of_calls_are_known_and_those_without_a_field_are_named(tmp_path: Path) -> None:
    moods = ("sad", "happy", "angry")
    rows = [
        {
            "clip": f"{n}.wav",
            "said": f"sentence {n}",
            "mood": moods[n % 3],
            "caller": f"c{n}",
            "age_years": str(20 + n),
            "branch": "north",
        }
        for n in range(6)
    ]
    remarks = guessed_mapping(write_csv(tmp_path / "x.csv", rows)).remarks
    assert set(remarks[0].removeprefix("found: ").split(", ")) == {
        "audio in clip",
        "transcript in said",
        "speaker in caller",
        "emotion in mood",
        "age in age_years",
    }
    assert remarks[-1] == "not used: branch; name those that hold a field or a cue under columns"


def test_speakers_are_found_in_the_names_of_the_audio(tmp_path: Path) -> None:
    rows = [
        {
            "wav": f"x/{who}_{number}_{label}_{take}.wav",
            "text": f"sentence {number}",
            "emotion": label,
            "take": take,
        }
        for number in range(4)
        for label in ("sad", "happy", "anger", "fear")
        for who in ("ann", "bob", "cid")
        for take in "12"
    ]
    guess = guessed_mapping(write_csv(tmp_path / "x.csv", rows))
    assert "the same 3 read every sentence" in "\n".join(guess.remarks)
    path = tmp_path / "m.yaml"
    path.write_text(
        guess.text.replace("language: null", "language: en").replace("source: null", "source: real")
    )
    mapping = read_mapping(str(path))
    drafts = drafts_of(tmp_path / "x.csv", ImportOptions(mapping=mapping, needs_audio=False))
    assert [draft.speaker for draft in drafts[:6]] == [
        "ann",
        "ann",
        "bob",
        "bob",
        "cid",
        "cid",
    ]


def test_no_speaker_is_guessed_without_shared_words(tmp_path: Path) -> None:
    rows = [{"wav": f"a_{n % 3}_{n}.wav", "text": f"sentence {n}", "emotion": "sad"} for n in range(12)]
    assert "speaker:" not in guessed_mapping(write_csv(tmp_path / "x.csv", rows)).text


def test_spelling_close_to_a_label_is_proposed(tmp_path: Path) -> None:
    rows = [{"wav": "a.wav", "text": "x", "emotion": label} for label in ("sad", "angrry", "zzz")]
    text = guessed_mapping(write_csv(tmp_path / "x.csv", rows)).text
    assert '"angrry": anger  # 1 rows; by its spelling' in text
    assert '"zzz": null  # 1 rows' in text


def test_table_without_cue_or_rows_is_reported(tmp_path: Path) -> None:
    rows = [{"wav": "a.wav", "text": "x", "colour": "red"}]
    remarks = guessed_mapping(write_csv(tmp_path / "x.csv", rows)).remarks
    assert (
        "not found: any cue (emotion, age, gender, event); name the column of the label, or define a cue"
        in remarks
    )
    (tmp_path / "y.csv").write_text("a,b\n")
    with pytest.raises(BadData, match="no rows"):
        guessed_mapping(tmp_path / "y.csv")


def test_from_a_table_to_a_task_by_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "calls.csv", recordings(tmp_path))

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(
            command_line, ["import", "table", "calls.csv", *arguments], standalone_mode=False
        )
        return f"{done.return_value} {done.output}{done.exception or ''}"

    assert "calls.mapping.yaml: check it, fill in what is empty" in run("--guess")
    path = tmp_path / "calls.mapping.yaml"
    assert "constant 'source' has no value" in run("--map", "calls.mapping.yaml", "--out", "calls")
    path.write_text(path.read_text().replace("source: null", "source: real"))
    said = run("--map", "calls.mapping.yaml", "--check")
    assert said.startswith("1 8 rows: 4 can be samples, 4 refused\n")
    assert (
        "       4 rows refused: names … of the task's cues (emotion)\n         calls.csv:2 (row-0001): "
        in said
    )
    said = run("--map", "calls.mapping.yaml", "--out", "calls", "--licence", "internal")
    assert said.startswith("0 8 rows: 4 samples with cue emotion, 2 contrast groups, 4 refused\n")
    assert "emotion in other spellings: Happy = happy (2 rows), SAD = sad (2 rows)" in said
    assert load_task("calls", data=tmp_path / "calls").licence == "internal"
    assert "no --out given" in run()
    assert "other.yaml: check it" in run("--guess", "--map", "other.yaml")
    assert (tmp_path / "other.yaml").is_file()


def test_shipped_mappings_read_the_form_of_their_benchmark(tmp_path: Path) -> None:
    rows = [
        {"prompt": "A", "dimensions": ["Age: Elderly"]},
        {"prompt": "B", "dimensions": ["Emotion: Angry"]},
        {"prompt": "C", "dimensions": ["Emotion: Calm"]},
        {"prompt": "D", "dimensions": ["Non-Linguistic Vocalizations: With a Sigh"]},
        {"prompt": "E", "dimensions": ["Attitude: Rude"]},
    ]
    for number in range(1, 6):
        write_tone(tmp_path / "wav" / f"sit_sin_{number:03}.wav", 200, seconds=0.05)
    (tmp_path / "sit_sin.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ImportOptions(mapping=read_mapping("speechparaling-situational-en"), audio=tmp_path / "wav")
    drafts = drafts_of(tmp_path / "sit_sin.jsonl", options)
    assert [dict(draft.cues) for draft in drafts] == [
        {"age": "old"},
        {"emotion": "anger"},
        {},
        {"event": "sigh"},
        {},
    ]
    assert [Path(str(draft.audio)).name for draft in drafts][::4] == ["sit_sin_001.wav", "sit_sin_005.wav"]
    chinese = [{"prompt": "甲", "dimensions": ["年龄: 青年", "情感: 害怕"]}]
    (tmp_path / "zh.jsonl").write_text(json.dumps(chinese[0], ensure_ascii=False) + "\n")
    options = ImportOptions(mapping=read_mapping("speechparaling-situational-zh"), audio=tmp_path / "wav")
    (draft,) = drafts_of(tmp_path / "zh.jsonl", options)
    assert dict(draft.cues) == {"age": "adult", "emotion": "fear"}
    write_tone(tmp_path / "wav" / "emotion" / "000.wav", 200, seconds=0.05)
    row = {
        "Set": "Emotional Empathy",
        "Qid": "emotion-000",
        "Audio": "emotion/000.wav",
        "Question": "为什么？",
        "Question_emo": "angry",
        "Question_prmopt": "ESD/0010/Angry/0010_000694.wav",
        "Score": [5, 1, 3, 5, 2],
    }
    (tmp_path / "emotion.json").write_text(json.dumps([row]))
    options = ImportOptions(mapping=read_mapping("vocalbench-zh"), audio=tmp_path / "wav")
    (draft,) = drafts_of(tmp_path / "emotion.json", options)
    assert (draft.id, draft.speaker, draft.language) == (
        "emotion-000",
        "0010",
        "zh",
    )


def test_the_words_are_found_by_their_length_under_any_name(tmp_path: Path) -> None:
    table = tmp_path / "calls.csv"
    rows = "".join(f"{n}.wav,I got letter number {n} today,sad,k{n}\n" for n in range(9))
    table.write_text("file,gesagt,mood,code\n" + rows)
    assert 'transcript: "gesagt"' in guessed_mapping(table).text
    table.write_text("file,code,mood\n" + "".join(f"{n}.wav,k{n},sad\n" for n in range(9)))
    assert "transcript:" not in guessed_mapping(table).text
