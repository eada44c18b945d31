"""Analysis and synthesis of a voice: pitch, spectral envelope and noise, one frame per 5 ms.

The embedded vocoder is `checks.revoice`, and needs nothing. WORLD sounds better; it needs pyworld, which pip
compiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from echat_eval.checks import revoice
from echat_eval.errors import NotInstalled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from echat_eval.records import Waveform

    Floats = NDArray[np.float64]

__all__ = ["FRAME_SECONDS", "RATE", "VOCODERS", "VoiceAnalysis", "analyse", "synthesise"]

#: Sampling rate of every clip, Hz.
RATE = revoice.RATE
VOCODERS = ("embedded", "world")
FRAME_SECONDS = 0.005
_WORLD_RATE = 24_000
#: Share of noise in the voiced sounds of the embedded vocoder.
_OWN_NOISE = 0.05
#: Peak against the root mean square at which the embedded vocoder limits a sound.
_CREST = 7.0
#: Pitch of speech without voiced sounds, Hz.
_UNKNOWN_PITCH = 200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceAnalysis:
    """A voice, one frame per 5 ms.

    Attributes:
        f0: (frames,) Hz, 0 where unvoiced.
        envelope: (frames, bins) power spectrum up to half of `rate`.
        noise: (frames, bins) share of noise from 0 to 1.
        rate: Hz, of the vocoder.
    """

    f0: Floats
    envelope: Floats
    noise: Floats
    rate: int

    @property
    def seconds(self) -> float:
        """Length of the speech."""
        return len(self.f0) * FRAME_SECONDS

    @property
    def median_f0(self) -> float:
        """Median pitch in Hz."""
        voiced = self.f0[self.f0 > 0]
        return float(np.median(voiced)) if len(voiced) else _UNKNOWN_PITCH


def analyse(speech: Waveform, vocoder: str = "embedded") -> VoiceAnalysis:
    """Return the analysis of a recording.

    Args:
        vocoder: one of `VOCODERS`.

    Raises:
        NotInstalled: pyworld is not installed.
    """
    rate = RATE if vocoder == "embedded" else _WORLD_RATE
    sound = _resampled(np.asarray(speech.samples, dtype=np.float64), speech.sample_rate, rate)
    if vocoder == "embedded":
        track = revoice.analyse(sound)
        voiced = ~np.isnan(track.f0)
        noise = np.where(voiced[:, None], _OWN_NOISE, 1.0) * np.ones((1, track.envelope.shape[1]))
        f0 = np.where(voiced, np.nan_to_num(track.f0), 0.0)
        return VoiceAnalysis(f0=f0, envelope=np.exp(track.envelope), noise=noise, rate=rate)
    world = _world()
    f0, times = world.harvest(sound, rate, f0_floor=60.0, f0_ceil=500.0, frame_period=1000 * FRAME_SECONDS)
    return VoiceAnalysis(
        f0=f0,
        envelope=world.cheaptrick(sound, f0, times, rate),
        noise=world.d4c(sound, f0, times, rate),
        rate=rate,
    )


def synthesise(voice: VoiceAnalysis) -> Floats:
    """Return (samples,) at `RATE`."""
    if voice.rate == _WORLD_RATE:
        spoken = _world().synthesize(
            voice.f0, voice.envelope, voice.noise, voice.rate, frame_period=1000 * FRAME_SECONDS
        )
        return _resampled(spoken, voice.rate, RATE)
    logs = np.log(voice.envelope)
    voiced = revoice.VoiceTrack(f0=np.where(voice.f0 > 0, voice.f0, np.nan), envelope=logs)
    sound = _limited(revoice.resynthesise(voiced, revoice.Tone(), seed=0))
    breath = float(np.median(voice.noise[voice.f0 > 0].max(axis=1))) if (voice.f0 > 0).any() else 0.0
    if breath <= _OWN_NOISE:
        return sound
    whispered = revoice.VoiceTrack(f0=np.full(len(voice.f0), np.nan), envelope=logs)
    return _mixed(sound, revoice.resynthesise(whispered, revoice.Tone(), seed=0), breath)


def _limited(sound: Floats) -> Floats:
    """Return the sound without the rare spikes of filtered pulses, which no voice has."""
    most = _CREST * np.sqrt(np.mean(sound**2))
    limited: Floats = most * np.tanh(sound / most)
    return limited


def _mixed(voiced: Floats, whispered: Floats, breath: float) -> Floats:
    """Return the voiced sound with this share of its power above 1.2 kHz from the whispered one."""
    from scipy.signal import butter, sosfiltfilt

    high = butter(2, 1200, btype="highpass", fs=RATE, output="sos")
    above = np.asarray(sosfiltfilt(high, voiced))
    noisy = np.asarray(sosfiltfilt(high, whispered))
    mixed: Floats = voiced - above + np.sqrt(1 - breath) * above + np.sqrt(breath) * noisy
    return mixed


def _resampled(sound: Floats, rate: int, wanted: int) -> Floats:
    from scipy.signal import resample_poly

    divisor = int(np.gcd(wanted, rate))
    return np.asarray(resample_poly(sound, wanted // divisor, rate // divisor))


@cache
def _world() -> Any:
    """Return WORLD's functions.

    Only the compiled module of pyworld is loaded: the package itself imports pkg_resources for its version.
    """
    spec = find_spec("pyworld")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        for suffix in EXTENSION_SUFFIXES:
            for path in Path(folder).glob(f"pyworld*{suffix}"):
                loader = ExtensionFileLoader("pyworld.pyworld", str(path))
                found = module_from_spec(ModuleSpec("pyworld.pyworld", loader, origin=str(path)))
                loader.exec_module(found)
                return found
    raise NotInstalled(
        "vocoder: world needs pyworld; pip install --no-deps pyworld==0.3.5, or leave vocoder out"
    )
