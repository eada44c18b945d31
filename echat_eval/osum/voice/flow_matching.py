"""Flow matching from speech tokens to mel frames; padded batches give the same result as single rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 - the community's name for it
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from echat_eval.osum.voice.config import EMBEDDING_SIZE, MELS, SPEECH_IDS, mel_frames
from echat_eval.osum.voice.estimator import Estimator, FrameMasks
from echat_eval.osum.voice.flow_encoder import TokenEncoder
from echat_eval.osum.voice.masked_norm import MaskedGroupNorm, frame_mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from echat_eval.osum.voice.config import FlowConfig

__all__ = ["FlowMatching", "LengthRegulator", "stretch_reply", "time_grid"]

#: On a GPU, few lengths mean few plans and programs.
TOKEN_BUCKET, FRAME_BUCKET = 32, 64
#: Tokens at each end of a long reply that are stretched separately.
END_TOKENS = 20


def time_grid(steps: int) -> Tensor:
    """Return (steps + 1,) float32 times 1 - cos(i / steps * pi / 2), on the CPU; steps grow with time."""
    return 1 - torch.cos(torch.linspace(0, 1, steps + 1) * 0.5 * torch.pi)


def stretch(x: Tensor, frames: int) -> Tensor:
    """Return x (1, C, N) linearly interpolated to (1, C, frames)."""
    return F.interpolate(x, size=frames, mode="linear")


def stretch_reply(x: Tensor, frames: int) -> Tensor:
    """Return the encoded tokens (1, C, N) of a reply at the mel frame rate, (1, C, frames).

    Above 40 tokens, the first and the last 20 get mel_frames(20) frames each, and the middle gets the rest.
    """
    tokens = x.shape[-1]
    end_frames = mel_frames(END_TOKENS)
    if tokens <= 2 * END_TOKENS:
        return stretch(x, frames)
    head, middle, tail = x[..., :END_TOKENS], x[..., END_TOKENS:-END_TOKENS], x[..., -END_TOKENS:]
    stretched_middle = stretch(middle, frames - 2 * end_frames)
    return torch.cat([stretch(head, end_frames), stretched_middle, stretch(tail, end_frames)], dim=-1)


class LengthRegulator(nn.Module):
    """Convolutions after the interpolation from the token rate to the mel frame rate."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(config.regulator_stages):
            layers += [nn.Conv1d(MELS, MELS, 3, padding=1), MaskedGroupNorm(1, MELS), nn.Mish()]
        self.model = nn.ModuleList([*layers, nn.Conv1d(MELS, MELS, 1)])

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return mu (B, 80, T) from stretched tokens x (B, 80, T); mask (B, 1, T) or None."""
        for conv, norm, mish in zip(self.model[:-1:3], self.model[1::3], self.model[2::3], strict=True):
            x = mish(norm(conv(x), mask))
            if mask is not None:
                x = x * mask
        mu: Tensor = self.model[-1](x)
        return mu


class FlowMatching(nn.Module):
    """Flow matching: from tokens, a voice and noise to mel frames."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(SPEECH_IDS, config.width)
        self.speaker = nn.Linear(EMBEDDING_SIZE, MELS)
        self.encoder = TokenEncoder(config)
        self.encoded = nn.Linear(config.width, MELS)
        self.regulator = LengthRegulator(config)
        self.estimator = Estimator(config)
        #: Whether rows are padded to a multiple of `TOKEN_BUCKET` and `FRAME_BUCKET`.
        self.buckets = False

    def forward(
        self,
        tokens: Sequence[Tensor],
        noise: Sequence[Tensor],
        *,
        prompt_tokens: Tensor,
        prompt_mel: Tensor,
        embedding: Tensor,
    ) -> list[Tensor]:
        """Return the mel frames of several replies in one voice.

        Args:
            tokens: B tensors (N_b,) int64, each N_b >= 1, ids in [0, 4096).
            noise: B tensors (80, F + M_b) float32, standard normal: the initial state. M_b is
                mel_frames(N_b), or, for a window of a reply, one more or less.
            prompt_tokens: (P,) int64 of the voice's recording.
            prompt_mel: (F, 80) float32 of the same recording.
            embedding: (192,) float32, of its speaker.

        Returns:
            B tensors (80, M_b) float32, log-mel.
        """
        prompt_frames = prompt_mel.shape[0]
        lengths = [row.shape[1] for row in noise]
        width = self.width(max(lengths), FRAME_BUCKET)
        valid = frame_mask(lengths, device=prompt_mel.device, width=width if self.buckets else 0)
        mask = None if valid is None else valid[:, None].float()  # (B, 1, T)

        stretched = self.stretch_rows(tokens, prompt_tokens, prompt_frames, lengths)
        mu = self.regulator(F.pad(stretched, (0, width - stretched.shape[-1])), mask)
        speaker = self.speaker(F.normalize(embedding, dim=0))
        prompt = F.pad(prompt_mel.T, (0, mu.shape[-1] - prompt_frames))  # (80, T), zero after the prompt
        context = torch.cat([mu, speaker[:, None].expand_as(mu), prompt.expand_as(mu)], dim=1)  # (B, 240, T)
        start = torch.stack([F.pad(row, (0, width - row.shape[1])) for row in noise])
        mel = self.solve(start, context, mask)
        return [row[:, prompt_frames:length].contiguous() for row, length in zip(mel, lengths, strict=True)]

    def width(self, longest: int, bucket: int) -> int:
        """Return the length to which rows are padded."""
        return -(-longest // bucket) * bucket if self.buckets else longest

    def stretch_rows(
        self, tokens: Sequence[Tensor], prompt: Tensor, prompt_frames: int, lengths: Sequence[int]
    ) -> Tensor:
        """Encode every row after the prompt; return (B, 80, T) of T frames at most, zero at padding."""
        rows = [torch.cat([prompt, row]) for row in tokens]
        counts = [len(row) for row in rows]
        width = self.width(max(counts), TOKEN_BUCKET)
        mask = frame_mask(counts, device=prompt.device, width=width if self.buckets else 0)
        ids = torch.stack([F.pad(row, (0, width - len(row))) for row in rows])
        encoded = self.encoded(self.encoder(self.embedding(ids), mask)).transpose(1, 2)  # (B, 80, N)
        stretched = []
        for number, row in enumerate(rows):  # each length has its own grid; 2 to 4 calls per row
            prompt_part, reply = encoded[number : number + 1, :, : len(row)].split(
                [len(prompt), len(row) - len(prompt)], dim=-1
            )
            frames = lengths[number] - prompt_frames
            both = torch.cat([stretch(prompt_part, prompt_frames), stretch_reply(reply, frames)], dim=-1)
            stretched.append(both[0].T)
        return pad_sequence(stretched, batch_first=True).transpose(1, 2)

    def solve(self, x: Tensor, context: Tensor, mask: Tensor | None) -> Tensor:
        """Integrate from noise x (B, 80, T) to mel frames with Euler steps and classifier-free guidance.

        Each step evaluates 2 B rows in one call: B with the conditions, and B with all three conditions zero.
        The state is float32; the estimator computes in the dtype of its weights.
        """
        config, rows = self.config, x.shape[0]
        dtype = self.estimator.velocity.weight.dtype
        grid = time_grid(config.steps)
        time, step = grid[0], grid[1] - grid[0]
        times, steps = [], []
        for number in range(1, config.steps + 1):
            times.append(time)
            steps.append(float(step))
            # Relative to the accumulated time, so that rounding errors do not add up.
            time = time + step
            step = grid[min(number + 1, config.steps)] - time
        embedded = self.estimator.embed_times(torch.stack(times).to(x.device))

        both = torch.cat([context, torch.zeros_like(context)]).to(dtype)  # (2 B, 240, T)
        masks = None if mask is None else FrameMasks.of(mask.repeat(2, 1, 1).to(dtype))
        for number, step_size in enumerate(steps):
            state = x.to(dtype).repeat(2, 1, 1)
            velocity = self.estimator(torch.cat([state, both], dim=1), masks, embedded[number])
            guided, free = velocity.float().split(rows)
            x = x + step_size * ((1 + config.guidance) * guided - config.guidance * free)
        return x
