"""Speech tokens to audio, in batches that give the same audio as single replies."""

from __future__ import annotations

import contextlib
import logging
from collections import defaultdict
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from echat_eval.errors import BadData, SystemFailure, UsageError
from echat_eval.io.hashing import file_sha256, sha256_of
from echat_eval.osum.model.memory import free_memory, is_oom
from echat_eval.osum.voice.config import HOP, SAMPLE_RATE, SPEECH_IDS, mel_frames, read_voice_config
from echat_eval.osum.voice.noise import Noise, draw_noise, hiss_at, phases_of, start_at
from echat_eval.osum.voice.stream import VoiceStream
from echat_eval.osum.voice.vocoder import SourceNoise
from echat_eval.osum.voice.vocoder_windows import vocode_in_windows
from echat_eval.osum.voice.voice import fingerprint, load_voice
from echat_eval.osum.voice.weights import load_flow, load_hift
from echat_eval.records import Waveform

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from echat_eval.osum.voice.config import VoiceConfig
    from echat_eval.osum.voice.flow_matching import FlowMatching
    from echat_eval.osum.voice.noise import NoiseKind
    from echat_eval.osum.voice.stream import StreamWindows
    from echat_eval.osum.voice.vocoder import Hift
    from echat_eval.osum.voice.voice import Voice

__all__ = ["Token2Wav"]

logger = logging.getLogger(__name__)

#: Maximum of mel frames per call of the flow, padding and prompt included.
BATCH_FRAMES = 32_768
#: The vocoder works at 64 times the frame rate; its maximum per call is BATCH_FRAMES divided by this.
VOCODER_SHARE = 4


class Token2Wav:
    """Synthesis of replies in one voice.

    Args:
        flow, hift: loaded models; moved to `device`.
        voice: the voice of the replies.
        device: to compute on.
        estimator_dtype: of the flow's estimator, which does most of the work; everything else is float32.
        noise: see `NoiseKind`; a seed gives the same numbers on every device.
        buckets: pad to few lengths and vocode in windows of few widths, because a GPU plans every new shape;
            None for on a GPU.
        compiled: compile the estimator, with buckets; None for on a GPU. If that fails, it runs uncompiled.
        batch_frames: see `BATCH_FRAMES`; lowered after running out of memory.

    Attributes:
        sample_rate: Hz, 22,050.
        notes: remarks for readers of the results, such as running out of memory.
        fingerprint: sha256 over the voice and, if loaded from files, the weights; these determine the audio
            together with tokens and seeds.
    """

    sample_rate = SAMPLE_RATE

    def __init__(
        self,
        flow: FlowMatching,
        hift: Hift,
        voice: Voice,
        *,
        device: torch.device | str = "cpu",
        estimator_dtype: torch.dtype = torch.float32,
        noise: NoiseKind = "counter",
        buckets: bool | None = None,
        compiled: bool | None = None,
        batch_frames: int = BATCH_FRAMES,
    ) -> None:
        self.device, self.noise_kind = torch.device(device), noise
        self.flow, self.hift = flow.to(self.device), hift.to(self.device)
        self.flow.estimator.to(estimator_dtype)
        gpu = self.device.type == "cuda"
        compiled = gpu if compiled is None else compiled
        self.buckets = self.flow.buckets = compiled or (gpu if buckets is None else buckets)
        if compiled:
            self.flow.estimator.compile_stages()
        self.batch_frames = batch_frames
        self.notes: list[str] = []
        self.fingerprint = fingerprint(voice)
        self.prompt_frames = len(voice.mel)
        self.prompt_tokens = torch.from_numpy(voice.tokens).to(self.device)
        self.prompt_mel = torch.from_numpy(voice.mel).to(self.device)
        self.embedding = torch.from_numpy(voice.embedding).to(self.device)

    @classmethod
    def load(
        cls,
        folder: Path,
        voice: Path,
        *,
        config: VoiceConfig | None = None,
        device: torch.device | str = "cpu",
        estimator_dtype: torch.dtype = torch.float32,
        noise: NoiseKind = "counter",
        compiled: bool | None = None,
    ) -> Token2Wav:
        """Return a synthesiser from flow.pt and hift.pt of an unpacked release and a voice file.

        Args:
            folder: of the release.
            voice: a file written by `save_voice`.
            config: sizes; None for those in `token2wav.json` of the folder or else the released ones.
            device, estimator_dtype, noise, compiled: as for the class.

        Raises:
            BadData: a file is missing, damaged or of another kind than its name implies.
        """
        config = config or read_voice_config(folder)
        token2wav = cls(
            load_flow(folder / "flow.pt", config.flow),
            load_hift(folder / "hift.pt", config.hift),
            load_voice(voice),
            device=device,
            estimator_dtype=estimator_dtype,
            noise=noise,
            compiled=compiled,
        )
        weights = [bytes.fromhex(file_sha256(folder / name)) for name in ("flow.pt", "hift.pt")]
        token2wav.fingerprint = sha256_of([token2wav.fingerprint.encode(), *weights])
        return token2wav

    def synthesise(self, tokens: Sequence[Sequence[int]], *, seeds: Sequence[int]) -> list[Waveform | None]:
        """Return the audio of several replies.

        Args:
            tokens: speech ids of every reply, markers already stripped.
            seeds: one per reply. The audio does not depend on the rest of the batch, up to float32 rounding.

        Returns:
            In input order: 22,050 Hz mono of 256 * mel_frames(len(ids)) samples, or None for a reply without
            speech tokens.

        Raises:
            BadData: an id is not a speech token; nothing is computed.
            UsageError: the numbers of seeds and replies differ.
            SystemFailure: out of memory with a single reply. With several, smaller batches are tried first.
        """
        if len(seeds) != len(tokens):
            raise UsageError(f"{len(tokens)} replies and {len(seeds)} seeds; expected one seed per reply")
        rows = [check_ids(ids, source=f"reply {number}") for number, ids in enumerate(tokens)]
        waves: list[Waveform | None] = [None] * len(rows)
        remaining = [number for number, ids in enumerate(rows) if len(ids)]
        while remaining:
            batch = [remaining[i] for i in next(self.plan([len(rows[number]) for number in remaining]))]
            for number, wave in self.try_speak(batch, rows, seeds):
                waves[number] = Waveform(samples=wave.cpu().numpy(), sample_rate=SAMPLE_RATE)
                remaining.remove(number)
        return waves

    def try_speak(
        self, batch: Sequence[int], rows: Sequence[Tensor], seeds: Sequence[int]
    ) -> list[tuple[int, Tensor]]:
        """Return (number, wave) of these rows; if out of memory, halve the batch size and return nothing."""
        try:
            spoken = self.speak([rows[i] for i in batch], [seeds[i] for i in batch])
            return list(zip(batch, spoken, strict=True))
        except (RuntimeError, MemoryError) as error:
            if not is_oom(error):
                raise
            reason = reason_of(error)
        free_memory(self.device)
        if len(batch) == 1:
            raise self.out_of_memory(len(rows[batch[0]]), reason)
        longest = self.prompt_frames + mel_frames(max(len(rows[i]) for i in batch))
        self.batch_frames = longest * (len(batch) // 2)
        self.notes.append(f"out of memory speaking {len(batch)} replies at a time; went on with half")
        logger.warning("%s (%s)", self.notes[-1], reason)
        return []

    def out_of_memory(self, tokens: int, reason: str) -> SystemFailure:
        """Return the failure of a single reply that does not fit the memory."""
        return SystemFailure(
            f"out of memory speaking one reply of {tokens} speech tokens on {self.device}: {reason}; "
            "free the device or use another"
        )

    def plan(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Yield batches of row numbers within `batch_frames`, longest first, similar lengths together."""
        order = sorted((number for number, length in enumerate(lengths) if length), key=lambda i: -lengths[i])
        while order:
            widest = self.prompt_frames + mel_frames(lengths[order[0]])
            size = max(1, self.batch_frames // widest)
            yield order[:size]
            order = order[size:]

    @torch.inference_mode()
    def speak(self, rows: Sequence[Tensor], seeds: Sequence[int]) -> list[Tensor]:
        """Return the waveform (256 M,) of every row (N,) int64, N >= 1, on the device."""
        noise = self.noises([len(row) for row in rows], seeds)
        mels = self.mels(rows, noise)
        max_frames = self.batch_frames // VOCODER_SHARE
        if self.buckets:
            return vocode_in_windows(self.hift, mels, noise, max_frames=max_frames)
        waves: list[Tensor | None] = [None] * len(rows)
        for bucket in group_equal_lengths([mel.shape[1] for mel in mels], max_frames=max_frames):
            for number, wave in zip(
                bucket, self.vocode([mels[i] for i in bucket], [noise[i] for i in bucket]), strict=True
            ):
                waves[number] = wave
        return [wave for wave in waves if wave is not None]

    def noise(self, length: int, seed: int) -> Noise:
        """Return the noise of a reply of `length` tokens, on the device."""
        return self.noises([length], [seed])[0]

    def noises(self, lengths: Sequence[int], seeds: Sequence[int]) -> list[Noise]:
        """Return the noise of several replies of `lengths` tokens, on the device."""
        frames, harmonics = [mel_frames(length) for length in lengths], self.hift.config.harmonics
        if self.noise_kind == "upstream":
            return [self.upstream_noise(*row) for row in zip(frames, seeds, strict=True)]
        longest, device = max(frames), self.device
        start = start_at(seeds, 0, self.prompt_frames + longest, device=device)
        hiss = hiss_at(seeds, harmonics, 0, longest * HOP, device=device)
        phases = phases_of(seeds, harmonics, device=device)
        return [
            Noise(
                start=start[row, :, : self.prompt_frames + count],
                phases=phases[row],
                hiss=hiss[row, :, : count * HOP],
            )
            for row, count in enumerate(frames)
        ]

    def upstream_noise(self, frames: int, seed: int) -> Noise:
        """Return the noise that upstream draws on a CPU, on the device."""
        noise = draw_noise(
            torch.Generator().manual_seed(seed),
            prompt_frames=self.prompt_frames,
            frames=frames,
            harmonics=self.hift.config.harmonics,
        )
        return Noise(
            start=noise.start.to(self.device),
            phases=noise.phases.to(self.device),
            hiss=noise.hiss.to(self.device),
        )

    @torch.inference_mode()
    def mels(self, rows: Sequence[Tensor], noise: Sequence[Noise]) -> list[Tensor]:
        """Return the log-mel (80, M) of every row, in one padded call of the flow."""
        return self.flow_mels(rows, [drawn.start for drawn in noise])

    def flow_mels(self, rows: Sequence[Tensor], start: Sequence[Tensor]) -> list[Tensor]:
        """Return the log-mel of every row, from its initial state (80, F + M)."""
        try:
            return self.call_flow(rows, start)
        except Exception as error:  # compilers raise errors of all kinds
            if is_oom(error) or not self.flow.estimator.compiled:
                raise
            reason = reason_of(error)
        self.flow.estimator.compiled = []
        self.notes.append("the voice cannot be compiled; it runs uncompiled, slower")
        logger.warning("%s (%s)", self.notes[-1], reason)
        return self.call_flow(rows, start)

    def call_flow(self, rows: Sequence[Tensor], start: Sequence[Tensor]) -> list[Tensor]:
        """Return the log-mel of every row; see `flow_mels`."""
        mels: list[Tensor] = self.flow(
            [row.to(self.device) for row in rows],
            start,
            prompt_tokens=self.prompt_tokens,
            prompt_mel=self.prompt_mel,
            embedding=self.embedding,
        )
        return mels

    def stream(self, *, seed: int, windows: StreamWindows | None = None) -> VoiceStream:
        """Return the speech of one reply, to be fed with its tokens while they arrive.

        Raises:
            UsageError: the noise of upstream cannot be drawn before the length of a reply is known.
        """
        if self.noise_kind == "upstream":
            raise UsageError(
                "upstream's noise depends on the length of a reply: use noise='counter' to stream"
            )
        return VoiceStream(self, seed=seed, windows=windows)

    @torch.inference_mode()
    def window_mel(self, tokens: Sequence[int], *, seed: int, first: int, frames: int) -> Tensor:
        """Return the log-mel (80, frames) of a window of a reply, whose noise begins at frame `first`."""
        prompt = start_at([seed], 0, self.prompt_frames, device=self.device)
        reply = start_at([seed], self.prompt_frames + first, frames, device=self.device)
        start = torch.cat([prompt, reply], dim=-1)[0]
        return self.flow_mels([torch.tensor(tokens, dtype=torch.int64)], [start])[0]

    @contextlib.contextmanager
    def memory_guard(self, tokens: int) -> Iterator[None]:
        """Raise SystemFailure if the memory is full for one reply of this number of tokens."""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not is_oom(error):
                raise
            reason = reason_of(error)
        else:
            return
        free_memory(self.device)
        raise self.out_of_memory(tokens, reason)

    @staticmethod
    def check(tokens: Sequence[int], *, first: int) -> None:
        """Raise BadData if an id, at the position `first` or later, is not a speech token."""
        check_ids(tokens, source="stream", first=first)

    @torch.inference_mode()
    def vocode(self, mels: Sequence[Tensor], noise: Sequence[Noise]) -> Tensor:
        """Return the waveforms (B, 256 M) of log-mels (80, M) of equal length, in one call of the vocoder."""
        source = SourceNoise(
            phases=torch.stack([drawn.phases for drawn in noise]),
            hiss=torch.stack([drawn.hiss for drawn in noise]),
        )
        waves: Tensor = self.hift(torch.stack(list(mels)), source)
        return waves


def reason_of(error: BaseException) -> str:
    """Return the first line of an error, or its kind."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def check_ids(ids: Sequence[int], *, source: str, first: int = 0) -> Tensor:
    """Return ids as (N,) int64; raise BadData with the first that is not a speech token.

    Args:
        ids: at the positions from `first`.
        source: what they are of, for the message.
        first: see above.
    """
    row = torch.tensor(list(ids), dtype=torch.int64)
    wrong = ((row < 0) | (row >= SPEECH_IDS)).nonzero()
    if len(wrong):
        position = int(wrong[0])
        raise BadData(
            f"{source}: speech id {int(row[position])} at position {first + position}; "
            f"expected 0 to {SPEECH_IDS - 1}, strip the language model's markers first"
        )
    return row


def group_equal_lengths(frames: Sequence[int], *, max_frames: int) -> list[list[int]]:
    """Return groups of row numbers with equal frame counts, each of at most `max_frames` frames or one row.

    >>> group_equal_lengths([5, 3, 5, 5], max_frames=10)
    [[0, 2], [3], [1]]
    """
    buckets: defaultdict[int, list[int]] = defaultdict(list)
    for number, length in enumerate(frames):
        buckets[length].append(number)
    groups = []
    for length, bucket in buckets.items():
        size = max(1, max_frames // length)
        groups += [bucket[start : start + size] for start in range(0, len(bucket), size)]
    return groups
