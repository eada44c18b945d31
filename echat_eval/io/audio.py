"""Audio files: named by content, read as mono, written atomically, and rejected with one line if invalid.

`BadData` means misuse for a task's file and a failed reply for a system's file; the caller decides which.
"""

from __future__ import annotations

import io
import logging
import re
import stat
import wave
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData
from echat_eval.io.files import write_atomically
from echat_eval.io.hashing import file_sha256, sha256_of
from echat_eval.io.inside import Folder
from echat_eval.io.wav_header import PlainWav, mended_wav, plain_wav, read_wav
from echat_eval.records import AudioRef, Waveform

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "MAX_CHANNELS",
    "MAX_SECONDS",
    "MIN_SECONDS",
    "audio_ref",
    "check_audio",
    "check_content",
    "check_waveform",
    "read_mono",
    "read_noted",
    "resampler",
    "wav_bytes",
    "write_wav",
]

#: Seconds. Shorter audio is inaudible; longer audio is not a turn of a dialogue.
MIN_SECONDS, MAX_SECONDS = 0.01, 600.0
MAX_CHANNELS = 64
#: Hz.
MIN_RATE, MAX_RATE = 1000, 192_000
#: Samples above full scale are clipped; a peak above this means another scale (int16 passed as float).
MAX_PEAK = 2.0

#: Decoded samples, refused before decoding: a small FLAC can hold gigabytes. Ten minutes at 96 kHz, or of
#: eight channels at 48 kHz.
MAX_FRAMES, MAX_SAMPLES = 600 * 96_000, 1 << 28
#: The mean of the channels is silent if its level is below this share of the loudest channel's; the mean of
#: one voice among 64 channels is not.
_SILENT_MEAN = 0.01

_BLOCK_SAMPLES = 1 << 20
#: Lines of libsndfile's log that state a size in the header and the actual size of the file.
_HEADER_SIZE = re.compile(r"^\s*(?:data|SSND|riff|Riff size|Data Size)\s*:\s*(\d+) \(should be (\d+)\)", re.M)
#: Programs that stream write sizes from this on, because the length is not known in advance.
_UNKNOWN_SIZE = 0x7FFF_0000

logger = logging.getLogger(__name__)


@cache
def resampler() -> str:
    """Return the resampling function and its version: in fingerprints, since another can change samples."""
    from importlib.metadata import version

    return f"scipy.signal.resample_poly {version('scipy')}"


def audio_ref(path: Path) -> AudioRef:
    """Return the file's hash, and its duration according to the header; nothing is decoded.

    Raises:
        BadData: missing, not a file, empty, not audio, cut short, no frames, or out of bounds.
    """
    content = _content_if_wav(path)
    if content is not None and (wav := plain_wav(content)) is not None:
        _check_bounds(path, wav)
        seconds = wav.frames / wav.rate
    else:
        with _opened(path, content) as file:
            seconds = file.frames / file.samplerate
    try:
        sha256 = file_sha256(path) if content is None else sha256_of(content)
    except OSError as error:
        raise BadData(f"{path}: cannot be read: {error.strerror or error}") from error
    return AudioRef(path=path, sha256=sha256, seconds=seconds)


def check_content(audio: AudioRef) -> None:
    """Raise BadData unless a file still has the bytes of its hash, and is no link out of its folder."""
    try:
        Folder(audio.path.parent).file(audio.path.name)
        if file_sha256(audio.path) != audio.sha256:
            raise BadData("its bytes are not those whose hash was stored")
    except FileNotFoundError as error:
        raise BadData(f"{audio.path}: no such file") from error
    except OSError as error:
        raise BadData(f"{audio.path}: cannot be read: {error.strerror or error}") from error
    except BadData as error:
        raise BadData(f"{audio.path}: {error}") from error


def check_audio(path: Path) -> None:
    """Raise BadData unless the whole file can be decoded."""
    read_mono(path, rate=None)


def read_mono(path: Path, *, rate: int | None = 16000) -> tuple[NDArray[np.float32], int]:
    """Return the mean of the channels, and the sample rate.

    Args:
        path: any format, rate and channel count that libsndfile reads.
        rate: Hz to resample to; None keeps the file's rate.

    Returns:
        (frames,) float32, full scale 1.0, and Hz.

    Raises:
        BadData: as `audio_ref`, and for undecodable, NaN or infinite samples, or samples of another scale.
    """
    mono, file_rate, note = read_noted(path)
    if note:
        logger.warning("%s: %s", path, note)
    if rate is None or rate == file_rate:
        return mono, file_rate
    return _resample(mono, file_rate, rate), rate


def read_noted(path: Path) -> tuple[NDArray[np.float32], int, str | None]:
    """Return the mean of the channels, the sample rate, and what was mended; None if nothing was.

    Where the mean is silent and the channels are not, such as a voice in opposite phase, the loudest channel
    is taken instead.

    Returns:
        (frames,) float32, full scale 1.0; Hz; a note.

    Raises:
        BadData: as `read_mono`.
    """
    import numpy as np

    with _opened(path, _content_if_wav(path)) as file:
        file_rate, header_frames = int(file.samplerate), int(file.frames)
        note = "its header states no length or only a part of it" if file.name != str(path) else None
        mono, energy, peak = _decoded(path, file, None)
        if len(mono) < header_frames:
            raise BadData(
                f"{path}: cut short: the header states {header_frames} frames, {len(mono)} could be decoded"
            )
        _check_samples(str(path), mono, peak)
        loudest = int(np.argmax(energy))
        if float(np.dot(mono, mono)) < _SILENT_MEAN**2 * energy[loudest]:
            file.seek(0)
            mono, _, _ = _decoded(path, file, loudest)
            note = f"the channels cancel out, so that their mean is silent; channel {loudest + 1} is taken"
    return mono, file_rate, note


def _decoded(
    path: Path, file: Any, channel: int | None
) -> tuple[NDArray[np.float32], NDArray[np.float64], float]:
    """Return one channel or the mean of all (frames,), the energy of each channel, and the peak."""
    import numpy as np

    blocks, energy, peak, frames = [], np.zeros(file.channels), 0.0, 0
    # Read in blocks, so that 64 channels need no more memory than one.
    size = max(1, _BLOCK_SAMPLES // file.channels)
    while len(block := file.read(size, dtype="float32", always_2d=True)):
        blocks.append(block.mean(axis=1) if channel is None else block[:, channel].copy())
        energy += np.einsum("ij,ij->j", block, block, dtype=np.float64)
        peak = float(np.maximum(peak, np.abs(block).max()))  # NaN stays NaN
        frames += len(block)
        if frames > (MAX_SECONDS + 1) * file.samplerate:
            raise BadData(f"{path}: longer than {MAX_SECONDS:g} s")
    return np.concatenate(blocks) if blocks else np.zeros(0, dtype=np.float32), energy, peak


def check_waveform(waveform: Waveform) -> None:
    """Raise BadData unless the waveform is mono float audio within the length limits."""
    import numpy as np

    samples: Any = waveform.samples  # comes from a system, so it may not be an array
    rate: Any = waveform.sample_rate
    if isinstance(rate, bool) or not isinstance(rate, int | np.integer) or not MIN_RATE <= rate <= MAX_RATE:
        raise BadData(f"waveform: sample_rate is {rate!r}; expected whole Hz from {MIN_RATE} to {MAX_RATE}")
    if not isinstance(samples, np.ndarray) or samples.dtype.kind != "f":
        actual = samples.dtype if isinstance(samples, np.ndarray) else type(samples).__name__
        raise BadData(f"waveform: samples are {actual}; expected a float array in [-1, 1] (int16 / 32768)")
    if samples.ndim != 1:
        raise BadData(f"waveform: samples have shape {samples.shape}; expected (frames,), mono")
    _check_length("waveform", len(samples), int(rate))
    _check_samples("waveform", samples, float(np.abs(samples).max()))


def wav_bytes(waveform: Waveform) -> bytes:
    """Return audio as a WAV file of 16-bit PCM, which holds nothing else.

    Samples beyond full scale are clipped. Equal samples give equal bytes.

    Raises:
        BadData: see `check_waveform`.
    """
    import numpy as np

    check_waveform(waveform)
    pcm = np.rint(np.clip(waveform.samples, -1.0, 1.0) * 32767.0).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(int(waveform.sample_rate))
        file.writeframes(pcm.tobytes())
    return buffer.getvalue()


def write_wav(waveform: Waveform, folder: Path) -> AudioRef:
    """Write audio as `wav_bytes` to `folder/<sha256>.wav`, atomically.

    Raises:
        BadData: see `check_waveform`.
    """
    content = wav_bytes(waveform)
    sha256 = sha256_of(content)
    path = folder / f"{sha256}.wav"
    if not path.is_file() or path.stat().st_size != len(content):
        write_atomically(path, content)
    return AudioRef(path=path, sha256=sha256, seconds=len(waveform.samples) / waveform.sample_rate)


def _resample(mono: NDArray[np.float32], file_rate: int, rate: int) -> NDArray[np.float32]:
    from math import gcd

    import numpy as np
    from scipy.signal import resample_poly

    step = gcd(file_rate, rate)
    resampled: NDArray[np.float32] = resample_poly(mono, rate // step, file_rate // step).astype(np.float32)
    return resampled


def _content_if_wav(path: Path) -> bytes | None:
    """Return the bytes of a WAV whose header may need mending; None for any other audio file."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BadData(f"{path}: not a file")
        if status.st_size == 0:
            raise BadData(f"{path}: the file is empty")
        with path.open("rb") as file:  # libsndfile would report only "System error" if that is not allowed
            return read_wav(file, status.st_size)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BadData(f"{path}: no such file") from error
    except OSError as error:
        raise BadData(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # NUL, or not Unicode
        raise BadData(f"{str(path)!r}: no such file") from error


@contextmanager
def _opened(path: Path, content: bytes | None) -> Iterator[Any]:
    """Open a file and check its header; decoding errors become BadData."""
    import soundfile

    source = (content and mended_wav(content, str(path), MAX_SECONDS)) or path
    try:
        with soundfile.SoundFile(source) as file:
            _check_header(path, file)
            yield file
    except soundfile.SoundFileError as error:
        reason = str(error).split(": ", 1)[-1].strip().rstrip(".")
        raise BadData(f"{path}: not audio that libsndfile can read, or cut short: {reason}") from error


def _check_header(path: Path, file: Any) -> None:
    for stated, actual in _HEADER_SIZE.findall(file.extra_info):
        if int(actual) < int(stated) < _UNKNOWN_SIZE:
            raise BadData(
                f"{path}: cut short: the header states {stated} bytes of audio, the file has {actual}"
            )
    _check_bounds(path, PlainWav(file.samplerate, file.channels, file.frames))


def _check_bounds(path: Path, header: PlainWav) -> None:
    rate, channels, frames = header.rate, header.channels, header.frames
    if not MIN_RATE <= rate <= MAX_RATE:
        raise BadData(f"{path}: sample rate is {rate} Hz; expected from {MIN_RATE} to {MAX_RATE}")
    if channels > MAX_CHANNELS:
        raise BadData(f"{path}: {channels} channels; at most {MAX_CHANNELS} are supported")
    _check_length(str(path), frames, rate)
    if frames > MAX_FRAMES or frames * channels > MAX_SAMPLES:
        raise BadData(
            f"{path}: {frames:,} frames of {channels} channels; at most {MAX_FRAMES:,} frames and "
            f"{MAX_SAMPLES:,} samples are decoded"
        )


def _check_samples(label: str, samples: NDArray[Any], peak: float) -> None:
    """Raise BadData unless samples are finite and within the scale; the same rule for files and arrays."""
    import numpy as np

    if not np.isfinite(peak) or not np.isfinite(samples).all():
        raise BadData(f"{label}: contains NaN or infinite samples")
    if peak > MAX_PEAK:
        raise BadData(f"{label}: peak is {peak:g}; expected samples in [-1, 1] (int16 / 32768)")


def _check_length(label: str, frames: int, rate: int) -> None:
    if frames <= 0:
        raise BadData(f"{label}: no samples")
    if frames < MIN_SECONDS * rate:
        raise BadData(f"{label}: {frames} sample(s) at {rate} Hz; at least {MIN_SECONDS:g} s is required")
    if frames > MAX_SECONDS * rate:
        raise BadData(f"{label}: {frames / rate:.0f} s long; at most {MAX_SECONDS:g} s is supported")
