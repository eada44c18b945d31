"""Several commands on one run folder with different instruments: the ledger balances and no stale row is shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from click.testing import CliRunner

from echat_eval.cli.leaderboard import leaderboard
from echat_eval.cli.run import run
from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.errors import Exit, UsageError
from echat_eval.leaderboard.view import view_leaderboard
from echat_eval.ports import Scorer
from echat_eval.records import Reply, Waveform
from echat_eval.scorers.outcome import OutcomeScorer
from echat_eval.store.run_folder import RunFolder
from echat_eval.task import load_task
from echat_eval.testing import (
    ScriptedAnnotator,
    ScriptedChatServer,
    ScriptedScorer,
    ScriptedSystem,
    judge_verdict,
)
from tests.support.scripted_judge import fitting
from tests.support.scripted_run import evaluated

JUDGE = "judge_echat_r1"


def command(tones: Path, out: Path, *more: str) -> Any:
    done = CliRunner().invoke(
        run,
        ["--data", str(tones), "--task", "emotion", "--annotator", "acoustics", "--out", str(out), *more],
        standalone_mode=False,
    )
    assert done.return_value == Exit.DONE, (done.output, done.exception)
    return done


def write_replies(folder: Path, words: Mapping[str, str]) -> str:
    """Write a file of replies; return the system that replays it."""
    path = folder / "replies.jsonl"
    path.write_text("".join(json.dumps({"id": ident, "text": text}) + "\n" for ident, text in words.items()))
    return f"mine=replay:{path}"


def request_ids(tones: Path) -> list[str]:
    from echat_eval.store.keys import request_for

    return [request_for(sample).id for sample in load_task("emotion", data=tones).samples]


def scores_of(out: Path, system: str, metric: str) -> list[tuple[str, float | None]]:
    scores = RunFolder.existing(out).scores()
    return [(s.state, s.value) for k, s in scores.items() if k[0] == system and k[3] == metric]


def test_judge_scores_stay_while_valid_and_are_absent_for_a_new_system(tones: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with ScriptedChatServer(fitting) as judge:
        options = ("--judge", "m-2026-01-01", "--judge-url", judge.url)
        assert "earlier command" not in command(tones, out, "--system", "reference", *options).output
        before = scores_of(out, "reference", JUDGE)
        done = command(tones, out, "--system", "canned")
        assert scores_of(out, "reference", JUDGE) == before
        assert scores_of(out, "canned", JUDGE) == [("not applicable", None)] * 8
        assert "the last command did not configure these scorers" in done.output
        assert ": judged, judged-contrast" in (out / "leaderboard.md").read_text()
        calls = len(judge.prompts)
        done = command(tones, out, "--system", "canned", *options)
        assert {state for state, _ in scores_of(out, "canned", JUDGE)} == {"value"}
        assert len(judge.prompts) - calls == 8  # the canned reply under each label of its group, no other
        assert "earlier command" not in done.output


def test_changed_replies_invalidate_scores_of_an_unconfigured_judge(tones: Path, tmp_path: Path) -> None:
    out, ids = tmp_path / "run", request_ids(tones)
    with ScriptedChatServer(fitting) as judge:
        system = write_replies(tmp_path, dict.fromkeys(ids, "I am sorry."))
        command(tones, out, "--system", system, "--judge", "m-2026-01-01", "--judge-url", judge.url)
    assert {state for state, _ in scores_of(out, "mine", JUDGE)} == {"value"}
    command(tones, out, "--system", write_replies(tmp_path, dict.fromkeys(ids, "How lovely!")))
    assert scores_of(out, "mine", JUDGE) == [("not applicable", None)] * 8


def emotion_annotator() -> ScriptedAnnotator:
    """Return an annotator of an emotion and the hash of the reply's bytes."""
    return ScriptedAnnotator(
        lambda audio, _: {"emotion": "sad", "confidence": 0.9, "of": audio.sha256},
        "emotion2vec",
        settings={"pair": (1, 2)},
    )


def constant_reply(level: float) -> Reply:
    """Return a reply whose audio is a constant signal of the given level."""
    return Reply(text="yes", audio=Waveform(samples=np.full(1600, level, np.float32), sample_rate=16000))


def constant_voice(level: float) -> ScriptedSystem:
    return ScriptedSystem(constant_reply(level), "voice", fingerprint=str(level))


def test_annotations_of_a_replaced_voice_are_dropped(tones: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = evaluated(
        out, tones, constant_voice(0.1), annotators=[emotion_annotator()], scorers=[OutcomeScorer()]
    )
    assert len(first.annotations()) == 8
    # The voice is the same, so its annotations still hold without the annotator.
    same_voice = evaluated(out, tones, constant_voice(0.1), scorers=[OutcomeScorer()])
    assert len(same_voice.annotations()) == 8
    assert evaluated(out, tones, constant_voice(0.2), scorers=[OutcomeScorer()]).annotations() == {}


def test_a_metric_without_a_scorer_is_removed_with_its_rows(tones: Path, tmp_path: Path) -> None:
    out, fewer = tmp_path / "run", OutcomeScorer()
    fewer.metrics = fewer.metrics[:1]
    evaluated(out, tones, constant_voice(0.1), scorers=[OutcomeScorer()])
    folder = evaluated(out, tones, constant_voice(0.1), scorers=[fewer])
    assert [m.name for m in folder.manifest().metrics] == ["failed"]
    assert {ident[3] for ident in folder.scores()} == {"failed"}


def words_scorer(scope: Literal["sample", "contrast group"] = "sample", **more: Any) -> ScriptedScorer:
    """Return a scorer that counts the letters of a reply."""
    return ScriptedScorer(
        lambda case: float(len((case.response.reply and case.response.reply.text) or "")),
        "words",
        scope=scope,
        **more,
    )


def texts(*replies: str) -> ScriptedSystem:
    return ScriptedSystem(list(replies), "mine", fingerprint=" ".join(replies))


@pytest.mark.parametrize("scope", ["sample", "contrast group"])
def test_one_changed_reply_invalidates_all_scores_of_the_system_and_task(
    tones: Path, tmp_path: Path, scope: Literal["sample", "contrast group"]
) -> None:
    out, before = tmp_path / "run", ("Oh.",) * 8
    evaluated(out, tones, texts(*before), scorers=[words_scorer(scope)])
    evaluated(out, tones, texts(*before), scorers=[OutcomeScorer()])
    assert scores_of(out, "mine", "words") == [("value", 3.0)] * 8
    evaluated(out, tones, texts(*before[:-1], "I see."), scorers=[OutcomeScorer()])
    assert scores_of(out, "mine", "words") == [("not applicable", None)] * 8


def test_scores_of_earlier_versions_stay_by_their_keys(tones: Path, tmp_path: Path) -> None:
    """Earlier versions also recorded a hash of what a scorer saw, computed by another rule than the keys."""
    out, before = tmp_path / "run", ("Oh.",) * 8
    evaluated(out, tones, texts(*before), scorers=[words_scorer("contrast group")])
    path = out / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["scorers"]["words"]["basis"] = {"mine emotion": "0" * 64}
    path.write_text(json.dumps(manifest), encoding="utf-8")
    evaluated(out, tones, texts(*before), scorers=[OutcomeScorer()])
    assert scores_of(out, "mine", "words") == [("value", 3.0)] * 8


def test_a_command_after_an_interrupted_one_balances_the_ledger(tones: Path, tmp_path: Path) -> None:
    out, before = tmp_path / "run", ("Oh.",) * 8
    evaluated(out, tones, texts(*before), scorers=[words_scorer()])
    stopped = words_scorer(version="2", failures=[UsageError("the key was refused")])
    with pytest.raises(UsageError):
        evaluated(out, tones, texts(*before[:-1], "I see."), scorers=[stopped])
    evaluated(out, tones, texts(*before[:-1], "I see."), scorers=[OutcomeScorer()])
    assert scores_of(out, "mine", "words") == [("not applicable", None)] * 8


# -- probing questions ------------------------------------------------------------


def test_answers_to_a_probing_question_give_error_attribution(tones: Path, tmp_path: Path) -> None:
    """Computed by hand: perceives happy in 3 of 4 and sad in 2 of 4; replies fittingly to all happy samples."""
    out, samples = tmp_path / "run", load_task("emotion", data=tones).samples
    perceived = dict(
        zip(
            [s.id for s in samples],
            ["happy", "sad", "happy", "sad", "happy", "happy", "sad", "fear"],
            strict=True,
        )
    )
    system = write_replies(
        tmp_path,
        {
            ident: "How lovely!" if s.cues["emotion"] == "happy" else "I see."
            for ident, s in zip(request_ids(tones), samples, strict=True)
        },
    )
    with ScriptedChatServer(fitting) as judge:
        options = ("--judge", "m-2026-01-01", "--judge-url", judge.url)
        assert "perceives" not in command(tones, out, "--system", system, *options).output
        from echat_eval.store.keys import request_for
        from echat_eval.task.probe import probing

        probe_samples = probing(load_task("emotion", data=tones), "emotion").samples
        answers = {request_for(s).id: f"It sounds {perceived[s.id]}." for s in probe_samples}
        done = command(tones, out, "--system", write_replies(tmp_path, answers), "--ask", "emotion")
    assert "mine perceives emotion (asked afterwards): UAR 62.5" in done.output
    assert "right: happy 3 of 4, sad 2 of 4" in done.output
    (table,) = view_leaderboard([RunFolder.existing(out)]).attribution
    assert table.titles[5:] == (
        "perceived, worded right, voice not scored",
        "perceived, worded wrong, voice not scored",
        "not perceived, worded right, voice not scored",
        "not perceived, worded wrong, voice not scored",
    )
    assert [(row[3], row[4], *(float(cell.split()[0]) for cell in row[5:])) for row in table.rows] == [
        ("all", "8", 37.5, 25, 12.5, 25),
        ("happy", "4", 75, 0, 25, 0),
        ("sad", "4", 0, 50, 0, 50),
    ]
    assert all(
        f"| mine | emotion | asked afterwards | {label} |" in (out / "leaderboard.md").read_text()
        for label in ("all", "happy", "sad")
    )
    # The interval is the leaderboard's own.
    board = (out / "leaderboard.csv").read_text().splitlines()
    row = next(line.split(",") for line in board if line.startswith("mine,system,all,understanding_uar"))
    assert f"UAR {float(row[5]):.1f} [{float(row[6]):.1f}, {float(row[7]):.1f}]" in done.output


def test_agreement_of_secondary_emotion_annotators_is_printed(tones: Path, tmp_path: Path) -> None:
    from echat_eval.leaderboard.view import view_leaderboard
    from echat_eval.scorers.judged import judged_scorers

    labels = ("happy", "unknown", "sad", "sad")
    second = ScriptedAnnotator([{"emotion": label} for label in labels * 2], "sensevoice")
    # A new voice for every recording, so that each is annotated.
    voice = ScriptedSystem([constant_reply(0.1 + 0.01 * n) for n in range(1, 9)], "voice")
    with ScriptedChatServer(judge_verdict(3, 3, 3, voice=3)) as judge:
        folder = evaluated(
            tmp_path / "run",
            tones,
            voice,
            annotators=[emotion_annotator(), second],
            scorers=[judged_scorers("m", judge.url)[0]],
        )
    assert (
        "- emotion of the voice: sensevoice agrees with emotion2vec in 4 of 6 replies that both label; "
        "only emotion2vec is used"
    ) in view_leaderboard([folder]).notes


# -- under every leaderboard --------------------------------------------------------


@pytest.mark.parametrize("controls", [(), ("--controls", "8")])
def test_leaderboard_and_run_print_the_same_notes(
    tones: Path, tmp_path: Path, controls: tuple[str, ...]
) -> None:
    out = tmp_path / "run"
    with ScriptedChatServer(fitting) as judge:
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

    def under(text: str) -> str:
        return text[text.index("Other measures, over all tasks") :].split("written:")[0]

    assert under(shown.output) == under(done.output)
    assert ("labels shuffled, text score" in shown.output) == bool(controls)
    assert (tmp_path / "tables" / "leaderboard.md").read_text() == (out / "leaderboard.md").read_text()


def test_controls_of_another_judge_are_not_shown(tones: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with ScriptedChatServer(fitting) as judge:
        options = ("--system", "reference", "--judge-url", judge.url, "--judge")
        command(tones, out, *options, "m-2026-01-01", "--controls", "8")
        assert "labels shuffled" in command(tones, out, *options, "m-2026-01-01").output
        done = command(tones, out, *options, "other-2026-02-02")
    assert "labels shuffled" not in done.output
    assert "Controls were run with another judge" in done.output


def test_floor_and_ceiling_may_be_in_another_run(tones: Path, tmp_path: Path) -> None:
    from echat_eval.systems.canned import Canned
    from echat_eval.systems.reference import Reference

    with ScriptedChatServer(fitting) as judge:
        from echat_eval.scorers.judged import judged_scorers

        def made() -> list[Scorer]:
            return [OutcomeScorer(), *judged_scorers("m", judge.url)]

        floor, ceiling = Canned(), Reference()
        floor.name, ceiling.name = "transcript-only", "gold-labels"
        evaluated(
            tmp_path / "ends", tones, [floor, ceiling], scorers=made(), retry_policy=RetryPolicy(tries=1)
        )
        evaluated(tmp_path / "mine", tones, Canned(), scorers=made())
    shown = CliRunner().invoke(
        leaderboard, [str(tmp_path / "mine"), str(tmp_path / "ends")], standalone_mode=False
    )
    assert "cue gain of canned, judge_echat_r1: 0.00" in shown.output, (shown.output, shown.exception)
