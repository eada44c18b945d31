"""The listening check: a judge that reads sits at 50 %, one that listens passes, and tables state it."""

from __future__ import annotations

import csv
import wave
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echat_eval.annotators.acoustics import describe
from echat_eval.checks.listening import (
    KINDS,
    PairAnswers,
    VoicePair,
    ask_pairs,
    first_share,
    make_pairs,
    right_share,
    winner_share,
)
from echat_eval.checks.listening_people import SHEET, read_people, write_sheet
from echat_eval.checks.revoice import Tone, analyse, resynthesise
from echat_eval.errors import BadData, Unavailable
from echat_eval.io.audio import read_mono
from echat_eval.io.hashing import sha256_of
from echat_eval.judge import JudgeClient, ServerIdentity, load_judge, load_pair
from echat_eval.scorers.listening_result import (
    ListeningResult,
    ListeningShare,
    read_results,
    write_result,
)
from echat_eval.testing import ScriptedChatClient, ScriptedChatServer, judge_by_sound
from echat_eval.testing.servers import prompt_of, text_of
from tests.support.command_line import call_here

SENTENCES = 5
RUBRIC = load_pair("echat-voice-r1")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[VoicePair]:
    return make_pairs(tmp_path_factory.mktemp("pairs"), SENTENCES)


def answers_of(pairs: list[VoicePair], answer: Callable[[Any], str]) -> list[PairAnswers]:
    client: Any = ScriptedChatClient(answer)
    judge_client = JudgeClient(load_judge("echat-voice-r1"), client)
    found = ask_pairs(judge_client, RUBRIC, pairs, at_once=1)
    judge_client.close()
    return found


def verdict(number: int) -> str:
    return f'{{"reason": "x", "sounds": {number}}}'


def test_a_judge_that_listens_is_right(pairs: list[VoicePair]) -> None:
    found = answers_of(pairs, judge_by_sound)
    # Its rules are crude: to it, a soft flat voice can be sadder than a sad one.
    assert right_share(found).value >= 0.9
    assert winner_share(found).value == 0.0


@pytest.mark.parametrize("number", [1, 2, 0])
def test_a_judge_that_always_answers_the_same_is_right_in_half(pairs: list[VoicePair], number: int) -> None:
    found = answers_of(pairs, lambda content: verdict(number))
    assert right_share(found).value == 0.5
    assert winner_share(found).value == float(number != 0)
    first = first_share(found)
    assert (first is None) == (number == 0)
    assert first is None or first.value == float(number == 1)


def test_a_judge_that_only_reads_is_right_in_exactly_half(pairs: list[VoicePair]) -> None:
    """Whatever it makes of the words: both orders have the same text."""

    def by_words(content: Any) -> str:
        return verdict(int(sha256_of(text_of(content))[:4], 16) % 3)

    assert right_share(answers_of(pairs, by_words)).value == 0.5


def test_a_missing_answer_counts_against_the_judge(pairs: list[VoicePair]) -> None:
    def gone(content: Any) -> str:
        raise Unavailable("it is gone")

    found = answers_of(pairs[:4], gone)
    assert (right_share(found).value, winner_share(found).value) == (0.0, 1.0)
    assert found[0].reason == "it is gone"


def test_every_recording_is_resynthesised_and_of_one_format(pairs: list[VoicePair]) -> None:
    """No arm keeps the bytes, the format or the level of last bits of its source."""
    for pair in pairs:
        for audio in (pair.right, pair.other):
            with wave.open(str(audio.path)) as file:
                assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16_000, 1, 2)
            assert np.abs(read_mono(audio.path)[0]).max() < 0.999
    kinds = [pair.kind for pair in pairs]
    assert [kinds.count(kind) for kind in KINDS] == [SENTENCES] * len(KINDS)
    assert len({pair.id for pair in pairs}) == len(pairs)


def test_identical_copies_differ_in_their_bytes_and_in_nothing_else(pairs: list[VoicePair]) -> None:
    for pair in (p for p in pairs if p.kind == "identical"):
        assert pair.right.sha256 != pair.other.sha256
        one, two = (read_mono(audio.path)[0] for audio in (pair.right, pair.other))
        assert np.abs(one - two).max() < 10 / 32768


def test_the_tone_changes_as_it_states() -> None:
    time = np.arange(32_000) / 16_000
    phase = 2 * np.pi * np.cumsum(180 * 2 ** (3 / 12 * np.sin(2 * np.pi * time))) / 16_000
    voice = 0.1 * np.sum([np.sin(k * phase) / k for k in range(1, 12)], axis=0)
    track = analyse(voice)

    def measured(**tone: float) -> dict[str, float]:
        found = describe(resynthesise(track, Tone(**tone), seed=1))
        return {name: value for name, value in found.items() if value is not None}

    plain = measured()
    assert plain["f0_median_hz"] == pytest.approx(describe(voice)["f0_median_hz"], rel=0.03)
    assert measured(pitch=4)["f0_median_hz"] == pytest.approx(plain["f0_median_hz"] * 2 ** (4 / 12), rel=0.03)
    assert measured(spread=0)["f0_range_semitones"] < 0.5 < plain["f0_range_semitones"]
    assert measured(rate=0.8)["seconds"] == pytest.approx(plain["seconds"] / 0.8, rel=0.02)
    assert measured(level=6)["energy_db"] == pytest.approx(plain["energy_db"] + 6, abs=0.5)


# -- the decision --------------------------------------------------------------


def answers_like(pairs: VoicePair, sentences: int, right: float, winners: int) -> list[PairAnswers]:
    """Return answers about this number of sentences: a share of right ones, and a number of winners."""
    found = []
    for number in range(sentences):
        for kind in KINDS:
            pair = replace(pairs, kind=kind, sentence=f"s{number}")
            good = number < right * sentences
            answer = (1 if good else -1) if kind != "identical" else int(number < winners)
            found.append(PairAnswers(pair=pair, answers=(answer, answer)))
    return found


def result_of(found: list[PairAnswers]) -> ListeningResult:
    return ListeningResult(
        model="m",
        rubric="echat-voice-r1",
        fingerprint="f" * 64,
        question="q",
        recordings=1,
        right=right_share(found),
        winners=winner_share(found),
        other_voice=winner_share(found, "other voice"),
    )


@pytest.mark.parametrize(
    ("sentences", "right", "winners", "passed", "failed"),
    [
        (36, 1.0, 0, True, False),
        (36, 0.92, 0, True, False),
        (36, 0.80, 0, False, False),
        (36, 0.50, 0, False, True),
        (36, 1.0, 5, False, False),
        (36, 1.0, 36, False, True),
        (5, 1.0, 0, False, False),
    ],
)
def test_a_judge_passes_by_its_bounds(
    pairs: list[VoicePair], sentences: int, right: float, winners: int, passed: bool, failed: bool
) -> None:
    found = result_of(answers_like(pairs[0], sentences, right, winners))
    assert (found.passed, found.failed) == (passed, failed)


def test_the_bounds_are_those_of_the_number_of_sentences(pairs: list[VoicePair]) -> None:
    """Clopper and Pearson's for 36 of 36: 0.025 ** (1 / 36)."""
    found = right_share(answers_like(pairs[0], 36, 1.0, 0))
    assert found.low == pytest.approx(0.025 ** (1 / 36))
    assert str(ListeningShare(value=0.5, low=None, high=None, pairs=2, sentences=1)) == "50 % (no interval)"


def test_a_result_is_kept_by_judge_and_server_and_read_again(tmp_path: Path, pairs: list[VoicePair]) -> None:
    served = {"model": "m", "server": "fp-1"}
    url = "http://a:1/v1"
    whole = replace(
        result_of(answers_like(pairs[0], 36, 1.0, 0)), url=url, served=(ServerIdentity(**served),)
    )
    other = replace(whole, url="http://b:1/v1", right=whole.winners)
    assert write_result(tmp_path, whole) == whole
    write_result(tmp_path, other)
    # One of few sentences takes the place of none of more.
    few = replace(whole, right=right_share(answers_like(pairs[0], 3, 1.0, 0)))
    assert write_result(tmp_path, few) == whole
    held = read_results(tmp_path, whole.fingerprint)
    assert sorted(held, key=lambda result: str(result.url)) == [whole, other]
    assert read_results(tmp_path, "e" * 64) == []
    assert whole.is_of({"url": url, "served": served})
    for changed in ({"url": None}, {"served": None}, {"served": {**served, "server": "fp-2"}}):
        assert not whole.is_of({"url": url, "served": served, **changed})
    next(tmp_path.glob("*.json")).write_text('{"model": 1}')
    with pytest.raises(BadData, match="not a result of `check judge --listens`; delete it"):
        read_results(tmp_path, whole.fingerprint)


# -- people --------------------------------------------------------------------


def test_people_stand_beside_the_judge_by_the_same_function(tmp_path: Path, pairs: list[VoicePair]) -> None:
    sheet = write_sheet(tmp_path, pairs)
    text = sheet.read_text()
    assert not any(kind in text for kind in KINDS)
    with sheet.open() as file:
        rows = list(csv.DictReader(file))
    by_id = {pair.id: pair for pair in pairs}
    for row in rows:
        pair = by_id[row["pair"]]
        first = row["recording_1"] == pair.right.path.name
        row["answer"] = "0" if pair.kind == "identical" else "1" if first else "2"
    with sheet.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    found = read_people(sheet, pairs)
    assert (right_share(found).value, winner_share(found).value) == (1.0, 0.0)
    assert {row["recording_1"] == by_id[row["pair"]].right.path.name for row in rows} == {True, False}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n", "no rows with the columns pair and answer"),
        ("pair,answer\nzz,1\n", ":2: pair 'zz' is not one of this check's"),
        ("pair,answer\nPAIR,3\n", ":2: answer '3'; expected 1, 2, or 0"),
        ("pair,answer\nPAIR,\n", "no answer is filled in"),
    ],
)
def test_a_faulty_sheet_has_one_line(
    tmp_path: Path, pairs: list[VoicePair], content: str, message: str
) -> None:
    path = tmp_path / SHEET
    path.write_text(content.replace("PAIR", pairs[0].id))
    with pytest.raises(BadData, match=message):
        read_people(path, pairs)


# -- the command ---------------------------------------------------------------


def test_the_command_prints_what_is_sent_before_it_is_sent(tmp_path: Path) -> None:
    with ScriptedChatServer(lambda r: judge_by_sound(prompt_of(r))) as server:
        done = call_here(
            *("check", "judge", "--listens", "--judge", "m-2026-01-01", "--judge-url", server.url),
            *("--sentences", "2", "--stimuli", tmp_path / "sounds", "--judge-repeats", "7"),
            cwd=tmp_path,
        )
    assert done.returncode == 3, done.stderr  # two sentences cannot decide
    assert "gets 8 pairs of recordings of the demo split, with words and labels" in done.stdout
    assert "112 questions, about" in done.stdout
    assert "anchors" not in done.stdout  # this check grades none
    assert " audio in; " in done.stdout
    assert "cannot tell whether m-2026-01-01 listens: right about planted prosody in " in done.stdout
    assert (tmp_path / "sounds" / SHEET).is_file()


def test_without_a_readable_answer_there_are_no_shares(tmp_path: Path) -> None:
    with ScriptedChatServer(lambda r: "hm.") as server:
        done = call_here(
            *("check", "judge", "--listens", "--judge", "m-2026-01-01", "--judge-url", server.url),
            *("--sentences", "2"),
            cwd=tmp_path,
        )
    assert done.returncode == 3, done.stderr
    assert "cannot tell whether m-2026-01-01 listens: no answer could be read" in done.stdout
    assert " %" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--listens", "--golden"], "--listens is for a judge that listens"),
        (["--golden", "--sentences", "3"], "--sentences without --listens"),
        (["--listens", "--rubric", "echat-r1"], "rubric 'echat-r1' is for a judge that reads"),
        (["--golden", "--rubric", "echat-voice-r1"], "'echat-voice-r1' is for a judge that listens"),
    ],
)
def test_options_that_do_not_fit_have_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    server = ("--judge", "m-2026-01-01", "--judge-url", "http://127.0.0.1:9/v1")
    done = call_here("check", "judge", *arguments, *server, cwd=tmp_path)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr
