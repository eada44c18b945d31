"""Voices that speak the sentences: the embedded one, a speech server, any program, or a class of your own."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from echat_eval.clients.http import HttpClient, exchange, raise_for_status
from echat_eval.clients.keys import api_key
from echat_eval.clients.network import endpoint
from echat_eval.concurrency import event_loop
from echat_eval.errors import BadData, SystemFailure, UsageError
from echat_eval.io.audio import read_mono
from echat_eval.io.hashing import digest, file_sha256
from echat_eval.io.jsonl import dumps
from echat_eval.plugins.names import load_file
from echat_eval.plugins.settings import construct
from echat_eval.records import Waveform
from echat_eval.systems.hibari_voice import HibariVoice
from echat_eval.testset.manners import Manner

if TYPE_CHECKING:
    from echat_eval.testset.plan import Plan, VoicePlan

__all__ = ["CommandVoice", "EmbeddedVoice", "OneTimbre", "SpeechServer", "Style", "Voice", "voice_for"]

#: Bytes of an answer of a speech server: ten minutes of 48 kHz PCM.
MAX_SPEECH_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How a label is to be acted.

    Attributes:
        instruction: for a voice that takes one, such as "Speak slowly and quietly, close to tears."
        clip: a recording whose manner is to be copied.
    """

    instruction: str = ""
    clip: Path | None = None


class Voice(Protocol):
    """A part that speaks sentences; equal arguments give equal audio where the voice allows it."""

    #: Licence of what it speaks and programs used, for the data card.
    licence: str

    def speak(self, text: str, *, language: str, speaker: str, style: Style | None) -> Waveform:
        """Return the spoken text."""

    def fingerprint(self) -> str:
        """Return a hash of what determines the speech."""


@runtime_checkable
class OneTimbre(Protocol):
    """A voice with one timbre, which a manner turns into several speakers."""

    def manner(self, speaker: str, gender: str) -> Manner:
        """Return the change for a speaker whose voice is "female" or "male"."""


class EmbeddedVoice:
    """hibari, English: one timbre, which pitch and resonances turn into several speakers."""

    licence = "hibari-tts 0.2.1 and its voice 'heart' (Apache-2.0)"

    def __init__(self) -> None:
        self._voice = HibariVoice()

    def speak(self, text: str, *, language: str, speaker: str, style: Style | None) -> Waveform:
        """Return the spoken text, in the same voice for all speakers.

        Raises:
            UsageError: the language is not English.
        """
        if language != "en":
            raise UsageError(f"the embedded voice speaks English, not '{language}'; name another voice")
        return self._voice.say(text)

    def manner(self, speaker: str, gender: str) -> Manner:
        """Return what turns the one voice, a woman's, into a speaker."""
        random = np.random.default_rng([*speaker.encode()])
        own = Manner(
            pitch=random.uniform(-2.0, 2.0),
            formants=random.uniform(0.94, 1.06),
            tilt=random.uniform(-0.6, 0.6),
        )
        return own if gender == "female" else own + Manner(pitch=-9.0, formants=0.86)

    def fingerprint(self) -> str:
        """Return version and hash of the voice."""
        return f"embedded-1 {self._voice.fingerprint()}"


class SpeechServer:
    """A server with OpenAI's `/v1/audio/speech`.

    Args:
        url: base URL, such as http://127.0.0.1:8000/v1.
        model: name of the model.
        licence: of the speech, for the data card.
        voices: comma-separated `speaker=voice`; without it a speaker's name is the voice.
        timeout: seconds per sentence.
    """

    def __init__(
        self, url: str, model: str, licence: str = "", voices: str = "", timeout: float = 120.0
    ) -> None:
        self.url, self.model, self.timeout = url, model, timeout
        self.licence = licence or f"speech by {model}; read the terms of its provider"
        self._voices = dict(part.strip().split("=", 1) for part in voices.split(",") if "=" in part)
        self._client = HttpClient("system")

    def speak(self, text: str, *, language: str, speaker: str, style: Style | None) -> Waveform:
        """Return the spoken text; the style's instruction goes along, its clip cannot."""
        body: dict[str, Any] = {
            "model": self.model,
            "input": text,
            "voice": self._voices.get(speaker, speaker),
            "response_format": "wav",
        }
        if style is not None and style.instruction:
            body["instructions"] = style.instruction
        key = api_key()
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
        url = endpoint(self.url, "audio/speech")
        answer = event_loop.run(
            exchange(
                self._client,
                "POST",
                url,
                headers=headers,
                content=dumps(body).encode(),
                timeout=self.timeout,
                max_bytes=MAX_SPEECH_BYTES,
            )
        )
        raise_for_status(answer, url)
        with TemporaryDirectory() as folder:
            path = Path(folder) / "speech.wav"
            path.write_bytes(answer.body)
            return _read(path)

    def fingerprint(self) -> str:
        """Return address, model and voices."""
        return digest("speech server", [self.url, self.model, self._voices])


class CommandVoice:
    """A program that is started for every sentence.

    Args:
        program: program and arguments with `{text}` and `{out}`, and if wanted `{speaker}`, `{language}`,
            `{instruction}` and `{clip}`; no shell is used.
        licence: of the speech, for the data card.
        timeout: seconds per sentence.
    """

    def __init__(self, program: str, licence: str = "", timeout: float = 120.0) -> None:
        self.words, self.timeout = shlex.split(program), timeout
        self.licence = licence or f"speech by {Path(self.words[0]).name}; state its licence in the plan"
        if not any("{text}" in word for word in self.words) or "{out}" not in program:
            raise UsageError(f"voice command '{program}': needs {{text}} and {{out}} among its arguments")

    def speak(self, text: str, *, language: str, speaker: str, style: Style | None) -> Waveform:
        """Return what the program writes to `{out}`.

        Raises:
            SystemFailure: the program fails, or writes no audio.
        """
        style = style or Style()
        with TemporaryDirectory() as folder:
            out = Path(folder) / "speech.wav"
            values = {
                "text": text,
                "out": str(out),
                "speaker": speaker,
                "language": language,
                "instruction": style.instruction,
                "clip": str(style.clip or ""),
            }
            words = [_filled(word, values) for word in self.words]
            try:
                subprocess.run(words, check=True, capture_output=True, timeout=self.timeout, text=True)
                return _read(out)
            except (OSError, subprocess.SubprocessError, BadData) as error:
                said = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
                last = (said.strip().splitlines() or [str(error)])[-1]  # of a traceback, the error
                raise SystemFailure(f"{self.words[0]}: {last[:200]}") from error

    def fingerprint(self) -> str:
        """Return the command and the hash of the files among its words."""
        files = [file_sha256(Path(word)) for word in self.words if Path(word).is_file()]
        return digest("command voice", [self.words, files])


def _filled(word: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        word = word.replace(f"{{{name}}}", value)
    return word


def _read(path: Path) -> Waveform:
    samples, rate = read_mono(path, rate=None)
    return Waveform(samples=samples, sample_rate=rate)


def voice_for(plan: Plan, voice: VoicePlan) -> Voice:
    """Return the voice that a plan names.

    Raises:
        UsageError: nothing has this name, or it does not take the settings.
    """
    settings = dict(voice.settings)
    if voice.use == "embedded":
        return construct("voice", "embedded", EmbeddedVoice, settings)  # type: ignore[no-any-return]
    if voice.use == "server":
        return construct("voice", "server", SpeechServer, settings)  # type: ignore[no-any-return]
    if voice.use.startswith("command:"):
        program = voice.use.removeprefix("command:")
        return construct("voice", "command", CommandVoice, {"program": program, **settings})  # type: ignore[no-any-return]
    made = load_file("voice", str(plan.path(voice.use)))
    if made is None:
        raise UsageError(f"voice '{voice.use}': expected embedded, server, command:PROGRAM or FILE.py:CLASS")
    return construct("voice", voice.use, made, settings)  # type: ignore[no-any-return]
