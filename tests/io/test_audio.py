"""Audio files: valid ones written by soundfile, and invalid ones of every kind."""

from __future__ import annotations

import hashlib
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile

from echat_eval.errors import BadData
from echat_eval.io.audio import (
    MAX_SECONDS,
    RESAMPLER,
    audio_ref,
    check_audio,
    check_waveform,
    read_mono,
    write_wav,
)
from echat_eval.records import Waveform

TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(8000) / 16000)).astype(np.float32)


def wav(path: Path, samples: np.ndarray = TONE, rate: int = 16000, **settings: str) -> Path:
    soundfile.write(path, samples, rate, **settings)
    return path


def cut(path: Path, keep: int) -> Path:
    path.write_bytes(path.read_bytes()[:keep])
    return path


def with_bytes(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def two_hours(path: Path) -> Path:
    """Write a sparse file whose header states two hours."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(b"")
    size = 2 * 3600 * 16000 * 2
    head = bytearray(path.read_bytes())
    head[4:8] = (36 + size).to_bytes(4, "little")
    head[40:44] = size.to_bytes(4, "little")
    with path.open("wb") as raw:
        raw.write(head)
        raw.truncate(44 + size)
    return path


BAD = {
    "missing": (lambda d: d / "x.wav", "no such file"),
    "a folder": (lambda d: d, "not a file"),
    "empty": (lambda d: with_bytes(d / "x.wav", b""), "the file is empty"),
    "text": (lambda d: with_bytes(d / "x.wav", b"I am not a wav file at all.\n" * 50), "not audio"),
    "half a wav": (lambda d: cut(wav(d / "x.wav"), 8000), "cut short"),
    "half a header": (lambda d: cut(wav(d / "x.wav"), 30), "cut short"),
    "half an aiff": (lambda d: cut(wav(d / "x.aiff"), 8000), "cut short"),
    "half a w64": (lambda d: cut(wav(d / "x.w64"), 8000), "cut short"),
    "zero frames": (lambda d: wav(d / "x.wav", TONE[:0]), "no samples"),
    "one sample": (lambda d: wav(d / "x.wav", TONE[:1]), "1 sample(s) at 16000 Hz"),
    "65 channels": (lambda d: wav(d / "x.wav", np.tile(TONE[:, None], 65)), "65 channels; at most 64"),
    "two hours": (lambda d: two_hours(d / "x.wav"), "7200 s long; at most 600 s"),
    "rate 100 Hz": (lambda d: wav(d / "x.wav", rate=100), "sample rate is 100 Hz"),
}
BAD_SAMPLES = {
    "nan": np.where(np.arange(8000) == 4000, np.nan, TONE),
    "inf": np.where(np.arange(8000) == 7999, np.inf, TONE),
}


@pytest.mark.parametrize("case", BAD)
def test_an_invalid_file_is_reported_in_one_line(case: str, tmp_path: Path) -> None:
    make, expected = BAD[case]
    path = make(tmp_path)
    for read in (audio_ref, read_mono, check_audio):
        with pytest.raises(BadData) as caught:
            read(path)
        assert expected in str(caught.value)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("case", BAD_SAMPLES)
def test_non_finite_samples_are_rejected_when_decoding(case: str, tmp_path: Path) -> None:
    path = wav(tmp_path / "x.wav", BAD_SAMPLES[case], subtype="FLOAT")
    with pytest.raises(BadData, match="NaN or infinite"):
        read_mono(path)


def test_faults_that_only_decoding_reveals_are_reported_when_decoding(tmp_path: Path) -> None:
    path = cut(wav(tmp_path / "x.flac"), 1500)
    audio_ref(path)
    for read in (read_mono, check_audio):
        with pytest.raises(BadData, match="cut short"):
            read(path)


def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = wav(tmp_path / "x.wav")

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(BadData, match=r"x\.wav: cannot be read: Permission denied"):
        audio_ref(path)


def test_an_audio_ref_has_the_hash_of_the_bytes(tmp_path: Path) -> None:
    path = wav(tmp_path / "x.wav")
    ref = audio_ref(path)
    assert ref.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert ref.seconds == 0.5


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "mp3", "aiff", "w64", "caf", "au"])
@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (16000, 2), (44100, 2), (48000, 1)])
def test_any_format_and_rate_reads_as_the_same_tone(
    extension: str, rate: int, channels: int, tmp_path: Path
) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    path = wav(tmp_path / f"x.{extension}", np.tile(tone[:, None], channels), rate)
    mono, got = read_mono(path)
    assert (mono.dtype, mono.ndim, got) == (np.float32, 1, 16000)
    spectrum = np.abs(np.fft.rfft(mono[2000:14000]))
    assert abs(np.argmax(spectrum) * 16000 / 12000 - 440) < 2
    assert np.sqrt(np.mean(mono[2000:14000] ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)


def test_mono_is_the_mean_of_eight_channels(tmp_path: Path) -> None:
    channels = np.random.default_rng(0).uniform(-0.9, 0.9, (4000, 8))
    path = wav(tmp_path / "x.wav", channels, subtype="FLOAT")
    mono, rate = read_mono(path, rate=None)
    assert rate == 16000
    np.testing.assert_allclose(mono, channels.mean(axis=1), atol=1e-6)


def test_a_streamed_wav_of_unknown_length_is_read(tmp_path: Path) -> None:
    path = wav(tmp_path / "x.wav")
    content = bytearray(path.read_bytes())
    at = content.index(b"data")
    content[at + 4 : at + 8] = content[4:8] = b"\xff" * 4
    path.write_bytes(content)
    assert len(read_mono(path)[0]) == 8000


def test_written_wav_is_named_by_its_bytes_and_reads_back(tmp_path: Path) -> None:
    ref = write_wav(Waveform(samples=TONE, sample_rate=16000), tmp_path)
    assert ref == audio_ref(tmp_path / f"{ref.sha256}.wav")
    np.testing.assert_allclose(read_mono(ref.path)[0], TONE, atol=1 / 32767)
    assert write_wav(Waveform(samples=TONE, sample_rate=16000), tmp_path) == ref
    assert len(list(tmp_path.iterdir())) == 1


def test_a_truncated_file_is_written_again(tmp_path: Path) -> None:
    ref = write_wav(Waveform(samples=TONE, sample_rate=16000), tmp_path)
    cut(ref.path, 100)
    assert write_wav(Waveform(samples=TONE, sample_rate=16000), tmp_path) == audio_ref(ref.path)


def test_a_full_disk_leaves_no_partial_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_wav(Waveform(samples=TONE, sample_rate=16000), tmp_path)
    assert not list(tmp_path.iterdir())


def test_samples_beyond_full_scale_are_clipped(tmp_path: Path) -> None:
    ref = write_wav(Waveform(samples=np.full(1000, -1.2, np.float32), sample_rate=16000), tmp_path)
    assert read_mono(ref.path)[0].max() < -0.99


BAD_WAVEFORMS = {
    "none": (np.zeros(0, np.float32), 16000, "no samples"),
    "one sample": (TONE[:1], 16000, "1 sample(s)"),
    "nan": (BAD_SAMPLES["nan"], 16000, "NaN or infinite"),
    "inf": (BAD_SAMPLES["inf"], 16000, "NaN or infinite"),
    "stereo": (np.stack([TONE, TONE]), 16000, "expected (frames,), mono"),
    "int16": ((TONE * 32767).astype(np.int16), 16000, "samples are int16"),
    "int16 as float": (TONE * 32767, 16000, "expected samples in [-1, 1]"),
    "a list": ([0.0] * 1000, 16000, "samples are list"),
    "rate 0": (TONE, 0, "sample_rate is 0"),
    "rate 16000.5": (TONE, 16000.5, "sample_rate is 16000.5"),
    "two hours": (np.zeros(2 * 3600 * 1000, np.float32), 1000, "7200 s long"),
}


@pytest.mark.parametrize("case", BAD_WAVEFORMS)
def test_an_invalid_waveform_is_reported_in_one_line(case: str, tmp_path: Path) -> None:
    samples, rate, expected = BAD_WAVEFORMS[case]
    with pytest.raises(BadData) as caught:
        check_waveform(Waveform(samples=samples, sample_rate=rate))
    assert expected in str(caught.value)
    with pytest.raises(BadData):
        write_wav(Waveform(samples=samples, sample_rate=rate), tmp_path)
    assert not list(tmp_path.iterdir())


def test_resampler_is_named_with_its_version() -> None:
    import scipy

    assert f"scipy.signal.resample_poly {scipy.__version__}" == RESAMPLER
    assert MAX_SECONDS == 600
