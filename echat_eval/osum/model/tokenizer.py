"""Text to ids and back, in Qwen2.5's vocabulary.

Three forms are read from a local folder: `tokenizer.json` (any byte-level tokenizer, such as the tests'),
`vocab.json` with `merges.txt` (as Qwen2.5 is published), and `qwen.tiktoken`. Without a folder the hub's
`Qwen/Qwen2.5-3B-Instruct` is asked; its weights are not needed, and their research licence does not cover
the tokenizer alone.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echat_eval.errors import BadData, NotInstalled

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["HUB", "TextTokenizer", "load_tokenizer"]

HUB = "Qwen/Qwen2.5-3B-Instruct"

#: The 22 added tokens of Qwen2.5 in the order of their ids, the first of which is 151643.
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
    """Encodes and decodes; a special such as `<|im_end|>` is one id when encoding, nothing when decoding."""

    def __init__(self, backend: Any, *, source: str, fingerprint: str) -> None:
        self._backend = backend
        self.source, self.fingerprint = source, fingerprint

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text in which specials may stand; nothing is added."""
        if hasattr(self._backend, "get_vocab"):
            ids: list[int] = self._backend.encode(text, add_special_tokens=False).ids
            return ids
        return list(self._backend.encode(text, allowed_special="all"))

    def encode_plain(self, text: str) -> list[int]:
        """Return the ids of somebody else's words: `<|im_end|>` in them does not end a turn."""
        return self.encode(_SPECIAL.sub(lambda hit: hit[0].replace("|", "¦"), text))

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids, without specials; ids behind the vocabulary's end are passed over."""
        if hasattr(self._backend, "get_vocab"):
            text: str = self._backend.decode(list(ids), skip_special_tokens=True)
            return text
        plain = [i for i in ids if i < self._backend.max_token_value - len(ADDED) + 1]
        return str(self._backend.decode(plain, errors="replace"))


def _hash(*paths: Path) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


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
        NotInstalled: a package is missing, or the hub does not answer.
        BadData: a file is broken.
    """
    try:
        from tokenizers import Tokenizer, models
    except ImportError as error:
        raise NotInstalled("OSUM-EChat needs tokenizers: pip install 'echat-eval[osum]'") from error
    folder = Path(source) if source is not None else None
    if folder is None or not folder.exists():
        folder = _from_hub(str(source or HUB))
    folder = folder if folder.is_dir() else folder.parent
    whole, words, merges, ranks = (
        folder / n for n in ("tokenizer.json", "vocab.json", "merges.txt", "qwen.tiktoken")
    )
    try:
        if whole.is_file():
            json.loads(
                whole.read_text(encoding="utf-8")
            )  # the library reports a torn file as a bare Exception
            return TextTokenizer(
                Tokenizer.from_file(str(whole)), source=str(source), fingerprint=_hash(whole)
            )
        if words.is_file() and merges.is_file():
            vocabulary = json.loads(words.read_text(encoding="utf-8"))
            lines = merges.read_text(encoding="utf-8").splitlines()
            kept = [line.partition(" ") for line in lines if line and not line.startswith("#version")]
            pairs = [(left, right) for left, _, right in kept]
            backend = _byte_level(models.BPE(vocab=vocabulary, merges=pairs))
            return TextTokenizer(backend, source=str(source), fingerprint=_hash(words, merges))
        if ranks.is_file():
            return TextTokenizer(_read_tiktoken(ranks), source=str(source), fingerprint=_hash(ranks))
    except (ValueError, OSError, json.JSONDecodeError) as error:
        raise BadData(f"{folder}: broken tokenizer file: {error}") from error
    raise BadData(f"{folder}: no tokenizer.json, no vocab.json with merges.txt, no qwen.tiktoken")


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
            f"no folder '{name}', and the hub did not give that tokenizer ({reason}); "
            "name a folder with tokenizer.json"
        ) from error
