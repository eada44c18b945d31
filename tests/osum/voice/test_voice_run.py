"""With a voice: the whole main job and a single chat on tiny files in the official formats, and what goes wrong."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner

from echat_eval.cli import command_line
from echat_eval.errors import BadData, SystemFailure, UsageError
from echat_eval.osum.checkpoint.tensor_names import TIED
from echat_eval.osum.checkpoint.tiny import make_tiny
from echat_eval.osum.engine.engine_pool import EnginePool, EngineWorker, splice
from echat_eval.osum.voice.config import (
    CONFIG_FILE,
    FULL_VOICE,
    TINY_VOICE,
    mel_frames,
    read_voice_config,
    voice_config_to_json,
)
from echat_eval.osum.voice.tiny import random_flow_state, random_hift_state
from echat_eval.records import AudioRef, Request, Waveform
from echat_eval.systems.osum_echat import OsumEChat
from tests.support.tiny_graphs import record, write_speaker, write_tokenizer
from tests.support.tiny_speaker import draw_ids


def say(*arguments: object) -> str:
    result = CliRunner().invoke(command_line, [str(a) for a in arguments], standalone_mode=False)
    assert result.exception is None, result.exception
    return result.output


def make_release(folder: Path) -> Path:
    """Write a tar like the released one: a folder, weights, graphs, settings, and things nobody needs."""
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
    """Write the tiny checkpoint with endings made likelier, so that replies have text and speech."""
    path = make_tiny(folder)
    tensors = torch.load(path, weights_only=True)
    tensors["speech_head.bias"][4096] += 3.0
    tensors[TIED[0]][511] *= 1.3
    torch.save(tensors, path)
    return path


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Settings of a system with a voice, every file made by the commands a user types."""
    folder = tmp_path_factory.mktemp("prepared")
    voice, me = folder / "voice", folder / "me.safetensors"
    assert "flow.pt" in say("osum", "unpack", make_release(folder), "--to", voice)
    (voice / CONFIG_FILE).write_text(voice_config_to_json(TINY_VOICE), encoding="utf-8")
    assert "25 speech tokens" in say(
        "osum", "voice", record(folder / "me.wav", seconds=1.0), "--release", voice, "--out", me
    )
    return {"checkpoint": str(make_brisk(folder / "lm")), "token2wav": str(voice), "voice": str(me)}


@pytest.fixture(scope="module")
def system(prepared) -> OsumEChat:
    made = OsumEChat(**prepared, max_new=40, slots=2)
    made.load()
    return made


def settings_of(prepared: dict[str, str], **more: object) -> list[str]:
    return [part for key, value in (prepared | more).items() for part in ("--set", f"{key}={value}")]


def requests(folder: Path, count: int) -> list[Request]:
    made = []
    for n in range(count):
        path = folder / f"q{n}.wav"
        samples = 0.1 * np.random.RandomState(n).standard_normal(4000 + 2500 * n)
        soundfile.write(path, samples, 16_000, subtype="FLOAT")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        audio = AudioRef(path=path, sha256=digest, seconds=len(samples) / 16_000)
        made.append(Request(id=path.stem, audio=audio, language="zh"))
    return made


def test_the_main_job_gives_audio_replies(prepared, tones: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    output = say(
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
        # A wav is written in PCM or float; its length is that of the speech tokens to the sample.
        assert sound.frames == 256 * mel_frames(reply["usage"]["speech_tokens"])
    heard = [
        json.loads(line) for line in (out / "annotations.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert len([row for row in heard if row["state"] == "value"]) >= len(spoken)
    settings = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["systems"]["osum-echat"]
    assert settings["settings"]["voice"] == "me.safetensors"


def test_chat_writes_the_spoken_reply(prepared, system, tmp_path: Path) -> None:
    request = next(r for r in requests(tmp_path, 6) if system.respond(r).audio is not None)
    out = tmp_path / "out.wav"
    chat = ("chat", request.audio.path, "--checkpoint", prepared["checkpoint"], "--mode", "s2s")
    voice = {key: prepared[key] for key in ("token2wav", "voice")}
    assert f"voice      {out}" in say(*chat, *settings_of(voice, max_new=40), "--out", out)
    samples, rate = soundfile.read(out, dtype="float32")
    assert rate == 22_050
    assert len(samples) == len(system.respond(request).audio.samples)
    assert np.abs(samples).max() > 0.01
    bare = say(*chat, "--set", "max_new=40", "--out", tmp_path / "none.wav")
    assert "none set" in bare
    assert "speech tokens" in bare
    assert not (tmp_path / "none.wav").exists()


def same(ours: list, theirs: list) -> None:
    for a, b in zip(ours, theirs, strict=True):
        assert (a.text, a.usage, a.finish_reason) == (b.text, b.usage, b.finish_reason)
        assert (a.audio is None) == (b.audio is None)
        if a.audio is not None:
            assert a.audio.samples.shape == b.audio.samples.shape
            assert np.abs(a.audio.samples - b.audio.samples).max() < 1e-4


@pytest.mark.parametrize(
    "given",
    [{"overlap": True}, {"device": "cpu,cpu"}, {"device": "cpu, cpu", "overlap": True}],
    ids=["overlap", "two devices", "both"],
)
def test_beside_and_side_by_side_the_replies_are_the_same(prepared, system, tmp_path, given) -> None:
    asked = requests(tmp_path, 9)
    plain = [system.respond(request) for request in asked]
    assert sum(reply.audio is not None for reply in plain) >= 4
    other = OsumEChat(**prepared, max_new=40, slots=2, **given)
    same(other.respond_batch(asked), plain)
    assert len(other._team.workers) == (2 if "device" in given else 1)


def test_two_engines_share_the_requests(prepared, tmp_path: Path, monkeypatch) -> None:
    import threading

    answered: dict[str, int] = {}
    usual, both = EngineWorker._answer, threading.Barrier(2)

    def counting(self, asks, **given):
        both.wait(timeout=60)
        made = usual(self, asks, **given)
        answered[threading.current_thread().name] = len(made)
        return made

    monkeypatch.setattr(EngineWorker, "_answer", counting)
    OsumEChat(**prepared, max_new=40, slots=2, device="cpu,cpu").respond_batch(requests(tmp_path, 9))
    assert sum(answered.values()) == 9
    assert len(answered) == 2


def test_replies_are_spoken_while_others_are_decoded(prepared, tmp_path: Path, monkeypatch) -> None:
    system, spoken_before = OsumEChat(**prepared, max_new=40, slots=1, overlap=True), []
    system.load()
    (worker,) = system._team.workers
    usual, done = worker.speaker.synthesise, __import__("threading").Event()

    def noting(tokens, *, seeds):
        made = usual(tokens, seeds=seeds)
        done.set()
        return made

    monkeypatch.setattr(worker.speaker, "synthesise", noting)
    stream = worker.engine.stream

    def waiting(asks, **given):
        for number, reply in stream(asks, **given):
            yield number, reply
            # The next reply is not decoded before this one is spoken: only a thread beside can do that.
            spoken_before.append(done.wait(timeout=60))
            done.clear()

    monkeypatch.setattr(worker.engine, "stream", waiting)
    system.respond_batch(requests(tmp_path, 3))
    assert spoken_before == [True] * 3


def test_a_failure_of_the_voice_reaches_the_caller(prepared, tmp_path: Path, monkeypatch) -> None:
    system = OsumEChat(**prepared, max_new=40, overlap=True)
    system.load()

    def broken(tokens, *, seeds):
        raise BadData("reply 0: speech id 5000")

    monkeypatch.setattr(system._team.workers[0].speaker, "synthesise", broken)
    with pytest.raises(BadData, match="5000"):
        system.respond_batch(requests(tmp_path, 3))


def test_a_full_memory_is_in_the_replies_record(prepared, tmp_path: Path, monkeypatch) -> None:
    asked = requests(tmp_path, 5)
    right = OsumEChat(**prepared, max_new=20, slots=4).respond_batch(asked)
    system = OsumEChat(**prepared, max_new=20, slots=4)
    system.load()
    decoder = system._team.workers[0].engine.model.decoder
    usual = decoder.forward

    def narrow(x, *rest, **given):
        if x.shape[0] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return usual(x, *rest, **given)

    monkeypatch.setattr(decoder, "forward", narrow)
    made = system.respond_batch(asked)
    assert [reply.usage["out_of_memory"] for reply in made] == [1] * 5
    assert [reply.text for reply in made] == [reply.text for reply in right]
    assert system.notes == ("out of memory with 4 requests at a time; went on with 2",)
    assert "out_of_memory" not in system.respond_batch(asked)[0].usage
    monkeypatch.setattr(decoder, "forward", lambda *rest, **given: narrow(torch.zeros(9), **given))
    with pytest.raises(SystemFailure, match="one request at a time") as failure:
        system.respond_batch(asked)
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize("count", [0, 1, 2, 40, 41, 2000])
def test_every_number_of_speech_tokens_is_spoken(system, tmp_path: Path, count: int, monkeypatch) -> None:
    """From the ids of the language model to the wave, through the engine and the adapter."""
    (worker,) = system._team.workers
    script = [72, 105, 511, 4096, *draw_ids(count), 4096]
    usual = worker.engine.stream

    def scripted(asks, *, mode, sampling, cap):
        hook = lambda step, logits, ids: torch.full_like(ids, script[step])  # noqa: E731
        return usual(asks, mode=mode, sampling=sampling, cap=len(script), hook=hook, slots=1)

    monkeypatch.setattr(worker.engine, "stream", scripted)
    if count == 2000:  # what 2,000 ids sound like is tested in test_voice_token2wav.py
        monkeypatch.setattr(worker, "speaker", None)
    (request,) = requests(tmp_path, 1)
    reply = system.respond(request)
    assert reply.usage["speech_tokens"] == count
    assert system.speech_tokens[request.id] == tuple(script[4:-1])
    assert reply.finish_reason == "stop"
    if worker.speaker is None or count == 0:
        assert reply.audio is None
        return
    assert len(reply.audio.samples) == 256 * mel_frames(count)
    assert np.isfinite(reply.audio.samples).all()


@pytest.mark.parametrize("wrong", [4096, 4098, -1, 10**9])
def test_a_speech_id_out_of_range_is_refused_in_one_line(system, wrong: int) -> None:
    (worker,) = system._team.workers
    with pytest.raises(BadData, match=f"speech id {wrong} at position 2; expected 0 to 4095") as refusal:
        worker.speaker.synthesise([[1], [5, 6, wrong, 7]], seeds=[0, 1])
    assert "\n" not in str(refusal.value)


def test_sizes_stand_beside_the_weights_or_are_the_released_ones(prepared, tmp_path: Path) -> None:
    assert read_voice_config(tmp_path) == FULL_VOICE
    assert read_voice_config(Path(prepared["token2wav"])) == TINY_VOICE
    for text, words in (
        ("{", "not the sizes"),
        ('{"flow": {}}', "not the sizes"),
        (voice_config_to_json(TINY_VOICE).replace("heads", "eyes", 1), "unknown FlowConfig entries"),
        (voice_config_to_json(TINY_VOICE)[:-1] + ', "more": 1}', "unknown VoiceConfig entries more"),
    ):
        (tmp_path / CONFIG_FILE).write_text(text, encoding="utf-8")
        with pytest.raises(BadData, match=words) as refusal:
            read_voice_config(tmp_path)
        assert str(tmp_path / CONFIG_FILE) in str(refusal.value)
    # Without the file, tiny weights are not taken for the released ones.
    for name in ("flow.pt", "hift.pt"):
        (tmp_path / name).write_bytes((Path(prepared["token2wav"]) / name).read_bytes())
    (tmp_path / CONFIG_FILE).unlink()
    with pytest.raises(BadData, match=r"flow\.pt"):
        OsumEChat(**prepared | {"token2wav": str(tmp_path)}).load()


def test_five_minutes_and_two_channels_are_heard(system, tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    both = 0.05 * np.random.RandomState(0).standard_normal((300 * 8_000, 2)).astype(np.float32)
    soundfile.write(path, both, 8_000, subtype="PCM_16")
    audio = AudioRef(path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), seconds=300.0)
    reply = system.respond(Request(id="long", audio=audio, language="zh"))
    assert reply.usage["prompt_tokens"] > 300 * 12.5
    assert reply.finish_reason in ("stop", "length")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"device": "gpu"}, "device 'gpu'; expected auto, cpu, cuda"),
        ({"device": "cuda:7"}, "device 'cuda:7'; this machine has"),
        ({"device": "cpu,"}, "device ''"),
    ],
)
def test_a_device_that_is_not_there_is_named(prepared, given: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        OsumEChat(**prepared, **given).load()


def test_an_archive_that_lacks_a_graph_is_refused_on_the_command_line(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as tar:
        tar.addfile(tarfile.TarInfo("CosyVoice-300M-25Hz/flow.pt"), io.BytesIO())
    result = CliRunner().invoke(command_line, ["osum", "unpack", str(archive), "--to", str(tmp_path / "v")])
    assert result.exit_code == 2 or isinstance(result.exception, BadData)
    assert not (tmp_path / "v").exists()


def test_an_early_block_passes_into_the_whole() -> None:
    early = Waveform(samples=np.ones(22_050, np.float32), sample_rate=22_050)
    whole = Waveform(samples=np.zeros(44_100, np.float32), sample_rate=22_050)
    samples = splice(early, whole).samples
    assert samples.shape == (44_100,)
    assert (samples[: 22_050 - 441] == 1).all()
    assert (samples[22_050:] == 0).all()
    assert (np.diff(samples[22_050 - 441 : 22_050]) < 0).all()
    assert (whole.samples == 0).all()
    assert EnginePool([]).notes == ()
