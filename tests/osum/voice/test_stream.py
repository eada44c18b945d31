"""Speech while its tokens arrive, against the whole reply and against the algorithm written out once more."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from echat_eval.errors import BadData, SystemFailure, UsageError
from echat_eval.osum.voice.config import mel_frames
from echat_eval.osum.voice.noise import Noise, start_at
from echat_eval.osum.voice.stream import MelStream, StreamWindows
from echat_eval.osum.voice.token2wav import Token2Wav
from echat_eval.osum.voice.vocoder_stream import FILTER_REACH, PITCH_REACH, VocoderStream
from echat_eval.records import Waveform
from tests.support.present import present
from tests.support.tiny_speaker import draw_ids

if TYPE_CHECKING:
    from numpy.typing import NDArray

WINDOWS = StreamWindows(first=10, hop=20, overlap=8, context=15)


def joined(pieces: list[Waveform]) -> NDArray[np.float32]:
    return np.concatenate([piece.samples for piece in pieces])


def stream(
    speaker: Token2Wav, ids: list[int], *, step: int, windows: StreamWindows = WINDOWS
) -> list[Waveform]:
    voice = speaker.stream(seed=9, windows=windows)
    pieces = [piece for at in range(0, len(ids), step) for piece in voice.feed(ids[at : at + step])]
    return pieces + voice.finish()


def mels_of(speaker: Token2Wav, ids: list[int], windows: StreamWindows) -> torch.Tensor:
    source = MelStream(speaker, seed=9, windows=windows)
    return torch.cat([*source.feed(ids), source.finish()], dim=1)


def test_each_piece_of_the_vocoder_is_that_of_the_whole(tiny: Token2Wav) -> None:
    """Pieces of 1 to 40 frames; the phase of the sines is carried on, and the noise belongs to the sample."""
    mel = torch.randn(80, 160, generator=torch.Generator().manual_seed(0))
    drawn = tiny.noise(47, seed=3)
    noise = Noise(start=drawn.start, phases=drawn.phases, hiss=drawn.hiss[:, : 160 * 256])
    (whole,) = tiny.vocode([mel], [noise])
    source = VocoderStream(tiny.hift, seed=3)
    cuts = [0, 1, 4, 44, 44, 70, 110, 159, 160]
    pieces = [source.feed(mel[:, a:b], last=b == 160) for a, b in pairwise(cuts)]
    assert [len(piece) // 256 for piece in pieces[:3]] == [0, 0, 44 - FILTER_REACH - PITCH_REACH]
    assert (torch.cat(pieces) - whole).abs().max() <= 1e-5


def test_the_reach_of_filter_and_pitch_is_measured(tiny: Token2Wav) -> None:
    hift = tiny.hift
    mel = torch.randn(1, 80, 60, generator=torch.Generator().manual_seed(0))
    other = mel.clone()
    other[..., 30] += 1
    source = torch.full((1, 60 * 256), 0.01)
    louder = source.clone()
    louder[:, 30 * 256 : 31 * 256] = 0.02
    with torch.inference_mode():
        usual, pitch = hift.filter(mel, source), hift.f0_predictor(mel)
        for changed in (hift.filter(other, source), hift.filter(mel, louder)):
            at = (usual != changed)[0].nonzero()
            reach = max(30 * 256 - int(at.min()), int(at.max()) + 1 - 31 * 256) / 256
            assert FILTER_REACH - 2 < reach <= FILTER_REACH
        at = (pitch != hift.f0_predictor(other))[0].nonzero()
        assert (30 - int(at.min()), int(at.max()) - 30) == (PITCH_REACH, PITCH_REACH)


@pytest.mark.parametrize("count", [1, 18, 61])
def test_pieces_do_not_depend_on_how_tokens_are_fed(tiny: Token2Wav, count: int) -> None:
    ids = draw_ids(count)
    once, single = stream(tiny, ids, step=count), stream(tiny, ids, step=1)
    assert len(once) == len(single) == 1 + (count + 2) // 20
    assert all(np.array_equal(a.samples, b.samples) for a, b in zip(once, single, strict=True))
    assert len(joined(once)) == 256 * mel_frames(count)


def test_a_reply_of_one_window_is_the_whole_reply(tiny: Token2Wav) -> None:
    for count in (1, 18):
        (whole,) = tiny.synthesise([draw_ids(count)], seeds=[9])
        pieces = joined(stream(tiny, draw_ids(count), step=5))
        assert np.abs(pieces - present(whole).samples).max() <= 1e-5


def test_windows_follow_the_algorithm(tiny: Token2Wav) -> None:
    """Windows, their noise and the fades, written out with loops over frames."""
    ids = draw_ids(61)
    mel = np.zeros((80, mel_frames(61)))
    borders = [0, 10, 30, 50]
    for number, border in enumerate(borders):
        begin = max(0, border - 15)
        end = min(61, [*borders, 99][number + 1] + 8)
        first, last = mel_frames(begin), mel_frames(end)
        start = start_at([9], 0, 24 + mel_frames(61), device="cpu")[0]
        start = torch.cat([start[:, :24], start[:, 24 + first : 24 + last]], dim=1)
        (made,) = tiny.flow_mels([torch.tensor(ids[begin:end])], [start])
        fading = mel_frames(border + 8) - mel_frames(border) if border else 0
        for frame in range(mel_frames(border), last):
            place = (frame - mel_frames(border) + 0.5) / fading if fading else 1.0
            weight = math.sin(math.pi / 2 * place) ** 2 if place < 1 else 1.0
            mel[:, frame] = weight * made[:, frame - first].numpy() + (1 - weight) * mel[:, frame]
    assert np.abs(mels_of(tiny, ids, WINDOWS).numpy() - mel).max() <= 1e-5


def test_the_end_of_a_reply_is_exact_if_the_last_window_sees_all(tiny: Token2Wav) -> None:
    ids, windows = draw_ids(61), StreamWindows(first=10, hop=20, overlap=8, context=1000)
    (whole,) = tiny.mels([torch.tensor(ids)], [tiny.noise(61, 9)])
    difference = (mels_of(tiny, ids, windows) - whole).abs()
    assert difference[:, mel_frames(58) :].max() <= 1e-5
    assert 1e-3 < difference[:, : mel_frames(50)].mean() < 0.2


def test_wrong_ids_and_settings_are_refused(tiny: Token2Wav, tiny_upstream: Token2Wav) -> None:
    voice = tiny.stream(seed=0)
    assert voice.finish() == []
    voice.feed([1, 2])
    with pytest.raises(BadData, match="stream: speech id 4097 at position 3; expected 0 to 4095"):
        voice.feed([3, 4097])
    with pytest.raises(UsageError, match="use noise='counter' to stream"):
        tiny_upstream.stream(seed=0)
    with pytest.raises(UsageError, match="expected hops of 1 or more"):
        StreamWindows(hop=0)


def test_a_full_memory_is_a_failure_in_one_line(tiny: Token2Wav, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nGPU 0")

    monkeypatch.setattr(tiny, "flow_mels", full)
    voice = tiny.stream(seed=0, windows=WINDOWS)
    with pytest.raises(
        SystemFailure,
        match=r"out of memory speaking one reply of 43 speech tokens on cpu: CUDA out .*MiB\.; free",
    ):
        voice.feed(draw_ids(20))
