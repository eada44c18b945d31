"""From speech tokens to sound: many replies at once, each as if it had been alone."""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from echat_eval.errors import BadData, SystemFailure, UsageError
from echat_eval.osum.model.memory import free_memory, is_oom
from echat_eval.osum.voice.config import HOP, MELS, SAMPLE_RATE, SPEECH_IDS, mel_frames, read_voice_config
from echat_eval.osum.voice.vocoder import SourceNoise
from echat_eval.osum.voice.voice import fingerprint, load_voice
from echat_eval.osum.voice.weights import load_flow, load_hift
from echat_eval.records import Waveform

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from echat_eval.osum.voice.config import VoiceConfig
    from echat_eval.osum.voice.flow_matching import FlowMatching
    from echat_eval.osum.voice.vocoder import Hift
    from echat_eval.osum.voice.voice import Voice

__all__ = ["Noise", "Token2Wav", "draw_noise"]

logger = logging.getLogger(__name__)

#: Mel frames, padding and prompt included, that one call of the flow takes at most.
BATCH_FRAMES = 32_768
#: The vocoder works at 64 times the frame rate: one call of it takes at most this part of as many frames.
VOCODER_SHARE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """All that is random in one reply.

    Attributes:
        start: (80, F + M) float32, standard normal: where the flow starts.
        phases: (harmonics,) float32, uniform in [-pi, pi).
        hiss: (harmonics, 256 M) float32, standard normal.
    """

    start: Tensor
    phases: Tensor
    hiss: Tensor


def draw_noise(generator: torch.Generator, *, prompt_frames: int, frames: int, harmonics: int) -> Noise:
    """Draw a reply's noise in the order upstream draws it: start, phases, hiss.

    A CPU generator seeded with s gives the numbers upstream used on a CPU after torch.manual_seed(s).
    """
    device = generator.device
    start = torch.randn(MELS, prompt_frames + frames, generator=generator, device=device)
    uniform = torch.rand(harmonics, generator=generator, device=device)
    hiss = torch.randn(harmonics, frames * HOP, generator=generator, device=device)
    return Noise(start=start, phases=uniform * (2 * torch.pi) - torch.pi, hiss=hiss)


class Token2Wav:
    """One voice, ready to speak.

    Args:
        flow, hift: loaded models; moved to `device`.
        voice: whose voice.
        device: where to compute.
        estimator_dtype: of the flow's estimator, where most of the work is; everything else is float32.
        noise_device: where noise is drawn. On "cpu" a seed means the same noise on every machine; a GPU
            draws other numbers, and saves the copy.
        batch_frames: see `BATCH_FRAMES`; may be lowered between calls, as after running out of memory.

    Attributes:
        sample_rate: Hz, 22,050.
        notes: what a reader of the results should know, such as a memory that was full.
        fingerprint: sha256 over what decides the sound besides tokens and seeds: the voice and, if loaded
            from files, the weights.
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
        noise_device: torch.device | str = "cpu",
        batch_frames: int = BATCH_FRAMES,
    ) -> None:
        self.device, self.noise_device = torch.device(device), torch.device(noise_device)
        self.flow, self.hift = flow.to(self.device), hift.to(self.device)
        self.flow.estimator.to(estimator_dtype)
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
        noise_device: torch.device | str = "cpu",
    ) -> Token2Wav:
        """Load flow.pt and hift.pt of an unpacked release, and a voice file.

        Args:
            folder: of the release.
            voice: a file that `save_voice` wrote.
            config: sizes; None for those of `token2wav.json` in the folder, else the released ones.
            device, estimator_dtype, noise_device: as for the class.

        Raises:
            BadData: a file is missing, damaged or not what its name says.
        """
        config = config or read_voice_config(folder)
        token2wav = cls(
            load_flow(folder / "flow.pt", config.flow),
            load_hift(folder / "hift.pt", config.hift),
            load_voice(voice),
            device=device,
            estimator_dtype=estimator_dtype,
            noise_device=noise_device,
        )
        digest = hashlib.sha256(token2wav.fingerprint.encode())
        for name in ("flow.pt", "hift.pt"):
            with (folder / name).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        token2wav.fingerprint = digest.hexdigest()
        return token2wav

    def synthesise(self, tokens: Sequence[Sequence[int]], *, seeds: Sequence[int]) -> list[Waveform | None]:
        """Speak several replies.

        Args:
            tokens: speech ids of every reply, markers already stripped.
            seeds: one a reply; a reply sounds the same whatever else is in the batch, to float32 rounding.

        Returns:
            In the order given: 22,050 Hz mono of 256 * mel_frames(len(ids)) samples, or None, no audio, for a
            reply without speech tokens.

        Raises:
            BadData: an id that is no speech token; nothing is computed.
            UsageError: seeds and replies differ in number.
            SystemFailure: the memory does not even hold one reply; with several, fewer are tried at once.
        """
        if len(seeds) != len(tokens):
            raise UsageError(f"{len(tokens)} replies and {len(seeds)} seeds; expected one seed a reply")
        rows = [check_ids(ids, reply=number) for number, ids in enumerate(tokens)]
        waves: list[Waveform | None] = [None] * len(rows)
        left = [number for number, ids in enumerate(rows) if len(ids)]
        while left:
            batch = [left[i] for i in next(self.plan([len(rows[number]) for number in left]))]
            for number, wave in self.speak_if_it_fits(batch, rows, seeds):
                waves[number] = Waveform(samples=wave.cpu().numpy(), sample_rate=SAMPLE_RATE)
                left.remove(number)
        return waves

    def speak_if_it_fits(
        self, batch: Sequence[int], rows: Sequence[Tensor], seeds: Sequence[int]
    ) -> list[tuple[int, Tensor]]:
        """Return (number, wave) of these rows; nothing, so that fewer are tried, if the memory is full."""
        try:
            spoken = self.speak([rows[i] for i in batch], [seeds[i] for i in batch])
            return list(zip(batch, spoken, strict=True))
        except (RuntimeError, MemoryError) as error:
            if not is_oom(error):
                raise
            what = str(error).splitlines()[0] if str(error) else type(error).__name__
        free_memory(self.device)
        if len(batch) == 1:
            raise SystemFailure(
                f"out of memory speaking one reply of {len(rows[batch[0]])} speech tokens on {self.device}: "
                f"{what}; free the device or use another"
            )
        longest = self.prompt_frames + mel_frames(max(len(rows[i]) for i in batch))
        self.batch_frames = longest * (len(batch) // 2)
        self.notes.append(f"out of memory speaking {len(batch)} replies at a time; went on with half")
        logger.warning("%s (%s)", self.notes[-1], what)
        return []

    def plan(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Yield batches of row numbers, longest first, similar lengths together, within `batch_frames`."""
        order = sorted((number for number, length in enumerate(lengths) if length), key=lambda i: -lengths[i])
        while order:
            widest = self.prompt_frames + mel_frames(lengths[order[0]])
            size = max(1, self.batch_frames // widest)
            yield order[:size]
            order = order[size:]

    @torch.inference_mode()
    def speak(self, rows: Sequence[Tensor], seeds: Sequence[int]) -> list[Tensor]:
        """Return the wave (256 M,) of every row, on the device; rows are (N,) int64, N >= 1."""
        noise = [self.noise(len(row), seed) for row, seed in zip(rows, seeds, strict=True)]
        mels = self.mels(rows, noise)
        waves: list[Tensor | None] = [None] * len(rows)
        for bucket in equal_lengths([mel.shape[1] for mel in mels], most=self.batch_frames // VOCODER_SHARE):
            for number, wave in zip(
                bucket, self.vocode([mels[i] for i in bucket], [noise[i] for i in bucket]), strict=True
            ):
                waves[number] = wave
        return [wave for wave in waves if wave is not None]

    def noise(self, length: int, seed: int) -> Noise:
        """Return the noise of a reply of `length` tokens, on the device."""
        generator = torch.Generator(self.noise_device).manual_seed(seed)
        noise = draw_noise(
            generator,
            prompt_frames=self.prompt_frames,
            frames=mel_frames(length),
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
        made: list[Tensor] = self.flow(
            [row.to(self.device) for row in rows],
            [drawn.start for drawn in noise],
            prompt_tokens=self.prompt_tokens,
            prompt_mel=self.prompt_mel,
            embedding=self.embedding,
        )
        return made

    @torch.inference_mode()
    def vocode(self, mels: Sequence[Tensor], noise: Sequence[Noise]) -> Tensor:
        """Return the waves (B, 256 M) of equally long log-mels (80, M), in one call of the vocoder."""
        source = SourceNoise(
            phases=torch.stack([drawn.phases for drawn in noise]),
            hiss=torch.stack([drawn.hiss for drawn in noise]),
        )
        waves: Tensor = self.hift(torch.stack(list(mels)), source)
        return waves


def check_ids(ids: Sequence[int], *, reply: int) -> Tensor:
    """Return (N,) int64 of a reply's ids; BadData names the first that is no speech token."""
    row = torch.tensor(list(ids), dtype=torch.int64)
    wrong = ((row < 0) | (row >= SPEECH_IDS)).nonzero()
    if len(wrong):
        place = int(wrong[0])
        raise BadData(
            f"reply {reply}: speech id {int(row[place])} at position {place}; "
            f"expected 0 to {SPEECH_IDS - 1}, strip the language model's markers first"
        )
    return row


def equal_lengths(frames: Sequence[int], *, most: int) -> list[list[int]]:
    """Return the positions of equal numbers together, in groups that hold at most `most` frames, or one row.

    >>> equal_lengths([5, 3, 5, 5], most=10)
    [[0, 2], [3], [1]]
    """
    buckets: defaultdict[int, list[int]] = defaultdict(list)
    for number, length in enumerate(frames):
        buckets[length].append(number)
    groups = []
    for length, bucket in buckets.items():
        size = max(1, most // length)
        groups += [bucket[start : start + size] for start in range(0, len(bucket), size)]
    return groups
