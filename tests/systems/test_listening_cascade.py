"""The listening cascade answers by words and voice: same words, another voice, another reply."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from echat_eval.errors import BadData, NotApplicable
from echat_eval.io.audio import write_wav
from echat_eval.records import Request, Waveform
from echat_eval.systems import build_system
from echat_eval.systems.listening_cascade import BANK, ReplyBank, label_asked
from echat_eval.systems.voice_cues import RATE, VoiceCues
from echat_eval.task.probe import QUESTIONS

if TYPE_CHECKING:
    from numpy.typing import NDArray

PARTS = """
class Recogniser:
    name, version = "recogniser", "1"

    def annotate(self, audio, *, language):
        return {"hypothesis": "The train is late."}

    def fingerprint(self):
        return "recogniser-1"

    def settings(self):
        return {}
"""


class Counted:
    """An embedding by shared words, in place of the model's."""

    words: tuple[str, ...] = ()

    def embed(self, text: str) -> NDArray[np.float64]:
        found = {word.strip(".,!?").lower() for word in text.split()}
        names = ("train", "late", "letter", "school", "dog", "cake", "doctor")
        vector = np.array([float(name in found) for name in names] + [0.1])
        unit: NDArray[np.float64] = vector / np.linalg.norm(vector)
        return unit

    def fingerprint(self) -> str:
        return "counted"


@pytest.fixture
def bank() -> ReplyBank:
    found = ReplyBank()
    found.embedder = Counted()  # type: ignore[assignment]
    return found


def test_words_choose_the_subject_and_the_voice_the_reply(bank: ReplyBank) -> None:
    trip = next(subject for subject in bank.subjects if "The train is late." in subject.words)
    for manner, reply in trip.replies.items():
        age = manner if manner in ("child", "old") else "adult"
        cues = VoiceCues(emotion=manner if age == "adult" else "neutral", age=age)
        assert bank.reply("My train is late!", cues) == reply
    assert bank.reply("My train is late!", VoiceCues(event="cough", emotion="sad")) in bank.events["cough"]
    assert bank.reply("My train is late!", VoiceCues(event="hiccup", emotion="sad")) == trip.replies["sad"]
    assert bank.reply("My train is late!", VoiceCues(emotion="sad", age="child")) == trip.replies["sad"]


def test_words_about_no_subject_get_a_general_reply(bank: ReplyBank) -> None:
    assert bank.reply("Blue.", VoiceCues(emotion="sad")) in bank.general["sad"]


def test_a_plain_voice_with_words_about_no_subject_gets_a_reply_to_what_the_words_do(bank: ReplyBank) -> None:
    bank.acts = {"Bless it.": ["A cake."], "Go on.": ["A dog."]}
    bank.subjects = [replace(subject, words=("Blue.",)) for subject in bank.subjects]
    assert bank.reply("My dog is here.", VoiceCues()) == "Go on."
    assert bank.reply("My cake is here.", VoiceCues()) == "Bless it."
    assert bank.reply("My cake is here.", VoiceCues(emotion="sad")) in bank.general["sad"]


def test_every_subject_has_a_reply_for_every_manner(bank: ReplyBank) -> None:
    manners = {"neutral", "happy", "sad", "anger", "fear", "surprise", "child", "old"}
    assert all(set(subject.replies) == manners for subject in bank.subjects)
    assert set(bank.general) == manners - {"neutral"}
    texts = [text for subject in bank.subjects for text in subject.replies.values()]
    texts += [*bank.acts, *bank.events["cough"]]
    texts += [text for replies in bank.general.values() for text in replies]
    assert len(set(texts)) == len(texts)


def test_the_same_words_in_two_voices_get_two_replies(
    tmp_path: Path, bank: ReplyBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_ear.py").write_text(PARTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    system = build_system("listening-cascade", {"asr": "my_ear:Recogniser", "tts": ""})
    system._bank = bank  # type: ignore[union-attr]
    time = np.arange(2 * RATE) / RATE
    replies = []
    for swing in (1.0, 8.0):  # semitones to each side
        tone = 150 * 2 ** (swing * np.sin(2 * np.pi * time) / 12)
        phase = 2 * np.pi * np.cumsum(tone) / RATE
        sound = (
            sum(np.sin(k * phase) / k**2 for k in range(1, 20)) * (0.2 + np.sin(4 * np.pi * time) ** 2) / 4
        )
        audio = write_wav(Waveform(samples=sound.astype(np.float32), sample_rate=RATE), tmp_path)
        replies.append(system.respond(Request(id=audio.sha256, audio=audio, language="en")).text)  # type: ignore[union-attr]
    assert replies == [
        bank.reply("The train is late.", VoiceCues(emotion=emotion)) for emotion in ("sad", "happy")
    ]
    with pytest.raises(NotApplicable, match="supports en"):
        system.respond(Request(id="a", audio=audio, language="zh"))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("asks", "expected"),
    [
        ("emotion", "sad"),
        ("age", "adult"),
        ("gender", "male"),
        ("event", "none"),
        ("transcript", None),
    ],
)
def test_a_question_about_the_voice_is_answered_with_a_label(asks: str, expected: str | None) -> None:
    cues = VoiceCues(emotion="sad", hertz=120.0)
    assert label_asked(QUESTIONS[asks]["en"], cues) == expected


def test_a_file_that_is_no_bank_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bank.yaml"
    path.write_text(BANK.read_text().replace("subjects:", "topics:"))
    with pytest.raises(BadData, match=r"bank\.yaml: not a bank of replies: KeyError 'subjects'"):
        ReplyBank(path)
