"""Audio files: valid ones written by soundfile, and invalid ones of every kind."""

from __future__ import annotations

import hashlib
import struct
import wave
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from echat_eval.errors import BadData
from echat_eval.io.audio import (
    MAX_SECONDS,
    audio_ref,
    check_audio,
    check_content,
    check_waveform,
    read_mono,
    read_noted,
    resampler,
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


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
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
    assert (mono.dtype, mono.ndim, got) == (np.dtype(np.float32), 1, 16000)
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


BAD_WAVEFORMS: dict[str, tuple[Any, Any, str]] = {
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

    assert f"scipy.signal.resample_poly {scipy.__version__}" == resampler()
    assert MAX_SECONDS == 600


PCM = np.rint(TONE * 32767).astype("<i2").tobytes()


def headed(path: Path, data: int, riff: int, audio: bytes = PCM, rate: int = 16000) -> Path:
    """Write a 16-bit mono WAV with the given lengths in its header."""
    form = struct.pack("<IHHIIHH", 16, 1, 1, rate, rate * 2, 2, 16)
    head = b"RIFF" + struct.pack("<I", riff) + b"WAVEfmt " + form + b"data" + struct.pack("<I", data)
    return with_bytes(path, head + audio)


@pytest.mark.parametrize(
    "stated",
    [0, 0xFFFFFFFF, 0xFFFFFFDB, 0x7FFFFFFF, 0x7FFFF000, 0x80000000 - 44, 2_000_000_000, 1_000_000_000],
)
def test_a_placeholder_for_the_length_is_read_to_the_end(stated: int, tmp_path: Path) -> None:
    path = headed(tmp_path / "x.wav", stated, min(stated + 36, 0xFFFFFFFF))
    assert audio_ref(path).seconds == 0.5
    mono, _, note = read_noted(path)
    np.testing.assert_allclose(mono, TONE, atol=1e-4)
    assert note


@pytest.mark.parametrize("stated", [None, 0, 0xFFFFFFFF])
def test_wavs_in_a_row_are_joined(stated: int | None, tmp_path: Path) -> None:
    third = len(PCM) // 4 * 2
    pieces = [
        headed(tmp_path / "p.wav", len(p) if stated is None else stated, 36, p).read_bytes()
        for p in (PCM[:third], PCM[third:])
    ]
    path = with_bytes(tmp_path / "x.wav", b"".join(pieces))
    assert audio_ref(path).seconds == 0.5
    np.testing.assert_allclose(read_mono(path)[0], TONE, atol=1e-4)


def test_wavs_in_a_row_of_different_formats_are_named_and_a_torn_one_is_refused(tmp_path: Path) -> None:
    first = headed(tmp_path / "a.wav", len(PCM), 36).read_bytes()
    other = headed(tmp_path / "b.wav", len(PCM), 36, rate=8000).read_bytes()
    with pytest.raises(BadData, match=r"2 WAV files in a row, of different formats: 16000 Hz.*8000 Hz"):
        read_mono(with_bytes(tmp_path / "x.wav", first + other))
    with pytest.raises(BadData, match="2 WAV files in a row, one of them cut short"):
        read_mono(with_bytes(tmp_path / "x.wav", first + first[:-100]))


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize("scale", [5.0, 32767.0, 2.0**31])
def test_a_file_of_another_scale_is_refused_as_an_array_is(
    scale: float, subtype: str, tmp_path: Path
) -> None:
    path = wav(tmp_path / "x.wav", TONE * scale, subtype=subtype)
    with pytest.raises(BadData, match=r"x\.wav: peak is .*; expected samples in \[-1, 1\]"):
        read_mono(path)
    with pytest.raises(BadData, match=r"waveform: peak is .*; expected samples in \[-1, 1\]"):
        check_waveform(Waveform(samples=TONE * np.float32(scale), sample_rate=16000))


@pytest.mark.parametrize("others", [(-1.0,), (-0.5, -0.5), (-1.0, 0.0, 0.0)])
def test_channels_that_cancel_out_keep_one_channel(others: tuple[float, ...], tmp_path: Path) -> None:
    path = wav(tmp_path / "x.wav", np.stack([TONE, *(TONE * share for share in others)], 1))
    mono, _, note = read_noted(path)
    np.testing.assert_allclose(mono, TONE, atol=1e-3)
    assert "channel 1 is taken" in str(note)


@pytest.mark.parametrize("channels", [2, 64])
def test_one_loud_channel_is_averaged_as_before(channels: int, tmp_path: Path) -> None:
    samples = np.zeros((len(TONE), channels), np.float32)
    samples[:, 0] = TONE
    mono, _, note = read_noted(wav(tmp_path / "x.wav", samples))
    np.testing.assert_allclose(mono, TONE / channels, atol=1e-4)
    assert note is None


def test_audio_that_unpacks_to_gigabytes_is_refused_before_decoding(tmp_path: Path) -> None:
    path = wav(tmp_path / "x.flac", np.zeros((2_000, 8), np.int16), 16000)
    content = bytearray(path.read_bytes())
    # STREAMINFO: 20 bits of rate, 3 of channels, 5 of depth, 36 of frames.
    packed = int.from_bytes(content[18:26], "big") & ~((1 << 36) - 1) & ((1 << 44) - 1)
    content[18:26] = (packed | 192_000 << 44 | 40_000_000).to_bytes(8, "big")
    with pytest.raises(BadData, match="frames of 8 channels; at most"):
        audio_ref(with_bytes(path, bytes(content)))


def test_a_file_of_ten_minutes_at_192_khz_is_refused_before_decoding(tmp_path: Path) -> None:
    path = wav(tmp_path / "x.flac", np.zeros(2_000, np.int16), 16000)
    content = bytearray(path.read_bytes())
    packed = int.from_bytes(content[18:26], "big") & ~((1 << 36) - 1) & ((1 << 44) - 1)
    content[18:26] = (packed | 192_000 << 44 | 600 * 192_000).to_bytes(8, "big")
    with pytest.raises(BadData, match="115,200,000 frames of 1 channels; at most 57,600,000"):
        audio_ref(with_bytes(path, bytes(content)))


@pytest.mark.parametrize("name", ["a\0b.wav", "\ud800.wav"])
def test_a_name_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadData, match="no such file"):
        audio_ref(tmp_path / name)


def test_stored_audio_is_checked_against_its_hash_and_its_folder(tmp_path: Path) -> None:
    path = wav(tmp_path / "x.wav", TONE)
    audio = audio_ref(path)
    check_content(audio)
    with pytest.raises(BadData, match=r"x\.wav: its bytes are not those"):
        check_content(replace(audio, sha256="0" * 64))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "y.wav").symlink_to(path)
    with pytest.raises(BadData, match="a link that leaves the folder"):
        check_content(replace(audio, path=tmp_path / "in" / "y.wav"))
    with pytest.raises(BadData, match=r"z\.wav: no such file"):
        check_content(replace(audio, path=tmp_path / "z.wav"))


def test_a_rate_whose_conversion_takes_seconds_is_refused(tmp_path: Path) -> None:
    """767,999 Hz to 16,000 Hz needs a filter of 15 million taps: 6 s and 800 MB for one second of audio."""
    path = wav(tmp_path / "x.wav", np.zeros(8_000, np.int16), 767_999)
    with pytest.raises(BadData, match="sample rate is 767999 Hz; expected from 1000 to 192000"):
        audio_ref(path)
