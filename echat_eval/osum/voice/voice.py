"""A voice: what token2wav must know of one recording, prepared once and kept in one small file.

The recording is heard by two graphs of the released package: `speech_tokenizer_v1.onnx` turns it into speech
tokens, `campplus.onnx` into a speaker embedding.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from echat_eval.errors import BadData, NotInstalled
from echat_eval.osum.model.features import resample
from echat_eval.osum.voice.config import EMBEDDING_SIZE, MELS, SAMPLE_RATE, SPEECH_IDS
from echat_eval.osum.voice.features import (
    GRAPH_RATE,
    speaker_features,
    tokenizer_features,
    voice_mel,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = [
    "LONGEST_SECONDS",
    "SHORTEST_SECONDS",
    "Voice",
    "fingerprint",
    "load_voice",
    "prepare_voice",
    "save_voice",
]

#: The speech tokenizer was made for up to 30 s.
LONGEST_SECONDS = 30.0
#: Two speech tokens; below, the graphs have next to nothing to hear.
SHORTEST_SECONDS = 0.1
#: Marks our files, and their version.
FORMAT = "echat-eval voice 1"
#: What a voice file holds: name -> dtype, shape; None is free.
LAYOUT: Mapping[str, tuple[str, tuple[int | None, ...]]] = {
    "tokens": ("int64", (None,)),
    "mel": ("float32", (None, MELS)),
    "embedding": ("float32", (EMBEDDING_SIZE,)),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Voice:
    """One recording of one speaker, as the flow wants it.

    Attributes:
        tokens: (P,) int64, speech ids of the recording, 25 a second.
        mel: (F, 80) float32, log-mel of the same recording, 86.13 frames a second.
        embedding: (192,) float32, of the speaker.

    Raises:
        BadData: a wrong shape or type, nothing in it, an id out of range, or a number that is not finite.
    """

    tokens: NDArray[np.int64]
    mel: NDArray[np.float32]
    embedding: NDArray[np.float32]

    def __post_init__(self) -> None:
        for name, (dtype, shape) in LAYOUT.items():
            value = getattr(self, name)
            fits = value.ndim == len(shape) and all(
                want in (None, got) for want, got in zip(shape, value.shape, strict=True)
            )
            if str(value.dtype) != dtype or not fits or not value.size:
                want = tuple("n" if size is None else size for size in shape)
                raise BadData(
                    f"voice: '{name}' is {value.dtype} {value.shape}; expected {dtype} {want}, n > 0"
                )
            if not np.isfinite(value).all():
                raise BadData(f"voice: '{name}' holds numbers that are not finite; prepare the voice again")
        low, high = int(self.tokens.min()), int(self.tokens.max())
        if low < 0 or high >= SPEECH_IDS:
            raise BadData(f"voice: speech ids from {low} to {high}; expected 0 to {SPEECH_IDS - 1}")


def prepare_voice(recording: Path, *, tokenizer: Path, speaker: Path) -> Voice:
    """Hear a recording through both graphs.

    Args:
        recording: any file libsndfile reads, 0.1 to 30 s, at 22,050 Hz or more; channels are averaged.
        tokenizer: speech_tokenizer_v1.onnx: log-mel (1, 128, T) and length (1,) to speech ids.
        speaker: campplus.onnx: filter bank (1, T, 80) to an embedding.

    Raises:
        BadData: a recording out of these bounds, or a graph that cannot be read or answers something else.
        NotInstalled: onnxruntime is missing.
    """
    wave = torch.from_numpy(read_recording(recording))
    heard = resample(wave, SAMPLE_RATE, GRAPH_RATE)
    features = tokenizer_features(heard)[None].numpy()
    length = np.array([features.shape[2]], dtype=np.int32)
    tokens = run_graph(tokenizer, features, length)
    embedding = run_graph(speaker, speaker_features(heard)[None].numpy())
    try:
        return Voice(
            tokens=tokens.reshape(-1).astype(np.int64),
            mel=voice_mel(wave).numpy(),
            embedding=embedding.reshape(-1).astype(np.float32),
        )
    except BadData as error:
        raise BadData(f"{recording}, heard by {tokenizer.name} and {speaker.name}: {error}") from None


def read_recording(path: Path) -> NDArray[np.float32]:
    """Return (N,) float32 at 22,050 Hz, channels averaged, of a recording within the bounds."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            rate, seconds = file.samplerate, file.frames / file.samplerate
            if rate < SAMPLE_RATE:
                raise BadData(f"{path}: {rate} Hz; a voice needs at least {SAMPLE_RATE} Hz, record it again")
            if not SHORTEST_SECONDS <= seconds <= LONGEST_SECONDS:
                raise BadData(
                    f"{path}: {seconds:.2f} s; a voice needs {SHORTEST_SECONDS} to {LONGEST_SECONDS:.0f} s, "
                    "cut out one clean stretch of about 10 s"
                )
            wave = file.read(dtype="float32", always_2d=True).mean(axis=1)
    except (soundfile.LibsndfileError, OSError) as error:
        raise BadData(f"{path}: not a sound file ({error}); expected wav, flac or ogg") from None
    if not np.isfinite(wave).all():
        raise BadData(f"{path}: holds samples that are not finite numbers; expected [-1, 1]")
    return resample(torch.from_numpy(wave), rate, SAMPLE_RATE).numpy()


def run_graph(path: Path, *inputs: NDArray[np.float32] | NDArray[np.int32]) -> NDArray[np.generic]:
    """Return the first output of an ONNX graph, on the CPU.

    Raises:
        BadData: missing, damaged, or of other inputs.
        NotInstalled: onnxruntime is missing.
    """
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as fault
    except ImportError:
        raise NotInstalled("a voice needs onnxruntime: pip install 'echat-eval[osum]'") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    failures = (
        fault.Fail,
        fault.InvalidArgument,
        fault.InvalidGraph,
        fault.InvalidProtobuf,
        fault.NoSuchFile,
        fault.NotImplemented,
        fault.RuntimeException,
    )
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        names = [port.name for port in session.get_inputs()]
        if len(names) != len(inputs):
            raise BadData(
                f"{path}: takes {len(names)} inputs, expected {len(inputs)}; are the graphs swapped?"
            )
        output: NDArray[np.generic] = session.run(None, dict(zip(names, inputs, strict=True)))[0]
    except failures as error:
        reason = str(error).splitlines()[0]
        raise BadData(f"{path}: does not run ({reason}); unpack it again from the released tar") from None
    return output


def save_voice(voice: Voice, path: Path) -> None:
    """Write a voice file (safetensors)."""
    from safetensors.numpy import save_file

    save_file({name: getattr(voice, name) for name in LAYOUT}, path, metadata={"format": FORMAT})


def load_voice(path: Path) -> Voice:
    """Return the voice of a file that `save_voice` wrote.

    Raises:
        BadData: missing, damaged, of another kind, or holding anything but a whole voice.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            kind = (file.metadata() or {}).get("format")
            if kind != FORMAT or set(file.keys()) != set(LAYOUT):
                held = ", ".join(sorted(file.keys()))
                raise BadData(
                    f"{path}: '{kind}' with {held or 'nothing'}; expected '{FORMAT}' with {', '.join(LAYOUT)}"
                )
            values = {name: file.get_tensor(name) for name in LAYOUT}
    except (SafetensorError, OSError) as error:
        raise BadData(f"{path}: not a voice file ({error}); prepare the voice again") from None
    try:
        return Voice(**values)
    except BadData as error:
        raise BadData(f"{path}: {error}") from None


def fingerprint(voice: Voice) -> str:
    """Return the sha256 of a voice's numbers."""
    digest = hashlib.sha256()
    for name in LAYOUT:
        digest.update(np.ascontiguousarray(getattr(voice, name)).tobytes())
    return digest.hexdigest()
