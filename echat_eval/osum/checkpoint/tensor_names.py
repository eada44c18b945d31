"""Tensor names and shapes of the released files, and their mapping to our tensors.

A released file is a flat mapping of names to tensors. It may contain a `module.` prefix, tied copies of the
text embedding, a second copy of the speech head under the language model, positional tables (recomputed
here), counters of the training, or the names of the WEST port.

Source: OSUM-EChat, commit f2bcfac, its modules built on the meta device.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from echat_eval.osum.model.config import OsumConfig

__all__ = ["COPIES", "TIED", "Shape", "official_shapes", "rename", "weight_map"]

Shape = tuple[int, ...]

#: Names of the tensor shared by the text embedding and the text head; files hold one to four of them.
TIED = (
    "llama_model.model.embed_tokens.weight",
    "llama_model.lm_head.weight",
    "embed_tokens.weight",
    "lm_head.weight",
)

#: Copies of the speech tables under the language model, in files saved after a first reply.
COPIES = {
    "llama_model.speech_token_emded.weight": "speech_token_emded.weight",
    "llama_model.speech_head.weight": "speech_head.weight",
    "llama_model.speech_head.bias": "speech_head.bias",
}

#: Tensors that no part of the network needs: an unused norm, tables that are computed here, and counters.
_IGNORED = re.compile(
    r"ln_speech\.(weight|bias)"
    r"|(encoder|speech_transformer)\.embed\.pos_enc\.pe"
    r"|llama_model\.model\.(layers\.\d+\.self_attn\.)?rotary_emb\.(original_)?inv_freq"
    r"|(global_)?steps?|epoch|iteration"
)
#: Prefixes of wrappers around the whole network: data parallelism, Lightning, torch.compile.
_WRAPPERS = ("module.", "model.", "_orig_mod.")
_WEST = (
    (re.compile(r"llm\."), "llama_model."),
    (re.compile(r"projector\.conv\."), "down_sample_2.conv."),
    (re.compile(r"projector\.speech_(transformer|llama_proj)\."), r"speech_\1."),
    (re.compile(r"encoder\.encoder\."), "encoder."),
)


def _conformer_layer(name: str, width: int, ffn: int, *, key_bias: bool) -> dict[str, Shape]:
    """Return the shapes of one encoder or adapter layer."""
    shapes: dict[str, Shape] = {}
    for part in "qkv":
        shapes[f"{name}.self_attn.linear_{part}.weight"] = (width, width)
        if part != "k" or key_bias:
            shapes[f"{name}.self_attn.linear_{part}.bias"] = (width,)
    shapes |= {
        f"{name}.self_attn.linear_out.weight": (width, width),
        f"{name}.self_attn.linear_out.bias": (width,),
    }
    shapes |= {f"{name}.feed_forward.w_1.weight": (ffn, width), f"{name}.feed_forward.w_1.bias": (ffn,)}
    shapes |= {f"{name}.feed_forward.w_2.weight": (width, ffn), f"{name}.feed_forward.w_2.bias": (width,)}
    return shapes | {
        f"{name}.{norm}.{kind}": (width,) for norm in ("norm1", "norm2") for kind in ("weight", "bias")
    }


def _decoder_layer(name: str, config: OsumConfig) -> dict[str, Shape]:
    """Return the shapes of one language-model layer."""
    c = config.decoder
    inner, keys = c.heads * c.head_dim, c.kv_heads * c.head_dim
    shapes: dict[str, Shape] = {}
    for part, rows in (("q", inner), ("k", keys), ("v", keys)):
        shapes |= {
            f"{name}.self_attn.{part}_proj.weight": (rows, c.width),
            f"{name}.self_attn.{part}_proj.bias": (rows,),
        }
    return shapes | {
        f"{name}.self_attn.o_proj.weight": (c.width, inner),
        f"{name}.mlp.gate_proj.weight": (c.ffn, c.width),
        f"{name}.mlp.up_proj.weight": (c.ffn, c.width),
        f"{name}.mlp.down_proj.weight": (c.width, c.ffn),
        f"{name}.input_layernorm.weight": (c.width,),
        f"{name}.post_attention_layernorm.weight": (c.width,),
    }


def official_shapes(config: OsumConfig) -> dict[str, Shape]:
    """Return name -> shape of every tensor a released checkpoint must hold, tied copies included.

    With the two positional tables and the unused `ln_speech` the full model has 888 names.
    """
    e, a, d, s = config.encoder, config.adapter, config.decoder, config.speech
    w = e.width
    shapes: dict[str, Shape] = {
        "encoder.embed.conv.0.weight": (w, e.mels, 3),
        "encoder.embed.conv.0.bias": (w,),
    }
    shapes |= {"encoder.embed.conv.2.weight": (w, w, 3), "encoder.embed.conv.2.bias": (w,)}
    for i in range(e.layers):
        shapes |= _conformer_layer(f"encoder.encoders.{i}", w, e.ffn, key_bias=False)
    shapes |= {"encoder.after_norm.weight": (w,), "encoder.after_norm.bias": (w,)}
    for i in (1, 4, 7):
        shapes |= {f"down_sample_2.conv.{i}.weight": (w, w, 3), f"down_sample_2.conv.{i}.bias": (w,)}
    t = "speech_transformer"
    shapes |= {f"{t}.embed.out.0.weight": (w, w), f"{t}.embed.out.0.bias": (w,)}
    shapes |= {f"{t}.embed.out.1.weight": (w,), f"{t}.embed.out.1.bias": (w,)}
    for i in range(a.layers):
        shapes |= _conformer_layer(f"{t}.encoders.{i}", w, a.ffn, key_bias=True)
    shapes |= {f"{t}.after_norm.weight": (w,), f"{t}.after_norm.bias": (w,)}
    shapes |= {"speech_llama_proj.weight": (d.width, w), "speech_llama_proj.bias": (d.width,)}
    for i in range(d.layers):
        shapes |= _decoder_layer(f"llama_model.model.layers.{i}", config)
    shapes |= {
        "llama_model.model.norm.weight": (d.width,),
        "speech_token_emded.weight": (s.tokens + 2, d.width),
    }
    shapes |= {"speech_head.weight": (s.tokens, d.width), "speech_head.bias": (s.tokens,)}
    return shapes | dict.fromkeys(TIED, (d.vocab, d.width))


def weight_map(config: OsumConfig) -> dict[str, tuple[str | None, ...]]:
    """Return our name -> official names of the tensors to join along dimension 0; None means zeros."""
    sources: dict[str, tuple[str | None, ...]] = {"decoder.text_embedding.weight": (TIED[0],)}
    pairs = {
        "encoder.conv1": "encoder.embed.conv.0", "encoder.conv2": "encoder.embed.conv.2",
        "encoder.norm": "encoder.after_norm", "adapter.norm": "speech_transformer.after_norm",
        "adapter.convs.0": "down_sample_2.conv.1", "adapter.convs.1": "down_sample_2.conv.4",
        "adapter.convs.2": "down_sample_2.conv.7", "adapter.linear": "speech_transformer.embed.out.0",
        "adapter.linear_norm": "speech_transformer.embed.out.1", "adapter.project": "speech_llama_proj",
        "decoder.speech_head": "speech_head",
    }  # fmt: skip
    for ours, layers, theirs in (
        ("encoder", config.encoder.layers, "encoder"),
        ("adapter", config.adapter.layers, "speech_transformer"),
    ):
        for i in range(layers):
            o, t = f"{ours}.layers.{i}", f"{theirs}.encoders.{i}"
            pairs |= {
                f"{o}.norm1": f"{t}.norm1",
                f"{o}.norm2": f"{t}.norm2",
                f"{o}.out": f"{t}.self_attn.linear_out",
            }
            pairs |= {f"{o}.up": f"{t}.feed_forward.w_1", f"{o}.down": f"{t}.feed_forward.w_2"}
            q, k, v = (f"{t}.self_attn.linear_{part}" for part in "qkv")
            sources[f"{o}.qkv.weight"] = (f"{q}.weight", f"{k}.weight", f"{v}.weight")
            # Whisper's keys have no bias; a zero bias allows one joint projection.
            sources[f"{o}.qkv.bias"] = (f"{q}.bias", None if ours == "encoder" else f"{k}.bias", f"{v}.bias")
    sources |= {f"{o}.{kind}": (f"{t}.{kind}",) for o, t in pairs.items() for kind in ("weight", "bias")}
    for i in range(config.decoder.layers):
        o, t = f"decoder.layers.{i}", f"llama_model.model.layers.{i}"
        for kind in ("weight", "bias"):
            sources[f"{o}.qkv.{kind}"] = tuple(f"{t}.self_attn.{part}_proj.{kind}" for part in "qkv")
        sources[f"{o}.out.weight"] = (f"{t}.self_attn.o_proj.weight",)
        sources[f"{o}.gate_up.weight"] = (f"{t}.mlp.gate_proj.weight", f"{t}.mlp.up_proj.weight")
        sources[f"{o}.down.weight"] = (f"{t}.mlp.down_proj.weight",)
        sources[f"{o}.norm1.weight"] = (f"{t}.input_layernorm.weight",)
        sources[f"{o}.norm2.weight"] = (f"{t}.post_attention_layernorm.weight",)
    sources["decoder.norm.weight"] = ("llama_model.model.norm.weight",)
    return sources | {"decoder.speech_embedding.weight": ("speech_token_emded.weight",)}


def rename(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under official names, without wrappers' prefixes, WEST names or computed tables."""
    names = {name: name.removeprefix("module.") for name in tensors}
    # A wrapper stands before every name; "model." alone could also begin one name of the network.
    while names and (
        prefix := next((p for p in _WRAPPERS if all(n.startswith(p) for n in names.values())), None)
    ):
        names = {old: name.removeprefix(prefix) for old, name in names.items()}
    if any(name.startswith("llm.") for name in names.values()):
        for old, name in names.items():
            for pattern, new in _WEST:
                name, hits = re.subn(rf"\A(?:{pattern.pattern})", new, name)
                if hits:
                    break
            names[old] = name
    return {new: tensors[old] for old, new in names.items() if not _IGNORED.fullmatch(new)}
