"""Requests with synthetic audio: tones and silence."""

from __future__ import annotations

from pathlib import Path

from echat_eval.io.audio import audio_ref, write_wav
from echat_eval.records import AudioRef, Request, Waveform

__all__ = ["stereo_request", "tone_request", "tone_requests", "truncated_audio"]


def tone_requests(folder: Path, language: str = "en", count: int = 3) -> list[Request]:
    """Write tones of different pitch and return a request for each."""
    return [tone_request(folder, f"check-{n}", 180.0 + 90.0 * n, 0.8, language) for n in range(count)]


def tone_request(folder: Path, name: str, hertz: float, seconds: float, language: str) -> Request:
    """Write a tone (0 Hz: silence) and return a request for it."""
    import numpy as np

    time_axis = np.arange(int(seconds * 16_000)) / 16_000
    samples = (0.3 * np.sin(2 * np.pi * hertz * time_axis)).astype(np.float32)
    audio = write_wav(Waveform(samples=samples, sample_rate=16_000), folder)
    return Request(id=name, audio=audio, language=language)


def stereo_request(folder: Path, language: str) -> Request:
    """Write a stereo FLAC file at 44.1 kHz and return a request for it."""
    import numpy as np
    import soundfile

    path = folder / "stereo.flac"
    time_axis = np.arange(22_050) / 44_100
    channels = [np.sin(1500 * time_axis), np.sin(900 * time_axis)]
    soundfile.write(path, np.stack(channels, axis=1) * 0.3, 44_100)
    return Request(id="stereo", audio=audio_ref(path), language=language)


def truncated_audio(folder: Path) -> AudioRef:
    """Write the first bytes of a WAV file, which nothing can read."""
    path = folder / "truncated.wav"
    path.write_bytes(b"RIFF\x00\x00\x00\x00WAVEfmt ")
    return AudioRef(path=path, sha256="0" * 64, seconds=1.0)
