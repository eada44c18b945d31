"""Plain speech for the demo split: hibari for English, eSpeak NG for Chinese. Nothing here is shipped.

eSpeak NG is a GPL program: it only generates audio here and is no part of the package.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.signal import resample_poly

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Sampling rate of `speak`, Hz.
RATE = 24_000
_ESPEAK_RATE_WORDS = 205
_MONO_SYNCHRONOUS, _UTF8_PHONEMES = 2, 1 | 0x1000
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def speak(text: str, language: str) -> NDArray[np.float64]:
    """Return (samples,) float in [-1, 1] at 24 kHz, with silence at both ends removed."""
    sound = _english()(text, seed=0).astype(np.float64) if language == "en" else _chinese(text)
    loud = np.flatnonzero(np.abs(sound) > 0.01 * np.abs(sound).max())
    margin = RATE // 50
    return sound[max(0, loud[0] - margin) : loud[-1] + margin]


@cache
def _english() -> Any:
    from hibari import Hibari

    return Hibari()


@cache
def _espeak() -> tuple[Any, int]:
    import espeakng_loader

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    rate = library.espeak_Initialize(_MONO_SYNCHRONOUS, 0, str(espeakng_loader.get_data_path()).encode(), 0)
    return library, int(rate)


def _chinese(text: str) -> NDArray[np.float64]:
    # eSpeak NG carries state into the next sentence; speaking each sentence twice fixes that state.
    _chinese_once(text)
    return _chinese_once(text)


def _chinese_once(text: str) -> NDArray[np.float64]:
    library, rate = _espeak()
    blocks: list[NDArray[np.int16]] = []

    def take(wave: Any, count: int, _: Any) -> int:
        if wave and count > 0:
            blocks.append(np.ctypeslib.as_array(wave, (count,)).copy())
        return 0

    callback = _Callback(take)  # named, because eSpeak NG calls it after this line
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(b"cmn+f2"):
        raise RuntimeError("eSpeak NG has no voice cmn+f2")
    for parameter, value in ((1, _ESPEAK_RATE_WORDS), (2, 80), (3, 50), (4, 50)):
        library.espeak_SetParameter(parameter, value, 0)
    library.espeak_ng_SetRandSeed(ctypes.c_long(1))
    raw = text.encode()
    library.espeak_Synth(raw, len(raw) + 1, 0, 0, 0, _UTF8_PHONEMES, None, None)
    library.espeak_Synchronize()
    # 22,050 Hz to 24,000 Hz is 160 to 147.
    if rate != 22_050:
        raise RuntimeError(f"eSpeak NG speaks at {rate} Hz, expected 22050")
    sound: NDArray[np.float64] = resample_poly(np.concatenate(blocks).astype(np.float64) / 32768, 160, 147)
    return sound
