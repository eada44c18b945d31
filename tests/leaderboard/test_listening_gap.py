"""The listening gap, against hand counts, an independent oracle and a simulation with known gaps."""

from __future__ import annotations

import csv
import io
import itertools
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from echat_eval.io.display import markdown_text
from echat_eval.leaderboard.gap_text import TITLES, gap_cells, gap_csv, gap_notes, gap_tables, side_text
from echat_eval.leaderboard.listening_gap import ListeningGap, gaps_of, instruments_of
from echat_eval.records import Sample, Score, State
from echat_eval.scorers.cue_contrast import CONTRAST, MATCH
from echat_eval.scorers.understanding import WAR
from echat_eval.stats import units_of
from echat_eval.store.repeats import averaged_scores, join_repeat
from echat_eval.task.probe import probed_name
from tests.support.cases import case
from tests.support.present import present

if TYPE_CHECKING:
    from echat_eval.leaderboard.build import Leaderboard

#: Answer to a question, or the state of an answer that does not exist.
Answer = str | None
ABSENT: dict[str, State] = {"missing": "missing", "failed": "failed"}


def voice(name: str, cues: dict[str, str], group: str) -> Sample:
    made = case(name, None).sample
    return replace(made, cues=cues, contrast_group=group, transcript=f"words of {group}")


def rate(name: str, value: float | State, system: str = "mine") -> Score:
    state: State = value if isinstance(value, str) else "value"
    number = None if isinstance(value, str) else value
    return Score(
        key="", system=system, task="emotion", sample_id=name, metric=MATCH.name, state=state, value=number
    )


def answer(name: str, named: Answer, system: str = "mine") -> Score:
    state = ABSENT.get(named or "", "value")
    return Score(
        key="",
        system=system,
        task=probed_name("emotion", "emotion"),
        sample_id=name,
        metric=WAR.name,
        state=state,
        evidence={"answered": named} if state == "value" else {},
    )


def found(voices: list[Sample], scores: list[Score]) -> tuple[ListeningGap, ...]:
    asks = [replace(v, task=probed_name("emotion", "emotion"), asks="emotion") for v in voices]
    samples = {(s.task, s.id): s for s in (*voices, *asks)}
    return gaps_of(scores, samples, [MATCH, CONTRAST, WAR], units_of(list(samples.values())))


def pairs(rows: list[tuple[Answer, Answer, float | State, float | State]]) -> ListeningGap:
    """Return the gap over pairs of a sad and a happy voice: two answers, two match rates."""
    voices, scores = [], []
    for n, (first, second, *rates) in enumerate(rows):
        for label, named, value in zip(("sad", "happy"), (first, second), rates, strict=True):
            voices.append(voice(f"{n}{label}", {"emotion": label}, f"g{n}"))
            scores += [answer(f"{n}{label}", named), rate(f"{n}{label}", value)]
    (gap,) = found(voices, scores)
    return gap


def test_the_gap_is_that_of_a_hand_count() -> None:
    gap = pairs(
        [
            ("sad", "happy", 50.0, 50.0),  # 100 - 50
            ("sad", "sad", 100.0, 100.0),  # 50 - 100: one answer to both voices
            ("sad", "neutral", 50.0, 50.0),  # 75 - 50: neither label counts half
            ("happy", "sad", 0.0, 0.0),  # 0 - 0
        ]
    )
    assert present(gap.answered.observed).value == pytest.approx((100 + 50 + 75 + 0) / 4)
    assert present(gap.matched.observed).value == pytest.approx((50 + 100 + 50 + 0) / 4)
    assert present(gap.gap.observed).value == pytest.approx((50 - 50 + 25 + 0) / 4)
    assert (gap.gap.n, gap.gap.clusters, gap.gap.missing, gap.left_out) == (8, 4, 0, 0)


def test_groups_whose_words_suggest_a_label_have_a_gap_of_their_own() -> None:
    voices, scores = [], []
    for n in range(20):
        words = "happy" if n % 2 else None
        for label in ("sad", "happy"):
            made = voice(f"{n}{label}", {"emotion": label}, f"g{n}")
            voices.append(replace(made, words_suggest={"emotion": words} if words else None))
            # Where the words suggest a label, the answers follow them.
            scores += [answer(made.id, words or label), rate(made.id, 60.0 if words else 90.0)]
    open_words, against = found(voices, scores)
    for gap, answered, matched in ((open_words, 100.0, 90.0), (against, 50.0, 60.0)):
        assert present(gap.answered.observed).value == answered
        assert present(gap.gap.observed).value == pytest.approx(answered - matched)
        assert (gap.gap.n, gap.left_out) == (20, 0)
    assert [gap_cells(gap, "system")[1] for gap in (open_words, against)] == [
        "emotion",
        "emotion, words against voice",
    ]
    assert not any("against" in note for note in gap_notes([open_words]))
    assert any("words_suggest" in note for note in gap_notes([open_words, against]))
    board = cast("Leaderboard", SimpleNamespace(gaps=(open_words, against), roles={"mine": "system"}))
    rows = list(csv.DictReader(io.StringIO(gap_csv(board))))
    assert [(row["cue"], row["words"]) for row in rows] == [
        ("emotion", "open"),
        ("emotion", "against the voice"),
    ]
    # A label that the words suggest for another cue changes nothing.
    others = [replace(v, words_suggest={"age": "old"} if v.words_suggest else None) for v in voices]
    (whole,) = found(others, scores)
    assert whole.gap.n == 40


def test_repeats_count_as_their_mean_on_both_sides() -> None:
    """Each repeat is compared with the same repeat of the other voice, as match rates are."""

    def asked_often(name: str, *named: Answer) -> list[Score]:
        rows = [
            replace(
                answer(name, label), sample_id=join_repeat(name, n), value=None if label == "missing" else 0.0
            )
            for n, label in enumerate(named, 1)
        ]
        return list(averaged_scores({(s.system, s.task, s.sample_id, s.metric): s for s in rows}).values())

    def gap_of(sad: list[Score], happy: list[Score]) -> ListeningGap:
        voices, scores = [], []
        for n in range(2):
            for label, rows in (("sad", sad), ("happy", happy)):
                voices.append(voice(f"{n}{label}", {"emotion": label}, f"g{n}"))
                scores += [replace(row, sample_id=f"{n}{label}") for row in rows]
                scores.append(rate(f"{n}{label}", 50.0))
        (gap,) = found(voices, scores)
        return gap

    gap = gap_of(asked_often("a", "sad", "happy"), asked_often("b", "happy", "happy"))
    assert present(gap.answered.observed).value == pytest.approx((100 + 50) / 2)
    # A failed repeat has 0, and leaves half to the other voice; the first repeats are right.
    gap = gap_of(asked_often("a", "sad", "failed"), asked_often("b", "happy", "happy"))
    assert present(gap.answered.observed).value == pytest.approx(((100 + 0) / 2 + (100 + 50) / 2) / 2)
    gap = gap_of(asked_often("a", "sad", "missing"), asked_often("b", "happy", "happy"))
    assert gap.answered.observed is None
    failed = replace(
        rate("0sad", 50.0), state="failed", value=25.0
    )  # the mean of repeats, one of them failed
    assert instruments_of([failed], [MATCH])[0].rows["mine", "emotion", "0sad"].value == 25.0


def test_one_answer_and_one_reply_to_both_voices_have_no_gap() -> None:
    gap = pairs([("neutral", "neutral", 50.0, 50.0), *[("sad", "sad", 50.0, 50.0)] * 39])
    observed = present(gap.gap.observed)
    assert observed.value == 0.0
    assert present(observed.low) < 0 < present(observed.high)


def which_is(label: str, first: Answer, second: Answer) -> float:
    """Return how often "which of the two is the LABEL one?" is the first, by who is named so."""
    return 0.5 + 0.5 * ((first == label) - (second == label))


def test_asked_is_the_share_of_right_answers_about_which_voice_has_a_label() -> None:
    named = ("sad", "happy", "neutral", None)
    for first, second in itertools.product(named, repeat=2):
        gap = pairs([(first, second, 50.0, 50.0)] * 3)
        right = which_is("sad", first, second) + which_is("happy", second, first)
        assert present(gap.answered.observed).value == 100 * right / 2, (first, second)


def test_a_failed_answer_names_the_other_label_and_a_missing_one_could_be_any() -> None:
    rows: list[tuple[Answer, Answer, float | State, float | State]] = [("sad", "happy", 50.0, 50.0)] * 9
    failed = pairs([*rows, ("failed", "happy", 50.0, 50.0)])
    # As in a match rate: 0 for the failed one, and its partner keeps half.
    assert present(failed.answered.observed).value == pytest.approx((9 * 200 + 0 + 50) / 20)
    missing = pairs([*rows, ("missing", "happy", 50.0, 50.0)])
    assert present(missing.answered.observed).value == 100.0
    assert [present(e).value for e in missing.gap.estimates[1:]] == pytest.approx([45 - 50 + 45, 50.0])
    assert side_text(missing.gap).endswith("{40.0..50.0}")


def test_a_missing_match_rate_widens_the_other_way() -> None:
    gap = pairs([*[("sad", "happy", 50.0, 50.0)] * 9, ("sad", "happy", "missing", "missing")])
    assert gap.gap.missing == 2
    assert [present(e).value for e in gap.gap.estimates] == pytest.approx([50.0, 45.0, 55.0])


def test_groups_whose_replies_should_not_differ_are_left_out() -> None:
    voices = [voice(f"{n}{x}", {"emotion": x}, f"g{n}") for n in range(3) for x in ("sad", "happy")]
    voices = [replace(v, expect="same") for v in voices]
    scores = [s for v in voices for s in (answer(v.id, v.cues["emotion"]), rate(v.id, 50.0))]
    assert found(voices, scores) == ()


def test_without_answers_there_is_no_gap() -> None:
    voices = [voice(f"{n}{x}", {"emotion": x}, f"g{n}") for n in range(3) for x in ("sad", "happy")]
    assert found(voices, [rate(v.id, 50.0) for v in voices]) == ()
    assert found(voices, [answer(v.id, "sad") for v in voices]) == ()


def test_samples_compared_with_a_voice_of_the_same_label_are_left_out_and_counted() -> None:
    voices = [
        voice(f"{n}{x}{who}", {"emotion": x, "gender": who}, f"g{n}")
        for n in range(4)
        for x, who in (("sad", "male"), ("happy", "male"), ("sad", "female"))
    ]
    scores = [s for v in voices for s in (answer(v.id, v.cues["emotion"]), rate(v.id, 50.0))]
    (gap,) = found(voices, scores)
    assert (gap.cue, gap.gap.n, gap.left_out) == ("emotion", 4, 8)  # the happy ones: both pairs differ
    again = [replace(gap, system=name, left_out=count) for name, count in (("a", 8), ("b", 8), ("c", 2))]
    notes = [
        note for note in gap_notes([*again, *(replace(g, cue="age") for g in again)]) if "left out" in note
    ]
    assert notes == [
        "Listening gap, samples left out, because they were not asked about or were compared also with a voice "
        "that has the same label: a, b (emotion, Match rate (proxy): 8; age, Match rate (proxy): 8); c (emotion, Match rate (proxy): 2; "
        "age, Match rate (proxy): 2)"
    ]


def test_samples_that_were_not_asked_about_are_left_out_and_counted() -> None:
    voices = [voice(f"{n}{x}", {"emotion": x}, f"g{n}") for n in range(6) for x in ("sad", "happy")]
    scores = [rate(v.id, 50.0) for v in voices] + [answer(v.id, v.cues["emotion"]) for v in voices[:8]]
    (gap,) = found(voices, scores)
    assert (gap.gap.n, gap.left_out) == (8, 4)


def test_one_group_has_no_interval_and_the_reason_is_stated() -> None:
    gap = pairs([("sad", "happy", 50.0, 50.0)])
    assert side_text(gap.gap) == "?"
    (note,) = [n for n in gap_notes([gap, replace(gap, system="other")]) if "unknown" in n]
    assert note.startswith(f"Listening gap of {gap.system}, other (")
    assert "unknown; 1 " in note
    assert "more" in note


def test_the_normalised_gap_is_in_shares_of_what_replies_of_people_reach() -> None:
    rng = np.random.default_rng(0)
    voices, scores = [], []
    for n in range(200):
        for x in ("sad", "happy"):
            voices.append(voice(f"{n}{x}", {"emotion": x}, f"g{n}"))
            own = rng.random() < 0.8
            scores += [
                answer(f"{n}{x}", x if own else {"sad": "happy", "happy": "sad"}[x]),
                rate(f"{n}{x}", 100.0 * (rng.random() < 0.65)),
                rate(f"{n}{x}", 100.0 * (rng.random() < 0.75), "reference"),
            ]
    (gap,) = found(voices, scores)
    answered, matched = (present(side.observed).value for side in (gap.answered, gap.matched))
    people = np.mean([s.value for s in scores if s.system == "reference" and s.value is not None])
    normalised = present(gap.normalised)
    assert normalised.value == pytest.approx(100 * ((answered - 50) / 50 - (matched - 50) / (people - 50)))
    assert present(normalised.low) < 100 * (0.6 - 0.6) < present(normalised.high)


def test_the_surfaces_show_the_same_numbers() -> None:
    gap = pairs([("sad", "happy", 50.0, 50.0), ("sad", "sad", 0.0, 0.0), ("happy", "neutral", 100.0, 50.0)])
    board = SimpleNamespace(gaps=(gap,), roles={"mine": "floor"})
    (row,) = csv.DictReader(io.StringIO(gap_csv(cast("Leaderboard", board))))
    cells = dict(zip(TITLES, gap_cells(gap, "floor"), strict=True))
    observed = present(gap.gap.observed)
    assert (cells["system"], row["system"], row["role"]) == ("mine (floor)", "mine", "floor")
    assert float(row["gap"]) == observed.value
    assert float(row["asked"]) - float(row["matched"]) == pytest.approx(float(row["gap"]))
    assert cells["gap"] == f"{observed.value:.1f} [{observed.low:.1f}, {observed.high:.1f}]"
    assert (row["gap_worst"], row["normalised"], cells["gap, normalised"]) == ("", "", "-")
    (table,) = gap_tables(cast("Leaderboard", board))
    lines = table.lines()
    assert any(markdown_text(cells["gap"]) in line for line in lines)
    assert gap_tables(cast("Leaderboard", SimpleNamespace(gaps=(), roles={}))) == []
