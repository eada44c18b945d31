"""Tiny checkpoints with random weights, written in the official formats by the libraries' own classes.

They test loading, shapes, labels and determinism. Their predictions are meaningless.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

EMOTIONS = [
    "生气/angry",
    "厌恶/disgusted",
    "恐惧/fearful",
    "开心/happy",
    "中立/neutral",
    "其他/other",
    "难过/sad",
    "吃惊/surprised",
    "<unk>",
]
SENSEVOICE_TAGS = [
    "<|en|>",
    "<|zh|>",
    "<|yue|>",
    "<|ja|>",
    "<|ko|>",
    "<|nospeech|>",
    "<|HAPPY|>",
    "<|SAD|>",
    "<|ANGRY|>",
    "<|NEUTRAL|>",
    "<|FEARFUL|>",
    "<|DISGUSTED|>",
    "<|SURPRISED|>",
    "<|EMO_UNKNOWN|>",
    "<|Speech|>",
    "<|BGM|>",
    "<|Applause|>",
    "<|Laughter|>",
    "<|Cry|>",
    "<|Sneeze|>",
    "<|Breath|>",
    "<|Cough|>",
    "<|withitn|>",
    "<|woitn|>",
]
FRONT = {
    "fs": 16000,
    "window": "hamming",
    "n_mels": 80,
    "frame_length": 25,
    "frame_shift": 10,
    "lfr_m": 7,
    "lfr_n": 6,
}
SANM = {
    "output_size": 64,
    "attention_heads": 4,
    "linear_units": 128,
    "dropout_rate": 0.1,
    "positional_dropout_rate": 0.1,
    "attention_dropout_rate": 0.1,
    "input_layer": "pe",
    "pos_enc_class": "SinusoidalPositionEncoder",
    "normalize_before": True,
    "kernel_size": 11,
    "sanm_shfit": 0,
    "selfattention_layer_type": "sanm",
}


def funasr_classes() -> Any:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        from funasr import AutoModel  # noqa: F401  registers the classes
        from funasr.register import tables
    return tables.model_classes


def save(folder: Path, config: dict[str, Any], build: Callable[[], Any], files: dict[str, str]) -> Path:
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(
        yaml.safe_dump(config, allow_unicode=True, sort_keys=False), encoding="utf-8"
    )
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    torch.manual_seed(0)
    torch.save({"state_dict": build().state_dict()}, folder / "model.pt")
    return folder


def emotion2vec(folder: Path, dim: int = 48, heads: int = 4, depth: int = 2) -> Path:
    audio = {
        "type": "AUDIO",
        "prenet_depth": 1,
        "prenet_layerdrop": 0.0,
        "prenet_dropout": 0.1,
        "start_drop_path_rate": 0.0,
        "end_drop_path_rate": 0.0,
        "num_extra_tokens": 2,
        "init_extra_token_zero": True,
        "mask_noise_std": 0.01,
        "mask_prob_min": None,
        "mask_prob": 0.5,
        "inverse_mask": False,
        "mask_prob_adjust": 0.05,
        "keep_masked_pct": 0.0,
        "mask_length": 5,
        "add_masks": False,
        "remove_masks": False,
        "mask_dropout": 0.0,
        "encoder_zero_mask": True,
        "mask_channel_prob": 0.0,
        "mask_channel_length": 64,
        "ema_local_encoder": False,
        "local_grad_mult": 1.0,
        "use_alibi_encoder": True,
        "alibi_scale": 1.0,
        "learned_alibi": False,
        "alibi_max_pos": None,
        "learned_alibi_scale": True,
        "learned_alibi_scale_per_head": True,
        "learned_alibi_scale_per_layer": False,
        "num_alibi_heads": heads,
        "model_depth": depth,
        "decoder": None,
        "extractor_mode": "layer_norm",
        "feature_encoder_spec": "[(32,10,5)]+[(32,3,2)]*4+[(32,2,2)]+[(32,2,2)]",
        "conv_pos_width": 19,
        "conv_pos_groups": 4,
        "conv_pos_depth": 2,
        "conv_pos_pre_ln": False,
    }
    conf = {
        "loss_beta": 0.0,
        "loss_scale": None,
        "depth": depth,
        "start_drop_path_rate": 0.0,
        "end_drop_path_rate": 0.0,
        "num_heads": heads,
        "norm_eps": 1e-5,
        "norm_affine": True,
        "encoder_dropout": 0.1,
        "post_mlp_drop": 0.1,
        "attention_dropout": 0.1,
        "activation_dropout": 0.0,
        "dropout_input": 0.0,
        "layerdrop": 0.05,
        "embed_dim": dim,
        "mlp_ratio": 2.0,
        "layer_norm_first": False,
        "average_top_k_layers": depth,
        "end_of_block_targets": False,
        "clone_batch": 1,
        "normalize": True,
        "modalities": {"audio": audio},
    }
    config = {
        "model": "Emotion2vec",
        "model_conf": conf,
        "tokenizer": "CharTokenizer",
        "tokenizer_conf": {"unk_symbol": "<unk>", "split_with_space": True},
    }

    def build() -> Any:
        import torch

        model = funasr_classes()["Emotion2vec"](model_conf=conf, vocab_size=len(EMOTIONS))
        with torch.no_grad():  # so that clips get different classes
            model.proj.weight.mul_(40)
        return model

    return save(folder, config, build, {"tokens.txt": "\n".join(EMOTIONS) + "\n"})


def sensevoice(folder: Path) -> Path:
    import sentencepiece

    folder.mkdir(parents=True, exist_ok=True)
    corpus = folder / "corpus.raw"
    lines = [
        "hello world how are you today",
        "i am feeling sad and tired",
        "the quick brown fox jumps over it",
    ]
    corpus.write_text("\n".join(lines * 40))
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus),
        model_prefix=str(folder / "bpe"),
        vocab_size=80,
        model_type="bpe",
        user_defined_symbols=SENSEVOICE_TAGS,
        character_coverage=1.0,
        minloglevel=2,
    )
    corpus.unlink()
    size = sentencepiece.SentencePieceProcessor(model_file=str(folder / "bpe.model")).get_piece_size()
    encoder = {**SANM, "num_blocks": 3, "tp_blocks": 1}
    conf = {"length_normalized_loss": True, "sos": 1, "eos": 2, "ignore_id": -1}
    config = {
        "encoder": "SenseVoiceEncoderSmall",
        "encoder_conf": encoder,
        "model": "SenseVoiceSmall",
        "model_conf": conf,
        "tokenizer": "SentencepiecesTokenizer",
        "tokenizer_conf": {"bpemodel": None, "unk_symbol": "<unk>", "split_with_space": True},
        "frontend": "WavFrontend",
        "frontend_conf": FRONT,
    }
    return save(
        folder,
        config,
        lambda: funasr_classes()["SenseVoiceSmall"](
            encoder="SenseVoiceEncoderSmall",
            encoder_conf=dict(encoder),
            input_size=560,
            vocab_size=size,
            **conf,
        ),
        {},
    )


def paraformer(folder: Path) -> Path:
    tokens = ["<blank>", "<s>", "</s>", *"abcdefghijklmnopqrstuvwxyz", "'", "<unk>"]
    encoder = {**SANM, "num_blocks": 2}
    decoder = {
        "attention_heads": 4,
        "linear_units": 128,
        "num_blocks": 2,
        "dropout_rate": 0.1,
        "positional_dropout_rate": 0.1,
        "self_attention_dropout_rate": 0.1,
        "src_attention_dropout_rate": 0.1,
        "att_layer_num": 2,
        "kernel_size": 11,
        "sanm_shfit": 0,
    }
    predictor = {"idim": 64, "threshold": 1.0, "l_order": 1, "r_order": 1, "tail_threshold": 0.45}
    conf = {
        "ctc_weight": 0.0,
        "lsm_weight": 0.1,
        "length_normalized_loss": True,
        "predictor_weight": 1.0,
        "predictor_bias": 1,
        "sampling_ratio": 0.75,
    }
    config = {
        "model": "Paraformer",
        "model_conf": conf,
        "encoder": "SANMEncoder",
        "encoder_conf": encoder,
        "decoder": "ParaformerSANMDecoder",
        "decoder_conf": decoder,
        "predictor": "CifPredictorV2",
        "predictor_conf": predictor,
        "frontend": "WavFrontend",
        "frontend_conf": FRONT,
        "tokenizer": "CharTokenizer",
        "tokenizer_conf": {"unk_symbol": "<unk>", "split_with_space": True},
    }
    return save(
        folder,
        config,
        lambda: funasr_classes()["Paraformer"](
            encoder="SANMEncoder",
            encoder_conf=dict(encoder),
            decoder="ParaformerSANMDecoder",
            decoder_conf=dict(decoder),
            predictor="CifPredictorV2",
            predictor_conf=dict(predictor),
            input_size=560,
            vocab_size=len(tokens),
            **conf,
        ),
        {"tokens.json": json.dumps(tokens)},
    )


def wav2vec2_config(**more: Any) -> Any:
    import transformers as t

    return t.Wav2Vec2Config(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        conv_dim=(32,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        classifier_proj_size=16,
        **more,
    )


def classifier(folder: Path, classes: list[str], *, masked: bool = True) -> Path:
    """Save a wav2vec2 classifier; `masked` ones (layer norm, attention mask) can be padded."""
    import torch
    import transformers as t

    config = wav2vec2_config(
        num_labels=len(classes),
        id2label=dict(enumerate(classes)),
        label2id={name: n for n, name in enumerate(classes)},
        feat_extract_norm="layer" if masked else "group",
    )
    torch.manual_seed(0)
    net = t.Wav2Vec2ForSequenceClassification(config)
    with torch.no_grad():
        net.classifier.weight.mul_(200)
    net.save_pretrained(folder)
    t.Wav2Vec2FeatureExtractor(return_attention_mask=masked).save_pretrained(folder)
    return folder


def tagger(folder: Path, classes: list[str]) -> Path:
    import torch
    import transformers as t

    config = t.ASTConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        num_labels=len(classes),
        id2label=dict(enumerate(classes)),
        label2id={name: n for n, name in enumerate(classes)},
        max_length=128,
        num_mel_bins=128,
    )
    torch.manual_seed(0)
    t.ASTForAudioClassification(config).save_pretrained(folder)
    t.ASTFeatureExtractor(max_length=128).save_pretrained(folder)
    return folder


def age_gender(folder: Path) -> Path:
    import torch
    import transformers as t
    from safetensors.torch import save_file

    config = wav2vec2_config()
    torch.manual_seed(0)
    net = torch.nn.Module()
    net.wav2vec2 = t.Wav2Vec2Model(config)
    for name, outputs in (("age", 1), ("gender", 3)):
        head = torch.nn.Module()
        head.dense, head.out_proj = torch.nn.Linear(32, 32), torch.nn.Linear(32, outputs)
        setattr(net, name, head)
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    t.Wav2Vec2FeatureExtractor().save_pretrained(folder)
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, folder / "model.safetensors")
    return folder


def ctc(folder: Path, *, masked: bool = False) -> Path:
    import torch
    import transformers as t

    folder.mkdir(parents=True, exist_ok=True)
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefghijklmnopqrstuvwxyz"]
    (folder / "vocab.json").write_text(json.dumps({c: n for n, c in enumerate(letters)}))
    torch.manual_seed(0)
    config = wav2vec2_config(
        vocab_size=len(letters), pad_token_id=0, feat_extract_norm="layer" if masked else "group"
    )
    net = t.Wav2Vec2ForCTC(config)
    with torch.no_grad():
        net.lm_head.weight.mul_(200)
    net.save_pretrained(folder)
    t.Wav2Vec2CTCTokenizer(str(folder / "vocab.json")).save_pretrained(folder)
    t.Wav2Vec2FeatureExtractor(return_attention_mask=masked).save_pretrained(folder)
    return folder


def scale_weights(net: Any, factors: dict[str, float]) -> None:
    """Scale weights by a part of their name, so that the output depends on the input."""
    import torch

    with torch.no_grad():
        for name, weight in net.named_parameters():
            for part, factor in factors.items():
                if part in name:
                    weight.mul_(factor)


def whisper(folder: Path, *, multilingual: bool = True, window_seconds: int = 2) -> Path:
    """Save a Whisper model with a byte-level vocabulary and a short window."""
    import torch
    import transformers as t
    from tokenizers.pre_tokenizers import ByteLevel

    languages = ["<|en|>", "<|zh|>"] if multilingual else []
    special = [
        "<|endoftext|>",
        "<|startoftranscript|>",
        *languages,
        "<|translate|>",
        "<|transcribe|>",
        "<|startofprev|>",
        "<|nospeech|>",
        "<|notimestamps|>",
    ]
    vocab = {token: n for n, token in enumerate([*sorted(ByteLevel.alphabet()), *special])}
    end, start = vocab["<|endoftext|>"], vocab["<|startoftranscript|>"]
    tokenizer = t.WhisperTokenizer(vocab=vocab, merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    tokenizer.save_pretrained(folder)
    t.WhisperFeatureExtractor(chunk_length=window_seconds).save_pretrained(folder)
    config = t.WhisperConfig(
        vocab_size=len(vocab),
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_target_positions=32,
        max_source_positions=50 * window_seconds,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        decoder_start_token_id=start,
        suppress_tokens=[],
        begin_suppress_tokens=[end],
    )
    torch.manual_seed(1)
    net = t.WhisperForConditionalGeneration(config)
    scale_weights(net, {"encoder_attn": 30, "embed_tokens": 3, "encoder.conv": 30})
    language_settings: dict[str, Any] = {
        "is_multilingual": multilingual,
        "no_timestamps_token_id": vocab["<|notimestamps|>"],
    }
    if multilingual:
        language_settings["lang_to_id"] = {token: vocab[token] for token in languages}
        language_settings["task_to_id"] = {task: vocab[f"<|{task}|>"] for task in ("transcribe", "translate")}
    net.generation_config = t.GenerationConfig(
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        decoder_start_token_id=start,
        max_length=32,
        suppress_tokens=[],
        begin_suppress_tokens=[end],
        **language_settings,
    )
    net.save_pretrained(folder)
    return folder


def whisper_classifier(folder: Path, classes: list[str]) -> Path:
    """Save a classifier on Whisper's encoder, which has a window of fixed length."""
    import torch
    import transformers as t

    config = t.WhisperConfig(
        vocab_size=300,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_source_positions=100,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        classifier_proj_size=16,
        num_labels=len(classes),
        id2label=dict(enumerate(classes)),
        label2id={name: n for n, name in enumerate(classes)},
    )
    torch.manual_seed(0)
    net = t.WhisperForAudioClassification(config)
    scale_weights(net, {"classifier.weight": 200, "encoder.conv": 30})
    net.save_pretrained(folder)
    t.WhisperFeatureExtractor(chunk_length=2).save_pretrained(folder)
    return folder
