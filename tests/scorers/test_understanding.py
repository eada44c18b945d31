"""Understanding: WER, CER, UAR and WAR of answers, against jiwer and counts by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from echat_eval.concurrency.retry import RetryPolicy
from echat_eval.errors import BadData, Unavailable, UnknownName, UsageError
from echat_eval.labels import LABELS, SHIPPED
from echat_eval.leaderboard.build import build_leaderboard
from echat_eval.osum.prompts.lexicon import find_cues
from echat_eval.records import Reply
from echat_eval.scorers.outcome import OutcomeScorer
from echat_eval.scorers.transcription import TranscriptionConsistency
from echat_eval.scorers.understanding import Understanding, named_label
from echat_eval.task import find_faults, load_task
from echat_eval.task.probe import QUESTIONS, probing
from echat_eval.testing import ScriptedScorer, ScriptedSystem
from tests.support.scripted_run import evaluated


def run_on(out: Path, task: Any, system: Any, scorers: list[Any], tries: int = 1) -> Any:
    run = evaluated(out, task, system, scorers=scorers, retry_policy=RetryPolicy(tries=tries, first_wait=0.0))
    return run, build_leaderboard([run])


@pytest.mark.parametrize(
    ("cue", "answer", "label"),
    [
        ("emotion", "anger", "anger"),
        ("emotion", "<SAD>", "sad"),
        ("emotion", "The person is Happy!", "happy"),
        ("emotion", "happy or sad", None),
        ("emotion", "I cannot tell.", None),
        ("emotion", "unhappy", None),
        ("emotion", "我听到的是悲伤。", "sad"),
        ("emotion", "angry anger", "anger"),
        ("emotion", "unknown", None),
        ("gender", "female", "female"),
        ("gender", "A woman.", "female"),
        ("gender", "M", "male"),
        ("gender", "I'm sure: female", "female"),
        ("gender", "男性", "male"),
        ("gender", "human", None),
        ("age", "middle aged, so adult", "adult"),
        ("age", "<MIDDLE_AGE>", "adult"),
        ("age", "elderly", "old"),
        ("event", "throat-clearing", None),
        ("event", "Throat clearing", "throat clearing"),
        ("event", "laughter", "laugh"),
        ("event", "打喷嚏", "sneeze"),
        ("event", "none", "none"),
    ],
)
def test_answer_counts_as_a_label_only_if_it_names_exactly_one(
    cue: str, answer: str, label: str | None
) -> None:
    assert named_label(SHIPPED[cue], answer) == named_label(cue, answer) == label


NEGATIONS = [
    json.loads(line) for line in (Path(__file__).parent / "negations.jsonl").read_text("utf-8").splitlines()
]


@pytest.mark.parametrize("row", NEGATIONS, ids=lambda row: row["text"])
def test_a_negated_label_is_no_label_in_answers_and_think_texts(row: dict[str, Any]) -> None:
    assert named_label(SHIPPED[row["cue"]], row["text"]) == row["label"]
    assert find_cues(row["text"]).get(row["cue"]) == row["label"]


@pytest.mark.parametrize("cue", list(LABELS))
def test_every_label_is_recognised_and_offered_in_both_languages(cue: str) -> None:
    for label in LABELS[cue]:
        assert named_label(SHIPPED[cue], label) == label
        assert all(label in QUESTIONS[cue][language] for language in ("en", "zh"))


def test_uar_is_the_mean_recall_and_war_the_share_correct(tmp_path: Path, tones: Path) -> None:
    # 4 happy, 4 sad: drop to 4 happy and 1 sad, so that UAR and WAR differ.
    folder = tones / "emotion"
    rows = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    kept = [r for r in rows if r["cues"]["emotion"] == "happy" or r["id"] == "s0s"]
    for row in kept:
        del row["contrast_group"]
    (folder / "samples.jsonl").write_text("".join(json.dumps(r) + "\n" for r in kept))
    task = probing(load_task("emotion", data=tones), "emotion")
    assert {sample.instruction for sample in task.samples} == {QUESTIONS["emotion"]["en"]}
    # Right on 3 of 4 happy, wrong on the only sad one.
    wrong = {"s0s": "happy", "s3h": "sad"}
    by_audio = {s.audio.sha256: wrong.get(s.id, s.cues["emotion"]) for s in task.samples}
    system = ScriptedSystem(lambda r: Reply(text=f"It is {by_audio[r.audio.sha256]}."))
    run, board = run_on(tmp_path / "run", task, system, [Understanding(), OutcomeScorer()])
    name = "emotion-asks-emotion"
    cells = {m: board.summaries["scripted", name, m] for m in ("understanding_war", "understanding_uar")}
    assert cells["understanding_war"].estimate.value == pytest.approx(100 * 3 / 5)
    assert cells["understanding_uar"].estimate.value == pytest.approx((100 * 3 / 4 + 0) / 2)
    answered = {
        s.sample_id: s.evidence["answered"] for s in run.scores().values() if s.metric == "understanding_uar"
    }
    assert answered["s0s"] == "happy"
    assert board.summaries["scripted", name, "failed"].estimate.value == 0


def lopsided(tones: Path) -> Any:
    """Return a task with four happy and two sad samples of four sentences: unbalanced labels and clusters."""
    path = tones / "emotion" / "samples.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    kept = [row for row in rows if row["id"] not in ("s2s", "s3s")]
    for row in kept:
        del row["contrast_group"]
    path.write_text("".join(json.dumps(row) + "\n" for row in kept))
    return probing(load_task("emotion", data=tones), "emotion")


def test_interval_of_uar_by_hand(tmp_path: Path, tones: Path) -> None:
    task = lopsided(tones)
    wrong = {s.audio.sha256 for s in task.samples if s.id in ("s0h", "s1s")}
    gold = {s.audio.sha256: s.cues["emotion"] for s in task.samples}
    system = ScriptedSystem(lambda r: Reply(text="fear" if r.audio.sha256 in wrong else gold[r.audio.sha256]))
    _, board = run_on(tmp_path / "run", task, system, [Understanding()])
    # By hand: recalls 3/4 and 1/2; residuals y - recall, weight 1 / (labels x samples of the label), each
    # inflated by CR2 for the cluster's share of the label's samples (1 of 4 happy, 1 of 2 sad), and one
    # cluster a sentence, since a sentence's two voices share a transcript.
    happy, sad = 1 / np.sqrt(1 - 1 / 4), 1 / np.sqrt(1 - 1 / 2)
    residuals = {
        "s0": [-0.75 / 8 * happy, 0.5 / 4 * sad],
        "s1": [0.25 / 8 * happy, -0.5 / 4 * sad],
        "s2": [0.25 / 8 * happy],
        "s3": [0.25 / 8 * happy],
    }
    se = 100 * np.sqrt(sum(sum(residuals[c]) ** 2 for c in residuals))
    estimate = board.summaries["scripted", task.name, "understanding_uar"].estimate
    assert estimate.value == pytest.approx(100 * (3 / 4 + 1 / 2) / 2)
    assert estimate.se == pytest.approx(se)


def test_compare_reports_the_difference_of_uars_and_not_of_rows(tmp_path: Path, tones: Path) -> None:
    from click.testing import CliRunner

    from echat_eval.cli.compare_gate import compare_command

    task = lopsided(tones)
    gold = {s.audio.sha256: s.cues["emotion"] for s in task.samples}
    wrong = {s.audio.sha256 for s in task.samples if s.id in ("s0h", "s1s")}
    right = ScriptedSystem(lambda r: Reply(text=gold[r.audio.sha256]), name="right")
    worse = ScriptedSystem(lambda r: Reply(text="fear" if r.audio.sha256 in wrong else gold[r.audio.sha256]))
    run_on(tmp_path / "a", task, worse, [Understanding()])
    run_on(tmp_path / "b", task, right, [Understanding()])
    done = CliRunner().invoke(
        compare_command, [str(tmp_path / "a"), str(tmp_path / "b")], standalone_mode=False
    )
    assert done.exception is None, done.exception
    # Recalls 3/4 and 1/2 against 1 and 1: 37.5 points, where the share right differs by 2 of 6 rows.
    block = done.output[done.output.index("understanding_uar") :].split("\n\n")[0]
    assert "+37.5" in block, done.output
    assert "+33.3" in done.output


def test_missing_answers_bound_uar_by_their_labels(tmp_path: Path, tones: Path) -> None:
    task = lopsided(tones)
    lost = next(s for s in task.samples if s.id == "s0s").audio.sha256

    def answer(request: Any) -> Reply:
        if request.audio.sha256 == lost:
            raise Unavailable("429")
        return Reply(text="happy")

    _, board = run_on(tmp_path / "run", task, ScriptedSystem(answer), [Understanding()])
    summary = board.summaries["scripted", task.name, "understanding_uar"]
    assert summary.counts["missing"] == 1
    assert (summary.bounds.low, summary.bounds.high) == (pytest.approx(50), pytest.approx((100 + 50) / 2))


def test_wer_of_transcripts_is_the_corpus_rate_of_jiwer(tmp_path: Path, tones: Path) -> None:
    import jiwer

    task = probing(load_task("emotion", data=tones), "transcript")
    said = [
        "Sentence number zero!",
        "sentence",
        "sentence number 1",
        "a sentence number 1 more",
        "sentence number 2",
        "sentence number 2",
        "",
        "sentence number 3",
    ]
    by_audio = {s.audio.sha256: text for s, text in zip(task.samples, said, strict=True)}
    system = ScriptedSystem(lambda r: Reply(text=by_audio[r.audio.sha256]))
    run, board = run_on(tmp_path / "run", task, system, [Understanding()], tries=2)
    states = [r.state for r in run.responses().values()]
    assert states.count("failed") == 1  # the empty reply
    references = [s.transcript for s in task.samples]
    hypotheses = [text.lower().replace("!", "") for text in said]
    summary = board.summaries["scripted", task.name, "understanding_wer"]
    assert summary.estimate.value == pytest.approx(100 * jiwer.wer(references, hypotheses))
    assert board.summaries["scripted", task.name, "understanding_cer"].counts == {"not applicable": 8}


def test_a_chinese_transcript_is_counted_in_characters(tmp_path: Path, tones: Path) -> None:
    folder = tones / "emotion"
    text = (folder / "samples.jsonl").read_text()
    for n in range(4):
        text = text.replace(
            f'"sentence number {n}"', json.dumps("今天天气很好" + "一二三四"[n], ensure_ascii=False)
        )
    (folder / "samples.jsonl").write_text(text.replace('"language": "en"', '"language": "zh"'))
    task = probing(load_task("emotion", data=tones), "transcript")
    _, board = run_on(
        tmp_path / "run", task, ScriptedSystem(lambda _: Reply(text="今天天气好。")), [Understanding()]
    )
    assert board.summaries["scripted", task.name, "understanding_cer"].estimate.value == pytest.approx(
        100 * 2 / 7
    )


def test_question_reaches_the_system_and_dialogue_metrics_do_not_apply(tmp_path: Path, tones: Path) -> None:
    seen: list[str | None] = []

    def answer(request: Any) -> Reply:
        seen.append(request.instruction)
        return Reply(text="sad")

    task = probing(load_task("emotion", data=tones), "emotion")
    run, board = run_on(
        tmp_path / "run",
        task,
        ScriptedSystem(answer),
        [Understanding(), TranscriptionConsistency(), ScriptedScorer(1.0, "kind")],
    )
    assert set(seen) == {QUESTIONS["emotion"]["en"]}
    states = {(s.metric, s.state) for s in run.scores().values()}
    assert ("reply_wer", "not applicable") in states
    assert {state for metric, state in states if metric == "kind"} == {"not applicable"}
    # Conversely, a dialogue task has no understanding scores.
    _, board = run_on(
        tmp_path / "talk", load_task("emotion", data=tones), ScriptedSystem(answer), [Understanding()]
    )
    assert board.summaries["scripted", "emotion", "understanding_war"].counts == {"not applicable": 8}
    assert seen[-1] is None


def test_task_may_define_its_own_question(tones: Path) -> None:
    path = tones / "emotion" / "task.yaml"
    own = path.read_text()
    path.write_text(own + "asks: emotion\ninstruction:\n  en: How do they feel?\n")
    assert find_faults(tones / "emotion") == []
    sample = load_task("emotion", data=tones).samples[0]
    assert (sample.asks, sample.instruction) == ("emotion", "How do they feel?")
    with pytest.raises(UsageError, match="already asks a question"):
        probing(load_task("emotion", data=tones), "emotion")
    for lines, fault in (
        ("asks: emotion\n", "go together"),
        ("asks: age\ninstruction:\n  en: How old?\n", "not among the task's cues"),
        ("asks: mood\ninstruction:\n  en: How?\n", "asks for 'mood', which is not among the task's cues"),
        ("asks: emotion\ninstruction:\n  zh: 什么情感?\n", "no instruction in language 'en'"),
    ):
        path.write_text(own + lines)
        assert any(fault in found for found in find_faults(tones / "emotion")), fault
        with pytest.raises(BadData):
            load_task("emotion", data=tones)


def test_a_transcript_task_needs_no_cues(tones: Path) -> None:
    folder = tones / "emotion"
    text = (folder / "task.yaml").read_text().replace("cues: [emotion]", "cues: []")
    (folder / "task.yaml").write_text(text)
    assert any("which only a task that asks for the transcript" in f for f in find_faults(folder))
    (folder / "task.yaml").write_text(text + "asks: transcript\ninstruction: {en: What is said}\n")
    rows = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    for row in rows:
        row["cues"] = {}
        del row["contrast_group"]
    (folder / "samples.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    assert find_faults(folder) == []
    assert load_task("emotion", data=tones).samples[0].asks == "transcript"


def test_question_without_a_label_is_rejected(tones: Path) -> None:
    task = load_task("emotion", data=tones)
    with pytest.raises(UnknownName, match="unknown question 'mood'"):
        probing(task, "mood")
    with pytest.raises(UsageError, match="has no label 'age'"):
        probing(task, "age")
