"""OSUM-EChat as a system: the adapter, its commands, and unusable audio."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner

from echat_eval.cli.osum import chat_command, osum_group
from echat_eval.cli.progress import loading_bar
from echat_eval.errors import BadData, NotApplicable, NotInstalled, SystemFailure, UnknownName, UsageError
from echat_eval.osum.checkpoint.tiny import make_tiny
from echat_eval.osum.engine.engine import Engine
from echat_eval.osum.model.config import TINY
from echat_eval.osum.prompts.modes import MODES, GenerationRequest, Profile, layout, mode_named
from echat_eval.ports import System
from echat_eval.records import AudioRef, Request, Turn, Waveform
from echat_eval.systems.osum_echat import OsumEChat
from tests.support.present import present, waveform_of


def request_of(
    path: Path, samples: np.ndarray, *, rate: int = 16000, history: tuple[Turn, ...] = ()
) -> Request:
    soundfile.write(path, samples, rate, subtype="FLOAT")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    audio = AudioRef(path=path, sha256=digest, seconds=len(samples) / rate)
    return Request(id=path.stem, audio=audio, language="zh", history=history)


def noise(seconds: float, *, seed: int = 0, rate: int = 16000) -> np.ndarray:
    return (0.1 * np.random.RandomState(seed).standard_normal(int(seconds * rate))).astype(np.float32)


@pytest.fixture(scope="module")
def system(tiny_folder: Path) -> OsumEChat:
    system = OsumEChat(checkpoint=str(tiny_folder / "tiny.pt"), max_new=60)
    system.load()
    return system


def test_osum_echat_is_a_system(system: OsumEChat) -> None:
    assert isinstance(system, System)
    assert system.settings()["resampler"].startswith("windowed sinc")
    assert "no commercial use" in system.settings()["licence"]
    assert not any(str(value).startswith("/") for value in system.settings().values())
    assert len(system.fingerprint()) == 64


def test_a_reply_without_a_voice_is_text_with_a_warning(
    system: OsumEChat, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    request = request_of(tmp_path / "a.wav", noise(1))
    with caplog.at_level(logging.WARNING):
        other = OsumEChat(checkpoint=system.checkpoint, max_new=60)
        reply = other.respond(request)
    assert "replies are text" in caplog.text
    assert reply.audio is None
    assert other.settings()["voice"] == "none: text replies"
    assert len(other.speech_tokens["a"]) == reply.usage["speech_tokens"]
    assert reply == system.respond(request)


def test_replies_in_a_batch_equal_the_replies_alone(system: OsumEChat, tmp_path: Path) -> None:
    requests = [request_of(tmp_path / f"{n}.wav", noise(0.3 + 0.31 * n, seed=n)) for n in range(3)]
    assert system.respond_batch(requests) == [system.respond(request) for request in requests]
    assert len({system.speech_tokens[request.id] for request in requests}) > 1


def test_the_fingerprint_depends_on_weights_and_tokenizer(system: OsumEChat, tmp_path: Path) -> None:
    other = OsumEChat(checkpoint=str(make_tiny(tmp_path, seed=1)))
    assert other.fingerprint() != system.fingerprint()
    again = OsumEChat(checkpoint=system.checkpoint, name="x")
    assert again.fingerprint() == system.fingerprint()


class Speaker:
    def __init__(self) -> None:
        self.fingerprint, self.notes = "tone", list[str]()

    def synthesise(self, tokens: Sequence[Sequence[int]], *, seeds: Sequence[int]) -> Any:
        assert len(tokens) == len(seeds)
        return [
            Waveform(samples=np.zeros(len(t) + 1, np.float32), sample_rate=22050) if t else None
            for t in tokens
        ]

    def stream(self, *, seed: int) -> Any:
        raise NotImplementedError


def test_the_speaker_synthesises_the_speech_tokens(tiny_folder: Path, tmp_path: Path) -> None:
    system = OsumEChat(checkpoint=str(tiny_folder), max_new=60)
    system.load()
    (worker,) = present(system._pool).workers
    worker.speaker = Speaker()
    reply = system.respond(request_of(tmp_path / "a.wav", noise(1)))
    tokens = system.speech_tokens["a"]
    assert (len(waveform_of(reply).samples) == len(tokens) + 1) if tokens else reply.audio is None


def test_silence_and_fifty_milliseconds_get_replies(system: OsumEChat, tmp_path: Path) -> None:
    silent = request_of(tmp_path / "silent.wav", np.zeros(16000, np.float32))
    short = request_of(tmp_path / "short.wav", noise(0.05))
    for request in (silent, short):
        reply = system.respond(request)
        assert reply.finish_reason in ("stop", "length")
    (embeddings,) = present(system._pool).workers[0].engine.model.embed_audio([torch.zeros(16000)])
    assert torch.isfinite(embeddings).all()


@pytest.mark.parametrize("rate", [8000, 22050, 48000])
def test_other_sample_rates_and_two_channels_are_accepted(
    system: OsumEChat, tmp_path: Path, rate: int
) -> None:
    stereo = np.stack([noise(0.5, rate=rate)] * 2, axis=1)
    assert system.respond(request_of(tmp_path / "a.wav", stereo, rate=rate)).finish_reason


def bad_audio(folder: Path, kind: str) -> Request:
    samples = noise(0.5)
    if kind == "too long":
        samples = np.zeros(600 * 16000, np.float32)
    elif kind == "too short":
        samples = samples[:399]
    elif kind == "not a number":
        samples[77] = np.nan
    elif kind == "infinite":
        samples[77] = np.inf
    elif kind == "empty":
        samples = samples[:0]
    request = request_of(folder / "bad.wav", samples)
    if kind == "no audio":
        request.audio.path.write_bytes(b"hello")
    return request


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("too long", r"lasts 600\.0 s; OSUM-EChat accepts at most 400 s"),
        ("too short", "at least 25 ms"),
        ("not a number", "not a number at sample 77"),
        ("infinite", "not a number at sample 77"),
        ("empty", "at least 25 ms"),
        ("no audio", "cannot be read as audio"),
    ],
)
def test_unusable_audio_fails_in_one_line(system: OsumEChat, tmp_path: Path, kind: str, words: str) -> None:
    bad = bad_audio(tmp_path, kind)
    with pytest.raises(SystemFailure, match=words) as failure:
        system.respond(bad)
    assert "\n" not in str(failure.value)
    good = request_of(tmp_path / "good.wav", noise(0.5))
    assert system.respond_batch([good, bad, good]) == [system.respond(good), None, system.respond(good)]


def test_a_dialogue_that_is_too_long_is_refused_before_its_audio_is_encoded(
    tiny_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    wave = torch.from_numpy(noise(0.5))
    request = GenerationRequest(wave=wave)
    positions = tiny_engine.reply([request], max_new_tokens=4)[0].prompt_positions
    limit = tiny_engine.model.config.decoder.positions - positions
    tiny_engine.check(request, mode="s2s", max_new_tokens=limit)
    encoded: list[int] = []
    monkeypatch.setattr(type(tiny_engine.model), "embed_audio", lambda *args, **more: encoded.append(1))
    with pytest.raises(
        SystemFailure, match=rf"a prompt of {positions} positions and a reply of {limit + 1} do"
    ):
        tiny_engine.reply([request], max_new_tokens=limit + 1)
    assert not encoded


def test_the_engine_refuses_a_long_recording_too(tiny_engine: Engine) -> None:
    with pytest.raises(SystemFailure, match="at most 400 s"):
        tiny_engine.reply([GenerationRequest(wave=torch.zeros(401 * 16000))])


def test_an_endless_reply_is_cut_with_finish_reason_length(tiny_engine: Engine) -> None:
    request = GenerationRequest(wave=torch.from_numpy(noise(0.5)))

    def never_end(step: int, logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return torch.full_like(ids, 65)

    for mode in ("s2s", "s2t"):
        (reply,) = tiny_engine.reply([request], mode=mode, max_new_tokens=30, hook=never_end)
        assert (reply.finish_reason, reply.new_ids, reply.speech) == ("length", 30, ())
        assert reply.text


@pytest.mark.parametrize("profile", ["fixed", "upstream"])
def test_a_reply_without_speech_tokens_is_a_text_reply(tiny_engine: Engine, profile: Profile) -> None:
    from echat_eval.osum.engine.engine import Engine

    script = [72, 105, 105, tiny_engine.model.config.text.end, 4096, 4096]
    engine = Engine(tiny_engine.model, tiny_engine.tokenizer, profile=profile)
    (reply,) = engine.reply(
        [GenerationRequest(wave=torch.from_numpy(noise(0.5)))],
        hook=lambda step, logits, ids: torch.tensor([script[step]]),
    )
    assert (reply.speech, reply.finish_reason) == ((), "stop")
    assert len(reply.text) == (3 if profile == "fixed" else 2)


def test_past_turns_are_used_or_refused(system: OsumEChat, tmp_path: Path) -> None:
    earlier = request_of(tmp_path / "earlier.wav", noise(0.4, seed=3))
    turns = (Turn(role="user", audio=earlier.audio), Turn(role="assistant", text="hm"))
    reply = system.respond(request_of(tmp_path / "a.wav", noise(0.5), history=turns))
    bare = system.respond(request_of(tmp_path / "b.wav", noise(0.5)))
    assert reply.usage["prompt_tokens"] > bare.usage["prompt_tokens"] + 5
    with pytest.raises(NotApplicable, match="user audio"):
        system.respond(
            request_of(tmp_path / "c.wav", noise(0.5), history=(Turn(role="user", text="x"), turns[1]))
        )
    think = OsumEChat(checkpoint=system.checkpoint, mode="s2s-think", max_new=5)
    with pytest.raises(NotApplicable, match="takes no past turns; use mode 's2s'"):
        think.respond(request_of(tmp_path / "d.wav", noise(0.5), history=turns))


def test_invalid_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'fixed'"):
        OsumEChat(checkpoint="x", profile="fixd")
    with pytest.raises(UsageError, match="takes text"):
        OsumEChat(checkpoint="x", mode="tts")
    with pytest.raises(UsageError, match="needs both"):
        OsumEChat(checkpoint="x", voice="v.pt")
    with pytest.raises(UsageError, match="slots is 0"):
        OsumEChat(checkpoint="x", slots=0)
    with pytest.raises(UnknownName, match="Did you mean 'compiled'"):
        OsumEChat(checkpoint="x", steps="compile")
    with pytest.raises(UsageError, match="overlap is 'sometimes'"):
        OsumEChat(checkpoint="x", overlap="sometimes")
    for profile in ("fixed", "upstream"):
        voice = "" if profile == "fixed" else "a"
        with pytest.raises(UsageError, match="stream=true speaks: it needs token2wav=FOLDER, voice=FILE and"):
            OsumEChat(checkpoint="x", stream=True, token2wav=voice, voice=voice, profile=profile)
    with pytest.raises(UsageError, match="batch_size"):
        OsumEChat(checkpoint="x", batch_size=-1)
    with pytest.raises(UsageError, match="slots is many"):
        OsumEChat(checkpoint="x", slots="many")
    sizes = [
        OsumEChat(checkpoint="x", **options).batch_size
        for options in ({"device": "cpu"}, {"slots": 3}, {"device": "cuda:0,cuda:1"}, {"batch_size": 5})
    ]
    assert sizes == [32, 12, 256, 5]
    with pytest.raises(NotInstalled, match="no checkpoint"):
        OsumEChat(checkpoint=str(tmp_path / "none.pt")).load()
    with pytest.raises(UnknownName, match="s2s-think"):
        mode_named("s2s-thnk")
    with pytest.raises(UsageError, match="needs audio"):
        layout(MODES["s2s"], GenerationRequest(), profile="fixed", config=TINY)
    with pytest.raises(BadData, match="unknown dtype"):
        OsumEChat(checkpoint=str(make_tiny(tmp_path)), dtype="int8").load()


def test_a_type_that_the_device_lacks_is_refused_in_one_line(
    system: OsumEChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(*given: Any, **options: Any) -> torch.Tensor:
        raise RuntimeError("\"slow_conv\" not implemented for 'Half'\nand more lines")

    monkeypatch.setattr(torch.nn.functional, "conv1d", lacking)
    with pytest.raises(UsageError, match=r"dtype 'fp16' on cpu: .*'Half'; set dtype to auto") as refusal:
        OsumEChat(checkpoint=system.checkpoint, dtype="fp16").load()
    assert "\n" not in str(refusal.value)


def test_loading_reports_its_progress_and_is_quiet_in_a_pipe(tiny_folder: Path) -> None:
    steps: list[tuple[int, int]] = []
    OsumEChat(checkpoint=str(tiny_folder)).load(lambda done, total: steps.append((done, total)))
    assert steps == sorted(steps)
    assert {total for _, total in steps} == {(tiny_folder / "tiny.pt").stat().st_size}
    assert steps[-1][0] > 0.9 * steps[-1][1]
    with loading_bar() as on_progress:
        assert on_progress is None


def test_chat_prints_the_reply(system: OsumEChat, tmp_path: Path) -> None:
    request = request_of(tmp_path / "in.wav", noise(0.7))
    arguments = [
        str(request.audio.path),
        "--checkpoint",
        system.checkpoint,
        "--mode",
        "s2s",
        "--set",
        "max_new=60",
    ]
    result = CliRunner().invoke(chat_command, arguments, standalone_mode=False)
    assert result.exception is None, result.exception
    assert "reply" in result.output
    for limit, words in (
        (32_767, "do not fit 32768: shorten the history or lower max_new"),
        (32_768, "the model has 32,768 positions for a prompt and its reply together: lower max_new"),
    ):
        arguments[-1] = f"max_new={limit}"
        result = CliRunner().invoke(chat_command, arguments, standalone_mode=False)
        assert isinstance(result.exception, UsageError)
        assert words in str(result.exception)


def test_inspect_and_convert_on_the_command_line(tmp_path: Path) -> None:
    path = make_tiny(tmp_path / "a")
    result = CliRunner().invoke(osum_group, ["inspect", str(path)], standalone_mode=False)
    assert (result.return_value, "kind        released" in result.output) == (0, True)
    target = tmp_path / "b" / "t.safetensors"
    result = CliRunner().invoke(osum_group, ["convert", str(path), str(target)], standalone_mode=False)
    assert result.return_value == 0
    torch.save({"weight": torch.ones(2)}, path)
    result = CliRunner().invoke(osum_group, ["inspect", str(path)], standalone_mode=False)
    assert (result.return_value, "kind        unknown" in result.output) == (1, True)


def test_shipped_baselines_set_a_mode_a_checkpoint_and_the_licence() -> None:
    import yaml

    from echat_eval.osum.checkpoint.hub import FILES

    folder = Path(__file__).resolve().parents[2] / "baselines" / "systems"
    seen = set()
    for path in sorted(folder.glob("osum-echat*.yaml")):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert content["adapter"] == "osum-echat"
        assert "no commercial use" in content["licence"]
        system = OsumEChat(**content["settings"])
        assert system.mode in MODES
        assert Path(system.checkpoint).name in FILES.values()
        assert (
            f"osum download {next(k for k, v in FILES.items() if v == Path(system.checkpoint).name)} "
            in content["served"]
        )
        seen.add((Path(system.checkpoint).name, system.mode))
    assert len(seen) == 2 * 5


def test_a_run_works_end_to_end_with_a_tiny_checkpoint(
    tiny_folder: Path, tones: Path, tmp_path: Path
) -> None:
    """`echat-eval run --system osum-echat --set checkpoint=<tiny>`: respond, annotate, score, leaderboard."""
    from echat_eval.cli import command_line

    arguments = [
        "run",
        "--system",
        "osum-echat",
        "--set",
        f"checkpoint={tiny_folder / 'tiny.pt'}",
        "--set",
        "max_new=60",
        "--task",
        "emotion",
        "--data",
        str(tones),
        "--annotator",
        "acoustics",
        "--out",
        str(tmp_path / "run"),
    ]
    result = CliRunner().invoke(command_line, arguments, standalone_mode=False)
    assert result.exception is None, result.exception
    lines = (tmp_path / "run" / "responses.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == 8
    for row in rows:
        # A reply without words is a failure of the system; every other reply is a value.
        assert row["state"] == "value" or row["reason"].startswith(("empty reply", "no visible reply"))
    answered = [row for row in rows if row["state"] == "value"]
    assert answered
    assert all(row["reply"]["usage"]["completion_tokens"] > 0 for row in answered)
    assert "osum-echat" in result.output
