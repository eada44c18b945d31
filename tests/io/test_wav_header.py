"""Headers of WAV files; libsndfile is the oracle."""

from __future__ import annotations

import io
import random
import struct

import numpy as np
import pytest
import soundfile

from echat_eval.io.wav_header import PlainWav, plain_wav


def written(subtype: str, *, channels: int = 1, rate: int = 16000, frames: int = 400) -> bytes:
    """Return a WAV as libsndfile writes it."""
    file = io.BytesIO()
    noise = np.random.default_rng(3).uniform(-0.5, 0.5, (frames, channels))
    soundfile.write(file, noise, rate, format="WAV", subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_pcm_needs_no_decoder(channels: int, rate: int) -> None:
    content = written("PCM_16", channels=channels, rate=rate)
    assert plain_wav(content) == PlainWav(rate, channels, 400)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "IMA_ADPCM"])
def test_other_forms_agree_with_the_decoder_or_are_left_to_it(subtype: str) -> None:
    content = written(subtype)
    if (found := plain_wav(content)) is not None:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            assert found == PlainWav(file.samplerate, file.channels, file.frames)
    assert (found is None) == (subtype not in ("PCM_U8", "PCM_24", "PCM_32"))


def test_no_changed_header_is_taken_for_plain_unless_the_decoder_reads_the_same() -> None:
    content, draw, plain = written("PCM_16", channels=2), random.Random(5), 0
    for _ in range(3000):
        changed = bytearray(content)
        for _ in range(draw.choice([1, 1, 2])):
            changed[draw.randrange(44)] = draw.choice([0, 1, 2, 8, 16, 32, 0x7F, 0xFF, draw.randrange(256)])
        found = plain_wav(bytes(changed))
        if found is not None:
            plain += 1
            with soundfile.SoundFile(io.BytesIO(changed)) as file:
                assert found == PlainWav(file.samplerate, file.channels, file.frames)
    assert plain > 20


@pytest.mark.parametrize("end", [1, 20, 43, 44, 45, 200])
def test_a_file_cut_short_is_not_plain(end: int) -> None:
    assert plain_wav(written("PCM_16")[:end]) is None


def test_two_files_in_a_row_are_not_plain_though_the_first_states_all_bytes() -> None:
    one = written("PCM_16")
    both = bytearray(one + one)
    struct.pack_into("<I", both, 4, len(both) - 8)
    struct.pack_into("<I", both, 40, len(both) - 44)
    assert plain_wav(bytes(both)) is None
