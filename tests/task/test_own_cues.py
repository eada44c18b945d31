"""Tasks with cues and languages of their own: loading, faults, questions, and the snapshot of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from echat_eval.errors import BadData, UnknownName
from echat_eval.store.serialize import row_of_sample, sample_from
from echat_eval.task import find_faults, load_task
from echat_eval.task.probe import probing
from tests.support.own_task import TASK_YAML, write_own_task


def faults_of(tmp_path: Path, old: str, new: str, file: str = "task.yaml") -> list[str]:
    folder = write_own_task(tmp_path)
    path = folder / file
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    return find_faults(folder)


def test_a_task_defines_its_cue_and_has_any_language(tmp_path: Path) -> None:
    folder = write_own_task(tmp_path)
    assert find_faults(folder) == []
    task = load_task("irony", data=folder)
    assert task.cues == ("sarcasm",)
    assert task.languages == ("de", "en", "ja")
    assert all(sample.own_cues is task.own_cues for sample in task.samples)
    assert len(load_task("irony", data=folder, languages=["DE", "ja"]).samples) == 8


def test_the_snapshot_of_a_run_keeps_the_definitions(tmp_path: Path) -> None:
    text = TASK_YAML + "error_rate: cer\n"
    sample = load_task("irony", data=write_own_task(tmp_path, text)).samples[0]
    assert sample.error_rate == "cer"
    assert sample_from(row_of_sample(sample, sample.audio.path.parent), sample.audio.path.parent) == sample


def test_questions_are_the_tasks_own_or_made_of_its_words(tmp_path: Path) -> None:
    task = probing(load_task("irony", data=write_own_task(tmp_path)), "sarcasm")
    requested = {sample.language: sample.instruction for sample in task.samples}
    assert requested["de"] == "Ist das ernst gemeint oder spöttisch? Antworte mit einem davon."
    assert str(requested["en"]).endswith("Which sarcasm do you hear? Answer with one of these and nothing else: "
                                     "sincere, sarcastic.")  # fmt: skip
    assert requested["ja"] == requested["en"]  # no question in Japanese
    assert task.cues == ("sarcasm",)
    with pytest.raises(UnknownName, match="unknown question 'irony'"):
        probing(load_task("irony", data=tmp_path / "irony"), "irony")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "labels: [sincere, sarcastic]",
            "labels: [sincere]",
            "cue 'sarcasm': one label, 'sincere'; expected at",
        ),
        ("  sarcasm:\n", "  history:\n", "cue 'history' has a reserved name"),
        (
            "{ironic: sarcastic,",
            "{ironic: dry,",
            "alias 'ironic' is of 'dry', which is none of sincere, sarcast",
        ),
        ("ja: 皮肉}\ndesc", "jap_n: 皮肉}\ndesc", "'title' is"),
        ("licence:", "error_rate: words\nlicence:", "'error_rate' is 'words', expected wer or cer"),
        (
            "licence:",
            "asks: mood\ninstruction: {en: Which}\nlicence:",
            "asks for 'mood', which is not among the",
        ),
    ],
)
def test_faults_of_the_definition(tmp_path: Path, old: str, new: str, expected: str) -> None:
    found = [fault for fault in faults_of(tmp_path, old, new) if "task.yaml:" in fault]
    assert len(found) == 1, found
    assert expected in found[0]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            '"sarcasm": "sincere"',
            '"sarcasm": "earnest"',
            "unknown sarcasm 'earnest'; labels are sincere, sarcas",
        ),
        ('"sarcasm": "sincere"', '"sarcasm": "honest"', "sarcasm 'honest' is an alias; write 'sincere'"),
        (
            '"sarcasm": "sincere"',
            '"mood": "sincere"',
            "unknown cue 'mood'; cues are emotion, age, gender, event, s",
        ),
        ('"language": "de"', '"language": "german"', "'language' is 'german', expected a BCP 47 tag such as"),
    ],
)
def test_faults_of_rows(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert expected in faults_of(tmp_path, old, new, "samples.jsonl")[0]


def test_tags_are_written_in_one_form(tmp_path: Path) -> None:
    assert faults_of(tmp_path, '"language": "de"', '"language": "GER_at"', "samples.jsonl") == []
    task = load_task("irony", data=tmp_path / "irony")
    assert task.languages == ("de-AT", "en", "ja")
    assert len(load_task("irony", data=tmp_path / "irony", languages=["de"]).samples) == 4
    with pytest.raises(BadData, match="no sample in de-CH; its languages: de-AT, en, ja"):
        load_task("irony", data=tmp_path / "irony", languages=["de-CH"])
