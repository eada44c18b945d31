"""Importers: every row becomes a sample or a refusal with a reason, and the task folder is valid."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from click.testing import CliRunner

from echat_eval.cli import command_line
from echat_eval.errors import BadData, UnknownName, UsageError
from echat_eval.importers import IMPORTERS, importer
from echat_eval.importers.draft import Draft, ImportOptions, Refusal
from echat_eval.importers.facts import TaskFacts
from echat_eval.importers.writing import write_task
from echat_eval.task import find_faults, load_task
from tests.support.tones import write_tone

ZH = ImportOptions(language="zh", real=("KeSpeech",), synthetic=("cosyvoice",))


def record(key: str, wav: str, **extra: Any) -> dict[str, Any]:
    """Return a row in the public format, with few speech tokens."""
    fields = {
        "dataset": "KeSpeech",
        "age": "<ADULT>",
        "gender": "<FEMALE>",
        "think_str": "x",
        "question": "你好吗",
        "speech_token": [1, 2],
        "a_wav_path": "/elsewhere/a.wav",
    } | extra
    return {
        "key": key,
        "txt": f"回答{key}",
        "wav": wav,
        "tar_path_key": "s",
        "task": "<S2TCHAT> <TEXT2TOKEN> <THINK>",
        "extra": fields,
    }


def write_rows(folder: Path, rows: list[Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    (folder / "data.list").write_text("\n".join(lines) + "\n")
    return folder


def run_import(
    form: str, folder: Path, out: Path, options: ImportOptions, **more: Any
) -> tuple[Any, list[dict[str, Any]], dict[str, str]]:
    done = write_task(
        importer(form)(folder, options),
        out,
        name=out.name,
        facts=TaskFacts(title="T", licence="L", description="D: 'x'"),
        **more,
    )
    assert find_faults(out) == []
    assert done.rows == done.samples + done.refused
    samples = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    refused = [json.loads(line) for line in (out / "refused.jsonl").read_text().splitlines()]
    assert (len(samples), len(refused)) == (done.samples, done.refused)
    return done, samples, {row["id"] or row["row"]: row["reason"] for row in refused}


def test_raw_rows_become_samples_with_groups_speaker_and_source(tmp_path: Path) -> None:
    source = tmp_path / "src"
    for n in range(4):
        write_tone(source / "wav" / f"{n}.wav", 200 + 50 * n)
    rows = [
        record("a.1", "./deep/elsewhere/wav/0.wav"),
        record("a.2", "wav/1.wav", gender="<MALE>", dataset="CosyVoice"),
        record("a.3", "wav/2.wav", gender="MALE", question="另一句"),
        record("a.4", "wav/3.wav", gender="<FEMALE>", age="<YOUTH>") | {"speaker": "spk7"},
    ]
    done, samples, refused = run_import(
        "echat", write_rows(source, rows), tmp_path / "gender", ZH, cues=["gender"]
    )
    assert (done.samples, done.groups, refused) == (4, 1, {})
    by_id = {row["id"]: row for row in samples}
    assert by_id["a.1"]["contrast_group"] == by_id["a.2"]["contrast_group"]
    # a.4 has the words and the label of a.1: a sample without a group.
    assert ["contrast_group" in by_id[k] for k in ("a.3", "a.4")] == [False, False]
    assert [by_id[k]["source"] for k in ("a.1", "a.2")] == ["real", "synthetic"]
    assert by_id["a.4"]["speaker"] == "spk7"
    assert "speaker" not in by_id["a.1"]
    assert by_id["a.4"]["cues"] == {"age": "adult", "gender": "female"}
    assert by_id["a.1"]["references"] == ["回答a.1"]
    content = (source / "wav" / "0.wav").read_bytes()
    assert by_id["a.1"]["audio_sha256"] == hashlib.sha256(content).hexdigest()
    assert (tmp_path / "gender" / by_id["a.1"]["audio"]).read_bytes() == content
    task = load_task("gender", data=tmp_path / "gender")
    assert task.cues == ("gender",)


def test_raw_rows_may_be_parquet_with_embedded_audio(tmp_path: Path) -> None:
    write_tone(tmp_path / "a.wav", 200)
    content = (tmp_path / "a.wav").read_bytes()
    rows = [record("a.1", "a.wav") | {"wav": {"bytes": content, "path": None}}, record("a.2", "x")]
    rows[1]["wav"] = {"bytes": None, "path": "gone.wav"}
    (tmp_path / "src").mkdir()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "src" / "0.parquet")
    _, samples, refused = run_import("echat", tmp_path / "src", tmp_path / "t", ZH)
    assert [row["audio_sha256"] for row in samples] == [hashlib.sha256(content).hexdigest()]
    assert "'gone.wav' is not there" in refused["a.2"]


def test_public_benchmarks_have_licence_citation_revision_and_hashes(tmp_path: Path) -> None:
    folder = sibling(tmp_path, ["t.wav", "n.wav", "a.wav"])
    voices = {f"{v}_audio_info": {f"{v}_input_audio_file": f"{v[0]}.wav"} for v in ("target", "neutral")}
    row = {"case_id": "1", "spoken_info": "sigh sound", "speak_A": "I passed."} | voices
    rows = folder / "script_info_human.json"
    rows.write_text(json.dumps([row]))
    (tmp_path / "src.fetched.json").write_text(json.dumps({"data_set": "x/y", "commit": "c" * 40}))
    arguments = ["import", "echomind", str(folder), "--cue", "event", "--out", str(tmp_path / "echomind")]
    done = CliRunner().invoke(command_line, arguments, catch_exceptions=False)
    assert "2 samples with cue event, 1 contrast groups, 1 refused" in done.output
    task = load_task("echomind", data=tmp_path / "echomind")
    assert task.licence == "CC BY-NC-SA 4.0"
    assert task.citation is not None
    assert "arXiv:2510.22758" in task.citation
    assert ({s.language for s in task.samples}, {s.source for s in task.samples}) == ({"en"}, {"real"})
    origin = json.loads((tmp_path / "echomind" / "import.json").read_text())["origin"]
    assert origin == {
        "form": "echomind",
        "data_set": "x/y",
        "commit": "c" * 40,
        "sha256": {"script_info_human.json": hashlib.sha256(rows.read_bytes()).hexdigest()},
    }


def test_every_refused_row_has_its_reason(tmp_path: Path) -> None:
    source = tmp_path / "src"
    write_tone(source / "ok.wav", 300)
    (source / "torn.wav").write_bytes((source / "ok.wav").read_bytes()[:400])
    (source / "text.wav").write_text("no sound")
    bad: dict[str, Any] = {
        "gone": (record("gone", "nothing.wav"), "'nothing.wav' is not there; name the folder"),
        "torn": (record("torn", "torn.wav"), "cut short"),
        "text": (record("text", "text.wav"), "not audio"),
        "out": (record("out", "../../etc/passwd"), "leaves its folder"),
        "label": (record("label", "ok.wav", gender="<ROBOT>"), "gender '<ROBOT>' is no label"),
        "words": (record("words", "ok.wav", question=""), "has no words of the query"),
        "corpus": (
            record("corpus", "ok.wav", dataset="Mystery"),
            "set --real Mystery or --synthetic Mystery",
        ),
        "asr": (
            record("asr", "ok.wav") | {"task": "<TRANSCRIBE>"},
            "task tag is '<TRANSCRIBE>', which is no dialogue",
        ),
        "extra": (record("extra", "ok.wav") | {"extra": "{"}, "its extra is not JSON"),
        "nowav": ({**record("nowav", ""), "wav": ""}, "names no audio"),
        "part": (record("part", "ok.wav") | {"start": 1.0, "end": 2.0}, "part of a longer recording"),
        "tongue": (
            record("tongue", "ok.wav") | {"lang": "<FR!>"},
            "language 'fr!' is none; expected a BCP 47",
        ),
        "mute": (record("mute", "ok.wav", gender="<NONE>", age=None), "names 0 of the task's cues"),
        "gap": (record("gap", "ok.wav") | {"wav_2": "ok.wav"}, "earlier turns are [2]"),
        "square": (record("square", "nothing.wav") | {"wav_²": "ok.wav"}, "'nothing.wav' is not there"),
        "long": (record("l" * 300, "ok.wav"), "longer than 200"),
    }
    rows = [row for row, _ in bad.values()]
    rows += ["not json", ["a", "list"], {"txt": "no key"}, record("good", "ok.wav"), record("good", "ok.wav")]
    done, samples, refused = run_import(
        "echat", write_rows(source, rows), tmp_path / "t", ZH, cues=["gender"]
    )
    assert [row["id"] for row in samples] == ["good"]
    for name, (_, reason) in bad.items():
        assert reason in refused["l" * 300 if name == "long" else name], name
    assert refused["data.list:17"] == refused["data.list:18"] == "not a JSON object"
    assert refused["data.list:19"] == "has no key"
    assert refused["good"] == "a second row with this id"
    assert sum(done.reasons.values()) == done.refused
    assert json.loads((tmp_path / "t" / "import.json").read_text())["rows"] == len(rows)
    assert len(list((tmp_path / "t" / "audio").iterdir())) == 1


def shard(path: Path, members: list[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def members_of(key: str, wav: bytes | None, **more: bytes) -> list[tuple[str, bytes]]:
    row = record(key, "")
    members = [
        (f"{key}.txt", row["txt"].encode()),
        (f"{key}.task", row["task"].encode()),
        (f"{key}.extra", json.dumps(row["extra"]).encode()),
    ]
    members += [(f"{key}.wav", wav)] if wav is not None else []
    return members + [(f"{key}.{name}", content) for name, content in more.items()]


def test_shards_hold_rows_audio_and_earlier_turns(tmp_path: Path) -> None:
    for n in range(3):
        write_tone(tmp_path / f"{n}.wav", 200 + 50 * n)
    wavs = [(tmp_path / f"{n}.wav").read_bytes() for n in range(3)]
    members = members_of(
        "k.1", wavs[0], gender=b"<FEMALE>", txt_1="好的".encode(), wav_1=wavs[1], wav_2=wavs[2]
    )
    members += members_of("k.2", None) + members_of("k.3", wavs[2])
    shard(tmp_path / "src" / "shards" / "0.tar", members)
    (tmp_path / "src" / "shards_list.txt").write_text("./shards/0.tar\n")
    _, samples, refused = run_import("echat", tmp_path / "src", tmp_path / "t", ZH)
    assert refused == {"k.2": "has no audio"}
    assert [row["id"] for row in samples] == ["k.1", "k.3"]
    turns = samples[0]["history"]
    assert [(t["role"], t.get("text"), "audio" in t) for t in turns] == [
        ("user", None, True),
        ("assistant", "好的", False),
        ("user", None, True),
    ]
    assert turns[0]["audio_sha256"] == hashlib.sha256(wavs[1]).hexdigest()


def test_combined_rows_take_their_audio_from_the_tar_with_the_same_name(tmp_path: Path) -> None:
    write_tone(tmp_path / "0.wav", 200)
    write_tone(tmp_path / "1.wav", 300)
    wavs = [(tmp_path / f"{n}.wav").read_bytes() for n in range(2)]
    shard(tmp_path / "src" / "tars" / "x.tar", [("a.wav", wavs[0]), ("b.wav", wavs[1]), ("b.wav_1", wavs[0])])
    rows = [
        record("a", "only-meta", gender="<MALE>"),
        record("b", "only-meta") | {"wav_1": "only-meta"},
        record("c", "only-meta"),
    ]
    (tmp_path / "src" / "x.list").write_text("".join(json.dumps(r) + "\n" for r in rows))
    done, samples, refused = run_import("echat", tmp_path / "src", tmp_path / "t", ZH)
    assert refused == {"c": "x.tar holds no audio for this key"}
    assert [row["audio_sha256"] for row in samples] == [hashlib.sha256(w).hexdigest() for w in wavs]
    assert samples[1]["history"][0]["audio_sha256"] == hashlib.sha256(wavs[0]).hexdigest()
    # Equal words with different histories form no contrast group.
    assert done.groups == 0


def test_text_of_a_shard_is_decoded_strictly_and_a_row_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tone(tmp_path / "0.wav", 200)
    wav = (tmp_path / "0.wav").read_bytes()
    words = {"txt": "你好".encode("gbk")}
    members = (
        members_of("k.1", wav) + members_of("k.2", wav, **words) + members_of("k.3", wav, note=b"x" * 900)
    )
    shard(tmp_path / "src" / "0.tar", members)
    monkeypatch.setattr("echat_eval.importers.echat.MAX_ROW_BYTES", len(wav) + 900)
    _, samples, refused = run_import("echat", tmp_path / "src", tmp_path / "t", ZH)
    assert [row["id"] for row in samples] == ["k.1"]
    assert "is not UTF-8" in refused["k.2"]
    assert "'note' is sparse or larger than" in refused["k.3"]


def test_truncated_tar_is_an_error(tmp_path: Path) -> None:
    write_tone(tmp_path / "0.wav", 200)
    path = shard(tmp_path / "src" / "0.tar", members_of("k", (tmp_path / "0.wav").read_bytes()))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(BadData, match="not a tar, or cut short"):
        list(importer("echat")(tmp_path / "src", ZH))


def test_cue_is_required_when_rows_share_none(tmp_path: Path) -> None:
    write_tone(tmp_path / "src" / "0.wav", 200)
    rows = [record("a", "0.wav", age=None), record("b", "0.wav", gender=None)]
    with pytest.raises(UsageError, match=r"no cue is named by all 2 rows .*choose with --cue"):
        run_import("echat", write_rows(tmp_path / "src", rows), tmp_path / "t", ZH)


def sibling(tmp_path: Path, names: list[str]) -> Path:
    for n, name in enumerate(names):
        write_tone(tmp_path / "src" / name, 150 + 40 * n)
    return tmp_path / "src"


def test_echomind_script_yields_up_to_three_voices(tmp_path: Path) -> None:
    folder = sibling(tmp_path, [f"audio/{c}/{v}.wav" for c in ("1", "2", "3", "4") for v in ("t", "n", "a")])

    def case(number: str, info: str, **alternative: Any) -> dict[str, Any]:
        voices = {
            f"{v}_audio_info": {f"{v}_input_audio_file": f"{number}/{v[0]}.wav"}
            for v in ("target", "neutral", "alternative")
        }
        voices["alternative_audio_info"] |= alternative
        return {
            "case_id": number,
            "spoken_info": info,
            "topic": "exam",
            "speak_A": f"I passed {number}.",
        } | voices

    rows = [
        case("1", "happy-toned expressive voice", spoken_info="sad-toned expressive voice"),
        case("2", "whisper"),
        case("3", "cough voice"),
        case("4", "male"),
    ]
    (folder / "script_info_synthesis.json").write_text(json.dumps(rows))
    options = ImportOptions(language="en")
    done, samples, refused = run_import("echomind", folder, tmp_path / "t", options, cues=["emotion"])
    assert {row["id"]: row["cues"]["emotion"] for row in samples} == {
        "1-target": "happy",
        "1-neutral": "neutral",
        "1-alternative": "sad",
    }
    assert {row["source"] for row in samples} == {"synthetic"}
    assert len({row["contrast_group"] for row in samples}) == done.groups == 1
    assert done.rows == 12
    assert "'whisper' is none of the benchmark's cues" in refused["2-target"]
    assert refused["3-alternative"] == "does not state which event its alternative voice has"
    assert refused["4-neutral"] == "a gender has no neutral voice"
    assert refused["3-target"].startswith("names 0 of the task's cues")


def test_vocalbench_emotions(tmp_path: Path) -> None:
    folder = sibling(tmp_path, ["wav/emotion/000.wav", "wav/emotion/001.wav"])
    rows = [
        {
            "Qid": "emotion-0000",
            "Audio": "000.wav",
            "Question": "Why me?",
            "Question_emo": "angry",
            "Score": [5, 1, 2, 3, 2],
            "Rate_text": "5",
        },
        {
            "Qid": "emotion-0001",
            "Audio": "emotion/001.wav",
            "Question": "Why me?",
            "Question_emo": "surprised",
        },
        {"Qid": "knowledge-0000", "Audio": "x.wav", "Question": "Who?"},
    ]
    (folder / "json").mkdir()
    (folder / "json" / "emotion.json").write_text(json.dumps(rows))
    options = ImportOptions(language="en", source="synthetic", audio=folder / "wav" / "emotion")
    done, samples, refused = run_import("vocalbench", folder, tmp_path / "t", options)
    assert [row["cues"]["emotion"] for row in samples] == ["anger", "surprise"]
    assert (done.groups, refused) == (1, {"knowledge-0000": "names no emotion (Question_emo)"})


def test_televal_sets(tmp_path: Path) -> None:
    folder = sibling(tmp_path, ["a/1.wav", "a/2.wav", "a/3.wav"])
    rows = [
        {"key": "1", "audio": "/mnt/data/a/1.wav", "query": "好累", "query_emo": "sad", "answer": "抱抱"},
        {
            "key": "2",
            "audio": "a/2.wav",
            "query": "讲故事",
            "age": "child",
            "answer_age": "从前",
            "answer_common": "好",
        },
        {"key": "3", "audio": "a/3.wav", "query": "咳", "para_name": "咳嗽", "answer": "多喝水"},
        {"key": "4", "audio": "a/3.wav", "query": "谁"},
    ]
    for name, part in (("esd-zh", rows[:1]), ("para_mix300-zh", rows[2:])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in part))
    # As on the hub: Parquet with embedded audio.
    content = (folder / "a" / "2.wav").read_bytes()
    embedded = rows[1] | {"audio": {"bytes": content, "path": "2.wav"}}
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([embedded]), folder / "age-zh.parquet")
    entries = list(importer("televal")(folder, ImportOptions(source="synthetic")))
    drafts = {d.id: d for d in entries if isinstance(d, Draft)}
    assert {k: dict(d.cues) for k, d in drafts.items()} == {
        "1": {"emotion": "sad"},
        "2": {"age": "child"},
        "3": {"event": "cough"},
    }
    assert (drafts["2"].references, drafts["2"].audio) == (("从前",), content)
    assert {d.language for d in drafts.values()} == {"zh"}
    reasons = {d.id: d.reason for d in entries if isinstance(d, Refusal)}
    assert reasons["4"] == "names none of query_emo, age, para_name"


def test_sd_eval_sets(tmp_path: Path) -> None:
    folder = sibling(
        tmp_path, ["RAVDESS-Speech/Actor_01/a.wav", "RAVDESS-Speech/Actor_02/b.wav", "test-age/c.wav"]
    )

    def row(name: str, wav: str, info: str, corpus: str) -> dict[str, Any]:
        target = [{"reply": f"to {name}", "reply_emotion": "sadness"}, {"reply": "and more"}]
        return {
            "wav_path": wav,
            "transcript": "Kids are talking",
            "utt_id": name,
            "target": target,
            "info": info,
            "dataset_name": corpus,
        }

    (folder / "test-emo.json").write_text(
        json.dumps(
            [
                row("a", "RAVDESS-Speech/Actor_01/a.wav", "sad", "RAVDESS-Speech"),
                row("b", "RAVDESS-Speech/Actor_02/b.wav", "angry", "RAVDESS-Speech"),
            ]
        )
    )
    (folder / "test-age.json").write_text(json.dumps([row("c", "test-age/c.wav", "child", "synthesized")]))
    (folder / "test-env.json").write_text(json.dumps([row("d", "x.wav", "driving", "synthesized")]))
    options = ImportOptions(language="en", real=("RAVDESS-Speech",))
    done, samples, refused = run_import("sd-eval", folder, tmp_path / "t", options, cues=["emotion"])
    assert {row["id"]: (row["cues"]["emotion"], row["source"]) for row in samples} == {
        "a": ("sad", "real"),
        "b": ("anger", "real"),
    }
    assert samples[0]["references"] == ["to a", "and more"]
    assert done.groups == 1
    assert "'driving' is no emotion and no age" in refused["d"]
    assert "cues (emotion)" in refused["c"]


def test_humdial_dialogues_keep_their_history(tmp_path: Path) -> None:
    folder = sibling(tmp_path, ["zh/wav/1_1.wav", "zh/wav/1_2.wav", "zh/wav/2_1.wav"])

    def turn(number: int, wav: str, **more: Any) -> dict[str, Any]:
        return {"turn_id": number, "text": f"第{number}句", "emotion": "sad", "split_audio_file": wav} | more

    rows = [
        {
            "dialogue_id": "d1",
            "turns": [turn(2, "wav/1_2.wav", emotion="angry"), turn(1, "wav/1_1.wav", response_text="嗯")],
        },
        {"dialogue_id": "d2", "turns": [turn(1, "wav/2_1.wav", emotion="relieved")]},
        {"dialogue_id": "d3", "turns": []},
        {"dialogue_id": "d4", "turns": [turn(1, "wav/1_1.wav"), turn(1, "wav/1_2.wav")]},
        {"dialogue_id": "d6", "turns": [turn(float("inf"), "wav/1_1.wav")]},  # type: ignore[arg-type]
        {"dialogue_id": "d7", "turns": [turn(1, "wav/1_1.wav", text="\ud800")]},
        {"dialogue_id": "d8", "turns": [{"input_text": "x"}, turn(2, "wav/1_2.wav")]},
        {"dialogue_id": "d5", "turns": [turn(1, "wav/none.wav"), turn(2, "wav/1_2.wav")]},
    ]
    lines = [json.dumps(r) for r in rows]
    (folder / "zh" / "task3.jsonl").write_text("".join(line + "\n" for line in lines))
    _, samples, refused = run_import("humdial", folder, tmp_path / "t", ImportOptions(source="real"))
    (sample,) = samples
    assert (sample["id"], sample["language"], sample["transcript"], sample["cues"]) == (
        "d1",
        "zh",
        "第2句",
        {"emotion": "anger"},
    )
    assert [(t["role"], t["text"], "audio" in t) for t in sample["history"]] == [
        ("user", "第1句", True),
        ("assistant", "嗯", False),
    ]
    assert "emotion 'relieved' is no label" in refused["d2"]
    assert refused["d3"] == "has no turns"
    assert refused["d4"] == "two turns have the same turn_id"
    assert refused["d8"] == "a turn has no turn_id that is a number"
    assert "none.wav" in refused["d5"]
    assert refused["task3.jsonl:5"] == refused["task3.jsonl:6"] == "not a JSON object"
    (loaded,) = load_task("t", data=tmp_path / "t").samples
    assert loaded.history[0].audio is not None


def test_humdial_turns_without_numbers_are_in_the_order_of_the_row(tmp_path: Path) -> None:
    folder = sibling(tmp_path, ["en/1.wav", "en/2.wav"])
    turns = [
        {"input_text": f"turn {n}", "input_emotion": "sad", "split_audio_file": f"{n}.wav"} for n in (2, 1)
    ]
    (folder / "en" / "task3.jsonl").write_text(json.dumps({"dialogue_id": "d", "turns": turns}))
    _, (sample,), _ = run_import("humdial", folder, tmp_path / "t", ImportOptions(source="real"))
    assert (sample["transcript"], sample["history"][0]["text"]) == ("turn 1", "turn 2")


def test_import_command_writes_a_valid_task(tmp_path: Path) -> None:
    source = tmp_path / "src"
    write_tone(source / "0.wav", 200)
    write_tone(source / "1.wav", 300)
    rows = [record("a", "0.wav"), record("b", "1.wav", gender="<MALE>"), record("c", "gone.wav")]
    args = [
        "import",
        "echat",
        str(write_rows(source, rows)),
        "--language",
        "zh",
        "--real",
        "KeSpeech",
        "--cue",
        "gender",
    ]
    done = CliRunner().invoke(
        command_line, [*args, "--out", str(tmp_path / "gender")], catch_exceptions=False
    )
    assert "3 rows: 2 samples with cue gender, 1 contrast groups, 1 refused" in done.output
    assert "no fault found" in done.output
    again = CliRunner().invoke(command_line, [*args, "--out", str(tmp_path / "gender")])
    assert isinstance(again.exception, UsageError)
    assert "not empty" in str(again.exception)
    assert [s.id for s in load_task("gender", data=tmp_path / "gender").samples] == ["a", "b"]


def test_unknown_format_and_empty_folder_are_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'echat'"):
        importer("ecaht")
    for form in IMPORTERS:
        with pytest.raises(UsageError, match="below it"):
            list(importer(form)(tmp_path, ZH))
