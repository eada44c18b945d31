"""Small valid files of every kind that the commands read; the fuzzer mutates copies of them."""

from __future__ import annotations

import csv
import io
import json
import random
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.support.made_task import write_task
from echat_eval.cli import command_line
from echat_eval.records import Request
from echat_eval.store.keys import request_for
from echat_eval.task import load_task
from echat_eval.testing.scripted_judge import judge_verdict
from echat_eval.testing.servers import ScriptedChatServer

__all__ = ["build", "call"]

POLICY = """margin: 2.0
metrics:
  empathy: {higher_is_better: true, low: 0, high: 100}
  wer: {higher_is_better: false, low: 0, average: ratio, critical: false}
max_missing: 0.2
max_unshared: 0.5
latency: {}
max_age_days: 3650
"""
PRICES = """judge @ 127.0.0.1:
  currency: USD
  text_in: 2.50
  text_out: 10.00
  date: "2026-11-26"
  source: a test
chat:
  currency: USD
  text_in: 1
  text_out: 2
  audio_in: 3
  audio_out: 4
  date: "2026-11-26"
  source: a test
"""
EXPERIMENT = """
systems:
  one: {use: canned, text: Oh., repeats: 2}
  two: {use: reference}
tasks: [{name: emotion, limit: 4, languages: [en]}]
annotators: {acoustics: {}}
scorers: [outcome, readability]
metrics: {headline: seconds}
runner: {tries: 1, cache: false, overlap: true, max_cost: 1, controls: 0}
executor: {name: local}
"""


def call(*words: str | Path) -> None:
    """Run a command; raise if it fails."""
    command_line.main([str(word) for word in words], prog_name="echat-eval", standalone_mode=False)


def build(root: Path) -> None:
    """Write all files below a folder."""
    write_task(root / "data", 4)
    _add_turns(root / "data" / "emotion")
    sounds = sorted((root / "data" / "emotion" / "audio").iterdir())
    requests = [request_for(sample) for sample in load_task("emotion", data=root / "data").samples]
    _write_replies(root, requests, sounds)
    _write_tables(root)
    (root / "prices.yaml").write_text(PRICES)
    (root / "policy.yaml").write_text(POLICY)
    (root / "experiment.yaml").write_text(EXPERIMENT)
    with ScriptedChatServer(judge_verdict(4, 3, 5)) as server:
        call(
            *("run", "--data", root / "data", "--system", "canned", "--annotator", "acoustics"),
            *("--system", f"mine=replay:{root / 'replies' / 'replies.jsonl'}", "--out", root / "run"),
            *("--judge", "judge", "--judge-url", server.url, "--no-cache", "--controls", "8"),
        )
    sheet = ("--out", root / "rating" / "sheet", "--samples", "2", "--with-audio")
    call("rate", "export", root / "run", *sheet)
    shutil.rmtree(root / "rating" / "sheet")
    _write_ratings(root / "rating")
    call("gate", "accept", f"{root / 'run'}:mine", "--to", root / "accepted")
    _write_clips(root / "clips", sounds)
    _write_imports(root / "import", sounds)


def _add_turns(folder: Path) -> None:
    """Give the first sample an earlier turn, so that its fields are mutated as well."""
    rows = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    sound = rows[1]["audio"], rows[1]["audio_sha256"]
    for row in rows[:2]:
        row["history"] = [
            {"role": "user", "text": "Hello.", "audio": sound[0], "audio_sha256": sound[1]},
            {"role": "assistant", "text": "Hello!"},
        ]
    rows[0] |= {"speaker": "a", "note": "made"}
    (folder / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _write_replies(root: Path, requests: Sequence[Request], sounds: Sequence[Path]) -> None:
    rows: list[dict[str, Any]] = [
        {
            "id": request.id,
            "text": f"I am glad to hear that, {number}.",
            "audio": f"{number}.wav",
            "think": "The speaker sounds happy.",
            "perceived": {"emotion": "happy"},
            "first_audio_seconds": 0.5,
            "finish_reason": "stop",
            "usage": {"prompt_tokens": 12, "completion_tokens": 7.5},
            "error": None,
        }
        for number, request in enumerate(requests)
    ]
    for name in ("replies", "lines", "folder", "stdout"):
        (root / name).mkdir()
    for number, (row, sound) in enumerate(zip(rows, sounds, strict=True)):
        shutil.copy(sound, root / "replies" / f"{number}.wav")
        shutil.copy(sound, root / "folder" / f"{row['id']}.wav")
        (root / "folder" / f"{row['id']}.txt").write_text(str(row["text"]))
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (root / "replies" / "replies.jsonl").write_text(text)
    words = [{key: value for key, value in row.items() if key != "audio"} for row in rows]
    (root / "lines" / "lines.jsonl").write_text("".join(json.dumps(row) + "\n" for row in words))
    (root / "stdout" / "stdout.txt").write_text("<think>a happy child</think>How lovely, well done.\n")


def _write_tables(root: Path) -> None:
    dice = random.Random(0)
    columns = [
        "task",
        "sample_id",
        "system",
        "metric",
        "value",
        "state",
        "weight",
        "cluster",
        "contrast_group",
    ]
    (root / "tables").mkdir()
    for name in ("a", "b"):
        rows = [
            [
                "emotion",
                f"s{n}",
                "mine",
                metric,
                round(dice.uniform(10, 90), 2),
                "value",
                1,
                f"c{n // 2}",
                f"g{n // 2}",
            ]
            for n in range(16)
            for metric in ("empathy", "wer")
        ]
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([columns, *rows])
        (root / "tables" / f"{name}.csv").write_text(out.getvalue())
        (root / "tables" / f"{name}.tsv").write_text(out.getvalue().replace(",", "\t"))
        lines = [json.dumps(dict(zip(columns, row, strict=True))) for row in rows]
        (root / "tables" / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


def _write_ratings(folder: Path) -> None:
    key = json.loads((folder / "sheet.key.json").read_text())
    for rater, grade in (("ann", 4), ("ben", 2)):
        ratings = [
            {"item": item, "dimension": dimension["name"], "value": min(grade, dimension["high"])}
            for item in key["items"]
            for dimension in key["dimensions"]
        ]
        row = {"sheet": key["sheet"], "rater": rater, "ratings": ratings}
        (folder / f"{rater}.json").write_text(json.dumps(row))
    call(
        *("rate", "import", "--key", folder / "sheet.key.json", folder / "ann.json", folder / "ben.json"),
        *("--out", folder / "ratings.csv"),
    )


def _write_clips(folder: Path, sounds: Sequence[Path]) -> None:
    folder.mkdir()
    rows = []
    for number, sound in enumerate(sounds):
        shutil.copy(sound, folder / f"{number}.wav")
        row = {"audio": f"{number}.wav", "language": "en", "transcript": "hello you", "speaker": f"s{number}"}
        rows.append(row | {"emotion": "happy", "age": "adult", "gender": "male", "event": "laugh"})
    (folder / "clips.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _write_imports(folder: Path, sounds: Sequence[Path]) -> None:
    """Write rows in the form of each importer."""
    for form in ("echat", "echat-tar", "echomind", "vocalbench", "televal", "sd-eval", "humdial"):
        (folder / form / "wav").mkdir(parents=True)
        for number, sound in enumerate(sounds):
            shutil.copy(sound, folder / form / "wav" / f"{number}.wav")
    echat = [
        {
            "key": f"k{n}",
            "txt": "Well done.",
            "wav": f"wav/{n}.wav",
            "task": "<S2TCHAT> <TEXT2TOKEN>",
            "lang": "<EN>",
            "extra": {
                "question": "I passed.",
                "q_emotion": e,
                "dataset": "x",
                "gender": "<MALE>",
                "age": "<ADULT>",
            },
        }
        for n, e in enumerate(("happy", "sad"))
    ]
    _lines_to(folder / "echat" / "data.list", echat)
    with tarfile.open(folder / "echat-tar" / "0.tar", "w") as archive:
        for row, sound in zip(echat, sounds, strict=False):
            extra = json.dumps(row["extra"]).encode()
            parts = {"txt": b"Well done.", "task": b"<S2TCHAT>", "extra": extra, "wav": sound.read_bytes()}
            for name, content in parts.items():
                info = tarfile.TarInfo(f"{row['key']}.{name}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    voices = {
        f"{voice}_audio_info": {f"{voice}_input_audio_file": f"wav/{n}.wav"}
        for n, voice in enumerate(("target", "neutral", "alternative"))
    }
    case = {
        "case_id": "1",
        "spoken_info": "happy-toned expressive voice",
        "topic": "exam",
        "speak_A": "I passed.",
    }
    _json_to(
        folder / "echomind" / "script_info_synthesis.json", [case | voices, case | {"case_id": "2"} | voices]
    )
    questions = [
        {"Qid": f"emotion-000{n}", "Audio": f"wav/{n}.wav", "Question": "Why me?", "Question_emo": e}
        for n, e in enumerate(("angry", "surprised"))
    ]
    _json_to(folder / "vocalbench" / "json" / "emotion.json", questions)
    queries = [
        {"key": f"{n}", "audio": f"wav/{n}.wav", "query": "好累", "query_emo": e, "answer": "抱抱"}
        for n, e in enumerate(("sad", "happy"))
    ]
    _lines_to(folder / "televal" / "esd-zh.jsonl", queries)
    utterances = [
        {
            "wav_path": f"wav/{n}.wav",
            "transcript": "Kids are talking",
            "utt_id": f"u{n}",
            "target": [{"reply": "Yes.", "reply_emotion": "sadness"}],
            "info": e,
            "dataset_name": "RAVDESS",
        }
        for n, e in enumerate(("sad", "angry"))
    ]
    _json_to(folder / "sd-eval" / "test-emo.json", utterances)
    turns = [
        {
            "turn_id": n + 1,
            "text": "句",
            "emotion": "sad",
            "split_audio_file": f"wav/{n}.wav",
            "response_text": "嗯",
        }
        for n in range(2)
    ]
    _lines_to(
        folder / "humdial" / "zh.jsonl",
        [{"dialogue_id": "d1", "turns": turns}, {"dialogue_id": "d2", "turns": turns}],
    )


def _json_to(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False))


def _lines_to(path: Path, rows: Sequence[Any]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
