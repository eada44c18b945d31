"""Features, sizes and arithmetic against known numbers, transformers and formulae."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from echat_eval.osum.checkpoint.tensor_names import TIED, official_shapes, weight_map
from echat_eval.osum.model.config import FULL, TINY, config_from_json, config_to_json
from echat_eval.osum.model.decoder import Decoder
from echat_eval.osum.model.encoder import Encoder, _interleaved_sinusoids, _split_sinusoids, adapted_length
from echat_eval.osum.model.features import log_mel, mel_filters, resample
from echat_eval.osum.model.kv_cache import KVCache
from echat_eval.osum.model.model import OsumModel
from tests.support.osum_golden import FOLDER


def tone(rate: int, seconds: float = 1.0) -> torch.Tensor:
    return (
        0.5
        * torch.sin(2 * math.pi * 440 * torch.arange(int(rate * seconds), dtype=torch.float64) / rate).float()
    )


def test_features_of_a_tone_match_known_values() -> None:
    mel = log_mel(tone(16000))
    assert mel.shape == (100, 80)
    assert torch.allclose(
        torch.stack([mel.mean(), mel.max(), mel.min()]),
        torch.tensor([-0.449421, 1.438204, -0.561796]),
        atol=2e-6,
    )
    known = [-0.5618, 1.15939, 1.34874, 1.4382, 1.29352, -0.5618, -0.5618, -0.5618]
    assert torch.allclose(mel[50, 8:16], torch.tensor(known), atol=1e-5)
    known = [1.21196, 1.30782, 1.33624, 1.1116, 1.3383, 1.25274, 1.08849, 1.03271]
    assert torch.allclose(mel[0, 8:16], torch.tensor(known), atol=1e-5)


@pytest.mark.parametrize("samples", [400, 801, 16001, 48160])
def test_features_match_whisper_without_padding(samples: int) -> None:
    from transformers import WhisperFeatureExtractor

    wave = np.random.RandomState(samples).uniform(-1, 1, samples).astype(np.float32)
    theirs = WhisperFeatureExtractor(feature_size=80)(
        wave, sampling_rate=16000, padding="do_not_pad", truncation=False, return_tensors="np"
    ).input_features[0]
    assert np.abs(log_mel(torch.from_numpy(wave)).numpy() - theirs.T).max() <= 1e-6


def test_mel_filters_match_transformers() -> None:
    from transformers.audio_utils import mel_filter_bank

    theirs = mel_filter_bank(201, 80, 0, 8000, 16000, norm="slaney", mel_scale="slaney").T
    assert np.abs(mel_filters().numpy() - theirs).max() < 1e-8


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 24000, 44100, 48000])
def test_resampling_matches_torchaudio(rate: int) -> None:
    with np.load(FOLDER / "torchaudio_resample.npz") as file:
        theirs = file[str(rate)]
    noise = torch.from_numpy(np.random.RandomState(rate).uniform(-1, 1, 1201).astype(np.float32))
    assert np.abs(resample(noise, rate).numpy() - theirs).max() <= 1e-6


@pytest.mark.parametrize("rate", [44100, 44101, 48000])
def test_resampled_tone_equals_tone_at_new_rate(rate: int) -> None:
    """44,101 Hz has no common factor with 16,000: a full table of phases by samples would take 11 GB."""
    ours = resample(tone(rate), rate)
    assert len(ours) == 16000
    assert (ours[100:-100] - tone(16000)[100:-100]).abs().max() < 2e-3


def test_full_model_has_released_names_and_sizes() -> None:
    shapes = official_shapes(FULL)
    counts = {"encoder.": 366, "speech_transformer.": 70, "llama_model.": 435, "down_sample_2.": 6}
    for prefix, count in counts.items():
        assert sum(name.startswith(prefix) for name in shapes) == count
    # The public code has 888: two computed tables and the unused ln_speech (2) are not loaded.
    assert len(shapes) + 4 == 888
    unique = sum(math.prod(s) for name, s in shapes.items() if name not in TIED[1:]) + 2048
    assert unique == 3_458_799_617
    assert shapes["encoder.encoders.23.feed_forward.w_1.weight"] == (4096, 1024)
    assert shapes["llama_model.model.layers.35.self_attn.k_proj.weight"] == (256, 2048)
    assert shapes["speech_token_emded.weight"] == (4099, 2048)


def test_joined_official_tensors_cover_all_of_ours() -> None:
    with torch.device("meta"):
        ours = {name: tuple(t.shape) for name, t in OsumModel(FULL).state_dict().items()}
    shapes, joined = official_shapes(FULL), {}
    for name, sources in weight_map(FULL).items():
        known = [shapes[s] for s in sources if s]
        joined[name] = (
            len(sources) * known[0][0] if None in sources else sum(s[0] for s in known),
            *known[0][1:],
        )
    assert joined == ours
    used = {s for sources in weight_map(FULL).values() for s in sources if s}
    assert set(shapes) - used == set(TIED[1:])


def test_positional_tables_match_known_values() -> None:
    split = _split_sinusoids(2, 1024, torch.zeros(1))[1]
    assert torch.allclose(split[:4], torch.tensor([0.841471, 0.831686, 0.821818, 0.811879]), atol=1e-6)
    assert torch.allclose(split[512:515], torch.tensor([0.540302, 0.555246, 0.569751]), atol=1e-6)
    interleaved = _interleaved_sinusoids(2, 1024, torch.zeros(1))[1]
    known = [0.841471, 0.540302, 0.831705, 0.555217, 0.821856, 0.569695]
    assert torch.allclose(interleaved[:6], torch.tensor(known), atol=1e-6)


@pytest.mark.parametrize("frames", range(1, 40))
def test_adapted_lengths_follow_the_formula(frames: int) -> None:
    assert adapted_length(frames) == math.ceil(math.ceil(math.ceil(frames / 2) / 2) / 2)


def test_encoder_matches_whisper() -> None:
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    e = TINY.encoder
    theirs = WhisperEncoder(
        WhisperConfig(
            d_model=e.width,
            encoder_layers=e.layers,
            encoder_attention_heads=e.heads,
            encoder_ffn_dim=e.ffn,
            num_mel_bins=80,
            max_source_positions=50,
            attn_implementation="sdpa",
        )
    ).eval()
    ours = Encoder(TINY).eval()
    ours.conv1, ours.conv2, ours.norm = theirs.conv1, theirs.conv2, theirs.layer_norm
    with torch.no_grad():
        pairs: Any = zip(ours.layers, theirs.layers, strict=True)
        for a, b in pairs:
            s = b.self_attn
            a.qkv.weight.copy_(torch.cat([s.q_proj.weight, s.k_proj.weight, s.v_proj.weight]))
            a.qkv.bias.copy_(torch.cat([s.q_proj.bias, torch.zeros(e.width), s.v_proj.bias]))
            a.out, a.up, a.down = s.out_proj, b.fc1, b.fc2
            a.norm1, a.norm2 = b.self_attn_layer_norm, b.final_layer_norm
        mel = torch.randn(2, 100, 80, generator=torch.Generator().manual_seed(0))
        mine, lengths = ours(mel, torch.tensor([100, 100]))
        assert lengths.tolist() == [50, 50]
        assert (mine - theirs(mel.transpose(1, 2)).last_hidden_state).abs().max() < 2e-6


def test_decoder_matches_qwen2_step_by_step() -> None:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    c = replace(TINY.decoder, kv_heads=1)
    torch.manual_seed(0)
    theirs = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=c.vocab,
            hidden_size=c.width,
            intermediate_size=c.ffn,
            num_hidden_layers=c.layers,
            num_attention_heads=c.heads,
            num_key_value_heads=c.kv_heads,
            rms_norm_eps=c.norm_eps,
            rope_parameters={"rope_type": "default", "rope_theta": c.rope_theta},
            rope_theta=c.rope_theta,
            tie_word_embeddings=True,
            initializer_range=0.2,
            max_position_embeddings=c.positions,
        )
    ).eval()
    ours = Decoder(replace(TINY, decoder=c)).eval()
    with torch.no_grad():
        ours.text_embedding.weight.copy_(theirs.model.embed_tokens.weight)
        ours.norm.weight.copy_(theirs.model.norm.weight)
        pairs: Any = zip(ours.layers, theirs.model.layers, strict=True)
        for a, b in pairs:
            parts = [b.self_attn.q_proj, b.self_attn.k_proj, b.self_attn.v_proj]
            for part in parts:
                part.bias.uniform_(-1, 1)
            a.qkv.weight.copy_(torch.cat([p.weight for p in parts]))
            a.qkv.bias.copy_(torch.cat([p.bias for p in parts]))
            a.gate_up.weight.copy_(torch.cat([b.mlp.gate_proj.weight, b.mlp.up_proj.weight]))
            a.out, a.down = b.self_attn.o_proj, b.mlp.down_proj
            a.norm1.weight.copy_(b.input_layernorm.weight)
            a.norm2.weight.copy_(b.post_attention_layernorm.weight)
        ids = torch.randint(0, c.vocab, (1, 24), generator=torch.Generator().manual_seed(1))
        expected = theirs(ids).logits[0]
        x = ours.text_embedding(ids)
        cache = KVCache.allocate(c, rows=1, max_positions=24, like=x)
        states = ours.read(x[:, :10], cache, rows=torch.tensor([0]))
        logits = [ours.text_logits(states[0])]
        for t in range(10, 24):
            states = ours(x[:, t : t + 1], torch.tensor([[t]]), cache, kv_length=t + 1)
            logits.append(ours.text_logits(states[0]))
    assert (torch.cat(logits) - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_configuration_survives_json() -> None:
    for config in (FULL, TINY):
        assert config_from_json(config_to_json(config)) == config


def test_configuration_files_keep_their_keys() -> None:
    """Converted checkpoints carry these keys in their header."""
    speech = json.loads(config_to_json(FULL))["speech"]
    assert speech == {"tokens": 4097, "edge": 4096, "query_begin": 4097, "query_end": 4098, "silence": 1446}
