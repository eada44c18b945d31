"""The same words in another voice or tone: one analysis and resynthesis, which every recording goes through.

A vocoder of pulses and noise with a cepstral envelope: crude, and the same for all. A recording that is not
changed is resynthesised like the others, so that no artefact marks it. It tests whether a judge
detects prosody, not whether a voice is pleasant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from echat_eval.annotators.pitch import track_pitch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["RATE", "VERSION", "Tone", "VoiceTrack", "analyse", "resynthesise"]

#: Raise it when a recording of the same words comes out differently.
VERSION = 1
#: Hz; samples per frame step (5 ms), per analysis window and per FFT.
RATE, HOP, WINDOW, FFT = 16_000, 80, 480, 1024
_PITCH_WINDOW = 800
#: Frames this far (dB) below the loud ones are pauses, and keep their level.
_SOUNDING_DB = 30.0
#: dB re full scale of an unchanged voice: room for louder ones.
_LEVEL_DB = -29.0
_LOG10 = np.log(10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tone:
    """Changes of a voice against its own plain rendering.

    Attributes:
        pitch: semitones added.
        spread: factor on the distance of F0 from its median, in semitones.
        rate: factor on the speed.
        level: dB added.
        punch: factor on the distance of a frame's level from the mean, in dB.
        formants: factor on the frequencies of the envelope.
    """

    pitch: float = 0.0
    spread: float = 1.0
    rate: float = 1.0
    level: float = 0.0
    punch: float = 1.0
    formants: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceTrack:
    """A voice, one frame per 5 ms.

    Attributes:
        f0: (frames,) Hz, NaN where unvoiced.
        envelope: (frames, bins) natural logarithm of the power spectrum, smoothed.
    """

    f0: Floats
    envelope: Floats


def analyse(mono: Floats) -> VoiceTrack:
    """Return the track of (samples,) at 16 kHz."""
    count = len(mono) // HOP
    f0 = track_pitch(_frames(mono, _PITCH_WINDOW, count), RATE)
    spectrum = np.fft.rfft(_frames(mono, WINDOW, count) * np.hanning(WINDOW), FFT)
    cepstrum = np.fft.irfft(np.log(np.abs(spectrum) ** 2 + 1e-9))
    # Quefrencies from the period on are the pitch's; below it they are the envelope's.
    period = RATE / np.where(np.isnan(f0), RATE / 60.0, f0)
    quefrency = np.minimum(np.arange(FFT), FFT - np.arange(FFT))
    kept = quefrency[None] < 0.6 * period[:, None]
    return VoiceTrack(f0=f0, envelope=np.fft.rfft(cepstrum * kept).real)


def resynthesise(track: VoiceTrack, tone: Tone, *, seed: int) -> Floats:
    """Return (samples,) at 16 kHz of a voice in a tone.

    Args:
        seed: of the noise of unvoiced sounds, and of a dither at the level of the last bit: copies with
            another dither differ in their bytes and in nothing audible.
    """
    at = np.linspace(0, len(track.f0) - 1, round(len(track.f0) / tone.rate))
    nearest = np.rint(at).astype(int)
    f0 = _toned(track.f0[nearest], tone)
    envelope = _levelled(_warped(track.envelope[nearest], tone.formants), tone)
    sound = _filtered(_excitation(f0), envelope)
    return sound + np.random.default_rng(seed).normal(0, 2**-15, len(sound))


def _frames(mono: Floats, length: int, count: int) -> Floats:
    padded = np.pad(mono, length // 2)
    frames: Floats = np.lib.stride_tricks.sliding_window_view(padded, length)[::HOP][:count]
    return frames


def _toned(f0: Floats, tone: Tone) -> Floats:
    voiced = ~np.isnan(f0)
    if not voiced.any():
        return f0
    semitones = 12 * np.log2(f0[voiced])
    middle = np.median(semitones)
    changed = f0.copy()
    moved = middle + (semitones - middle) * tone.spread + tone.pitch
    changed[voiced] = np.clip(2 ** (moved / 12), 60, 560)
    return changed


def _warped(envelope: Floats, formants: float) -> Floats:
    if formants == 1.0:
        return envelope
    bins = np.arange(envelope.shape[1])
    return np.stack([np.interp(bins / formants, bins, frame) for frame in envelope])


def _levelled(envelope: Floats, tone: Tone) -> Floats:
    """Return the envelope at the level of its tone; pauses keep their distance from the speech."""
    level = 10 / _LOG10 * np.log(np.exp(envelope).mean(axis=1))
    sounding = level > np.percentile(level, 95) - _SOUNDING_DB
    mean = level[sounding].mean()
    change = np.where(sounding, (tone.punch - 1) * (level - mean), 0.0)
    changed: Floats = envelope + (change * _LOG10 / 10)[:, None]
    power = np.exp(changed).mean(axis=1)[sounding].mean()
    changed += (_LEVEL_DB + tone.level) * _LOG10 / 10 - np.log(power)
    return changed


def _excitation(f0: Floats) -> Floats:
    """Return (samples,) of unit power: pulses where voiced, noise elsewhere."""
    voiced = np.repeat(~np.isnan(f0), HOP)
    hertz = np.repeat(np.nan_to_num(f0, nan=0.0), HOP)
    phase = np.floor(np.cumsum(hertz / RATE))
    pulse = np.diff(phase, prepend=0.0) > 0
    # The same noise in every recording: only the tone differs.
    noise = np.random.default_rng(0).normal(0, 1, len(hertz))
    pulses = np.where(pulse, np.sqrt(RATE / np.maximum(hertz, 1.0)), 0.0)
    return np.where(voiced, pulses + 0.05 * noise, noise)


def _filtered(excitation: Floats, envelope: Floats) -> Floats:
    """Return the excitation through the minimum-phase filter of each frame, overlapped and added."""
    count = len(envelope)
    window = np.hanning(2 * HOP + 1)[: 2 * HOP]
    pieces = _frames(excitation, 2 * HOP, count) * window
    cepstrum = np.fft.irfft(envelope / 2)
    fold = np.zeros(FFT)
    fold[0] = fold[FFT // 2] = 1.0
    fold[1 : FFT // 2] = 2.0
    filters = np.exp(np.fft.rfft(cepstrum * fold))
    filtered = np.fft.irfft(np.fft.rfft(pieces, FFT) * filters)
    sound = np.zeros(count * HOP + FFT)
    for number, piece in enumerate(filtered):
        sound[number * HOP : number * HOP + FFT] += piece
    found: Floats = sound[HOP : HOP + count * HOP]
    return found
