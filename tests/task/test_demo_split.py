"""The shipped demo split: valid, balanced and measurable; only the voice reveals the label."""

from __future__ import annotations

import re
import subprocess
import wave
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from echat_eval.errors import BadData, UnknownName, UsageError
from echat_eval.labels import ALIASES, LABELS
from echat_eval.records import Sample
from echat_eval.stats import as_design, units_of
from echat_eval.task import Task, find_faults, known_tasks, load_task
from echat_eval.testset.measures import Measures, measure, read_wav, unreadable_cues
from echat_eval.testset.sentences import read_sentences

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "examples" / "build-testset" / "demo"
FIVE = ("emotion", "age", "gender", "event", "multi")


def groups_of(task: Task) -> dict[str, list[Sample]]:
    groups: dict[str, list[Sample]] = defaultdict(list)
    for sample in task.samples:
        groups[str(sample.contrast_group)].append(sample)
    return groups


@pytest.fixture(scope="module")
def tasks() -> dict[str, Task]:
    return {name: load_task(name) for name in FIVE}


@pytest.fixture(scope="module")
def measures(tasks: dict[str, Task]) -> dict[str, Measures]:
    """Audio hash -> measures of the clip."""
    samples = [sample for task in tasks.values() for sample in task.samples]
    return {s.audio.sha256: measure(read_wav(s.audio.path)) for s in samples}


def test_benchmark_tasks_come_first() -> None:
    assert known_tasks()[:5] == FIVE


@pytest.mark.parametrize("name", FIVE)
def test_shipped_task_has_no_fault(name: str) -> None:
    assert find_faults(ROOT / "tasks" / name) == []


@pytest.mark.parametrize("name", FIVE)
def test_size_languages_speakers_and_references(name: str, tasks: dict[str, Task]) -> None:
    task = tasks[name]
    groups = groups_of(task)
    assert (len(groups), {len(members) for members in groups.values()}) == (18, {2})
    assert set(task.languages) == {"en", "zh", "ja"}
    assert sum(members[0].language == "en" for members in groups.values()) >= 9
    assert len({sample.speaker for sample in task.samples}) == 5
    # Sentences of several speakers and speakers of several sentences: both can be told apart.
    assert as_design(list(units_of(task.samples).values())).crossed
    for one, other in groups.values():
        assert one.transcript.encode() == other.transcript.encode()
        assert one.speaker == other.speaker
        assert (one.source, other.source) == ("synthetic", "synthetic")
        assert (one.expect, other.expect) in {(None, None), ("same", "same")}
        assert (one.references == other.references) is (one.expect == "same")
    assert sum(members[0].expect == "same" for members in groups.values()) == 2
    assert "never a benchmark" in task.description
    assert (task.folder / "LICENCE").is_file()
    assert (task.folder / "DATA-CARD.md").is_file()


def test_every_language_has_four_voices_and_every_speaker_every_label(tasks: dict[str, Task]) -> None:
    samples = [sample for task in tasks.values() for sample in task.samples]
    for language in ("en", "zh", "ja"):
        assert len({s.speaker for s in samples if s.language == language}) >= 4
    for task in (tasks["age"], tasks["gender"]):
        counts = Counter((s.speaker, s.cues[task.cues[0]]) for s in task.samples)
        labels = {label for _, label in counts}
        assert {(s, label) for s in {s for s, _ in counts} for label in labels} == set(counts)


@pytest.mark.parametrize("name", FIVE)
def test_the_data_are_those_of_the_recipe(name: str, tasks: dict[str, Task]) -> None:
    written = {
        (s.language, s.transcript, tuple(sorted(m.cues.items())), m.reply)
        for s in read_sentences(RECIPE / f"{name}.sentences.yaml")
        for m in s.members
    }
    assert written == {
        (s.language, s.transcript, tuple(sorted(s.cues.items())), s.references[0])
        for s in tasks[name].samples
    }


def test_multi_groups_differ_in_two_cues(tasks: dict[str, Task]) -> None:
    for one, other in groups_of(tasks["multi"]).values():
        assert sum(one.cues[cue] != other.cues.get(cue) for cue in one.cues) >= 2


def test_sentences_and_replies_are_unique(tasks: dict[str, Task]) -> None:
    """A sentence is in one task; a reply answers one sentence in one voice, or all voices where expected."""
    sentences: dict[str, set[str]] = defaultdict(set)
    answers: dict[str, set[object]] = defaultdict(set)
    for task in tasks.values():
        for sample in task.samples:
            sentences[sample.transcript].add(task.name)
            voice = None if sample.expect else tuple(sorted(sample.cues.items()))
            answers[sample.references[0]].add((sample.transcript, voice))
    assert {len(names) for names in sentences.values()} == {1}
    assert {len(found) for found in answers.values()} == {1}


def test_total_audio_size_is_small() -> None:
    assert sum(path.stat().st_size for path in (ROOT / "tasks").rglob("*.wav")) <= 25e6


def test_every_file_belongs_to_a_sample(tasks: dict[str, Task]) -> None:
    for task in tasks.values():
        files = {path.resolve() for path in (task.folder / "audio").iterdir()}
        assert files == {sample.audio.path.resolve() for sample in task.samples}


def test_no_label_word_in_ids_or_file_names(tasks: dict[str, Task]) -> None:
    words = {word for labels in LABELS.values() for label in labels for word in label.split()}
    words |= {alias for aliases in ALIASES.values() for alias in aliases if len(alias) > 2}
    words |= set(LABELS)
    for task in tasks.values():
        for sample in task.samples:
            for name in (sample.id, sample.audio.path.name, str(sample.contrast_group)):
                assert not [word for word in words if word in name.lower()]
                assert re.fullmatch(r"[bcdfghjkmnpqrstvwxz2-9]{6}(\.wav)?", name)


def labels_and_others(task: Task) -> list[tuple[str, np.ndarray]]:
    """Return labels that enough samples have and enough do not have, and a mask of the samples that have it."""
    found = []
    for cue in task.cues:
        for label in LABELS[cue]:
            mask = np.array([sample.cues.get(cue) == label for sample in task.samples])
            if 4 <= mask.sum() <= len(mask) - 4:
                found.append((label, mask))
    return found


def area(ranks: np.ndarray, mask: np.ndarray) -> float:
    """Return the area under the ROC curve of predicting a label from a rank."""
    u = mannwhitneyu(ranks[mask], ranks[~mask]).statistic
    return float(u / (mask.sum() * (~mask).sum()))


@pytest.mark.parametrize("name", FIVE)
def test_order_and_id_do_not_reveal_the_label(name: str, tasks: dict[str, Task]) -> None:
    task = tasks[name]
    order = np.arange(len(task.samples))
    by_id = np.argsort(np.argsort([sample.id for sample in task.samples]))
    by_file = np.argsort(np.argsort([sample.audio.sha256 for sample in task.samples]))
    labels = labels_and_others(task)
    assert labels
    for label, mask in labels:
        for source, ranks in (("order", order), ("id", by_id)):
            assert 0.3 < area(ranks, mask) < 0.7, (label, source)
        assert mannwhitneyu(by_file[mask], by_file[~mask], method="exact").pvalue > 0.01, label
    # The control: sorted by label, the order reveals it.
    mask = labels[0][1]
    assert area(np.argsort(np.argsort(mask, kind="stable")), mask) == 1.0


@pytest.mark.parametrize("name", FIVE)
def test_position_in_the_group_does_not_reveal_the_label(name: str, tasks: dict[str, Task]) -> None:
    """Within pairs, the label that LABELS lists first is not mostly the earlier row or the smaller id."""
    earlier, smaller = [], []
    for members in groups_of(tasks[name]).values():
        cue = next(cue for cue in members[0].cues if members[0].cues[cue] != members[1].cues[cue])
        first = min(members, key=lambda sample: LABELS[cue].index(sample.cues[cue]))
        earlier.append(members[0] is first)
        smaller.append(min(members, key=lambda sample: sample.id) is first)
    assert 5 <= sum(earlier) <= 13
    assert 5 <= sum(smaller) <= 13


def test_all_clips_have_the_same_duration_size_and_header(tasks: dict[str, Task]) -> None:
    facts = set()
    for task in tasks.values():
        for sample in task.samples:
            with wave.open(str(sample.audio.path)) as file:
                facts.add((file.getparams(), sample.audio.path.stat().st_size, sample.audio.seconds))
    assert len(facts) == 1
    ((params, _, _),) = facts
    assert (params.nchannels, params.sampwidth, params.framerate) == (1, 2, 16000)


def sound_of(sample: Sample) -> np.ndarray:
    with wave.open(str(sample.audio.path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768


def active_decibel(sound: np.ndarray) -> float:
    power = (sound[: len(sound) // 320 * 320].reshape(-1, 320) ** 2).mean(axis=1)
    return float(10 * np.log10(power[power > power.max() * 10**-2.5].mean()))


def test_clips_are_equally_loud_and_unclipped(tasks: dict[str, Task]) -> None:
    levels = []
    for task in tasks.values():
        for sample in task.samples:
            sound = sound_of(sample)
            assert np.abs(sound).max() < 0.99
            levels.append(active_decibel(sound))
    assert max(levels) - min(levels) < 1.0


@pytest.mark.parametrize("name", FIVE)
def test_onset_does_not_reveal_the_label(name: str, tasks: dict[str, Task]) -> None:
    """Slow words leave less silence to begin in, so that a weak trace is allowed."""
    task = tasks[name]
    onsets = []
    for sample in task.samples:
        sound = np.abs(sound_of(sample))
        onsets.append(int(np.argmax(sound > 0.1 * sound.max())))
    for label, mask in labels_and_others(task):
        if label in LABELS["event"]:
            continue  # the event itself may come first
        p_value = mannwhitneyu(np.array(onsets)[mask], np.array(onsets)[~mask]).pvalue
        assert p_value > 0.001, (label, p_value)
    assert len(set(onsets)) > len(onsets) * 0.9


@pytest.mark.parametrize("name", FIVE)
def test_labels_are_measurable_in_the_voice(
    name: str, tasks: dict[str, Task], measures: dict[str, Measures]
) -> None:
    faults = {}
    groups = groups_of(tasks[name])
    unswapped = []
    for one, other in groups.values():
        pair = measures[one.audio.sha256], measures[other.audio.sha256]
        if found := unreadable_cues(*pair, one.cues, other.cues):
            faults[one.transcript] = found
        if not unreadable_cues(*pair, other.cues, one.cues):
            unswapped.append({one.cues.get("event"), other.cues.get("event")})
    assert faults == {}
    # The control: with the labels of each pair exchanged, no group passes but those of two sounds, whose kind
    # a tagger names.
    assert all(len(sounds - {"none", None}) == 2 for sounds in unswapped), unswapped


def test_languages_are_filtered(tasks: dict[str, Task]) -> None:
    chinese = load_task("event", languages=["zh"])
    assert {sample.language for sample in chinese.samples} == {"zh"}
    assert chinese.languages == ("zh",)
    # The hash covers the whole content; the languages in use are a setting of the run.
    assert chinese.sha256 == tasks["event"].sha256
    with pytest.raises(BadData, match="task 'event' has no sample in fr; its languages: en, ja, zh"):
        load_task("event", languages=["fr"])
    with pytest.raises(UsageError, match="language 'french' is none; expected a BCP 47 tag such as"):
        load_task("event", languages=["french"])


def test_unknown_task_suggests_a_similar_name() -> None:
    with pytest.raises(UnknownName, match=r"unknown task 'emotoin'. Did you mean 'emotion'\?"):
        load_task("emotoin")


def test_data_is_the_task_folder_or_its_parent(tasks: dict[str, Task], tmp_path: Path) -> None:
    copied = tmp_path / "mine" / "emotion"
    subprocess.run(["cp", "-r", ROOT / "tasks" / "emotion", tmp_path], check=True)
    copied.parent.mkdir()
    (tmp_path / "emotion").rename(copied)
    for data in (copied, copied.parent):
        task = load_task("emotion", data=data)
        assert task.folder == copied
        assert task.sha256 == tasks["emotion"].sha256
    assert known_tasks(copied.parent) == ("emotion",)
    with pytest.raises(BadData, match=r"task.yaml: name is 'emotion', expected 'age'"):
        load_task("age", data=copied)


def test_hash_depends_on_the_content_only(tasks: dict[str, Task], tmp_path: Path) -> None:
    subprocess.run(["cp", "-r", ROOT / "tasks" / "age", tmp_path], check=True)
    folder = tmp_path / "age"
    rows = (folder / "samples.jsonl").read_text().splitlines(keepends=True)
    (folder / "samples.jsonl").write_text("".join(reversed(rows)))
    settings = (folder / "task.yaml").read_text()
    (folder / "task.yaml").write_text("# a remark\n" + settings)
    assert load_task("age", data=folder).sha256 == tasks["age"].sha256
    (folder / "samples.jsonl").write_text("".join(rows).replace("Yes, chef!", "Yes, cook!"))
    edited = load_task("age", data=folder).sha256
    assert edited != tasks["age"].sha256
    (folder / "samples.jsonl").write_text("".join(rows))
    (folder / "task.yaml").write_text(settings.replace("version: 2", "version: 3"))
    assert load_task("age", data=folder).sha256 not in (edited, tasks["age"].sha256)
