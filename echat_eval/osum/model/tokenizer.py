"""Text to ids and back, with Qwen2.5's vocabulary.

A local folder may hold `tokenizer.json` (any byte-level tokenizer, such as that of the tests), `vocab.json`
with `merges.txt` (as Qwen2.5 is published), or `qwen.tiktoken`. Without a folder the tokenizer of
`Qwen/Qwen2.5-3B-Instruct` is downloaded from the hub. The model's weights are not needed, and their research
licence does not cover the tokenizer alone.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData, NotInstalled
from echat_eval.io.hashing import file_sha256, sha256_of

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["HUB", "TextTokenizer", "load_tokenizer"]

HUB = "Qwen/Qwen2.5-3B-Instruct"

#: The 22 added tokens of Qwen2.5 in the order of their ids, from 151643 on.
ADDED = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
)

#: How Qwen splits text before merging bytes: contractions, words, single digits, punctuation, white space.
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

_SPECIAL = re.compile(r"<\|[a-z_0-9]+\|>")


class TextTokenizer:
    """Tokenizer that encodes a special such as `<|im_end|>` as one id and skips it when decoding."""

    def __init__(self, backend: Any, *, source: str, fingerprint: str) -> None:
        self._backend = backend
        self.source, self.fingerprint = source, fingerprint

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text that may contain specials; no ids are added."""
        if hasattr(self._backend, "get_vocab"):
            ids: list[int] = self._backend.encode(text, add_special_tokens=False).ids
            return ids
        return list(self._backend.encode(text, allowed_special="all"))

    def encode_plain(self, text: str) -> list[int]:
        """Return the ids of untrusted text, in which `<|im_end|>` does not end a turn."""
        return self.encode(_SPECIAL.sub(lambda hit: hit[0].replace("|", "¦"), text))

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids without specials; ids past the end of the vocabulary are skipped."""
        if hasattr(self._backend, "get_vocab"):
            text: str = self._backend.decode(list(ids), skip_special_tokens=True)
            return text
        plain = [i for i in ids if i < self._backend.max_token_value - len(ADDED) + 1]
        return str(self._backend.decode(plain, errors="replace"))


def _byte_level(model: Any) -> Any:
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers

    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(SPLIT), behavior="isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    for word in ADDED:
        tokenizer.add_tokens([AddedToken(word, special=word.startswith("<|"), normalized=False)])
    return tokenizer


def _read_tiktoken(path: Path) -> Any:
    try:
        import tiktoken
        from tiktoken.load import load_tiktoken_bpe
    except ImportError as error:
        raise NotInstalled("reading qwen.tiktoken needs tiktoken: pip install tiktoken") from error
    ranks = load_tiktoken_bpe(str(path))
    specials = {word: len(ranks) + n for n, word in enumerate(ADDED)}
    return tiktoken.Encoding("qwen", pat_str=SPLIT, mergeable_ranks=ranks, special_tokens=specials)


def load_tokenizer(source: Path | str | None) -> TextTokenizer:
    """Return the tokenizer of a local folder or of the hub.

    Args:
        source: a folder, a hub name such as `Qwen/Qwen2.5-3B-Instruct`, or None for that one.

    Raises:
        NotInstalled: a package is missing, or the download fails.
        BadData: no tokenizer file, or a broken one.
    """
    try:
        from tokenizers import Tokenizer, models
    except ImportError as error:
        raise NotInstalled("OSUM-EChat needs tokenizers: pip install 'echat-eval[osum]'") from error
    folder = Path(source) if source is not None else None
    if folder is None or not folder.exists():
        folder = _from_hub(str(source or HUB))
    folder = folder if folder.is_dir() else folder.parent
    tokenizer_json, vocab_json, merges_txt, tiktoken_ranks = (
        folder / name for name in ("tokenizer.json", "vocab.json", "merges.txt", "qwen.tiktoken")
    )
    try:
        if tokenizer_json.is_file():
            # The library reports a truncated file as a bare Exception; json raises ValueError.
            json.loads(tokenizer_json.read_text(encoding="utf-8"))
            backend = Tokenizer.from_file(str(tokenizer_json))
            return TextTokenizer(
                backend,
                source=str(source),
                fingerprint=file_sha256(tokenizer_json),
            )
        if vocab_json.is_file() and merges_txt.is_file():
            vocabulary = json.loads(vocab_json.read_text(encoding="utf-8"))
            lines = merges_txt.read_text(encoding="utf-8").splitlines()
            merges = [line.partition(" ") for line in lines if line and not line.startswith("#version")]
            pairs = [(left, right) for left, _, right in merges]
            backend = _byte_level(models.BPE(vocab=vocabulary, merges=pairs))
            return TextTokenizer(
                backend,
                source=str(source),
                fingerprint=sha256_of(vocab_json.read_bytes() + merges_txt.read_bytes()),
            )
        if tiktoken_ranks.is_file():
            backend = _read_tiktoken(tiktoken_ranks)
            return TextTokenizer(
                backend,
                source=str(source),
                fingerprint=file_sha256(tiktoken_ranks),
            )
    except (ValueError, OSError, json.JSONDecodeError) as error:
        raise BadData(f"{folder}: broken tokenizer file: {error}") from error
    raise BadData(
        f"{folder}: no tokenizer.json, no vocab.json with merges.txt, no qwen.tiktoken; expected one of them"
    )


def _from_hub(name: str) -> Path:
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise NotInstalled(
            "the hub's tokenizer needs huggingface-hub: pip install 'echat-eval[osum]'"
        ) from error
    try:
        return Path(hf_hub_download(name, "tokenizer.json")).parent
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise NotInstalled(
            f"no folder '{name}', and the tokenizer could not be downloaded from the hub ({reason}); "
            "name a folder with tokenizer.json"
        ) from error
