"""Tables of a user's own: spellings, ages, embedded audio, and one clear line for every kind of fault."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from echat_eval.errors import BadData, UsageError
from echat_eval.importers.draft import Draft, ImportOptions, Refusal
from echat_eval.importers.facts import TaskFacts
from echat_eval.importers.mapping import read_mapping
from echat_eval.importers.result import Imported, check_rows
from echat_eval.importers.table import read_table
from echat_eval.importers.writing import write_task
from echat_eval.task import find_faults, load_task
from tests.support.present import present
from tests.support.recordings import recordings, write_csv, write_recordings
from tests.support.tones import write_tone


def options_of(mapping: Path, **more: Any) -> ImportOptions:
    return ImportOptions(mapping=read_mapping(str(mapping)), **more)


def imported(table: Path, options: ImportOptions, out: Path, **more: Any) -> Imported:
    facts = options.mapping.facts if options.mapping else TaskFacts()
    return write_task(
        read_table(table, options), out, name="calls", facts=facts, cues=options.cues(()), **more
    )


def json_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def test_table_becomes_a_task_with_groups_speakers_ages_and_counted_aliases(tmp_path: Path) -> None:
    table, mapping = write_recordings(tmp_path / "data")
    done = imported(table, options_of(mapping), tmp_path / "calls")
    assert (done.rows, done.samples, done.groups, done.speakers) == (8, 8, 2, 2)
    assert done.aliases["emotion"] == {
        "wütend = anger": 2,
        "Happy = happy": 2,
        "SAD = sad": 2,
        "bored = other": 2,
    }
    assert "age" not in done.aliases
    assert find_faults(tmp_path / "calls") == []
    task = load_task("calls", data=tmp_path / "calls")
    assert (task.title["en"], task.licence, task.redistributable) == ("Calls", "internal", False)
    assert task.consent == "written, for evaluation"
    first = task.samples[0]
    assert (first.id, first.speaker, first.language, first.source) == ("row-0001", "p0", "en", "real")
    assert dict(first.cues) == {"emotion": "anger", "age": "child"}
    assert [sample.cues["age"] for sample in task.samples[:3]] == ["child", "adult", "old"]


def test_columns_with_the_names_of_fields_need_no_mapping(tmp_path: Path) -> None:
    write_tone(tmp_path / "a.wav", 200, seconds=0.05)
    row = {"id": "a", "file_name": "a.wav", "transcript": "Hi.", "emotion": "sad", "language": "en"}
    table = write_csv(tmp_path / "metadata.csv", [row | {"source": "real"}])
    (draft,) = read_table(tmp_path, ImportOptions())
    assert isinstance(draft, Draft)
    assert (draft.id, draft.audio, dict(draft.cues)) == ("a", tmp_path / "a.wav", {"emotion": "sad"})
    table.write_text(table.read_text().replace("transcript", "Satz"))
    with pytest.raises(BadData, match=r"no column for 'transcript' \(columns: id, file_name, Satz.*--guess"):
        list(read_table(tmp_path, ImportOptions()))


def test_audio_may_stay_where_it_is(tmp_path: Path) -> None:
    table, mapping = write_recordings(tmp_path / "data")
    imported(table, options_of(mapping), tmp_path / "copied")
    imported(table, options_of(mapping), tmp_path / "calls", by_reference=True)
    assert not (tmp_path / "calls" / "audio").exists()
    here = load_task("calls", data=tmp_path / "calls")
    assert {sample.audio.path.parent for sample in here.samples} == {tmp_path / "data" / "clips"}
    # The same content, wherever it is.
    assert here.sha256 == load_task("calls", data=tmp_path / "copied").sha256
    write_tone(tmp_path / "data" / "clips" / "000.wav", 999)
    assert "fetch the file again, or correct the hash" in find_faults(tmp_path / "calls")[0]
    (tmp_path / "data" / "clips").rename(tmp_path / "moved")
    (fault,) = find_faults(tmp_path / "calls")
    assert "is no folder on this machine; correct the path" in fault


def test_embedded_audio_is_written_and_cannot_stay_in_the_table(tmp_path: Path) -> None:
    rows = recordings(tmp_path)
    for row in rows:
        path = tmp_path / row.pop("Datei")
        row["Datei"] = {"bytes": path.read_bytes(), "path": path.name}  # type: ignore[assignment]
    table, mapping = write_recordings(tmp_path / "data")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "calls.parquet")
    imported(table, options_of(mapping), tmp_path / "files")
    imported(tmp_path / "calls.parquet", options_of(mapping), tmp_path / "embedded")
    hashes = [load_task("calls", data=tmp_path / name).sha256 for name in ("files", "embedded")]
    assert hashes[0] == hashes[1]
    with pytest.raises(BadData, match="is embedded in the table and cannot stay there"):
        imported(tmp_path / "calls.parquet", options_of(mapping), tmp_path / "t", by_reference=True)


def test_unreadable_audio_is_counted_once_with_examples_and_the_rest_is_imported(tmp_path: Path) -> None:
    table, mapping = write_recordings(tmp_path / "data", count=40)
    for number in range(0, 40, 10):
        path = tmp_path / "data" / "clips" / f"{number:03}.wav"
        path.write_bytes(path.read_bytes()[: 500 + number])
    done = imported(table, options_of(mapping), tmp_path / "calls")
    assert (done.samples, done.refused) == (36, 4)
    ((reason, count),) = done.reasons.items()
    assert count == 4
    assert reason.startswith("audio: cut short")
    examples = done.examples[reason]
    assert len(examples) == 3
    assert examples[0].startswith("calls.csv:2 (row-0001): audio: cut short: the header states")


def test_missing_column_is_one_line(tmp_path: Path) -> None:
    table, mapping = write_recordings(tmp_path / "data")
    mapping.write_text(mapping.read_text().replace("Datei", "Dateien"))
    with pytest.raises(BadData) as raised:
        imported(table, options_of(mapping), tmp_path / "calls")
    assert str(raised.value) == (
        f"{mapping}: 'audio' is column 'Dateien', which calls.csv does not have. Did you mean 'Datei'? Its "
        "columns: Datei, Text, Label, Alter, Sprache, Person."
    )
    assert not (tmp_path / "calls").exists()


def test_duplicate_ids_are_refused_and_counted(tmp_path: Path) -> None:
    table, mapping = write_recordings(tmp_path / "data")
    mapping.write_text(mapping.read_text().replace("columns:\n", "columns:\n  id: Text\n"))
    done = imported(table, options_of(mapping), tmp_path / "calls")
    assert (done.samples, dict(done.reasons)) == (2, {"a second row with this id": 6})


def test_import_without_samples_leaves_nothing_behind(tmp_path: Path) -> None:
    table, mapping = write_recordings(tmp_path / "data")
    mapping.write_text(mapping.read_text().replace("wütend: anger, ", ""))
    rows = [row for row in recordings(tmp_path / "data") if row["Label"] == "wütend"]
    write_csv(table, rows)
    with pytest.raises(BadData, match="none of 2 rows became a sample; first reason: emotion 'wütend' is no"):
        imported(table, options_of(mapping), tmp_path / "calls")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_check_counts_the_same_refusals_without_audio(tmp_path: Path) -> None:
    table, mapping = write_recordings(tmp_path / "data")
    mapping.write_text(mapping.read_text().replace("bored: other", "bored: null"))
    rows = recordings(tmp_path / "data")
    rows[0]["Label"], rows[1]["Sprache"] = "furious", "Klingon"
    del rows[4:]
    write_csv(table, [{k: v for k, v in row.items() if k != "Datei"} for row in rows])
    mapping.write_text(mapping.read_text().replace("  audio: Datei\n", ""))
    options = options_of(mapping, needs_audio=False)
    done = check_rows(read_table(table, options), options.cues(()))
    assert (done.rows, done.samples, done.refused) == (4, 1, 3)
    assert set(done.reasons) == {
        "emotion … is no label of the benchmark",
        "language … is none; expected a BCP … tag such as en, de, ja or pt-BR",
        "names … of the task's cues (emotion)",
    }


def test_spellings_are_translated_for_language_and_source_too(tmp_path: Path) -> None:
    mapping = tmp_path / "m.yaml"
    mapping.write_text(
        "columns: {transcript: t, language: l, source: s, gender: g, references: r}\n"
        "labels: {language: {E: en}, source: {studio: real}, gender: {'2': female}}\n"
    )
    row = {"t": "Hi", "l": "e", "s": "Studio", "g": 2.0, "r": ["a", " ", "b"]}
    (draft,) = read_table(json_table(tmp_path / "x.jsonl", [row]), options_of(mapping, needs_audio=False))
    assert isinstance(draft, Draft)
    assert (draft.language, draft.source, dict(draft.cues)) == ("en", "real", {"gender": "female"})
    assert draft.references == ("a", "b")


def test_history_is_a_list_of_turns(tmp_path: Path) -> None:
    write_tone(tmp_path / "h.wav", 200, seconds=0.05)
    turns = [{"role": "user", "audio": "h.wav"}, {"role": "assistant", "text": "Yes?"}]
    row = {"transcript": "Hi", "language": "en", "source": "real", "emotion": "sad", "history": turns}
    bad: dict[str, Any] = {
        "its history is not JSON": "[",
        "its history is no list of turns": {"role": "user"},
        "has role 'system', expected user or assistant": [{"role": "system", "text": "x"}],
        "has neither text nor audio": [{"role": "user"}],
        "audio 'gone.wav' is not there": [{"role": "user", "audio": "gone.wav"}],
    }
    rows = [row, row | {"history": json.dumps(turns)}, *(row | {"history": value} for value in bad.values())]
    entries = list(read_table(json_table(tmp_path / "x.jsonl", rows), ImportOptions(needs_audio=False)))
    for draft in entries[:2]:
        assert isinstance(draft, Draft)
        assert [(turn.role, turn.text, turn.audio) for turn in draft.history] == [
            ("user", None, tmp_path / "h.wav"),
            ("assistant", "Yes?", None),
        ]
    for reason, refusal in zip(bad, entries[2:], strict=True):
        assert isinstance(refusal, Refusal)
        assert reason in refusal.reason


def test_rows_that_expect_the_same_reply_form_groups_of_their_own(tmp_path: Path) -> None:
    rows = []
    for number, (label, kind, reference) in enumerate(
        [
            ("sad", "control", "Seven."),
            ("happy", "control", "Seven."),
            ("sad", "test", "Oh."),
            ("happy", "test", "Lovely."),
            ("anger", "control", "Eight."),  # no partner with its reference
            ("happy", "contrl", "Seven."),
        ]
    ):
        write_tone(tmp_path / f"{number}.wav", 200 + number, seconds=0.05)
        row = {"audio": f"{number}.wav", "transcript": "What is 3 + 4?", "emotion": label, "arm": kind}
        rows.append(row | {"references": [reference], "language": "en", "source": "real"})
    mapping = tmp_path / "map.yaml"
    columns = ("audio", "transcript", "emotion", "references", "language", "source")
    mapping.write_text(
        "columns: {" + ", ".join(f"{name}: {name}" for name in columns) + ", expect: arm}\n"
        "labels: {expect: {Control: same, test: null}}\n"
    )
    done = imported(json_table(tmp_path / "x.jsonl", rows), options_of(mapping), tmp_path / "calls")
    assert (done.samples, done.groups, done.alone, done.refused) == (5, 2, 1, 1)
    (examples,) = done.examples.values()
    assert "expect is 'contrl'; expected same, or an empty cell where replies differ" in examples[0]
    samples = load_task("calls", data=tmp_path / "calls").samples
    assert [sample.expect for sample in samples] == ["same", "same", None, None, None]
    groups = [sample.contrast_group for sample in samples]
    assert groups[0] == groups[1] != groups[2] == groups[3]
    assert groups[4] is None


@pytest.mark.parametrize(
    ("cell", "reason"),
    [("-3", "age '-3' is below every cut-off"), ("dragon", "age 'dragon' is no label of the benchmark")],
)
def test_age_outside_the_cut_offs_is_refused(tmp_path: Path, cell: str, reason: str) -> None:
    table, mapping = write_recordings(tmp_path / "data")
    write_csv(table, [row | {"Alter": cell} for row in recordings(tmp_path / "data", 1)])
    (refusal,) = read_table(table, options_of(mapping))
    assert isinstance(refusal, Refusal)
    assert reason in refusal.reason


def test_years_without_cut_offs_are_refused(tmp_path: Path) -> None:
    table, mapping = write_recordings(tmp_path / "data")
    text = mapping.read_text()
    mapping.write_text(text[: text.index("cut_offs")] + text[text.index("constants") :])
    refusals = list(read_table(table, options_of(mapping)))
    assert isinstance(refusals[0], Refusal)
    assert refusals[0].reason == "age '9' is a number; give cut_offs in the mapping"


def test_audio_outside_the_folder_is_refused(tmp_path: Path) -> None:
    table, mapping = write_recordings(tmp_path / "data")
    rows = recordings(tmp_path / "data", 2)
    rows[0]["Datei"], rows[1]["Datei"] = "../secret.wav", ""
    write_csv(table, rows)
    reasons = [entry.reason for entry in read_table(table, options_of(mapping)) if isinstance(entry, Refusal)]
    assert reasons == ["audio path '../secret.wav' leaves its folder", "names no audio"]


def test_folder_without_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no table .* below it"):
        list(read_table(tmp_path, ImportOptions()))


def test_facts_about_another_format_are_no_mapping_of_a_table(tmp_path: Path) -> None:
    table, _ = write_recordings(tmp_path / "data")
    options = ImportOptions(mapping=read_mapping("televal"))
    with pytest.raises(UsageError, match="is of the format 'televal', not of a table; import that"):
        list(read_table(table, options))


def test_a_cut_off_is_the_lowest_number_of_its_label(tmp_path: Path) -> None:
    table, mapping = write_recordings(tmp_path / "data")
    years = ("17,9", "18", "59.5", "60", "0")
    row = recordings(tmp_path / "data", 1)[0]
    write_csv(table, [row | {"Alter": age} for age in years], delimiter=";")
    drafts = [entry for entry in read_table(table, options_of(mapping)) if isinstance(entry, Draft)]
    assert [draft.cues["age"] for draft in drafts] == ["child", "adult", "adult", "old", "child"]


def test_a_cue_of_ones_own_is_declared_in_the_mapping_and_written_into_the_task(tmp_path: Path) -> None:
    mapping = tmp_path / "m.yaml"
    mapping.write_text(
        "columns: {audio: a, transcript: t, sarcasm: tone}\n"
        "labels: {sarcasm: {biting: sarcastic}}\n"
        "constants: {language: DE-at, source: real}\n"
        "cues: {sarcasm: {labels: [none, sarcastic], aliases: {dry: sarcastic}}}\n"
        "task: {licence: CC0}\n"
    )
    rows = [
        {"a": "0.wav", "t": "Na toll.", "tone": "Dry"},
        {"a": "1.wav", "t": "Na toll.", "tone": "none"},
        {"a": "2.wav", "t": "Ach so.", "tone": "biting"},
        {"a": "2.wav", "t": "Ach so.", "tone": "jolly"},
    ]
    for number in range(3):
        write_tone(tmp_path / f"{number}.wav", 200 + 50 * number, seed=number)
    table = json_table(tmp_path / "x.jsonl", rows)
    options = options_of(mapping)
    used = read_mapping(str(mapping))
    done = write_task(
        read_table(table, options), tmp_path / "out", name="tones", facts=used.facts, cues=used.cues,
        defined=used.defined,
    )  # fmt: skip
    assert (done.samples, done.refused, done.groups) == (3, 1, 1)
    assert list(done.reasons) == ["sarcasm … is no label of the cue (none, sarcastic)"]
    task = load_task("tones", data=tmp_path / "out")
    assert [(s.cues["sarcasm"], s.language) for s in task.samples] == [
        ("sarcastic", "de-AT"), ("none", "de-AT"), ("sarcastic", "de-AT"),
    ]  # fmt: skip
    assert present(task.own_cues)["sarcasm"].aliases == {"dry": "sarcastic"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("columns: {sarcasm: tone}", r"unknown key 'sarcasm' in columns.*; define another cue under cues"),
        ("cues: {sarcasm: }", r"cue 'sarcasm' has no labels; expected sarcasm: \{labels"),
        ("cues: [sarcasm]", "unknown cue 'sarcasm'; the shipped cues are"),
        ("cues: {s: {labels: [a, b]}}\nlabels: {s: {x: c}}", "'c': unknown s 'c'; labels are a, b"),
    ],
)
def test_faults_of_own_cues_in_a_mapping(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(text)
    with pytest.raises(BadData, match=expected):
        read_mapping(str(path))
