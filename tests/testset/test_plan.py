"""Plans: what is refused, and that labels and speakers are balanced."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from echat_eval.errors import BadData
from echat_eval.testset.assign import assignments, speakers_of
from echat_eval.testset.plan import read_plan
from echat_eval.testset.sentences import Member, Sentence, read_sentences, sentence_from, sentence_row

GOOD = {
    "name": "desk",
    "title": "{en: Desk}",
    "description": "Words.",
    "licence": "CC BY 4.0",
    "cues": "{emotion: [happy, sad, anger], event: [cough, none, laugh]}",
    "cues_per_sentence": "2",
    "sentences": "{en: 12}",
    "same": "{en: 3}",
    "texts": "{model: m, url: 'http://127.0.0.1:1/v1'}",
    "voices": "{en: {use: embedded, speakers: {a: female, b: male, c: female, d: male}}}",
}


def write(folder: Path, **changes: str) -> Path:
    path = folder / "plan.yaml"
    path.write_text("".join(f"{key}: {value}\n" for key, value in (GOOD | changes).items() if value))
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cues": "{mood: [a, b]}"}, "cue 'mood'; expected emotion, age"),
        ({"cues": "{emotion: [happy, bored]}", "cues_per_sentence": "1"}, "label 'bored' of emotion"),
        ({"cues": "{emotion: [happy]}"}, "two or more labels"),
        ({"cues_per_sentence": "3"}, "cues_per_sentence is 3, cues are 2"),
        ({"labels_per_sentence": "9"}, "labels_per_sentence is 9, emotion has 3 labels"),
        ({"sentences": "{de: 3}"}, "sentences in 'de' have no voice"),
        ({"speakers_per_sentence": "5"}, "'en' has 4 speakers, speakers_per_sentence is 5"),
        ({"texts": "{}"}, "texts needs either file: or model:"),
        ({"texts": "{model: m, temprature: 1}"}, "temprature"),
        ({"voices": "{en: {use: embedded, speakers: {a: girl}}}"}, "gender"),
        ({"name": ""}, "name"),
        ({"licence": ""}, "licence"),
        ({"checks": "{loud: 1}"}, r"plan.yaml:\d+: check 'loud'; expected measurable"),
        ({"texts": "{file: none.yaml}"}, r"plan.yaml:\d+: texts.file: .*none.yaml does not exist"),
        ({"voices": "{en: {use: nobody, speakers: {a: male, b: male}}}"}, r":\d+: voice 'nobody'; expected"),
        ({"voices": "{en: {use: 'v.py:V', speakers: {a: male, b: male}}}"}, r"v.py does not exist"),
        (
            {
                "voices": "{Klingon!: {use: server, speakers: {a: male, b: male}}}",
                "sentences": "",
                "same": "",
            },
            "language",
        ),
        (
            {"voices": "{de: {use: embedded, speakers: {a: male, b: male}}}", "sentences": "", "same": ""},
            "English only",
        ),
        ({"voices": "{en: kokoro}"}, r":\d+: voices.en is 'kokoro'; expected a mapping"),
        ({"clip": "{seconds: 0}"}, "seconds"),
    ],
)
def test_bad_plans_are_refused(changes: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(BadData, match=message):
        read_plan(write(tmp_path, **changes))


def test_labels_and_speakers_are_balanced(tmp_path: Path) -> None:
    plan = read_plan(write(tmp_path))
    wanted = assignments(plan)
    assert (len(wanted), sum(one.expect == "same" for one in wanted)) == (15, 3)
    counts = Counter(pair for one in wanted for voice in one.voices for pair in voice.items())
    assert max(counts.values()) - min(counts.values()) <= 1
    for one in wanted:
        assert all(one.voices[0][cue] != one.voices[1][cue] for cue in plan.cues)
    sentences = [
        Sentence(
            id=one.id,
            language="en",
            transcript=one.id,
            members=tuple(Member(cues=voice, reply="r") for voice in one.voices),
        )
        for one in wanted
    ]
    speakers = speakers_of(plan, sentences)
    spoken = Counter(name for names in speakers.values() for name in names)
    assert max(spoken.values()) - min(spoken.values()) <= 1
    assert all(len(set(names)) == 2 for names in speakers.values())
    labelled = {
        (name, pair)
        for sentence in sentences
        for name in speakers[sentence.id]
        for member in sentence.members
        for pair in member.cues.items()
    }
    assert len(labelled) == 4 * 6  # every speaker has every label


def test_sentences_are_read_back_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "s.yaml"
    row = "{language: en, transcript: Hi there., members: [{cues: {emotion: sad}, reply: A.}, {cues: {emotion: happy}, reply: B.}]}"
    path.write_text(
        f"sentences:\n  - {row}\n  - {row[:-1]}, expect: same}}\n".replace("reply: B.", "reply: B.", 1)
    )
    with pytest.raises(BadData, match=r"sentence 2: expect is same, but the replies differ"):
        read_sentences(path)
    path.write_text(f"sentences:\n  - {row}\n  - {row}\n")
    one, two = read_sentences(path)
    assert (one.id, two.id) == ("en-01", "en-02")
    assert sentence_from(sentence_row(one), "x") == one
    path.write_text(f"sentences:\n  - {row.replace('happy', 'sad')}\n")
    with pytest.raises(BadData, match="two members have the same labels"):
        read_sentences(path)
    path.write_text(f"sentences:\n  - {row.replace('reply: B.', 'reply: A.')}\n")
    with pytest.raises(BadData, match="two members have the same reply; add `expect: same`"):
        read_sentences(path)
