"""Judge-validation sets: files of the published forms, made here, up to the printed agreement of a judge."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from echat_eval.errors import BadData, UsageError
from echat_eval.importers import importer
from echat_eval.importers.draft import Draft, ImportOptions, Refusal
from echat_eval.task import load_task
from echat_eval.testing import ScriptedChatServer, judge_by_sound
from echat_eval.testing.servers import prompt_of
from tests.support.command_line import call_here
from tests.support.tones import write_speech

OPTIONS = ImportOptions(language="en", source="synthetic")
#: Movement of the pitch of a reply, in semitones; the scripted judge grades it by that.
FLAT, LIVELY = 0.0, 8.0
JUDGE = ("--judge", "m-2026-01-01", "--set", "judge.listens=true", "--annotator", "acoustics")


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def trace(root: Path, pairs: int = 12, **changes: Any) -> Path:
    """Write pairs of a flat and a lively reply, of which people prefer the lively one in all but two."""
    labels = []
    for n in range(pairs):
        write_speech(root / "input" / f"{n}.wav", 150 + n, seconds=0.3)
        sides = (LIVELY, FLAT) if n % 2 else (FLAT, LIVELY)
        for side, semitones in enumerate(sides, 1):
            write_speech(root / "output" / f"s{side}" / f"{n}.wav", 200 + n, semitones, seconds=0.5)
        right = str(1 + sides.index(LIVELY))
        wrong = {"1": "2", "2": "1"}[right]
        labels.append(
            {
                "index": 100 + n,
                "instruction_path": f"input/{n}.wav",
                "instruction_text": f"[emotion: {('sad', 'fealful')[n % 2]}]Sentence {n // 2}?",
                "model_a": "x",
                "model_b": "y" if n % 3 else "x",
                "audio1_path": f"output/s1/{n}.wav",
                "audio2_path": f"output/s2/{n}.wav",
                "label": {
                    "content": "both_bad" if n else "1",
                    "voice_quality": right,
                    "paralinguistics": wrong if n < 2 else right,
                    "overall": "both_good" if n < 4 else right,
                },
                "instruction_id": f"i{n // 2}",
            }
            | changes
        )
    path = root / "labels" / "s2sarena.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(labels), encoding="utf-8")
    return path


def vstyle(root: Path, count: int = 8) -> tuple[Path, Path, Path, np.ndarray[Any, Any]]:
    """Write replies of two models, people's opinions, and the queries; return also the opinions' means."""
    rng = np.random.default_rng(4)
    replies: list[dict[str, Any]] = []
    queries, opinions = [], np.zeros((2, count, 3))
    for n in range(count):
        write_speech(root / "queries" / "wav" / f"q{n}.wav", 150 + n, seconds=0.3)
        queries.append({"id": n, "instruct_text": f"I say {n}.", "audio": f"q{n}.wav"})
        for model in range(2):
            semitones = float(rng.uniform(0, 10))
            name = f"empathy-{n}-m{model}.wav"
            write_speech(root / "responses" / "wav" / name, 180 + n, semitones, seconds=0.5)
            replies.append(
                {
                    "id": 10 * n + model,
                    "instruct_id": n,
                    "ability": "empathy/" + ("anger", "anxiety_fear", "joy_excitement")[n % 3],
                    "instruct_text": f"I say {n}.",
                    "model_name": f"model/{model}",
                    "response_audio_path": name,
                    "response_text": " I see. ",
                }
            )
            opinions[model, n] = np.clip(np.rint(1 + semitones / 2.5 + rng.normal(0, 0.4, 3)), 1, 5)
    for person in range(3):
        rows = [
            {"id": r["id"], "instruct_id": r["instruct_id"], "ability": r["ability"], "mos": str(mos)}
            for r in replies
            for mos in [opinions[r["id"] % 10, r["instruct_id"], person]]
        ]
        write_rows(root / "human" / "en" / f"p{person}.jsonl", rows)
    extra = {**replies[0], "id": 999, "ability": "role_play/scenario"}
    write_rows(root / "responses" / "metadata.jsonl", [*replies, extra])
    write_rows(root / "queries" / "metadata.jsonl", queries)
    return root / "responses", root / "human" / "en", root / "queries", opinions


def call(cwd: Path, *words: str | Path) -> str:
    done = call_here(*words, cwd=cwd)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def commands_in(text: str) -> list[list[str]]:
    """Return the words of the commands that an import prints."""
    return [line.split()[1:] for line in text.splitlines() if line.startswith("  echat-eval ")]


def test_a_configured_judge_grades_traces_pairs_beside_people(tmp_path: Path) -> None:
    labels = trace(tmp_path / "arena")
    form = ("import", "trace", labels, "--audio", tmp_path / "arena", "--source", "synthetic")
    printed = call(tmp_path, *form, "--out", "pairs")
    assert "12 samples with cue emotion" in printed
    task = load_task("pairs", data=tmp_path / "pairs")
    assert {sample.cues["emotion"] for sample in task.samples} == {"sad", "fear"}
    assert all(sample.contrast_group is None for sample in task.samples)
    run, check = commands_in(printed)
    with ScriptedChatServer(lambda r: judge_by_sound(prompt_of(r))) as server:
        at = run.index("--judge")
        call(tmp_path, *run[:at], *JUDGE, "--judge-url", server.url, *run[at + 2 :])
        assert len([r for r in server.requests if "audio" in json.dumps(r)]) >= 24
    table = {line.split()[0]: line.split()[1:] for line in call(tmp_path, *check).splitlines()}
    # Clopper and Pearson's lower limit for six of six instructions: 0.025 ** (1 / 6).
    assert table["voice_quality"][:3] == ["100.0", "[54.1,", "100.0]"]
    assert table["voice_quality"][-2:] == ["12,", "12"]
    # Two of twelve against the judge: one instruction of six.
    assert (table["paralinguistics"][0], table["paralinguistics"][-2:]) == ("83.3", ["12,", "12"])
    low, high = (float(cell.strip("[],")) for cell in table["paralinguistics"][1:3])
    assert low < 83.3 < high
    assert table["overall"][-2:] == ["12,", "8"]
    assert table["content"][-2:] == ["12,", "1"]
    scores = next(tmp_path.rglob("scores.jsonl"))
    scores.write_text(re.sub(r'"value":[\d.]+', '"value":50.0', scores.read_text()))
    printed = call(tmp_path, *check)
    assert "12, 12; 12 ties of the judge" in printed
    assert "one score for both replies of every pair: it detects no difference" in printed


def test_a_configured_judge_grades_vstyles_replies_beside_people(tmp_path: Path) -> None:
    responses, people, queries, opinions = vstyle(tmp_path / "data")
    printed = call(
        *(tmp_path, "import", "vstyle", responses, "--labels", people, "--audio", queries),
        *("--language", "en", "--source", "synthetic", "--out", "style"),
    )
    assert "9 rows: 8 samples with cue emotion" in printed
    assert (
        "ability 'role_play/scenario' states no emotion of the speaker; expected empathy/anger, " in printed
    )
    run, check = commands_in(printed)
    assert "model-0=replay:style/replies/model-0.jsonl" in run
    with ScriptedChatServer(lambda r: judge_by_sound(prompt_of(r))) as server:
        at = run.index("--judge")
        call(tmp_path, *run[:at], *JUDGE, "--judge-url", server.url, *run[at + 2 :])
    found = call(tmp_path, *check)
    with (tmp_path / "style" / "ratings.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 48
    scores = [
        json.loads(line) for line in (tmp_path / "runs" / "style" / "scores.jsonl").read_text().splitlines()
    ]
    judge = {(s["system"], s["sample_id"]): s["value"] for s in scores if str(s["metric"]).endswith("_voice")}
    of_judge = np.array([[judge[f"model-{m}", f"instruct-{n}"] for n in range(8)] for m in range(2)]).ravel()
    flat = opinions.reshape(16, 3)
    expected = np.mean(
        [
            stats.spearmanr(of_judge, np.delete(flat, person, axis=1).mean(axis=1)).statistic
            for person in range(3)
        ]
    )
    line = next(line for line in found.splitlines() if line.strip().startswith("Spearman"))
    assert float(line.split()[1]) == pytest.approx(expected, abs=0.006)
    assert "raters 3" in found
    assert "validated against people: yes" in found


def entries(form: str, path: Path, **options: Any) -> list[Draft | Refusal]:
    base = {"language": "en", "source": "synthetic", **options}
    return list(importer(form)(path, ImportOptions(**base)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"instruction_text": "Recite the alphabet."}, "states no emotion, age or gender"),
        ({"instruction_text": "[weak voice]Help me."}, "states no emotion, age or gender"),
        ({"instruction_text": "[emotion: smug]Well."}, "emotion 'smug' is no label"),
        ({"audio2_path": "output/elsewhere/0.mp3"}, "is not there; name the folder"),
        ({"audio2_path": "input/0.wav"}, "are one file"),
        ({"audio2_path": "../0.wav"}, "leaves its folder"),
    ],
)
def test_a_pair_that_cannot_be_used_is_refused_with_its_reason(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    labels = trace(tmp_path, pairs=1, **change)
    (entry,) = entries("trace", labels, audio=tmp_path)
    assert isinstance(entry, Refusal)
    assert message in entry.reason


def test_voices_state_age_and_gender(tmp_path: Path) -> None:
    labels = trace(tmp_path, pairs=1, instruction_text="[children voice]May I?")
    (entry,) = entries("trace", labels, audio=tmp_path)
    assert isinstance(entry, Draft)
    assert (entry.cues, entry.transcript) == ({"age": "child"}, "May I?")


def test_faulty_sets_have_one_line(tmp_path: Path) -> None:
    responses, people, queries, _ = vstyle(tmp_path, count=1)
    with pytest.raises(UsageError, match="vstyle without --labels"):
        entries("vstyle", responses)
    (tmp_path / "none").mkdir()
    with pytest.raises(BadData, match=r"no \.jsonl"):
        entries("vstyle", responses, labels=tmp_path / "none")
    with pytest.raises(UsageError, match=r"no metadata\.jsonl below it"):
        entries("vstyle", people, labels=people)
    with pytest.raises(BadData, match="no row has 'response_audio_path'"):
        entries("vstyle", queries, labels=people)
    reasons = [e.reason for e in entries("vstyle", responses, labels=people) if isinstance(e, Refusal)]
    assert "no recording of instruction 0" in reasons[0]
    for path in people.iterdir():
        write_rows(path, [{"id": 5, "instruct_id": 5, "mos": 3}])
    reasons = [
        e.reason for e in entries("vstyle", responses, labels=people, audio=queries) if isinstance(e, Refusal)
    ]
    assert "no annotator rated this reply" in reasons[0]
    with pytest.raises(UsageError, match=r"0 files s2sarena\.json below it"):
        entries("trace", people)
