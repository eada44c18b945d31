"""Dialogues of HumDial, WavBench and Audio MultiChallenge, as recorded and as live ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from echat_eval.cli import command_line
from echat_eval.errors import UsageError
from echat_eval.importers import importer
from echat_eval.importers.draft import Draft, DraftTurn, ImportOptions, Refusal
from echat_eval.importers.live import as_live
from echat_eval.task import load_task
from tests.support.tones import write_tone

OPTIONS = ImportOptions(language="en", source="synthetic")


def wavbench(root: Path, **changes: Any) -> Path:
    """Write one dialogue of four rounds in WavBench's form."""
    row: dict[str, Any] = {"id": "u1"}
    for number, label in enumerate(("happy", "adult", "lilac", "sad"), 1):
        write_tone(root / "Acoustic" / "wav" / f"{number}.wav", 200 + number)
        row |= {
            f"user{number}": f"round {number}",
            f"user{number}_wav": f"./wav/{number}.wav",
            f"label{number}": label,
        }
    file = root / "Acoustic" / "json" / "multi_round_understanding.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    row |= changes
    file.write_text(json.dumps([{key: value for key, value in row.items() if value is not None}]))
    return root


def audiomc(root: Path, **changes: Any) -> Path:
    """Write one dialogue of two turns in the form of Audio MultiChallenge's rows, as JSON Lines."""
    row: dict[str, Any] = {"id": "m1", "axis": "Inference Memory", "rubric": "[]", "emotion": "sad"}
    for number in (1, 2):
        write_tone(root / f"{number}.wav", 300 + number)
        row |= {
            f"user_turn_{number}_audio": f"{number}.wav",
            f"user_turn_{number}_transcript": f"turn {number}",
        }
    row |= {"assistant_turn_1_transcript": "Recorded.", "user_turn_3_audio": None} | changes
    (root / "rows.jsonl").write_text(json.dumps(row) + "\n")
    return root / "rows.jsonl"


def only(form: str, folder: Path) -> Draft | Refusal:
    (entry,) = importer(form)(folder, OPTIONS)
    return entry


def test_wavbench_rounds_become_turns_with_the_labels_that_we_have(tmp_path: Path) -> None:
    draft = only("wavbench", wavbench(tmp_path))
    assert isinstance(draft, Draft)
    assert (draft.id, draft.transcript, dict(draft.cues)) == ("u1", "round 4", {"emotion": "sad"})
    assert [(turn.role, turn.text, turn.cues) for turn in draft.history] == [
        ("user", "round 1", {"emotion": "happy"}),
        ("user", "round 2", {"age": "adult"}),
        ("user", "round 3", {}),
    ]
    assert Path(str(draft.audio)).name == "4.wav"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"label4": "lilac"}, "label4 'lilac' is a label of none, or of several, shipped cues"),
        ({"user2": None}, "has no words of a turn (user2)"),
        ({"user3_wav": "./wav/9.wav"}, "audio './wav/9.wav' is not there"),
        ({"user1_wav": None}, "has no user1_wav"),
        ({"id": None}, "has no id"),
    ],
)
def test_wavbench_rows_are_refused_with_one_line(tmp_path: Path, changes: Any, reason: str) -> None:
    refused = only("wavbench", wavbench(tmp_path, **changes))
    assert isinstance(refused, Refusal)
    assert refused.reason.startswith(reason)


def test_wavbench_without_its_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no multi_round_understanding\.json below it"):
        list(importer("wavbench")(tmp_path, OPTIONS))


def test_audiomc_keeps_recorded_replies_and_needs_a_label(tmp_path: Path) -> None:
    draft = only("audiomc", audiomc(tmp_path))
    assert isinstance(draft, Draft)
    assert (draft.transcript, draft.language, dict(draft.cues)) == ("turn 2", "en", {"emotion": "sad"})
    assert [(turn.role, turn.text) for turn in draft.history] == [
        ("user", "turn 1"),
        ("assistant", "Recorded."),
    ]
    refused = only("audiomc", audiomc(tmp_path, emotion=None))
    assert isinstance(refused, Refusal)
    assert refused.reason.startswith("names no cue: the data set labels no voice; add a column")


def test_the_command_writes_live_dialogues_with_labels_and_without_recorded_replies(tmp_path: Path) -> None:
    turns = []
    for number in (1, 2, 3):
        write_tone(tmp_path / "src" / "en" / f"{number}.wav", 150 + 40 * number)
        turns.append(
            {"turn_id": number, "text": f"turn {number}", "emotion": ("sad", "wistful", "happy")[number - 1]}
            | {"split_audio_file": f"{number}.wav", "response_text": "Recorded."}
        )
    (tmp_path / "src" / "en" / "task.jsonl").write_text(json.dumps({"dialogue_id": "d", "turns": turns}))
    words = ["import", "humdial", str(tmp_path / "src"), "--source", "real", "--live"]
    done = CliRunner().invoke(command_line, [*words, "--out", str(tmp_path / "d")], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    (sample,) = load_task("d", data=tmp_path / "d").samples
    assert sample.history == ()
    assert [(t.text, t.cues and dict(t.cues), t.audio is not None) for t in sample.turns or ()] == [
        ("turn 1", {"emotion": "sad"}, True),
        ("turn 2", None, True),
    ]
    assert "Recorded." not in (tmp_path / "d" / "samples.jsonl").read_text()


def draft_of(*turns: DraftTurn) -> Draft:
    return Draft(
        location="x:1",
        id="a",
        audio=b"",
        transcript="Hm.",
        cues={"emotion": "sad"},
        language="en",
        source="real",
        history=turns,
    )


SPOKEN = DraftTurn(role="user", text="Hello.", audio=b"RIFF")
REPLY = DraftTurn(role="assistant", text="Hi.")


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ((DraftTurn(role="user", text="Hello."), REPLY), "turn 1 of the user has no audio"),
        ((SPOKEN, REPLY, DraftTurn(role="user", audio=b"RIFF")), "turn 2 of the user has no words"),
        ((SPOKEN,) * 11, "has 11 turns of the user before the last, expected at most 10"),
        ((REPLY,), "has earlier turns, and none of the user"),
    ],
)
def test_a_script_with_gaps_is_refused(turns: tuple[DraftTurn, ...], reason: str) -> None:
    (refused,) = as_live([draft_of(*turns)])
    assert isinstance(refused, Refusal)
    assert refused.reason.startswith(reason)


def test_dialogues_of_one_turn_and_refusals_stay_as_they_are() -> None:
    entries: list[Draft | Refusal] = [draft_of(), Refusal(location="x:2", id=None, reason="why")]
    assert list(as_live(entries)) == entries
    (live,) = as_live([draft_of(SPOKEN, REPLY, SPOKEN)])
    assert isinstance(live, Draft)
    assert (live.history, live.turns) == ((), (SPOKEN, SPOKEN))
