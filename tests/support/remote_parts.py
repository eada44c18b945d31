"""Systems and annotators for workers, pickled by value because workers do not have this folder on their path."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from echat_eval.errors import NotApplicable, SystemFailure
from echat_eval.records import AudioRef, Reply, Request, Waveform


class Motley:
    """Answers each request in one of eight ways, chosen by the request id."""

    name = "motley"
    calls_at_once = 1

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.lock = threading.Lock()  # common in adapters, and not picklable by default
        self.table = MappingProxyType({"a": 1})

    def load(self) -> None:
        self.loaded = True

    def respond(self, request: Request) -> Reply:
        assert self.loaded
        assert self.table["a"] == 1
        variant, seed = int(request.id[0], 16) % 8, int(request.audio.sha256[:6], 16)
        if variant == 0:
            raise SystemFailure("out of memory")
        if variant == 1:
            raise LookupError("no such voice")
        if variant == 2:
            raise NotApplicable("does not answer tones")
        if variant == 3:
            return Reply(text="words only", perceived={"emotion": "happy"}, usage={"tokens": seed % 7})
        if variant == 4:
            return Reply(text="your own voice", audio=request.audio)
        if variant == 5:
            return Reply(audio=self._file(request, stereo=True))
        if variant == 6:
            return Reply(text="torn", audio=self._file(request, stereo=False))
        samples = np.random.default_rng(seed).normal(0, 0.1, 200_000).astype(np.float32)
        return Reply(text="m", audio=Waveform(samples=samples, sample_rate=24_000))

    def _file(self, request: Request, *, stereo: bool) -> AudioRef:
        import soundfile

        path = Path(self.folder) / f"{request.id}.flac"
        if stereo:
            soundfile.write(path, np.random.default_rng(1).normal(0, 0.1, (4800, 2)), 48_000)
        else:
            path.write_bytes(b"no sound at all")
        # A hash that a system reports for its own file must not be trusted.
        return AudioRef(path=path, sha256="../../escape", seconds=1.0)

    def fingerprint(self) -> str:
        return "motley-1"

    def settings(self) -> Mapping[str, Any]:
        return {}


class Batched(Motley):
    """The same system with batches of two requests."""

    name = "batched"
    batch_size = 2

    def respond_batch(self, requests: Sequence[Request]) -> list[Reply]:
        return [self.respond(request) for request in requests]


class Loudness:
    """Measures the loudness of a reply, in batches of two."""

    name, version = "loudness", "1"
    batch_size = 2

    def annotate(self, audio: AudioRef, *, language: str) -> Mapping[str, Any]:
        import soundfile

        if audio.seconds > 8:
            raise NotApplicable("too long for this annotator")
        return {"rms": round(float(np.sqrt(np.mean(soundfile.read(audio.path)[0] ** 2))), 6)}

    def annotate_batch(self, audios: Sequence[AudioRef], *, language: str) -> list[Mapping[str, Any]]:
        return [self.annotate(audio, language=language) for audio in audios]

    def fingerprint(self) -> str:
        return "rms"

    def settings(self) -> Mapping[str, Any]:
        return {}


class Slow:
    """A slow system that leaves a file per call, which shows its process and whether it finished."""

    name = "slow"

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def load(self) -> None:
        (self.folder / f"loaded-{os.getpid()}").touch()

    def respond(self, request: Request) -> Reply:
        mark = self.folder / f"call-{os.getpid()}-{request.id}"
        mark.touch()
        time.sleep(0.4)
        mark.rename(self.folder / f"done-{os.getpid()}-{request.id}")
        return Reply(text="I see." * (int(request.audio.sha256[:2], 16) % 3 + 1), audio=request.audio)

    def fingerprint(self) -> str:
        return "slow-1"

    def settings(self) -> Mapping[str, Any]:
        return {}


class Deadly(Slow):
    """Kills its own process on one particular request."""

    name = "deadly"
    deadly_id = ""

    def respond(self, request: Request) -> Reply:
        if request.id == self.deadly_id:
            os.kill(os.getpid(), signal.SIGKILL)
        return Reply(text="fine")


class OnGpu:
    """Replies with the GPUs that its process sees."""

    calls_at_once = 1
    version = "1"

    def __init__(self, name: str) -> None:
        self.name, self.device = name, "cuda"

    def respond(self, request: Request) -> Reply:
        time.sleep(0.2)
        return Reply(text=os.environ["CUDA_VISIBLE_DEVICES"], usage={"pid": os.getpid()})

    def fingerprint(self) -> str:
        return "gpu-1"

    def settings(self) -> Mapping[str, Any]:
        return {}


class Stubborn:
    """Raises a given error, or returns a value that cannot be pickled."""

    name = "stubborn"

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error

    def respond(self, request: Request) -> Any:
        if self.error is not None:
            raise self.error
        return Reply(text="x", usage={"one": (number for number in (1, 2))})  # type: ignore[dict-item]  # cannot be pickled

    def fingerprint(self) -> str:
        return "stubborn-1"

    def settings(self) -> Mapping[str, Any]:
        return {}
