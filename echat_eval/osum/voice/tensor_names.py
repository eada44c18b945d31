"""Mapping of our token2wav parameters to the tensors of the released files.

Most tensors are copied. Queries, keys and values are separate in the release and joined here. The release
stores the vocoder's convolutions as a gain and a direction, which are folded once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

__all__ = ["Origin", "flow_origins", "hift_origins", "join", "official_shapes"]

_LAYER = r"^encoder\.layers\.(\d+)"
_ENCODER = r"encoder.encoders.\1"
_STAGE = r"^estimator\.(down|mid|up)\.(\d+)"
_BLOCKS = r"decoder.estimator.\1_blocks.\2"
_TRANSFORMER = _STAGE + r"\.transformers\.(\d+)"
_BLOCK = _BLOCKS + r".1.\3"

#: (our pattern, official name); the first pattern that matches is used. `<qkv>` stands for three names.
FLOW_NAMES: tuple[tuple[str, str], ...] = (
    (r"^embedding\.", "input_embedding."),
    (r"^speaker\.", "spk_embed_affine_layer."),
    (r"^encoded\.", "encoder_proj."),
    (r"^regulator\.", "length_regulator."),
    (r"^encoder\.project\.", "encoder.embed.out.0."),
    (r"^encoder\.norm\.", "encoder.embed.out.1."),
    (r"^encoder\.last_norm\.", "encoder.after_norm."),
    (_LAYER + r"\.attention\.qkv\.", _ENCODER + ".self_attn.linear_<qkv>."),
    (_LAYER + r"\.attention\.out\.", _ENCODER + ".self_attn.linear_out."),
    (_LAYER + r"\.attention\.position\.", _ENCODER + ".self_attn.linear_pos."),
    (_LAYER + r"\.attention\.content_bias$", _ENCODER + ".self_attn.pos_bias_u"),
    (_LAYER + r"\.attention\.position_bias$", _ENCODER + ".self_attn.pos_bias_v"),
    (_LAYER + r"\.attention_norm\.", _ENCODER + ".norm_mha."),
    (_LAYER + r"\.feed_norm\.", _ENCODER + ".norm_ff."),
    (_LAYER + r"\.up\.", _ENCODER + ".feed_forward.w_1."),
    (_LAYER + r"\.down\.", _ENCODER + ".feed_forward.w_2."),
    (r"^estimator\.time([12])\.", r"decoder.estimator.time_mlp.linear_\1."),
    (_STAGE + r"\.resnet\.time\.", _BLOCKS + ".0.mlp.1."),
    (_STAGE + r"\.resnet\.conv([12])\.", _BLOCKS + r".0.block\3.block.0."),
    (_STAGE + r"\.resnet\.norm([12])\.", _BLOCKS + r".0.block\3.block.1."),
    (_STAGE + r"\.resnet\.shortcut\.", _BLOCKS + ".0.res_conv."),
    (_TRANSFORMER + r"\.attention_norm\.", _BLOCK + ".norm1."),
    (_TRANSFORMER + r"\.qkv\.", _BLOCK + ".attn1.to_<qkv>."),
    (_TRANSFORMER + r"\.out\.", _BLOCK + ".attn1.to_out.0."),
    (_TRANSFORMER + r"\.feed_norm\.", _BLOCK + ".norm3."),
    (_TRANSFORMER + r"\.up\.", _BLOCK + ".ff.net.0.proj."),
    (_TRANSFORMER + r"\.down\.", _BLOCK + ".ff.net.2."),
    # Only the outer stages wrap the change of frame rate in a module.
    (r"^estimator\.(down|up)\.(0)\.resample\.", _BLOCKS + ".2.conv."),
    (r"^estimator\.(down|up)\.(1)\.resample\.", _BLOCKS + ".2."),
    (r"^estimator\.last_conv\.", "decoder.estimator.final_block.block.0."),
    (r"^estimator\.last_norm\.", "decoder.estimator.final_block.block.1."),
    (r"^estimator\.velocity\.", "decoder.estimator.final_proj."),
)

#: Convolutions of the vocoder that the release stores as gain and direction.
NORMED = re.compile(
    r"^(conv_pre|conv_post|ups\.\d+|f0_predictor\.condnet\.\d+|(source_)?resblocks\.\d+\.convs[12]\.\d+)\.weight$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The official tensors of one of our parameters.

    Attributes:
        shapes: official name -> shape. One tensor is copied; three are concatenated along their first axis.
        normed: the two tensors are a gain and a direction.
    """

    shapes: Mapping[str, tuple[int, ...]]
    normed: bool = False


def flow_origins(flow: nn.Module) -> dict[str, Origin]:
    """Return our name -> Origin for every parameter of a `FlowMatching`, which may be on the meta device."""
    origins = {}
    for name, value in flow.state_dict().items():
        source = next(re.sub(ours, official, name) for ours, official in FLOW_NAMES if re.match(ours, name))
        shape = tuple(value.shape)
        if "<qkv>" in source:
            part = (shape[0] // 3, *shape[1:])
            origins[name] = Origin(shapes={source.replace("<qkv>", letter): part for letter in "qkv"})
        else:
            origins[name] = Origin(shapes={source: shape})
    return origins


def hift_origins(hift: nn.Module) -> dict[str, Origin]:
    """Return our name -> Origin for every parameter of a `Hift`; names differ only for weight norms."""
    origins = {}
    for name, value in hift.state_dict().items():
        shape = tuple(value.shape)
        if NORMED.match(name):
            stem = f"{name.removesuffix('weight')}parametrizations.weight.original"
            # The gain follows the first axis, which is the input channel of a transposed convolution.
            shapes = {f"{stem}0": (shape[0], *[1] * (len(shape) - 1)), f"{stem}1": shape}
            origins[name] = Origin(shapes=shapes, normed=True)
        else:
            origins[name] = Origin(shapes={name: shape})
    return origins


def official_shapes(origins: Mapping[str, Origin]) -> dict[str, tuple[int, ...]]:
    """Return official name -> shape of all tensors that the origins need."""
    return {name: shape for origin in origins.values() for name, shape in origin.shapes.items()}


def join(origin: Origin, state: Mapping[str, Tensor]) -> Tensor:
    """Return one of our parameters, in float32, from a state dict with official names."""
    parts = [state[name].float() for name in origin.shapes]
    if origin.normed:
        gain, direction = parts
        # Use the kernel of torch's weight norm: the phase sums up the pitch, so even one ulp is audible.
        folded: Tensor = torch._weight_norm(direction, gain, 0)
        return folded
    return parts[0] if len(parts) == 1 else torch.cat(parts)
