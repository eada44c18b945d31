"""A voice: the data that token2wav needs from one recording, prepared once and stored in one small file.

Two graphs of the release process the recording: `speech_tokenizer_v1.onnx` returns speech tokens, and
`campplus.onnx` a speaker embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from echat_eval.errors import BadData, NotInstalled
from echat_eval.io.hashing import sha256_of
from echat_eval.osum.model.features import resample
from echat_eval.osum.voice.config import EMBEDDING_SIZE, MELS, SAMPLE_RATE, SPEECH_IDS
from echat_eval.osum.voice.features import (
    GRAPH_RATE,
    speaker_features,
    tokenizer_features,
    voice_mel,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = [
    "LONGEST_SECONDS",
    "SHORTEST_SECONDS",
    "Voice",
    "consent_of",
    "fingerprint",
    "load_voice",
    "prepare_voice",
    "save_voice",
]

#: Limit of the speech tokenizer.
LONGEST_SECONDS = 30.0
#: Two speech tokens; anything shorter gives the graphs too little input.
SHORTEST_SECONDS = 0.1
#: Identifies our files and their version.
FORMAT = "echat-eval voice 1"
#: Content of a voice file: name -> dtype and shape; None is any size.
LAYOUT: Mapping[str, tuple[str, tuple[int | None, ...]]] = {
    "tokens": ("int64", (None,)),
    "mel": ("float32", (None, MELS)),
    "embedding": ("float32", (EMBEDDING_SIZE,)),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Voice:
    """One recording of one speaker, in the form that the flow takes.

    Attributes:
        tokens: (P,) int64, speech ids of the recording, 25 per second.
        mel: (F, 80) float32, log-mel of the same recording, 86.13 frames per second.
        embedding: (192,) float32, of the speaker.

    Raises:
        BadData: a wrong shape or dtype, an empty array, an id out of range, or a number that is not finite.
    """

    tokens: NDArray[np.int64]
    mel: NDArray[np.float32]
    embedding: NDArray[np.float32]

    def __post_init__(self) -> None:
        for name, (dtype, shape) in LAYOUT.items():
            value = getattr(self, name)
            fits = value.ndim == len(shape) and all(
                expected in (None, size) for expected, size in zip(shape, value.shape, strict=True)
            )
            if str(value.dtype) != dtype or not fits or not value.size:
                sizes = tuple("n" if size is None else size for size in shape)
                raise BadData(
                    f"voice: '{name}' is {value.dtype} {value.shape}; expected {dtype} {sizes}, n > 0"
                )
            if not np.isfinite(value).all():
                raise BadData(f"voice: '{name}' holds numbers that are not finite; prepare the voice again")
        low, high = int(self.tokens.min()), int(self.tokens.max())
        if low < 0 or high >= SPEECH_IDS:
            raise BadData(f"voice: speech ids from {low} to {high}; expected 0 to {SPEECH_IDS - 1}")


def prepare_voice(recording: Path, *, tokenizer: Path, speaker: Path) -> Voice:
    """Return the voice of a recording, computed with both graphs.

    Args:
        recording: any file that libsndfile reads, 0.1 to 30 s, at 22,050 Hz or more; channels are averaged.
        tokenizer: speech_tokenizer_v1.onnx: log-mel (1, 128, T) and length (1,) to speech ids.
        speaker: campplus.onnx: filter bank (1, T, 80) to an embedding.

    Raises:
        BadData: the recording is outside these limits, or a graph is unreadable or returns unexpected values.
        NotInstalled: onnxruntime is missing.
    """
    wave = torch.from_numpy(read_recording(recording))
    graph_wave = resample(wave, SAMPLE_RATE, GRAPH_RATE)
    features = tokenizer_features(graph_wave)[None].numpy()
    length = np.array([features.shape[2]], dtype=np.int32)
    tokens = run_graph(tokenizer, features, length)
    embedding = run_graph(speaker, speaker_features(graph_wave)[None].numpy())
    try:
        return Voice(
            tokens=tokens.reshape(-1).astype(np.int64),
            mel=voice_mel(wave).numpy(),
            embedding=embedding.reshape(-1).astype(np.float32),
        )
    except BadData as error:
        raise BadData(f"{recording}, processed by {tokenizer.name} and {speaker.name}: {error}") from None


def read_recording(path: Path) -> NDArray[np.float32]:
    """Return a recording within the limits as (N,) float32 at 22,050 Hz, channels averaged."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            rate, seconds = file.samplerate, file.frames / file.samplerate
            if rate < SAMPLE_RATE:
                raise BadData(f"{path}: {rate} Hz; a voice needs at least {SAMPLE_RATE} Hz, record it again")
            if not SHORTEST_SECONDS <= seconds <= LONGEST_SECONDS:
                raise BadData(
                    f"{path}: {seconds:.2f} s; a voice needs {SHORTEST_SECONDS} to {LONGEST_SECONDS:.0f} s, "
                    "cut out one clean passage of about 10 s"
                )
            wave = file.read(dtype="float32", always_2d=True).mean(axis=1)
    except (soundfile.LibsndfileError, OSError) as error:
        raise BadData(f"{path}: not a sound file ({error}); expected wav, flac or ogg") from None
    if not np.isfinite(wave).all():
        raise BadData(f"{path}: holds samples that are not finite numbers; expected [-1, 1]")
    return resample(torch.from_numpy(wave), rate, SAMPLE_RATE).numpy()


def run_graph(path: Path, *inputs: NDArray[np.float32] | NDArray[np.int32]) -> NDArray[np.generic]:
    """Return the first output of an ONNX graph, run on the CPU.

    Raises:
        BadData: the file is missing or damaged, or takes other inputs.
        NotInstalled: onnxruntime is missing.
    """
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as errors
    except ImportError:
        raise NotInstalled("a voice needs onnxruntime: pip install 'echat-eval[osum]'") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    failures = (
        errors.Fail,
        errors.InvalidArgument,
        errors.InvalidGraph,
        errors.InvalidProtobuf,
        errors.NoSuchFile,
        errors.NotImplemented,
        errors.RuntimeException,
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
        raise BadData(f"{path}: cannot be run ({reason}); unpack it again from the released tar") from None
    return output


def save_voice(voice: Voice, path: Path, *, consent: str | None = None) -> None:
    """Write a voice file (safetensors).

    Args:
        consent: what the speaker agreed to; it stays with the voice and is no part of its fingerprint.
    """
    from safetensors.numpy import save_file

    metadata = {"format": FORMAT} | ({"consent": consent} if consent else {})
    save_file({name: getattr(voice, name) for name in LAYOUT}, path, metadata=metadata)


def consent_of(path: Path) -> str | None:
    """Return what the speaker of a voice file agreed to; None if the file does not state it.

    Raises:
        BadData: not a voice file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return (file.metadata() or {}).get("consent")
    except (SafetensorError, OSError) as error:
        raise BadData(f"{path}: not a voice file ({error}); prepare the voice again") from None


def load_voice(path: Path) -> Voice:
    """Return the voice in a file written by `save_voice`.

    Raises:
        BadData: the file is missing, damaged, of another kind, or does not hold a complete voice.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            kind = (file.metadata() or {}).get("format")
            if kind != FORMAT or set(file.keys()) != set(LAYOUT):
                raise BadData(
                    f"{path}: '{kind}' with {_few(sorted(file.keys()))}; "
                    f"expected '{FORMAT}' with {', '.join(LAYOUT)}"
                )
            values = {name: file.get_tensor(name) for name in LAYOUT}
    except (SafetensorError, OSError) as error:
        raise BadData(f"{path}: not a voice file ({error}); prepare the voice again") from None
    try:
        return Voice(**values)
    except BadData as error:
        raise BadData(f"{path}: {error}") from None


def _few(names: Sequence[str], limit: int = 4) -> str:
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(name[:60] for name in names[:limit]) + rest or "nothing"


def fingerprint(voice: Voice) -> str:
    """Return the sha256 of the arrays of a voice."""
    return sha256_of(np.ascontiguousarray(getattr(voice, name)).tobytes() for name in LAYOUT)
