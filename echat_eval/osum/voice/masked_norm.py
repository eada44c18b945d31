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
        size = channels // self.num_groups
        valid = mask.float().unsqueeze(1)  # (B, 1, 1, T)
        count = valid.sum(dim=-1, keepdim=True) * size  # (B, 1, 1, 1)
        # Two passes: the mean of squares minus the square of the mean loses digits in float32.
        grouped = (x * mask).float().view(rows, self.num_groups, size, frames)
        mean = grouped.sum(dim=(2, 3), keepdim=True) / count
        centred = torch.addcmul(grouped, mean, valid, value=-1)  # zero at padding
        norm = torch.linalg.vector_norm(centred, dim=(2, 3), keepdim=True)
        scale = torch.rsqrt(norm * norm / count + self.eps) * self.weight.view(self.num_groups, size, 1)
        normed = torch.addcmul(self.bias.view(self.num_groups, size, 1), centred, scale)
        return normed.view(rows, channels, frames).to(x.dtype)


def frame_mask(lengths: list[int], *, device: torch.device | str, width: int = 0) -> Tensor | None:
    """Return (B, width) bool, true at valid frames.

    Args:
        lengths: of the rows.
        device: of the mask.
        width: of padded rows; 0 for the longest, and then there is no mask, None, if all lengths are equal.
    """
    if not width and len(set(lengths)) <= 1:
        return None
    counts = torch.tensor(lengths, device=device)
    return torch.arange(width or max(lengths), device=device) < counts[:, None]
