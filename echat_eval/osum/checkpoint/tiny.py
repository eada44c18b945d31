"""A tiny checkpoint for tests: random weights under the released names, and a byte tokenizer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from echat_eval.osum.checkpoint.tensor_names import COPIES, TIED, official_shapes
from echat_eval.osum.model.config import TINY, config_to_json

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from echat_eval.osum.model.config import OsumConfig

__all__ = ["make_tiny", "random_tensors", "write_byte_tokenizer"]

EMBEDDING_SCALE = 0.05

SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def random_tensors(config: OsumConfig = TINY, *, seed: int = 0, talkative: bool = False) -> dict[str, Tensor]:
    """Return a full set of official tensors in fp32; the four tied names share one storage.

    Args:
        config: sizes.
        seed: the same seed gives the same tensors.
        talkative: keep the end tokens as unlikely as any other. Otherwise they are likely enough that a
            reply ends after about ten text tokens and twenty speech tokens.
    """
    # RandomState gives the same numbers in every numpy version; the committed golden data depend on them.
    random = np.random.RandomState(seed)
    tensors: dict[str, Tensor] = {}
    for name, shape in official_shapes(config).items():
        if name in TIED[1:]:
            tensors[name] = tensors[TIED[0]]
            continue
        values = torch.from_numpy(random.standard_normal(shape).astype(np.float32))
        if name.endswith("bias"):
            values = values * 0.1
        elif len(shape) == 1:
            values = 1 + 0.1 * values
        elif name in (TIED[0], "speech_token_emded.weight"):
            # Small compared with the layers' output; otherwise a tied head repeats the last token forever.
            values = values * EMBEDDING_SCALE
        else:
            values = values / math.sqrt(math.prod(shape[1:]))
        tensors[name] = values
    if not talkative:
        tensors[TIED[0]][config.text.end] *= 3.0
        tensors["speech_head.bias"][config.speech.bos_eos] += 1.8
    return tensors


def write_byte_tokenizer(path: Path, config: OsumConfig = TINY) -> None:
    """Write a `tokenizer.json`: one token per byte, and the three chat specials at the end."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    fillers = [f"<|unused{n}|>" for n in range(config.decoder.vocab - len(alphabet) - len(SPECIALS))]
    words = [*alphabet, *fillers, *SPECIALS]
    tokenizer = Tokenizer(models.BPE(vocab={word: n for n, word in enumerate(words)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in SPECIALS])
    tokenizer.save(str(path))


def make_tiny(
    folder: Path,
    *,
    config: OsumConfig = TINY,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    form: str = "plain",
) -> Path:
    """Write `tiny.pt`, `config.json` and `tokenizer.json` into a folder; return the path of the checkpoint.

    Args:
        folder: created if needed.
        config: sizes.
        seed: of the random weights.
        dtype: of the stored tensors; the released files are presumably bf16.
        form: "plain"; "module" (every name starts with `module.`); "wrapped" (one mapping named `module`,
            as DeepSpeed writes); "copies" (with the extra speech-head names); "untied" (the text embedding
            once); or "west".
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.to(dtype) for name, tensor in random_tensors(config, seed=seed).items()}
    tensors |= dict.fromkeys(TIED, tensors[TIED[0]])
    width = config.encoder.width
    tensors |= {"encoder.embed.pos_enc.pe": torch.zeros(1, 30, width), "ln_speech.weight": torch.ones(width)}
    tensors |= {
        "speech_transformer.embed.pos_enc.pe": torch.zeros(1, 5, width),
        "ln_speech.bias": torch.zeros(width),
    }
    content: object = tensors
    if form == "module":
        content = {f"module.{name}": tensor for name, tensor in tensors.items()}
    elif form == "wrapped":
        content = {"module": tensors, "global_steps": 3}
    elif form == "copies":
        content = tensors | {copy: tensors[original].clone() for copy, original in COPIES.items()}
    elif form == "untied":
        content = {name: tensor for name, tensor in tensors.items() if name not in TIED[1:]}
    elif form == "west":
        content = {_west_name(name): tensor for name, tensor in tensors.items() if name not in TIED[2:]}
    torch.save(content, folder / "tiny.pt")
    (folder / "config.json").write_text(config_to_json(config) + "\n", encoding="utf-8")
    write_byte_tokenizer(folder / "tokenizer.json", config)
    return folder / "tiny.pt"


#: Official prefix -> the WEST port's.
_TO_WEST = {
    "llama_model.": "llm.",
    "down_sample_2.": "projector.",
    "speech_transformer.": "projector.speech_transformer.",
    "speech_llama_proj.": "projector.speech_llama_proj.",
    "encoder.": "encoder.encoder.",
}


def _west_name(name: str) -> str:
    for old, new in _TO_WEST.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name
