"""The velocity estimator of flow matching: a 1-D U-Net of residual and transformer blocks.

The outer stages run at the full frame rate, the inner ones at half of it. Convolutions see zeros at padding;
norms and attention use valid frames only. The result for a row therefore does not depend on its batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F  # noqa: N812 - the community's name for it
from torch import Tensor, nn

from echat_eval.osum.voice.config import MELS
from echat_eval.osum.voice.masked_norm import MaskedGroupNorm

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from echat_eval.osum.voice.config import FlowConfig

__all__ = ["Estimator", "FrameMasks"]

#: Channels of x, mu, speaker and prompt, MELS each.
INPUT_CHANNELS = 4 * MELS


def masked(x: Tensor, mask: Tensor | None) -> Tensor:
    """Return x (B, C, T) with zeros at padding; mask (B, 1, T) or None."""
    return x if mask is None else x * mask


class ResnetBlock(nn.Module):
    """Two blocks of convolution, group norm and Mish; time embedding between them, and a 1x1 shortcut."""

    def __init__(self, channels_in: int, channels: int, time_size: int, groups: int) -> None:
        super().__init__()
        self.time = nn.Linear(time_size, channels)
        self.conv1 = nn.Conv1d(channels_in, channels, 3, padding=1)
        self.norm1 = MaskedGroupNorm(groups, channels)
        self.conv2 = nn.Conv1d(channels, channels, 3, padding=1)
        self.norm2 = MaskedGroupNorm(groups, channels)
        self.shortcut = nn.Conv1d(channels_in, channels, 1)

    def forward(self, x: Tensor, mask: Tensor | None, time: Tensor) -> Tensor:
        """Return (B, C, T) from x (B, C', T), mask (B, 1, T) and time (C, 1), the projected time."""
        x = masked(x, mask)
        h = F.mish(self.norm1(self.conv1(x), mask)) + time
        h = F.mish(self.norm2(self.conv2(masked(h, mask)), mask))
        y: Tensor = masked(h, mask) + self.shortcut(x)
        return y


class TransformerBlock(nn.Module):
    """Pre-norm self-attention and a GELU feed-forward network, without positional encoding."""

    def __init__(self, channels: int, heads: int, head_size: int) -> None:
        super().__init__()
        self.heads, self.head_size = heads, head_size
        self.attention_norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * heads * head_size, bias=False)
        self.out = nn.Linear(heads * head_size, channels)
        self.feed_norm = nn.LayerNorm(channels)
        self.up = nn.Linear(channels, 4 * channels)
        self.down = nn.Linear(4 * channels, channels)

    def forward(self, x: Tensor, keys: Tensor | None) -> Tensor:
        """Return (B, T, C) from x (B, T, C) and keys (B, 1, 1, T), added to scores: 0, or -inf at padding."""
        rows, frames, _ = x.shape
        qkv = self.qkv(self.attention_norm(x)).view(rows, frames, 3, self.heads, self.head_size)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (B, H, T, d) each
        y: Tensor = F.scaled_dot_product_attention(q, k, v, attn_mask=keys)
        x = x + self.out(y.transpose(1, 2).reshape(rows, frames, -1))
        out: Tensor = x + self.down(F.gelu(self.up(self.feed_norm(x))))
        return out


class Stage(nn.Module):
    """A residual block, then transformer blocks, then a change of frame rate."""

    def __init__(self, config: FlowConfig, channels_in: int, resample: nn.Module | None) -> None:
        super().__init__()
        width = config.channels
        self.resnet = ResnetBlock(channels_in, width, 4 * width, config.groups)
        self.transformers = nn.ModuleList(
            TransformerBlock(width, config.estimator_heads, config.head_size) for _ in range(config.blocks)
        )
        self.resample = resample

    def forward(
        self, x: Tensor, mask: Tensor | None, keys: Tensor | None, time: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return (B, C, T) before and (B, C, T') after the change of frame rate."""
        x = self.resnet(x, mask, time).transpose(1, 2)  # (B, T, C)
        for block in self.transformers:
            x = block(x, keys)
        x = x.transpose(1, 2)
        return x, x if self.resample is None else self.resample(masked(x, mask))


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameMasks:
    """Masks of padding, at both frame rates; made once for all steps.

    Attributes:
        full, half: (B, 1, T), 1 at valid frames and 0 at padding.
        full_keys, half_keys: (B, 1, 1, T), 0 at valid frames and -inf at padding.
    """

    full: Tensor
    half: Tensor
    full_keys: Tensor
    half_keys: Tensor

    @classmethod
    def of(cls, mask: Tensor) -> FrameMasks:
        """Return the masks of (B, 1, T), 1 at valid frames, in its dtype."""
        keys = torch.zeros_like(mask).masked_fill_(mask == 0, -torch.inf).unsqueeze(1)
        half, half_keys = (x[..., ::2].contiguous() for x in (mask, keys))
        return cls(full=mask, half=half, full_keys=keys, half_keys=half_keys)


class Estimator(nn.Module):
    """The velocity v(x, t), conditioned on mu, speaker and prompt."""

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        width = config.channels
        self.time1 = nn.Linear(INPUT_CHANNELS, 4 * width)
        self.time2 = nn.Linear(4 * width, 4 * width)
        halve = nn.Conv1d(width, width, 3, stride=2, padding=1)
        double = nn.ConvTranspose1d(width, width, 4, stride=2, padding=1)
        self.down = nn.ModuleList(
            [
                Stage(config, INPUT_CHANNELS, halve),
                Stage(config, width, nn.Conv1d(width, width, 3, padding=1)),
            ]
        )
        self.mid = nn.ModuleList(Stage(config, width, None) for _ in range(config.mid_stages))
        self.up = nn.ModuleList(
            [
                Stage(config, 2 * width, double),
                Stage(config, 2 * width, nn.Conv1d(width, width, 3, padding=1)),
            ]
        )
        self.last_conv = nn.Conv1d(width, width, 3, padding=1)
        self.last_norm = MaskedGroupNorm(config.groups, width)
        self.velocity = nn.Conv1d(width, MELS, 1)
        #: The stages as compiled functions; empty if they are not compiled.
        self.compiled: list[Callable[..., tuple[Tensor, Tensor]]] = []

    @property
    def stages(self) -> list[Stage]:
        """Return all stages in the order in which they run."""
        return [s for part in (self.down, self.mid, self.up) for s in part if isinstance(s, Stage)]

    def compile_stages(self, *, backend: str | Callable[..., Any] = "inductor") -> None:
        """Compile the stages: one program serves the middle ones, and all lengths and numbers of rows.

        All calls must then have a mask: one without would need programs of its own.
        """
        self.compiled = [
            torch.compile(stage, fullgraph=True, dynamic=True, backend=backend) for stage in self.stages
        ]

    def embed_times(self, times: Tensor) -> Tensor:
        """Return (steps, stages, C, 1) from times (steps,) in [0, 1]; computed once per solve for all rows.

        The Mish before the time projection of every residual block, and that projection, are applied here.
        """
        half = INPUT_CHANNELS // 2
        rates = torch.exp(
            torch.arange(half, device=times.device, dtype=torch.float32) * -(math.log(10_000) / (half - 1))
        )
        angles = 1000 * times[:, None] * rates
        sinusoids = torch.cat([angles.sin(), angles.cos()], dim=-1).to(self.time1.weight.dtype)
        embedded = F.mish(self.time2(F.silu(self.time1(sinusoids))))
        return torch.stack([stage.resnet.time(embedded) for stage in self.stages], dim=1).unsqueeze(-1)

    def forward(self, x: Tensor, masks: FrameMasks | None, time: Tensor) -> Tensor:
        """Return the velocity at one time.

        Args:
            x: (B, 320, T): state, mu, speaker and prompt along the channels.
            masks: of the frames, of x's dtype; None without padding.
            time: (stages, C, 1), a row of `embed_times`.

        Returns:
            (B, 80, T), zero at padding.
        """
        mask, keys, half_mask, half_keys = None, None, None, None
        if masks is not None:
            mask, keys, half_mask, half_keys = masks.full, masks.full_keys, masks.half, masks.half_keys
        stages: Sequence[Callable[..., tuple[Tensor, Tensor]]] = self.compiled or self.stages
        first, second, *middle, last_but_one, last = stages
        full, x = first(x, mask, keys, time[0])
        half, x = second(x, half_mask, half_keys, time[1])
        for number, stage in enumerate(middle, start=2):
            x, _ = stage(x, half_mask, half_keys, time[number])
        _, x = last_but_one(torch.cat([x, half], dim=1), half_mask, half_keys, time[-2])
        # An odd number of frames comes back with one frame more.
        x = x[..., : full.shape[-1]]
        _, x = last(torch.cat([x, full], dim=1), mask, keys, time[-1])
        x = F.mish(self.last_norm(self.last_conv(masked(x, mask)), mask))
        return masked(self.velocity(masked(x, mask)), mask)
