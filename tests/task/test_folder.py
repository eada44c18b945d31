"""Every fault of a task folder is found and reported as one line with file and line."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from echat_eval.cli import command_line
from echat_eval.errors import BadData
from echat_eval.task import find_faults, load_task

Rows = list[dict[str, Any]]
YAML = """\
name: mood
version: 1
title: {en: Mood}
description: A task of two groups.
cues: [emotion]
licence: CC0 1.0
"""


def tone(hertz: float, seconds: float = 0.2) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        at = np.arange(round(seconds * 16000)) / 16000
        file.writeframes((8000 * np.sin(2 * np.pi * hertz * at)).astype("<i2").tobytes())
    return buffer.getvalue()


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def rows_of(count: int = 4) -> Rows:
    labels = ["happy", "sad"]
    return [
        {
            "id": f"r{number}",
            "audio": f"audio/r{number}.wav",
            "audio_sha256": sha(tone(200 + number)),
            "transcript": f"Sentence {number // 2}.",
            "cues": {"emotion": labels[number % 2]},
            "language": "en",
            "source": "synthetic",
            "contrast_group": f"g{number // 2}",
        }
        for number in range(count)
    ]


def write_folder(folder: Path, rows: Rows, settings: str = YAML) -> Path:
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    for number in range(4):
        (folder / "audio" / f"r{number}.wav").write_bytes(tone(200 + number))
    (folder / "task.yaml").write_text(settings)
    (folder / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_folder(Path("mood"), rows_of())


def single_fault(folder: Path) -> str:
    """Return the only fault, which loading raises and `find_faults` lists."""
    with pytest.raises(BadData) as caught:
        load_task("mood", data=folder)
    listed = find_faults(folder)
    assert listed[0] == str(caught.value)
    assert "\n" not in listed[0]
    assert len(listed) == 1
    return listed[0]


def test_valid_folder_has_no_fault(folder: Path) -> None:
    assert find_faults(folder) == []
    task = load_task("mood", data=folder)
    assert [sample.id for sample in task.samples] == ["r0", "r1", "r2", "r3"]
    assert task.samples[0].audio.seconds == pytest.approx(0.2)
    assert task.samples[1].cues == {"emotion": "sad"}
    assert (task.languages, task.cues, task.version) == (("en",), ("emotion",), 1)


def changed(number: int, **values: Any) -> Callable[[Rows], None]:
    def change(rows: Rows) -> None:
        for key, value in values.items():
            if value is KeyError:
                del rows[number][key]
            else:
                rows[number][key] = value

    return change


def in_first_group(*values: dict[str, Any]) -> Callable[[Rows], None]:
    """Change the rows of the first group, which expects the same reply to all."""

    def change(rows: Rows) -> None:
        for row, more in zip(rows, values, strict=False):
            row.update({"expect": "same", **more})

    return change


KEYS = (
    "id, audio, audio_sha256, transcript, cues, language, source, speaker, contrast_group, "
    "references, history, turns, expect, words_suggest, note"
)
EMOTIONS = "anger, disgust, fear, happy, neutral, sad, surprise, other"
ROW_FAULTS: dict[str, tuple[Callable[[Rows], None], str]] = {
    "unknown key": (changed(1, mood="bad"), f"2: unknown key 'mood'; keys are {KEYS}"),
    "missing key": (
        changed(0, transcript=KeyError),
        "1: key 'transcript' is missing; expected text of 1 to 20,000 characters",
    ),
    "blank transcript": (
        changed(0, transcript="  "),
        "1: 'transcript' is '  ', expected text of 1 to 20,000 characters",
    ),
    "alias": (changed(3, cues={"emotion": "angry"}), "4: emotion 'angry' is an alias; write 'anger'"),
    "unknown label": (
        changed(3, cues={"emotion": "bored"}),
        f"4: unknown emotion 'bored'; labels are {EMOTIONS}",
    ),
    "label unknown": (
        changed(3, cues={"emotion": "unknown"}),
        f"4: unknown emotion 'unknown'; labels are {EMOTIONS}",
    ),
    "unknown cue": (
        changed(3, cues={"emotion": "sad", "mood": "x"}),
        "4: unknown cue 'mood'; cues are emotion, age, gender, event",
    ),
    "no cue of the task": (
        changed(3, cues={"age": "old"}),
        "4: names 0 of the task's cues (emotion), expected at least 1",
    ),
    "unknown language": (
        changed(2, language="klingon"),
        "3: 'language' is 'klingon', expected a BCP 47 tag such as en, de, ja or pt-BR",
    ),
    "unknown source": (changed(2, source="studio"), "3: 'source' is 'studio', expected real or synthetic"),
    "duplicate id": (changed(2, id="r0"), "3: id 'r0' is already on line 1"),
    "id no text": (changed(2, id=7), "3: 'id' is 7, expected printable text of 1 to 200 characters"),
    "path up": (
        changed(2, audio="../mood/audio/r2.wav"),
        "3: audio '../mood/audio/r2.wav': leaves the task's folder; expected a relative path without '..'",
    ),
    "absolute path": (
        changed(2, audio="/etc/passwd"),
        "3: audio '/etc/passwd': leaves the task's folder; expected a relative path without '..'",
    ),
    "missing audio": (
        changed(2, audio="audio/none.wav"),
        "3: audio 'audio/none.wav': no such file",
    ),
    "audio is a folder": (changed(2, audio="audio"), "3: audio 'audio': not a file"),
    "hash no hash": (
        changed(2, audio_sha256="XYZ"),
        "3: 'audio_sha256' is 'XYZ', expected 64 lower-case hexadecimal digits",
    ),
    "wrong hash": (
        changed(2, audio_sha256="0" * 64),
        f"3: audio 'audio/r2.wav': sha256 is {sha(tone(202))[:12]}..., the row has 000000000000...; fetch the file again, or correct the hash",
    ),
    "one-member group": (
        changed(3, contrast_group=None),
        "3: contrast group 'g1' has one sample, expected at least two",
    ),
    "other words": (
        changed(3, transcript="Sentence 1!"),
        "4: contrast group 'g1': transcript differs from line 3",
    ),
    "same expected, other references": (
        in_first_group({"references": ["Hi."]}, {"references": ["Hello, Madam."]}),
        "2: contrast group 'g0': 'expect: same' needs the same references for every voice; they differ from line 1",
    ),
    "expected by a part of the group": (
        changed(3, expect="same"),
        "4: contrast group 'g1': 'expect' is same, unlike line 3",
    ),
    "expected without a group": (
        in_first_group({"contrast_group": None}, {"contrast_group": None, "expect": None}),
        "1: 'expect' without 'contrast_group': it states what the replies of a group share",
    ),
    "another expectation": (changed(0, expect="loud"), "1: 'expect' is 'loud', expected same"),
    "other language": (changed(3, language="zh"), "4: contrast group 'g1': language differs from line 3"),
    "same cues": (
        changed(3, cues={"emotion": "happy"}),
        "4: contrast group 'g1': every cue of the task is the same as on line 3",
    ),
    "only a foreign cue differs": (
        changed(3, cues={"emotion": "happy", "age": "old"}),
        "4: contrast group 'g1': every cue of the task is the same as on line 3",
    ),
    "same audio": (
        changed(3, audio="audio/r2.wav", audio_sha256=sha(tone(202))),
        "4: contrast group 'g1': cues differ, but the audio is the same as on line 3",
    ),
    "references no list": (
        changed(0, references="Hello"),
        "1: 'references' is 'Hello', expected a list of texts",
    ),
    "history role": (
        changed(0, history=[{"role": "system", "text": "x"}]),
        "1: history turn 1: 'role' is 'system', expected user or assistant",
    ),
    "history empty": (
        changed(0, history=[{"role": "user"}]),
        "1: history turn 1: expected 'text', 'audio' or both",
    ),
    "history audio unhashed": (
        changed(0, history=[{"role": "user", "audio": "audio/r1.wav"}]),
        "1: history turn 1: 'audio' and 'audio_sha256' go together",
    ),
    "history path up": (
        changed(0, history=[{"role": "user", "audio": "../x.wav", "audio_sha256": "0" * 64}]),
        "1: audio '../x.wav': leaves the task's folder; expected a relative path without '..'",
    ),
}


@pytest.mark.parametrize("name", ROW_FAULTS)
def test_bad_row_is_reported_with_file_and_line(name: str, folder: Path) -> None:
    rows = copy.deepcopy(rows_of())
    change, expected = ROW_FAULTS[name]
    change(rows)
    write_folder(folder, rows)
    # A message is one line, so white space inside a quoted value becomes one blank.
    assert single_fault(folder) == " ".join(f"mood/samples.jsonl:{expected}".split())


TITLE_FAULT = (
    "mood/task.yaml:3: 'title' is {'zh': 'X'}, expected a title for 'en' and perhaps other BCP 47 tags"
)
YAML_FAULTS: dict[str, tuple[str, str]] = {
    "unknown key": (
        YAML + "colour: red\n",
        "mood/task.yaml:7: unknown key 'colour'; keys are name, version, title, description, cues, licence, citation, redistributable, "
        "private, consent, voices, audio_folder, error_rate, asks, instruction",
    ),
    "missing key": (
        YAML.replace("licence: CC0 1.0\n", ""),
        "mood/task.yaml:1: key 'licence' is missing; expected a text, such as 'CC BY 4.0'",
    ),
    "version": (
        YAML.replace("version: 1", "version: true"),
        "mood/task.yaml:2: 'version' is True, expected a whole number from 1",
    ),
    "title": (YAML.replace("{en: Mood}", "{zh: X}"), TITLE_FAULT),
    "name": (
        YAML.replace("name: mood", "name: ../mood"),
        "mood/task.yaml:1: 'name' is '../mood', expected lower-case letters, digits, '-' and '_'",
    ),
    "cue": (
        YAML.replace("[emotion]", "[mood]"),
        "mood/task.yaml:5: unknown cue 'mood'; the shipped cues are emotion, age, gender, event. Define it: cues: {mood: {labels: [one, another]}}",
    ),
    "bomb": (
        "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
        "mood/task.yaml:1: anchors and aliases (&, *) are not allowed; write the value out",
    ),
    "merge key": (
        YAML + "citation:\n  <<: *x\n",
        "mood/task.yaml:8: anchors and aliases (&, *) are not allowed; write the value out",
    ),
    "tag": (
        YAML + "citation: !!python/object/apply:os.system [ls]\n",
        "mood/task.yaml:7: tags (!tag:yaml.org,2002:python/object/apply:os.system) are not allowed",
    ),
    "deep": ("a: " + "[" * 5000 + "\n", "mood/task.yaml:1: nested deeper than 12 levels"),
    "twice": (YAML + "name: other\n", "mood/task.yaml:7: key 'name' twice"),
    "number as key": (YAML + "1: x\n", "mood/task.yaml:7: keys must be text; write '1' in quotes"),
    "no mapping": ("- a\n", "mood/task.yaml:1: expected a mapping of keys to values"),
    "empty": ("", "mood/task.yaml:1: expected a mapping of keys to values"),
    "no yaml": (
        "name: [\n",
        "mood/task.yaml:2: not YAML: expected the node content, but found '<stream end>'",
    ),
    "large": ("# " + "x" * 300_000 + "\n", "mood/task.yaml: larger than 262,144 bytes"),
    "control character": (
        "name: \x07\n",
        "mood/task.yaml:1: not YAML: unacceptable character #x0007: special characters are not allowed",
    ),
}


@pytest.mark.parametrize("name", YAML_FAULTS)
def test_bad_task_yaml_is_reported_with_file_and_line(name: str, folder: Path) -> None:
    settings, expected = YAML_FAULTS[name]
    (folder / "task.yaml").write_text(settings)
    assert single_fault(folder) == expected


LINE_FAULTS: dict[str, tuple[bytes, str]] = {
    "torn": (
        b'{"id": "r4", "au',
        "mood/samples.jsonl:5: not strict JSON: Unterminated string starting at: line 1 column 14 (char 13); the file ends in the middle of a row",
    ),
    "nan": (b'{"id": NaN}\n', "mood/samples.jsonl:5: not strict JSON: NaN is not JSON"),
    "key twice": (
        b'{"id": "a", "id": "b"}\n',
        "mood/samples.jsonl:5: not strict JSON: the same key twice in one object",
    ),
    "list": (b"[1]\n", "mood/samples.jsonl:5: expected an object, got list"),
    "deep": (b"[" * 200_000 + b"\n", "mood/samples.jsonl:5: not strict JSON: nested too deeply"),
}


@pytest.mark.parametrize("name", LINE_FAULTS)
def test_line_that_is_no_json_object(name: str, folder: Path) -> None:
    line, expected = LINE_FAULTS[name]
    with (folder / "samples.jsonl").open("ab") as file:
        file.write(line)
    assert single_fault(folder) == expected


def test_invalid_utf_8_is_reported(folder: Path) -> None:
    with (folder / "samples.jsonl").open("ab") as file:
        file.write(b'{"id": "\xff"}\n')
    assert single_fault(folder).startswith(
        "mood/samples.jsonl:5: not strict JSON: 'utf-8' codec can't decode"
    )


def test_empty_samples_file_is_reported(folder: Path) -> None:
    (folder / "samples.jsonl").write_text("")
    assert single_fault(folder) == "mood/samples.jsonl: holds no samples"


def test_missing_folder_message_describes_a_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadData, match=r"^none: no task.yaml there or in mood/; expected a folder"):
        load_task("mood", data=Path("none"))
    assert find_faults(Path("none")) == [
        "none/task.yaml: missing; a task is a folder with task.yaml, samples.jsonl and its audio",
        "none/samples.jsonl: cannot be read: No such file or directory",
    ]


def test_link_out_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.wav").write_bytes(tone(200))
    (folder / "audio" / "r0.wav").unlink()
    (folder / "audio" / "r0.wav").symlink_to(tmp_path / "outside.wav")
    assert single_fault(folder) == (
        "mood/samples.jsonl:1: audio 'audio/r0.wav': a link that leaves the task's folder; "
        "copy the file into it"
    )


def test_link_within_the_folder_is_followed(folder: Path) -> None:
    (folder / "audio" / "r0.wav").rename(folder / "audio" / "real.wav")
    (folder / "audio" / "r0.wav").symlink_to("real.wav")
    assert find_faults(folder) == []


def as_wav(samples: np.ndarray, subtype: str = "FLOAT", rate: int = 16000) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV", subtype=subtype)
    return buffer.getvalue()


AUDIO_FAULTS: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "the file is empty"),
    "no audio": (lambda: b"hello " * 50, "not audio that libsndfile can read"),
    "truncated": (lambda: tone(200)[:2000], "cut short"),
    "no frames": (lambda: tone(200, 0.0), "no samples"),
    "one sample": (lambda: as_wav(np.ones(1)), "1 sample(s) at 16000 Hz"),
    "two hours": (
        lambda: as_wav(np.zeros(7200 * 1000), "PCM_U8", 1000),
        "7200 s long; at most 600 s is supported",
    ),
}


@pytest.mark.parametrize("name", AUDIO_FAULTS)
def test_bad_audio_is_refused_on_loading(name: str, folder: Path) -> None:
    make, expected = AUDIO_FAULTS[name]
    content = make()
    (folder / "audio" / "r0.wav").write_bytes(content)
    write_row = rows_of()
    write_row[0]["audio_sha256"] = sha(content)
    (folder / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in write_row))
    assert single_fault(folder).startswith(f"mood/samples.jsonl:1: audio 'audio/r0.wav': {expected}")


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (np.array([0.1, np.nan] * 400), "contains NaN or infinite samples"),
        (np.array([0.1, np.inf] * 400), "contains NaN or infinite samples"),
        (np.zeros(800), "holds only zeros; expected speech"),
    ],
    ids=["nan", "inf", "silent"],
)
def test_invalid_samples_are_found_by_decoding(samples: np.ndarray, expected: str, folder: Path) -> None:
    content = as_wav(samples)
    (folder / "audio" / "r0.wav").write_bytes(content)
    rows = rows_of()
    rows[0]["audio_sha256"] = sha(content)
    (folder / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert find_faults(folder) == [f"mood/samples.jsonl:1: audio 'audio/r0.wav': {expected}"]


def test_eight_channels_are_valid(folder: Path) -> None:
    content = as_wav(np.full((800, 8), 0.1))
    (folder / "audio" / "r0.wav").write_bytes(content)
    rows = rows_of()
    rows[0]["audio_sha256"] = sha(content)
    (folder / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert find_faults(folder) == []


def test_all_faults_are_listed(folder: Path) -> None:
    rows = rows_of()
    rows[0]["cues"] = {"emotion": "angry"}
    rows[1]["audio_sha256"] = "0" * 64
    del rows[2]["source"]
    rows[3]["language"] = "klingon"
    rows[3]["id"] = "r0"
    rows += [{**rows_of()[0], "id": name, "contrast_group": "g9"} for name in ("r4", "r5")]
    write_folder(folder, rows, YAML + "colour: red\n")
    locations = [fault.split(": ")[0] for fault in find_faults(folder)]
    assert locations == ["mood/task.yaml:7", *(f"mood/samples.jsonl:{line}" for line in (1, 2, 3, 4, 4, 6))]


def test_long_value_is_shortened_to_one_line(folder: Path) -> None:
    rows = rows_of()
    rows[0]["language"] = "x\n" * 500_000
    write_folder(folder, rows)
    assert len(single_fault(folder)) < 200


def test_a_group_may_expect_the_same_reply_to_every_voice(folder: Path) -> None:
    rows = copy.deepcopy(rows_of())
    in_first_group({"references": ["Hi.", "Hello."]}, {"references": ["Hello.", "Hi."]})(rows)
    write_folder(folder, rows)
    assert not find_faults(folder)
    assert [sample.expect for sample in load_task("mood", data=folder).samples] == [
        "same",
        "same",
        None,
        None,
    ]


def test_check_task_groups_faults_by_kind(tmp_path: Path) -> None:
    folder = tmp_path / "mood"
    folder.mkdir()
    (folder / "task.yaml").write_text(YAML)
    rows = [
        {
            "id": f"s{n}",
            "audio": f"{n}.wav",
            "audio_sha256": "0" * 64,
            "transcript": "x",
            "cues": {"emotion": "angry"},
        }
        for n in range(9)
    ]
    (folder / "samples.jsonl").write_text(
        "".join(json.dumps(r | {"language": "en", "source": "real"}) + "\n" for r in rows)
    )

    def lines(*more: str) -> list[str]:
        arguments = ["check", "task", str(folder), *more]
        return CliRunner().invoke(command_line, arguments, standalone_mode=False).output.splitlines()

    shown = lines()
    assert sum("is an alias; write 'anger'" in line for line in shown) == 3
    assert "  ... and 6 more of this kind: emotion … is an alias; write …" in shown
    assert "18 faults" in shown[-1]
    assert "--all lists each" in shown[-1]
    assert sum("is an alias" in line for line in lines("--all")) == 9
