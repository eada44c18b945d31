"""Qwen2.5-Omni with transformers' classes and a tiny random checkpoint: loading and plumbing, not quality.

Needs torch and transformers, which the extra `osum` brings; without them this file is not collected.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'osum' is not installed")
transformers = pytest.importorskip("transformers", reason="the extra 'osum' is not installed")

from echat_eval.errors import NotApplicable, NotInstalled  # noqa: E402
from echat_eval.records import Request, Turn  # noqa: E402
from echat_eval.systems import build_system  # noqa: E402
from echat_eval.systems.qwen_omni import QwenOmni, _frames  # noqa: E402
from echat_eval.testing import check_system  # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")  # transformers issues its own warnings
SPECIAL = [
    "<|im_start|>",
    "<|im_end|>",
    "<|AUDIO|>",
    "<|audio_bos|>",
    "<|audio_eos|>",
    "<|IMAGE|>",
    "<|VIDEO|>",
    "<|vision_bos|>",
    "<|vision_eos|>",
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers.models.qwen2_5_omni import configuration_qwen2_5_omni as configuration

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("qwen") / "tiny-omni"
    plain = Tokenizer(models.BPE())
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>", *SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    plain.train_from_iterator(["hello world how are you"] * 20, trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=plain,
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        unk_token="<|endoftext|>",
    )
    tokenizer.save_pretrained(folder)
    at = {name: tokenizer.convert_tokens_to_ids(name) for name in SPECIAL}
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "rope_scaling": {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default"},
        "rope_theta": 10000.0,
    }
    audio = {
        "d_model": 32,
        "encoder_layers": 1,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 64,
        "num_mel_bins": 128,
        "n_window": 100,
        "output_dim": 32,
        "max_source_positions": 1500,
    }
    vision = {
        "depth": 1,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "out_hidden_size": 32,
        "fullatt_block_indexes": [0],
        "patch_size": 14,
        "window_size": 112,
    }
    config = configuration.Qwen2_5OmniThinkerConfig(
        text_config=text,
        audio_config=audio,
        vision_config=vision,
        audio_token_index=at["<|AUDIO|>"],
        image_token_index=at["<|IMAGE|>"],
        video_token_index=at["<|VIDEO|>"],
        audio_start_token_id=at["<|audio_bos|>"],
        audio_end_token_id=at["<|audio_eos|>"],
        vision_start_token_id=at["<|vision_bos|>"],
        vision_end_token_id=at["<|vision_eos|>"],
        position_id_per_seconds=25,
        pad_token_id=0,
    )
    torch.manual_seed(0)
    transformers.Qwen2_5OmniThinkerForConditionalGeneration(config).eval().save_pretrained(folder)
    transformers.WhisperFeatureExtractor(feature_size=128).save_pretrained(folder)
    return folder


def opened(checkpoint: Path, **settings: Any) -> QwenOmni:
    return QwenOmni(str(checkpoint), **{"audio_out": False, "max_new_tokens": 6, **settings})


def test_replies_are_reproducible(checkpoint: Path, requests: list[Request]) -> None:
    system = opened(checkpoint)
    first, again = system.respond(requests[0]), system.respond(requests[0])
    assert first.text == again.text
    assert first.usage["completion_tokens"] <= 6
    assert first.audio is None
    system.close()


def test_placeholders_match_frames_and_turns_keep_their_order(
    checkpoint: Path, requests: list[Request]
) -> None:
    system = opened(checkpoint)
    system.load()
    turns = (
        Turn(role="user", audio=requests[1].audio),
        Turn(role="assistant", text="Go on."),
        Turn(role="user", text="Well"),
    )
    prompt, waves = system._conversation(replace(requests[0], history=turns, instruction="Which emotion?"))
    place = "<|audio_bos|><|AUDIO|><|audio_eos|>"
    assert prompt.split("<|im_start|>")[2:] == [
        f"user\n{place}<|im_end|>\n",
        "assistant\nGo on.<|im_end|>\n",
        "user\nWell<|im_end|>\n",
        f"user\n{place}Which emotion?<|im_end|>\n",
        "assistant\n",
    ]
    inputs = system._inputs(prompt, waves)
    # Half a second is 50 steps of 10 ms; the model computes the number of placeholders.
    tower = next(
        m
        for m in system._model.modules()
        if hasattr(m, "_get_feat_extract_output_lengths") and hasattr(m, "conv1")
    )
    for steps in (50, 99, 100, 101, 3000):
        expected = tower._get_feat_extract_output_lengths(torch.tensor([steps]))[1]
        assert _frames(steps) == int(expected)
    audio = system._tokenizer.convert_tokens_to_ids("<|AUDIO|>")
    assert int((inputs["input_ids"] == audio).sum()) == 2 * _frames(50)
    assert inputs["input_features"].shape[:2] == (2, 128)
    system.close()


def test_audio_changes_the_logits(checkpoint: Path, requests: list[Request]) -> None:
    system = opened(checkpoint)
    system.load()
    logits = []
    for request in (requests[0], requests[1], requests[0]):
        with torch.inference_mode():
            logits.append(
                system._model(**system._inputs(*system._conversation(request))).logits[0, -1].numpy()
            )
    np.testing.assert_array_equal(logits[0], logits[2])
    assert np.abs(logits[0] - logits[1]).max() > 1e-6
    system.close()


def test_an_assistant_turn_without_words_is_not_applicable(checkpoint: Path, requests: list[Request]) -> None:
    system = opened(checkpoint)
    with pytest.raises(NotApplicable):
        system.respond(replace(requests[0], history=(Turn(role="assistant", audio=requests[1].audio),)))
    system.close()


def test_the_fingerprint_depends_on_the_files(checkpoint: Path, tmp_path: Path) -> None:
    first = opened(checkpoint).fingerprint()
    assert first == opened(checkpoint, device="cpu").fingerprint() != None  # noqa: E711
    changed = checkpoint / "note.txt"
    changed.write_text("x")
    assert opened(checkpoint).fingerprint() != first
    changed.unlink()
    assert opened(tmp_path / "absent").fingerprint() is None


def test_an_absent_checkpoint_is_not_downloaded(tmp_path: Path, requests: list[Request]) -> None:
    with pytest.raises(NotInstalled, match=r"no checkpoint of Qwen2\.5-Omni at"):
        QwenOmni(str(tmp_path / "absent"), audio_out=False).respond(requests[0])


def test_it_passes_the_conformance_suite(checkpoint: Path) -> None:
    system = build_system(f"tiny=qwen-omni:{checkpoint}", {"audio_out": False, "max_new_tokens": 4})
    faults = [f for f in check_system(system) if f.outcome == "fail" and "empty reply" not in f.message]
    assert faults == []
