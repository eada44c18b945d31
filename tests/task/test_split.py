"""Splits: no speaker and no sentence in two parts, frozen, checked when used, and refused where impossible."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from echat_eval.cli import command_line
from echat_eval.errors import BadData, UnknownName, UsageError
from echat_eval.records import AudioRef, Sample
from echat_eval.task import load_task
from echat_eval.task.select import select_tasks
from echat_eval.task.split import read_split, split_versions
from echat_eval.task.split_draw import draw_split, new_split
from tests.support.tones import write_task

HALVES = {"dev": 0.5, "test": 0.5}


def sample(number: int, speaker: str | None, sentence: str, label: str, group: str | None = None) -> Sample:
    return Sample(
        task="mood",
        id=f"s{number}",
        audio=AudioRef(path=Path("x.wav"), sha256="0" * 64, seconds=1.0),
        transcript=sentence,
        cues={"emotion": label},
        language="en",
        source="real",
        speaker=speaker,
        contrast_group=group,
    )


def crossed(speakers: int, sentences: int) -> list[Sample]:
    """Return every speaker with every sentence, happy and sad."""
    return [
        sample(2 * (sentences * a + b) + place, f"p{a}", f"words {b}", label, f"g{a}-{b}")
        for a in range(speakers)
        for b in range(sentences)
        for place, label in enumerate(("happy", "sad"))
    ]


@given(
    st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), min_size=8, max_size=60), st.integers(0, 9)
)
@settings(max_examples=50, deadline=None)
def test_no_speaker_and_no_sentence_is_in_two_parts(pairs: list[tuple[int, int]], seed: int) -> None:
    samples = [sample(n, f"p{a}", f"words {b}", ("happy", "sad")[n % 2]) for n, (a, b) in enumerate(pairs)]
    try:
        drawn = draw_split(samples, HALVES, seed=seed)
    except UsageError:
        return  # linked too closely, which other tests explain
    dev, test = ([s for s in samples if s.id in drawn.parts[name]] for name in HALVES)
    assert len(dev) + len(test) == len(samples)
    assert not {s.speaker for s in dev} & {s.speaker for s in test}
    assert not {s.transcript for s in dev} & {s.transcript for s in test}


def test_labels_have_their_shares() -> None:
    samples = [sample(n, f"p{n}", f"words {n}", "sad" if n % 10 == 0 else "happy") for n in range(100)]
    drawn = draw_split(samples, {"dev": 0.3, "test": 0.7}, seed=4)
    rare = {s.id for s in samples if s.cues["emotion"] == "sad"}
    assert len(drawn.parts["dev"]) == 30
    assert len(rare & set(drawn.parts["dev"])) == 3
    assert drawn == draw_split(samples, {"dev": 0.3, "test": 0.7}, seed=4)
    assert drawn != draw_split(samples, {"dev": 0.3, "test": 0.7}, seed=5)


def test_crossed_data_are_explained_and_can_leave_samples_out() -> None:
    samples = crossed(6, 8)
    with pytest.raises(UsageError, match=r"6 speakers x 8 sentences, crossed; 1 sets .* --leave-out.* 50 %"):
        draw_split(samples, HALVES)
    kept = draw_split(samples, HALVES, leave_out=True)
    dev, test = ([s for s in samples if s.id in kept.parts[name]] for name in HALVES)
    assert len(dev) == len(test) == 24
    assert not {s.speaker for s in dev} & {s.speaker for s in test}
    assert not {s.transcript for s in dev} & {s.transcript for s in test}
    assert set(kept.left_out.values()) == {"its speaker and its sentence are in different parts"}
    by_sentence = draw_split(samples, HALVES, by=["sentence"])
    assert not by_sentence.left_out


def test_groups_over_speakers_stay_whole_or_are_left_out() -> None:
    samples = [
        sample(2 * g + place, f"p{(g + 3 * place) % 6}", f"words {g}", label, f"g{g}")
        for g in range(12)
        for place, label in enumerate(("happy", "sad"))
    ]
    drawn = draw_split(samples, HALVES, leave_out=True, seed=1)
    for ids in drawn.parts.values():
        groups = [s.contrast_group for s in samples if s.id in ids]
        assert all(groups.count(group) == 2 for group in groups)


@pytest.mark.parametrize(
    ("shares", "by", "message"),
    [
        ({"dev": 0.5, "test": 0.4}, ["sentence"], "add up to 1"),
        ({"test": 1.0}, ["sentence"], "between 0 and 1"),
        ({"Test": 0.5, "dev": 0.5}, ["sentence"], "lower-case"),
        (HALVES, ["voice"], "expected speaker, sentence or both"),
        (HALVES, ["speaker"], "1 of 3 samples state no speaker"),
    ],
)
def test_a_wrong_draw_is_refused(shares: dict[str, float], by: list[str], message: str) -> None:
    samples = [sample(0, "a", "x", "sad"), sample(1, "b", "y", "sad"), sample(2, None, "z", "sad")]
    with pytest.raises(UsageError, match=message):
        draw_split(samples, shares, by=by)


def test_a_part_is_selected_and_hashed(tmp_path: Path) -> None:
    folder = write_task(tmp_path, groups=8)
    new_split(folder, HALVES, by=["sentence"], seed=1)
    new_split(folder, HALVES, by=["sentence"], seed=2)
    whole = load_task("emotion", data=folder)
    (test,) = select_tasks(["emotion"], data=folder, part="test")
    (dev,) = select_tasks(["emotion"], data=folder, part="dev")
    assert {s.id for s in (*test.samples, *dev.samples)} == {s.id for s in whole.samples}
    assert len(test.samples) == 8
    assert len({whole.sha256, test.sha256, dev.sha256}) == 3
    first = load_task("emotion", data=folder, part="test@1")
    assert first.sha256 not in (test.sha256, whole.sha256)
    assert [s.id for s in first.samples] == list(read_split(folder, 1).parts["test"])
    with pytest.raises(UnknownName, match="train"):
        load_task("emotion", data=folder, part="train")
    with pytest.raises(BadData, match="no split version 3"):
        load_task("emotion", data=folder, part="test@3")
    with pytest.raises(UsageError, match="expected a name"):
        load_task("emotion", data=folder, part="../test")


def test_a_changed_split_or_task_is_refused(tmp_path: Path) -> None:
    folder = write_task(tmp_path, groups=8)
    path, split, samples = new_split(folder, HALVES, by=["sentence"])
    content = json.loads(path.read_text())
    moved = content["parts"]["dev"].pop()
    content["parts"]["test"].append(moved)
    path.write_text(json.dumps(content))
    with pytest.raises(BadData, match="changed after it was drawn"):
        load_task("emotion", data=folder, part="test")
    path.unlink()
    path, split, _ = new_split(folder, HALVES, by=["sentence"])
    assert split.faults(samples, split.task_sha256) == []
    assert "every sample in exactly one place" in split.faults(samples[1:], split.task_sha256)[0]
    yaml = folder / "task.yaml"
    yaml.write_text(yaml.read_text().replace("version: 1", "version: 2"))
    with pytest.raises(BadData, match="drawn from another state of the task"):
        load_task("emotion", data=folder, part="test")


def test_the_command_writes_a_split_and_a_part_is_exported(tmp_path: Path) -> None:
    folder = write_task(tmp_path, groups=8)

    def call(*words: str) -> str:
        result = CliRunner().invoke(command_line, list(words), standalone_mode=False)
        assert result.exception is None, result.exception
        return result.output

    words = ("export", "split", str(folder), "--part", "dev=0.25", "--part", "test=0.75", "--by", "sentence")
    shown = call(*words)
    assert re.search(r"dev: 4 samples \(2 sentences\); emotion happy 2, emotion sad 2", shown)
    assert "version 1; use it with --part dev" in shown
    assert "version 1, which is the same; use it" in call(*words)
    assert split_versions(folder) == [1]
    call(*words, "--seed", "1")
    assert split_versions(folder) == [1, 2]
    out = tmp_path / "requests"
    call("export", "requests", "--task", "emotion", "--data", str(folder), "--part", "dev", "--out", str(out))
    assert len((out / "requests.jsonl").read_text().splitlines()) == 4
