"""Several commands on one run folder, each with instruments of its own: the ledger balances, nothing stale is shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from echat_eval.cli.leaderboard import leaderboard
from echat_eval.cli.run import run
from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.errors import Exit
from echat_eval.ports import Silent
from echat_eval.records import AudioRef, Reply, Waveform
from echat_eval.runner.evaluate import evaluate
from echat_eval.scorers.outcome import OutcomeScorer
from echat_eval.store.run_folder import RunFolder
from echat_eval.task import load_task
from tests.support.scripted_judge import ScriptedJudge, fitting, serving

JUDGE = "judge_echat_r1"


def command(tones: Path, out: Path, *more: str) -> Any:
    done = CliRunner().invoke(
        run,
        ["--data", str(tones), "--task", "emotion", "--annotator", "acoustics", "--out", str(out), *more],
        standalone_mode=False,
    )
    assert done.return_value == Exit.DONE, (done.output, done.exception)
    return done


def replies(folder: Path, words: Mapping[str, str]) -> str:
    """Write a file of replies; return the system that replays it."""
    path = folder / "replies.jsonl"
    path.write_text("".join(json.dumps({"id": ident, "text": text}) + "\n" for ident, text in words.items()))
    return f"mine=replay:{path}"


def requests(tones: Path) -> list[str]:
    from echat_eval.store.keys import request_for

    return [request_for(sample).id for sample in load_task("emotion", data=tones).samples]


def column(out: Path, system: str, metric: str) -> list[tuple[str, float | None]]:
    scores = RunFolder.existing(out).scores()
    return [(s.state, s.value) for k, s in scores.items() if k[0] == system and k[3] == metric]


def test_a_judges_columns_stay_while_they_hold_and_another_system_has_none(
    tones: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with serving(ScriptedJudge(fitting)) as judge:
        options = ("--judge", "m-2026-01-01", "--judge-url", judge.url)
        assert "earlier command" not in command(tones, out, "--system", "reference", *options).output
        before = column(out, "reference", JUDGE)
        done = command(tones, out, "--system", "canned")
        assert column(out, "reference", JUDGE) == before
        assert column(out, "canned", JUDGE) == [("not applicable", None)] * 8
        assert "were not configured in the last one" in done.output
        assert ": judged, judged-contrast" in (out / "leaderboard.md").read_text()
        asked = len(judge.prompts())
        done = command(tones, out, "--system", "canned", *options)
        assert {state for state, _ in column(out, "canned", JUDGE)} == {"value"}
        assert len(judge.prompts()) - asked == 8  # the canned reply under each label of its group, no other
        assert "earlier command" not in done.output


def test_another_reply_takes_the_earlier_judges_score_with_it(tones: Path, tmp_path: Path) -> None:
    out, ids = tmp_path / "run", requests(tones)
    with serving(ScriptedJudge(fitting)) as judge:
        system = replies(tmp_path, dict.fromkeys(ids, "I am sorry."))
        command(tones, out, "--system", system, "--judge", "m-2026-01-01", "--judge-url", judge.url)
    assert {state for state, _ in column(out, "mine", JUDGE)} == {"value"}
    command(tones, out, "--system", replies(tmp_path, dict.fromkeys(ids, "How lovely!")))
    assert column(out, "mine", JUDGE) == [("not applicable", None)] * 8


class Ear:
    """Hears a number that only the reply's bytes decide."""

    name = "emotion2vec"
    version = "1"

    def annotate(self, audio: AudioRef, *, language: str) -> Mapping[str, Any]:
        return {"emotion": "sad", "confidence": 0.9, "of": audio.sha256}

    def fingerprint(self) -> str:
        return "ear"

    def settings(self) -> Mapping[str, Any]:
        return {"pair": (1, 2)}


class Voice:
    """A system whose voice is a constant of the given height."""

    name = "voice"

    def __init__(self, level: float) -> None:
        self.level = level

    def respond(self, request: Any) -> Reply:
        import numpy as np

        return Reply(
            text="yes", audio=Waveform(samples=np.full(1600, self.level, np.float32), sample_rate=16000)
        )

    def fingerprint(self) -> str:
        return str(self.level)

    def settings(self) -> Mapping[str, Any]:
        return {}


def evaluated(tones: Path, out: Path, system: Any, annotators: list[Any], scorers: list[Any]) -> RunFolder:
    with RunFolder(out).writing() as folder:
        evaluate(
            folder,
            systems=[system],
            tasks=[load_task("emotion", data=tones)],
            annotators=annotators,
            scorers=scorers,
            retry_policy=RetryPolicy(tries=1),
            progress=Silent(),
        )
    return RunFolder.existing(out)


def test_what_was_heard_in_an_earlier_voice_is_not_told_of_a_later_one(tones: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert len(evaluated(tones, out, Voice(0.1), [Ear()], [OutcomeScorer()]).annotations()) == 8
    # The same voice: what was heard of it still holds, whoever listens now.
    assert len(evaluated(tones, out, Voice(0.1), [], [OutcomeScorer()]).annotations()) == 8
    assert evaluated(tones, out, Voice(0.2), [], [OutcomeScorer()]).annotations() == {}


def test_a_metric_that_no_scorer_has_any_more_goes_with_its_rows(tones: Path, tmp_path: Path) -> None:
    out, fewer = tmp_path / "run", OutcomeScorer()
    fewer.metrics = fewer.metrics[:1]
    evaluated(tones, out, Voice(0.1), [], [OutcomeScorer()])
    folder = evaluated(tones, out, Voice(0.1), [], [fewer])
    assert [m["name"] for m in folder.manifest()["metrics"]] == ["failed"]
    assert {ident[3] for ident in folder.scores()} == {"failed"}


# -- asked afterwards -------------------------------------------------------------


def test_answers_to_a_probing_question_say_where_it_went_wrong(tones: Path, tmp_path: Path) -> None:
    """Worked by hand: hears happy in 3 of 4 and sad in 2 of 4; says the right words for every happy one."""
    out, samples = tmp_path / "run", load_task("emotion", data=tones).samples
    heard = dict(
        zip(
            [s.id for s in samples],
            ["happy", "sad", "happy", "sad", "happy", "happy", "sad", "fear"],
            strict=True,
        )
    )
    system = replies(
        tmp_path,
        {
            ident: "How lovely!" if s.cues["emotion"] == "happy" else "I see."
            for ident, s in zip(requests(tones), samples, strict=True)
        },
    )
    with serving(ScriptedJudge(fitting)) as judge:
        options = ("--judge", "m-2026-01-01", "--judge-url", judge.url)
        assert "perceives" not in command(tones, out, "--system", system, *options).output
        from echat_eval.store.keys import request_for
        from echat_eval.task.probe import probing

        asked = probing(load_task("emotion", data=tones), "emotion").samples
        said = {request_for(s).id: f"It sounds {heard[s.id]}." for s in asked}
        done = command(tones, out, "--system", replies(tmp_path, said), "--ask", "emotion")
    assert "mine perceives emotion (asked afterwards): UAR 62.5" in done.output
    assert "right: happy 3 of 4, sad 2 of 4" in done.output
    lines = [line for line in done.output.splitlines() if "where it went wrong" in line]
    assert [line.partition(": ")[0] for line in lines] == [
        "  - where it went wrong, all (n 8)",
        "  - where it went wrong, happy (n 4)",
        "  - where it went wrong, sad (n 4)",
    ]
    shares = [
        {
            part.partition(" voice not heard ")[0].rstrip(","): float(
                part.partition("voice not heard ")[2].split()[0]
            )
            for part in line.partition("): ")[2].split("; ")
        }
        for line in lines
    ]
    assert shares[0] == {
        "perceived, worded right": 37.5,
        "perceived, worded wrong": 25.0,
        "not perceived, worded right": 12.5,
        "not perceived, worded wrong": 25.0,
    }
    assert shares[1] == {"perceived, worded right": 75.0, "not perceived, worded right": 25.0}
    assert shares[2] == {"perceived, worded wrong": 50.0, "not perceived, worded wrong": 50.0}
    # The interval is the leaderboard's own.
    board = (out / "leaderboard.csv").read_text().splitlines()
    row = next(line.split(",") for line in board if line.startswith("mine,system,all,understanding_uar"))
    assert f"UAR {float(row[5]):.1f} [{float(row[6]):.1f}, {float(row[7]):.1f}]" in done.output


def test_how_far_second_opinions_agree_is_said(tones: Path, tmp_path: Path) -> None:
    from echat_eval.leaderboard.notes import secondary_lines
    from echat_eval.scorers.judged import judged_scorers

    class Second(Ear):
        name = "sensevoice"
        turn = 0

        def annotate(self, audio: AudioRef, *, language: str) -> Mapping[str, Any]:
            self.turn += 1
            return {"emotion": ("sad", "happy", "unknown", "sad")[self.turn % 4]}

    class Voices(Voice):
        """Another voice for every recording, so that each is heard."""

        def respond(self, request: Any) -> Reply:
            self.level += 0.01
            return super().respond(request)

    with serving(
        ScriptedJudge(
            lambda p, r: json.dumps(
                {"reason": "r", "content": 3, "cue_awareness": 3, "empathy": 3, "voice": 3}
            )
        )
    ) as judge:
        folder = evaluated(
            tones, tmp_path / "run", Voices(0.1), [Ear(), Second()], [judged_scorers("m", judge.url)[0]]
        )
    assert (
        "- emotion of the voice: sensevoice hears what emotion2vec hears in 4 of 6 replies in which both hear one; "
        "only emotion2vec is believed"
    ) in secondary_lines([folder])


# -- under every leaderboard --------------------------------------------------------


@pytest.mark.parametrize("controls", [(), ("--controls", "8")])
def test_the_leaderboard_command_says_what_run_said(
    tones: Path, tmp_path: Path, controls: tuple[str, ...]
) -> None:
    out = tmp_path / "run"
    with serving(ScriptedJudge(fitting)) as judge:
        done = command(
            tones,
            out,
            "--system",
            "reference",
            "--judge",
            "m-2026-01-01",
            "--judge-url",
            judge.url,
            *controls,
        )
    shown = CliRunner().invoke(
        leaderboard, [str(out), "--out", str(tmp_path / "tables")], standalone_mode=False
    )
    assert shown.return_value == Exit.DONE, (shown.output, shown.exception)
    under = lambda text: text[text.index("published score.") :].split("written:")[0]  # noqa: E731
    assert under(shown.output) == under(done.output)
    assert ("labels shuffled, text score" in shown.output) == bool(controls)
    assert (tmp_path / "tables" / "leaderboard.md").read_text() == (out / "leaderboard.md").read_text()


def test_controls_of_another_judge_are_not_repeated(tones: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with serving(ScriptedJudge(fitting)) as judge:
        options = ("--system", "reference", "--judge-url", judge.url, "--judge")
        command(tones, out, *options, "m-2026-01-01", "--controls", "8")
        assert "labels shuffled" in command(tones, out, *options, "m-2026-01-01").output
        done = command(tones, out, *options, "other-2026-02-02")
    assert "labels shuffled" not in done.output
    assert "Controls were run with another judge" in done.output


def test_floor_and_ceiling_may_stand_in_another_run(tones: Path, tmp_path: Path) -> None:
    from echat_eval.systems.canned import Canned
    from echat_eval.systems.reference import Reference

    with serving(ScriptedJudge(fitting)) as judge:
        from echat_eval.scorers.judged import judged_scorers

        made = lambda: [OutcomeScorer(), *judged_scorers("m", judge.url)]  # noqa: E731
        floor, ceiling = Canned(), Reference()
        floor.name, ceiling.name = "transcript-only", "gold-labels"
        with RunFolder(tmp_path / "ends").writing() as folder:
            evaluate(
                folder,
                systems=[floor, ceiling],
                tasks=[load_task("emotion", data=tones)],
                annotators=[],
                scorers=made(),
                retry_policy=RetryPolicy(tries=1),
                progress=Silent(),
            )
        evaluated(tones, tmp_path / "mine", Canned(), [], made())
    shown = CliRunner().invoke(
        leaderboard, [str(tmp_path / "mine"), str(tmp_path / "ends")], standalone_mode=False
    )
    assert "cue gain of canned, judge_echat_r1: 0.00" in shown.output, (shown.output, shown.exception)
