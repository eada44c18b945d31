"""OSUM-EChat with a voice: complete runs, single chats and failures, on tiny files in the official formats."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner

from echat_eval.cli import command_line
from echat_eval.errors import BadData, SystemFailure, UsageError
from echat_eval.osum.checkpoint.tensor_names import TIED
from echat_eval.osum.checkpoint.tiny import make_tiny
from echat_eval.osum.engine.engine import Engine
from echat_eval.osum.engine.engine_pool import EnginePool, splice
from echat_eval.osum.engine.types import ReplyKind
from echat_eval.osum.voice.config import (
    CONFIG_FILE,
    FULL_VOICE,
    TINY_VOICE,
    mel_frames,
    read_voice_config,
    voice_config_to_json,
)
from echat_eval.osum.voice.tiny import random_flow_state, random_hift_state
from echat_eval.osum.voice.voice import consent_of
from echat_eval.records import AudioRef, Reply, Request, Waveform
from echat_eval.systems.osum_echat import OsumEChat
from tests.support.present import present, waveform_of
from tests.support.tiny_graphs import record, write_speaker, write_tokenizer
from tests.support.tiny_speaker import draw_ids


def run_command(*arguments: object) -> str:
    result = CliRunner().invoke(command_line, [str(a) for a in arguments], standalone_mode=False)
    assert result.exception is None, result.exception
    return result.output


def make_release(folder: Path) -> Path:
    """Write a tar like the released one: a folder with weights, graphs, settings and files that are not needed."""
    source = folder / "source"
    source.mkdir(parents=True)
    torch.save(random_flow_state(), source / "flow.pt")
    torch.save(random_hift_state(), source / "hift.pt")
    write_tokenizer(source)
    write_speaker(source)
    (source / "cosyvoice.yaml").write_text("input_frame_rate: 25\n", encoding="utf-8")
    (source / "llm.pt").write_bytes(b"never read")
    archive = folder / "CosyVoice-300M-25Hz.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(source, "CosyVoice-300M-25Hz")
    return archive


def make_brisk(folder: Path) -> Path:
    """Write the tiny checkpoint with likelier end tokens, so that replies have text and speech."""
    path = make_tiny(folder)
    tensors = torch.load(path, weights_only=True)
    tensors["speech_head.bias"][4096] += 3.0
    tensors[TIED[0]][511] *= 1.3
    torch.save(tensors, path)
    return path


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the settings of a system with a voice; its files are made with the commands of a user."""
    folder = tmp_path_factory.mktemp("prepared")
    voice, me = folder / "voice", folder / "me.safetensors"
    assert "flow.pt" in run_command("osum", "unpack", make_release(folder), "--to", voice)
    (voice / CONFIG_FILE).write_text(voice_config_to_json(TINY_VOICE), encoding="utf-8")
    assert "25 speech tokens" in run_command(
        "osum",
        "voice",
        record(folder / "me.wav", seconds=1.0),
        "--release",
        voice,
        "--out",
        me,
        "--consent",
        "own voice, for tests",
    )
    assert consent_of(me) == "own voice, for tests"
    return {"checkpoint": str(make_brisk(folder / "lm")), "token2wav": str(voice), "voice": str(me)}


@pytest.fixture(scope="module")
def system(prepared: dict[str, Any]) -> OsumEChat:
    system = OsumEChat(**prepared, max_new=40, slots=2)
    system.load()
    return system


def settings_of(prepared: dict[str, str], **more: object) -> list[str]:
    return [part for key, value in (prepared | more).items() for part in ("--set", f"{key}={value}")]


def make_requests(folder: Path, count: int) -> list[Request]:
    requests = []
    for n in range(count):
        path = folder / f"q{n}.wav"
        samples = 0.1 * np.random.RandomState(n).standard_normal(4000 + 2500 * n)
        soundfile.write(path, samples, 16_000, subtype="FLOAT")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        audio = AudioRef(path=path, sha256=digest, seconds=len(samples) / 16_000)
        requests.append(Request(id=path.stem, audio=audio, language="zh"))
    return requests


def test_run_writes_audio_replies(prepared: dict[str, Any], tones: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    output = run_command(
        "run",
        "--system",
        "osum-echat",
        *settings_of(prepared, max_new=40, slots=3, overlap="true"),
        "--task",
        "emotion",
        "--data",
        tones,
        "--annotator",
        "acoustics",
        "--out",
        out,
    )
    assert "osum-echat" in output
    rows = [json.loads(line) for line in (out / "responses.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 8
    assert all(row["state"] == "value" or "empty reply" in row["reason"] for row in rows)
    spoken = [row["reply"] for row in rows if row["state"] == "value" and row["reply"].get("audio")]
    assert len(spoken) >= 4
    for reply in spoken:
        sound = soundfile.info(out / reply["audio"]["file"])
        assert sound.samplerate == 22_050
        # The length of the wav matches the speech tokens to the sample.
        assert sound.frames == 256 * mel_frames(reply["usage"]["speech_tokens"])
    annotations = [
        json.loads(line) for line in (out / "annotations.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert len([row for row in annotations if row["state"] == "value"]) >= len(spoken)
    settings = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["systems"]["osum-echat"]
    assert settings["settings"]["voice"] == "me.safetensors"


def test_chat_writes_the_audio_reply(prepared: dict[str, Any], system: OsumEChat, tmp_path: Path) -> None:
    request = next(r for r in make_requests(tmp_path, 6) if system.respond(r).audio is not None)
    out = tmp_path / "out.wav"
    chat = ("chat", request.audio.path, "--checkpoint", prepared["checkpoint"], "--mode", "s2s")
    voice = {key: prepared[key] for key in ("token2wav", "voice")}
    assert f"voice      {out}" in run_command(*chat, *settings_of(voice, max_new=40), "--out", out)
    samples, rate = soundfile.read(out, dtype="float32")
    assert rate == 22_050
    assert len(samples) == len(waveform_of(system.respond(request)).samples)
    assert np.abs(samples).max() > 0.01
    bare = run_command(*chat, "--set", "max_new=40", "--out", tmp_path / "none.wav")
    assert "none set" in bare
    assert "speech tokens" in bare
    assert not (tmp_path / "none.wav").exists()


def assert_same_replies(ours: Sequence[Reply], theirs: Sequence[Reply]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        assert (a.text, a.usage, a.finish_reason) == (b.text, b.usage, b.finish_reason)
        assert (a.audio is None) == (b.audio is None)
        if a.audio is not None:
            mine, other = waveform_of(a).samples, waveform_of(b).samples
            assert mine.shape == other.shape
            assert np.abs(mine - other).max() < 1e-4


@pytest.mark.parametrize(
    "options",
    [{"overlap": True}, {"device": "cpu,cpu"}, {"device": "cpu, cpu", "overlap": True}],
    ids=["overlap", "two devices", "both"],
)
def test_overlap_and_devices_do_not_change_the_replies(
    prepared: dict[str, Any], system: OsumEChat, tmp_path: Path, options: Any
) -> None:
    requests = make_requests(tmp_path, 9)
    plain = [system.respond(request) for request in requests]
    assert sum(reply.audio is not None for reply in plain) >= 4
    other = OsumEChat(**prepared, max_new=40, slots=2, **options)
    assert_same_replies([*map(present, other.respond_batch(requests))], plain)
    assert len(present(other._pool).workers) == (2 if "device" in options else 1)


def test_a_streamed_reply_has_a_first_sound_and_all_samples(
    system: OsumEChat, prepared: dict[str, Any], tmp_path: Path
) -> None:
    """Replies of one window: the sound of the whole reply."""
    requests = make_requests(tmp_path, 4)
    streaming = OsumEChat(**prepared, max_new=40, slots=2, stream=True)
    spoken = 0
    for request, reply in zip(requests, streaming.respond_batch(requests), strict=True):
        whole, streamed = system.respond(request), present(reply)
        assert streamed.text == whole.text
        assert (streamed.first_audio_seconds is None) == (whole.audio is None)
        if whole.audio is not None:
            spoken += 1
            assert present(streamed.first_audio_seconds) > 0
            difference = np.abs(waveform_of(streamed).samples - waveform_of(whole).samples)
            assert difference.max() <= 1e-5
    streaming.close()
    assert spoken


def test_two_engines_share_the_requests(
    prepared: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered: dict[str, int] = {}
    serve, both_started = Engine.serve, threading.Barrier(2)

    def counting(self: Engine, *given: Any, **options: Any) -> Any:
        both_started.wait(timeout=60)
        for event in serve(self, *given, **options):
            name = threading.current_thread().name
            answered[name] = answered.get(name, 0) + 1
            yield event

    monkeypatch.setattr(Engine, "serve", counting)
    system = OsumEChat(**prepared, max_new=40, slots=2, device="cpu,cpu")
    system.respond_batch(make_requests(tmp_path, 9))
    system.close()
    assert sum(answered.values()) == 9
    assert len(answered) == 2


def test_replies_are_synthesised_while_others_are_decoded(
    prepared: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = OsumEChat(**prepared, max_new=40, slots=1, overlap=True)
    spoken_before: list[bool] = []
    system.load()
    (worker,) = present(system._pool).workers
    speaker, done = present(worker.speaker), threading.Event()
    synthesise = speaker.synthesise

    def signalling(tokens: Sequence[Sequence[int]], *, seeds: Sequence[int]) -> Any:
        waves = synthesise(tokens, seeds=seeds)
        done.set()
        return waves

    monkeypatch.setattr(speaker, "synthesise", signalling)
    serve = worker.engine.serve

    def waiting(*given: Any, **options: Any) -> Any:
        for event in serve(*given, **options):
            yield event
            # Block decoding until this reply is synthesised: only a background thread can do that.
            spoken_before.append(done.wait(timeout=60))
            done.clear()

    monkeypatch.setattr(worker.engine, "serve", waiting)
    system.respond_batch(make_requests(tmp_path, 3))
    system.close()
    assert spoken_before == [True] * 3


@pytest.mark.parametrize("overlap", [True, False])
def test_one_thread_speaks_in_all_calls_until_the_system_is_closed(
    prepared: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overlap: bool
) -> None:
    system = OsumEChat(**prepared, max_new=40, overlap=overlap)
    system.load()
    speaker, threads = present(present(system._pool).workers[0].speaker), set()
    synthesise = speaker.synthesise

    def noting(tokens: Sequence[Sequence[int]], *, seeds: Sequence[int]) -> Any:
        threads.add(threading.current_thread())
        return synthesise(tokens, seeds=seeds)

    monkeypatch.setattr(speaker, "synthesise", noting)
    for _ in range(2):
        system.respond_batch(make_requests(tmp_path, 2))
    (thread,) = threads
    assert thread is not threading.main_thread()
    system.close()
    assert not thread.is_alive()


def test_failure_of_the_voice_reaches_the_caller(
    prepared: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = OsumEChat(**prepared, max_new=40, overlap=True)
    system.load()

    def broken(tokens: Sequence[Sequence[int]], *, seeds: Sequence[int]) -> Any:
        raise BadData("reply 0: speech id 5000")

    monkeypatch.setattr(present(system._pool).workers[0].speaker, "synthesise", broken)
    with pytest.raises(BadData, match="5000"):
        system.respond_batch(make_requests(tmp_path, 3))


def test_out_of_memory_is_recorded_in_the_replies(
    prepared: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = make_requests(tmp_path, 5)
    expected = [*map(present, OsumEChat(**prepared, max_new=20, slots=4).respond_batch(requests))]
    system = OsumEChat(**prepared, max_new=20, slots=4)
    system.load()
    decoder = present(system._pool).workers[0].engine.model.decoder
    forward, rows = decoder.forward, [2]

    def limited(x: torch.Tensor, *rest: Any, **options: Any) -> Any:
        if x.shape[0] > rows[0]:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(x, *rest, **options)

    monkeypatch.setattr(decoder, "forward", limited)
    replies = [*map(present, system.respond_batch(requests))]
    assert [reply.usage["out_of_memory"] for reply in replies] == [1] * 5
    assert [reply.text for reply in replies] == [reply.text for reply in expected]
    assert system.notes == ("out of memory with 4 requests at a time; went on with 2",)
    assert "out_of_memory" not in present(system.respond_batch(requests)[0]).usage
    rows[0] = 0
    assert system.respond_batch(requests) == [None] * 5
    with pytest.raises(SystemFailure, match="one request at a time") as failure:
        system.respond(requests[0])
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("count", [0, 1, 2, 40, 41, 2000])
def test_any_number_of_speech_tokens_is_synthesised(
    system: OsumEChat, tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the ids of the language model to the waveform, through the engine and the system adapter."""
    (worker,) = present(system._pool).workers
    script = [72, 105, 511, 4096, *draw_ids(count), 4096]
    serve = worker.engine.serve

    def scripted(requests: Any, kind: ReplyKind, **options: Any) -> Any:
        kind = replace(kind, rules=replace(kind.rules, max_new_tokens=len(script)))
        return serve(requests, kind, hook=lambda step, logits, ids: torch.full_like(ids, script[step]))

    monkeypatch.setattr(worker.engine, "serve", scripted)
    if count == 2000:  # test_token2wav.py tests the audio of 2,000 ids
        monkeypatch.setattr(worker, "speaker", None)
    (request,) = make_requests(tmp_path, 1)
    reply = system.respond(request)
    assert reply.usage["speech_tokens"] == count
    assert system.speech_tokens[request.id] == tuple(script[4:-1])
    assert reply.finish_reason == "stop"
    if worker.speaker is None or count == 0:
        assert reply.audio is None
        return
    assert len(waveform_of(reply).samples) == 256 * mel_frames(count)
    assert np.isfinite(waveform_of(reply).samples).all()


@pytest.mark.parametrize("wrong", [4096, 4098, -1, 10**9])
def test_speech_id_out_of_range_is_refused_in_one_line(system: OsumEChat, wrong: int) -> None:
    (worker,) = present(system._pool).workers
    with pytest.raises(BadData, match=f"speech id {wrong} at position 2; expected 0 to 4095") as refusal:
        present(worker.speaker).synthesise([[1], [5, 6, wrong, 7]], seeds=[0, 1])
    assert "\n" not in str(refusal.value)


def test_sizes_are_read_from_the_config_file_or_default_to_the_release(
    prepared: dict[str, Any], tmp_path: Path
) -> None:
    assert read_voice_config(tmp_path) == FULL_VOICE
    assert read_voice_config(Path(prepared["token2wav"])) == TINY_VOICE
    for text, words in (
        ("{", "not the sizes"),
        ('{"flow": {}}', "FlowConfig: key 'width' is missing"),
        ('{"hift": {}}', "not the sizes of a token2wav: 'flow'"),
        (
            voice_config_to_json(TINY_VOICE).replace("heads", "eyes", 1),
            "FlowConfig: unknown key 'estimator_eyes'",
        ),
        (voice_config_to_json(TINY_VOICE)[:-1] + ', "more": 1}', "VoiceConfig: unknown key 'more'"),
    ):
        (tmp_path / CONFIG_FILE).write_text(text, encoding="utf-8")
        with pytest.raises(BadData, match=words) as refusal:
            read_voice_config(tmp_path)
        assert str(tmp_path / CONFIG_FILE) in str(refusal.value)
    # Without the file, tiny weights are refused: the released sizes are expected.
    for name in ("flow.pt", "hift.pt"):
        (tmp_path / name).write_bytes((Path(prepared["token2wav"]) / name).read_bytes())
    (tmp_path / CONFIG_FILE).unlink()
    with pytest.raises(BadData, match=r"flow\.pt"):
        OsumEChat(**prepared | {"token2wav": str(tmp_path)}).load()


def test_five_minutes_of_stereo_audio_are_accepted(system: OsumEChat, tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    stereo = 0.05 * np.random.RandomState(0).standard_normal((300 * 8_000, 2)).astype(np.float32)
    soundfile.write(path, stereo, 8_000, subtype="PCM_16")
    audio = AudioRef(path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), seconds=300.0)
    reply = system.respond(Request(id="long", audio=audio, language="zh"))
    assert reply.usage["prompt_tokens"] > 300 * 12.5
    assert reply.finish_reason in ("stop", "length")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "gpu"}, "device 'gpu'; expected auto, cpu, cuda"),
        ({"device": "cuda:7"}, "device 'cuda:7'; this machine has"),
        ({"device": "cpu,"}, "device ''"),
    ],
)
def test_missing_device_is_reported(prepared: dict[str, Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        OsumEChat(**prepared, **options).load()


def test_archive_without_a_graph_is_refused_on_the_command_line(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as tar:
        tar.addfile(tarfile.TarInfo("CosyVoice-300M-25Hz/flow.pt"), io.BytesIO())
    result = CliRunner().invoke(command_line, ["osum", "unpack", str(archive), "--to", str(tmp_path / "v")])
    assert result.exit_code == 2 or isinstance(result.exception, BadData)
    assert not (tmp_path / "v").exists()


def test_early_block_is_spliced_into_the_complete_reply() -> None:
    early = Waveform(samples=np.ones(22_050, np.float32), sample_rate=22_050)
    whole = Waveform(samples=np.zeros(44_100, np.float32), sample_rate=22_050)
    samples = splice(early, whole).samples
    assert samples.shape == (44_100,)
    assert (samples[: 22_050 - 441] == 1).all()
    assert (samples[22_050:] == 0).all()
    assert (np.diff(samples[22_050 - 441 : 22_050]) < 0).all()
    assert (whole.samples == 0).all()
    assert EnginePool([]).notes == ()
