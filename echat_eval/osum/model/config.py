"""Configuration of OSUM-EChat: sizes, special ids and limits, in one frozen record.

Source of the constants: OSUM-EChat, commit f2bcfac, and Qwen2.5-3B's published configuration.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from echat_eval.errors import BadData
from echat_eval.io.jsonl import loads
from echat_eval.io.schema import build_record

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "FULL",
    "TINY",
    "TINY_REAL_VOCABULARY",
    "AdapterConfig",
    "DecoderConfig",
    "EncoderConfig",
    "OsumConfig",
    "SpeechIds",
    "TextIds",
    "config_from_json",
    "config_to_json",
    "read_config",
    "sizes_from",
]

T = TypeVar("T")

#: Hz, of every input waveform.
SAMPLE_RATE = 16000

#: Speech tokens per second of spoken reply.
TOKENS_PER_SECOND = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """Whisper-medium-shaped speech encoder: 100 Hz log-mel in, 50 Hz out."""

    mels: int = 80
    width: int = 1024
    layers: int = 24
    heads: int = 16
    ffn: int = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterConfig:
    """The adapter between encoder and decoder: 50 Hz in, 12.5 Hz out, as wide as the encoder."""

    layers: int = 4
    heads: int = 4
    ffn: int = 2560


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderConfig:
    """Qwen2.5-shaped language model with tied input and output embeddings."""

    vocab: int = 151936
    width: int = 2048
    layers: int = 36
    heads: int = 16
    kv_heads: int = 2
    ffn: int = 11008
    rope_theta: float = 1e6
    norm_eps: float = 1e-6
    positions: int = 32768

    @property
    def head_dim(self) -> int:
        """Return the width of one head."""
        return self.width // self.heads


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechIds:
    """The speech vocabulary: `tokens` ids that the model generates, and two markers around the query.

    Attributes:
        tokens: outputs of the speech head; ids 0..tokens-2 are codec entries.
        bos_eos: the id that begins and also ends a spoken reply; `edge` in configuration files.
        query_begin, query_end: rows of the speech embedding before and after the query's audio.
        silence: the silence-like token, which may repeat longer than others.
    """

    tokens: int = 4097
    bos_eos: int = 4096
    query_begin: int = 4097
    query_end: int = 4098
    silence: int = 1446


@dataclass(frozen=True, slots=True, kw_only=True)
class TextIds:
    """Text ids that the decoding rules use.

    Attributes:
        end: `<|im_end|>`; ends the text and, in a spoken reply, starts the speech.
        age_gate_after: the ids of `年龄为:<`.
        age_gate_allow: the first ids of CHILD, ADULT and OLD; only these may follow.
    """

    end: int = 151645
    age_gate_after: tuple[int, ...] = (102185, 17714, 31252)
    age_gate_allow: tuple[int, ...] = (99119, 1808, 7863)


@dataclass(frozen=True, slots=True, kw_only=True)
class OsumConfig:
    """The whole model.

    Attributes:
        max_audio_seconds: 5000 positions of 80 ms, the size of the adapter's table.
        min_audio_samples: one analysis window at 16 kHz, 25 ms.
    """

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    speech: SpeechIds = field(default_factory=SpeechIds)
    text: TextIds = field(default_factory=TextIds)
    max_audio_seconds: float = 400.0
    min_audio_samples: int = 400


#: The released checkpoints.
FULL = OsumConfig()

#: For tests: runs in milliseconds on a CPU. The vocabulary is 256 bytes, with special tokens at its end.
TINY = OsumConfig(
    encoder=EncoderConfig(width=32, layers=2, heads=4, ffn=64),
    adapter=AdapterConfig(layers=2, heads=4, ffn=64),
    decoder=DecoderConfig(vocab=512, width=64, layers=2, heads=4, kv_heads=2, ffn=96),
    text=TextIds(end=511, age_gate_after=(300, 301, 302), age_gate_allow=(303, 304, 305)),
)

#: TINY with the real text vocabulary, for real prompt ids and the constants of the public code.
TINY_REAL_VOCABULARY = replace(TINY, decoder=replace(TINY.decoder, vocab=FULL.decoder.vocab), text=FULL.text)


def config_to_json(config: OsumConfig) -> str:
    """Return the configuration as one line of JSON with sorted keys."""
    values = asdict(config)
    values["speech"]["edge"] = values["speech"].pop("bos_eos")  # files keep this key
    return json.dumps(values, sort_keys=True)


def sizes_from(kind: type[T], values: Any) -> T:
    """Return a dataclass of sizes with JSON values, lists as tuples.

    Raises:
        BadData: not an object, or an entry is not a field of the dataclass.
    """
    if isinstance(values, dict):
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return build_record(kind, values, kind.__name__)


def config_from_json(text: str) -> OsumConfig:
    """Return the configuration written by `config_to_json`.

    Raises:
        BadData: not JSON, or entries unknown to this version.
    """
    parts = {
        "encoder": EncoderConfig,
        "adapter": AdapterConfig,
        "decoder": DecoderConfig,
        "speech": SpeechIds,
        "text": TextIds,
    }
    try:
        values = loads(text)
        if "edge" in values.get("speech", {}):
            values["speech"]["bos_eos"] = values["speech"].pop("edge")
        built = {k: sizes_from(parts[k], v) if k in parts else v for k, v in values.items()}
        return sizes_from(OsumConfig, built)
    except (ValueError, TypeError, AttributeError) as error:
        raise BadData(f"not a model configuration: {error}") from error


def read_config(checkpoint: Path) -> OsumConfig:
    """Return the configuration in `config.json` beside a checkpoint, or `FULL` if there is none.

    Released checkpoints have no such file and use `FULL`; the tiny checkpoints of the tests have one.
    Any other `config.json`, such as Qwen's own in the same folder, is ignored.

    Raises:
        BadData: the file has our sections but is broken.
    """
    path = (checkpoint if checkpoint.is_dir() else checkpoint.parent) / "config.json"
    if not path.is_file():
        return FULL
    text = path.read_text(encoding="utf-8")
    if '"encoder"' not in text or '"adapter"' not in text:
        return FULL
    try:
        return config_from_json(text)
    except BadData as error:
        raise BadData(f"{path}: {error}") from error
