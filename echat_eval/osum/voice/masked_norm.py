"""Group norm over the valid frames of a padded batch: batching does not change the result."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the community's name for it
from torch import Tensor, nn

__all__ = ["MaskedGroupNorm", "frame_mask"]


class MaskedGroupNorm(nn.GroupNorm):
    """Group norm whose mean and variance exclude padding.

    Plain group norm averages over time: zeros at the end of a short row would change all its frames.
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return x, normalised.

        Args:
            x: (B, C, T).
            mask: (B, 1, T), 1 at valid frames and 0 at padding; None without padding.

        Returns:
            (B, C, T) of x's dtype; statistics are float32. Values at padded frames are undefined.
        """
        if mask is None:
            return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)
        rows, channels, frames = x.shape
        grouped = x.float().view(rows, self.num_groups, -1, frames)  # (B, G, C/G, T)
        valid = mask.float().unsqueeze(1)  # (B, 1, 1, T)
        count = valid.sum(dim=-1, keepdim=True) * (channels // self.num_groups)  # (B, 1, 1, 1)
        mean = (grouped * valid).sum(dim=(2, 3), keepdim=True) / count
        # Two passes: the mean of squares minus the square of the mean loses digits in float32.
        centred = grouped - mean
        variance = (centred * valid).square_().sum(dim=(2, 3), keepdim=True) / count
        normed = centred.mul_(torch.rsqrt(variance + self.eps)).view(rows, channels, frames).to(x.dtype)
        return (normed * self.weight[:, None]).add_(self.bias[:, None])


def frame_mask(lengths: list[int], *, device: torch.device | str) -> Tensor | None:
    """Return (B, max(lengths)) bool, true at valid frames; None if all lengths are equal."""
    if len(set(lengths)) <= 1:
        return None
    counts = torch.tensor(lengths, device=device)
    return torch.arange(max(lengths), device=device) < counts[:, None]
