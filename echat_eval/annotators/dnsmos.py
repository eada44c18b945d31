"""DNSMOS: speech quality of a reply, estimated by Microsoft's P.835 and P.808 networks."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from echat_eval.errors import NotApplicable, NotInstalled
from echat_eval.io.audio import read_mono, resampler
from echat_eval.io.bundled_models import installed_version
from echat_eval.io.hashing import fingerprint_of, unchanged_file_sha256

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from echat_eval.records import AudioRef

__all__ = ["Dnsmos"]

RATE = 16000
#: The networks take 9.01 s; shorter audio is repeated, longer audio is rated in windows that advance by 1 s.
WINDOW = int(9.01 * RATE)
FILES = ("sig_bak_ovr.onnx", "model_v8.onnx")
#: Polynomials from network outputs to opinion scores, highest power first; published with the networks.
_TO_MOS = {
    "signal": (-0.08397278, 1.22083953, 0.0052439),
    "background": (-0.13166888, 1.60915514, -0.39604546),
    "overall": (-0.06766283, 1.11546468, 0.04602535),
}


class Dnsmos:
    """Estimator of mean opinion scores, 1 to 5.

    Args:
        model: folder with both networks; None means the package speechmos, which is located but not
            imported.
    """

    name = "dnsmos"
    version = "1"

    def __init__(self, model: str | None = None) -> None:
        self.model = model
        self._lock = threading.Lock()
        self._sessions: tuple[Any, Any] | None = None

    def annotate(self, audio: AudioRef, *, language: str) -> Mapping[str, Any]:
        """Return overall, signal, background and p808, each the mean over windows."""
        mono, _ = read_mono(audio.path, rate=RATE)
        if not mono.any():
            raise NotApplicable("the reply is silent; there is nothing to rate")
        mono = np.clip(mono, -1, 1)
        while len(mono) < WINDOW:
            mono = np.concatenate([mono, mono])
        with self._lock:
            p835, p808 = self._ready()
            rows = []
            for start in range(0, len(mono) - WINDOW + 1, RATE):
                window = mono[start : start + WINDOW]
                raw_scores = p835.run(None, {"input_1": window[None].astype(np.float32)})[0][0]
                mos = [
                    np.polyval(powers, value)
                    for powers, value in zip(_TO_MOS.values(), raw_scores, strict=True)
                ]
                spectrum = _mel_decibels(window[:-160])[None].astype(np.float32)
                rows.append([*mos, p808.run(None, {"input_1": spectrum})[0][0][0]])
        means = np.mean(rows, axis=0)
        names = ("signal", "background", "overall", "p808")
        return {name: round(float(value), 4) for name, value in zip(names, means, strict=True)}

    def close(self) -> None:
        """Release the networks."""
        with self._lock:
            self._sessions = None

    def fingerprint(self) -> str:
        """Return the hash of the networks, the engine and the version."""
        parts = {
            "weights": [unchanged_file_sha256(self._folder() / name) for name in FILES],
            "rule": self.version,
            "onnxruntime": installed_version("onnxruntime"),
            "resampler": resampler(),
        }
        return fingerprint_of(parts)

    def settings(self) -> Mapping[str, Any]:
        """Return the settings."""
        return {"model": self.model or "speechmos", "licence": "MIT"}

    def _folder(self) -> Path:
        if self.model is not None:
            folder = Path(self.model).expanduser()
        else:
            from importlib.util import find_spec

            spec = find_spec("speechmos")
            locations = list(spec.submodule_search_locations or []) if spec else []
            folder = Path(locations[0]) / "dnsmos_models" if locations else Path("speechmos")
        for name in FILES:
            if not (folder / name).is_file():
                raise NotInstalled(
                    f"{folder}: no {name}; pip install --no-deps speechmos==0.0.1.1, or name a folder with "
                    f"{' and '.join(FILES)}"
                )
        return folder

    def _ready(self) -> tuple[Any, Any]:
        if self._sessions is None:
            try:
                import onnxruntime as ort
            except ImportError as error:
                raise NotInstalled("DNSMOS needs onnxruntime; pip install onnxruntime") from error
            options = ort.SessionOptions()
            options.intra_op_num_threads = 1
            options.log_severity_level = 3
            folder = self._folder()
            first, second = (
                ort.InferenceSession(str(folder / name), options, providers=["CPUExecutionProvider"])
                for name in FILES
            )
            self._sessions = first, second
        return self._sessions


def _mel_decibels(window: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return (frames, 120) mel powers in dB below the loudest, scaled as in the network's training."""
    padded = np.pad(window, 160)
    frames = np.lib.stride_tricks.sliding_window_view(padded, 321)[::160]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(321) / 321)
    power = (np.abs(np.fft.rfft(frames * hann, axis=1)) ** 2) @ _mel_filters().T
    decibels = 10 * np.log10(np.maximum(1e-10, power))
    decibels -= 10 * np.log10(max(1e-10, float(power.max())))
    scaled: NDArray[np.float64] = (np.maximum(decibels, decibels.max() - 80) + 40) / 40
    return scaled


@cache
def _mel_filters() -> NDArray[np.float64]:
    """Return (120, 161) triangular filters of area 1 on Slaney's mel scale, 0 to 8 kHz."""

    def to_mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
        high = 15 + np.log(np.maximum(hertz, 1e-9) / 1000) / (np.log(6.4) / 27)
        return np.where(hertz >= 1000, high, hertz / (200 / 3))

    def to_hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(mel >= 15, 1000 * np.exp(np.log(6.4) / 27 * (mel - 15)), mel * 200 / 3)

    bins = np.linspace(0, RATE / 2, 161)
    lowest, highest = (float(mel) for mel in to_mel(np.array([0.0, RATE / 2])))
    edges = to_hertz(np.linspace(lowest, highest, 122))
    widths = np.diff(edges)
    ramps = edges[:, None] - bins[None]
    triangles = np.maximum(0, np.minimum(-ramps[:-2] / widths[:-1, None], ramps[2:] / widths[1:, None]))
    filters: NDArray[np.float64] = triangles * (2 / (edges[2:] - edges[:-2]))[:, None]
    return filters
