"""Voices by server and by program, events from folders, and the level and place of an event in a clip."""

from __future__ import annotations

import io
import json
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from echat_eval.errors import BadData, SystemFailure, UsageError
from echat_eval.testing import ScriptedServer
from echat_eval.testset.clips import Part, Placed, clips_of
from echat_eval.testset.event_takes import TAKES
from echat_eval.testset.events import FolderEvents, SynthesisedEvents
from echat_eval.testset.limiter import active_rms
from echat_eval.testset.plan import ClipPlan
from echat_eval.testset.synthetic_events import DRAWS, EVENTS, RATE, synthetic_event
from echat_eval.testset.voices import CommandVoice, SpeechServer, Style


def tone(seconds: float, hertz: float = 220.0) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)


def clip_of(speech: np.ndarray, event: Placed | None, form: ClipPlan, seed: int = 0) -> np.ndarray:
    (clip,) = clips_of([Part(speech=speech, event=event, random=np.random.default_rng(seed))], form)
    return clip


def wav(sound: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((sound * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


def test_speech_server_gets_voice_and_instruction() -> None:
    with ScriptedServer(lambda exchange: exchange.reply(wav(tone(0.4)), "audio/wav")) as server:
        voice = SpeechServer(f"{server.url}/v1", "tts", voices="ada=nova, bea=alloy")
        said = voice.speak("Hi.", language="en", speaker="ada", style=Style(instruction="Close to tears."))
        assert (len(said.samples), said.sample_rate) == (round(0.4 * RATE), RATE)
        _, path, _, body = server.received[0]
        assert path == "/v1/audio/speech"
        assert json.loads(body) == {
            "model": "tts",
            "input": "Hi.",
            "voice": "nova",
            "response_format": "wav",
            "instructions": "Close to tears.",
        }
        assert voice.fingerprint() != SpeechServer(f"{server.url}/v1", "other").fingerprint()
    with (
        ScriptedServer(lambda exchange: exchange.reply_json({"error": {"message": "no"}}, 500)) as server,
        pytest.raises(Exception, match="500"),
    ):
        SpeechServer(f"{server.url}/v1", "tts").speak("Hi.", language="en", speaker="a", style=None)


def test_command_voice_needs_no_shell(tmp_path: Path) -> None:
    script = tmp_path / "speak.py"
    script.write_text(
        "import sys, shutil\n"
        "text, out, style, clip = sys.argv[1:]\n"
        "assert text == 'a; b $(c)' and style == 'Slowly.' and clip, sys.argv\n"
        f"shutil.copy({str(tmp_path / 'x.wav')!r}, out)\n"
    )
    (tmp_path / "x.wav").write_bytes(wav(tone(0.2)))
    voice = CommandVoice(f"{sys.executable} {script} {{text}} {{out}} {{instruction}} {{clip}}")
    style = Style(instruction="Slowly.", clip=tmp_path / "x.wav")
    assert len(voice.speak("a; b $(c)", language="en", speaker="a", style=style).samples) == round(0.2 * RATE)
    with pytest.raises(SystemFailure, match="AssertionError"):
        voice.speak("other", language="en", speaker="a", style=style)
    with pytest.raises(UsageError, match=r"needs \{text\} and \{out\}"):
        CommandVoice("say {text}")


def test_events_come_from_esc50_and_vocalsound(tmp_path: Path) -> None:
    esc, vocal = tmp_path / "ESC-50", tmp_path / "vocalsound"
    (esc / "meta").mkdir(parents=True)
    (esc / "audio").mkdir()
    vocal.mkdir()
    silence = np.zeros(RATE)
    (esc / "meta" / "esc50.csv").write_text(
        "filename,fold,target,category\n1.wav,1,24,coughing\n2.wav,1,0,dog\n"
    )
    (esc / "audio" / "1.wav").write_bytes(wav(np.concatenate([silence, tone(0.4), silence])))
    (vocal / "f0003_0_throatclearing.wav").write_bytes(wav(tone(2.0)))
    cough = FolderEvents(esc, "CC BY-NC 3.0").event("cough", speaker="a", pitch=200, number=7)
    assert len(cough) / RATE == pytest.approx(0.4, abs=0.03)  # the silent ends are cut off
    throat = FolderEvents(vocal, "").event("throat clearing", speaker="a", pitch=200, number=0)
    assert len(throat) / RATE == pytest.approx(1.15)
    with pytest.raises(UsageError, match="no recording of 'sneeze'; there are cough"):
        FolderEvents(esc, "").event("sneeze", speaker="a", pitch=200, number=0)
    with pytest.raises(UsageError, match="no event recording"):
        FolderEvents(tmp_path / "none", "")


@pytest.mark.parametrize("label", EVENTS)
def test_synthetic_events_are_short_and_differ(label: str) -> None:
    assert len(TAKES[label]) >= 5
    for take in TAKES[label]:
        assert len(take) == DRAWS
        assert len(synthetic_event(label, take, 200.0)) <= 1.15 * RATE
    source = SynthesisedEvents()
    one, other, again = (
        source.event(label, speaker="a", pitch=p, number=n) for p, n in ((200, 0), (120, 0), (200, 0))
    )
    assert np.array_equal(one, again)
    assert not np.array_equal(one[:3000], other[:3000])
    assert np.abs(one).max() == pytest.approx(1.0)


@pytest.mark.parametrize("last", [False, True])
def test_an_event_has_its_level_and_place(last: bool) -> None:
    form = ClipPlan(seconds=3.0)
    event = Placed(sound=tone(0.5, 900.0), level_db=-6.0, last=last)
    clip = clip_of(tone(1.0, 200.0), event, form)
    assert len(clip) == 3 * RATE
    spectra = np.abs(np.fft.rfft(clip[: len(clip) // 320 * 320].reshape(-1, 320), axis=1))
    words, sound = spectra[:, 4], spectra[:, 18]
    loud = [np.flatnonzero(band > band.max() / 2) for band in (words, sound)]
    assert bool(loud[1].mean() > loud[0].mean()) is last
    level = 20 * np.log10(np.median(sound[loud[1]]) / np.median(words[loud[0]]))
    assert level == pytest.approx(-6.0, abs=1.0)
    assert 20 * np.log10(active_rms(clip)) == pytest.approx(form.active_db, abs=1.0)
    with pytest.raises(BadData, match=r"s of sound; expected at most 2\.88 s"):
        clip_of(tone(2.5), event, form)


def test_silence_and_offset_of_a_clip_do_not_tell_how_long_the_words_are() -> None:
    form = ClipPlan(seconds=3.0)
    ends: dict[float, list[int]] = {0.8: [], 1.6: []}
    for seed in range(200):
        for seconds, found in ends.items():
            clip = clip_of(tone(seconds) + 0.1, None, form, seed)
            loud = np.flatnonzero(np.abs(clip) > 0.5 * np.abs(clip).max())
            found.append(len(clip) - int(loud[-1]))
            assert abs(clip.mean()) < 1e-9
            assert min(loud[0], len(clip) - loud[-1]) > 0.05 * RATE
    # A longer silence belongs to the shorter words in three of four pairs at most; 1 would be always.
    wins = np.mean(np.array(ends[0.8])[:, None] > np.array(ends[1.6])[None])
    assert 0.5 < wins < 0.75
