"""Names and shapes of the released weights, and refusal of wrong or damaged files."""

from __future__ import annotations

import math
import pickle
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from echat_eval.errors import BadData
from echat_eval.osum.checkpoint.torch_file import read_tensors
from echat_eval.osum.voice.config import FULL_VOICE, TINY_VOICE
from echat_eval.osum.voice.flow_matching import FlowMatching
from echat_eval.osum.voice.tensor_names import flow_origins, hift_origins, official_shapes
from echat_eval.osum.voice.tiny import random_flow_state, random_hift_state
from echat_eval.osum.voice.vocoder import Hift
from echat_eval.osum.voice.weights import build_flow, build_hift, load_flow, load_hift

Shapes = dict[str, tuple[int, ...]]

#: Tensors by name.
State = dict[str, torch.Tensor]


def weight_and_bias(name: str, *shape: int) -> Shapes:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def normed(name: str, *shape: int, bias: int) -> Shapes:
    stem = f"{name}.parametrizations.weight.original"
    return {f"{name}.bias": (bias,), f"{stem}0": (shape[0], 1, 1), f"{stem}1": shape}


def released_flow_shapes() -> Shapes:
    """Return the keys of CosyVoice-300M-25Hz's flow.pt, from its description."""
    keys: Shapes = {"input_embedding.weight": (4096, 512)}
    keys |= weight_and_bias("spk_embed_affine_layer", 80, 192) | weight_and_bias("encoder_proj", 80, 512)
    keys |= (
        weight_and_bias("encoder.embed.out.0", 512, 512)
        | weight_and_bias("encoder.embed.out.1", 512)
        | weight_and_bias("encoder.after_norm", 512)
    )
    for i in range(6):
        layer = f"encoder.encoders.{i}"
        for part in ("linear_q", "linear_k", "linear_v", "linear_out"):
            keys |= weight_and_bias(f"{layer}.self_attn.{part}", 512, 512)
        keys |= {f"{layer}.self_attn.linear_pos.weight": (512, 512)}
        keys |= {f"{layer}.self_attn.pos_bias_u": (8, 64), f"{layer}.self_attn.pos_bias_v": (8, 64)}
        keys |= weight_and_bias(f"{layer}.feed_forward.w_1", 2048, 512) | weight_and_bias(
            f"{layer}.feed_forward.w_2", 512, 2048
        )
        keys |= weight_and_bias(f"{layer}.norm_ff", 512) | weight_and_bias(f"{layer}.norm_mha", 512)
    for i in (0, 3, 6, 9):
        keys |= weight_and_bias(f"length_regulator.model.{i}", 80, 80, 3) | weight_and_bias(
            f"length_regulator.model.{i + 1}", 80
        )
    keys |= weight_and_bias("length_regulator.model.12", 80, 80, 1)
    estimator = "decoder.estimator"
    keys |= weight_and_bias(f"{estimator}.time_mlp.linear_1", 1024, 320) | weight_and_bias(
        f"{estimator}.time_mlp.linear_2", 1024, 1024
    )
    widths = {"down_blocks.0": 320, "down_blocks.1": 256, "up_blocks.0": 512, "up_blocks.1": 512}
    widths |= {f"mid_blocks.{i}": 256 for i in range(12)}
    for stage, width in widths.items():
        resnet = f"{estimator}.{stage}.0"
        keys |= weight_and_bias(f"{resnet}.mlp.1", 256, 1024) | weight_and_bias(
            f"{resnet}.res_conv", 256, width, 1
        )
        keys |= weight_and_bias(f"{resnet}.block1.block.0", 256, width, 3) | weight_and_bias(
            f"{resnet}.block1.block.1", 256
        )
        keys |= weight_and_bias(f"{resnet}.block2.block.0", 256, 256, 3) | weight_and_bias(
            f"{resnet}.block2.block.1", 256
        )
        for j in range(4):
            block = f"{estimator}.{stage}.1.{j}"
            keys |= {f"{block}.attn1.to_{letter}.weight": (512, 256) for letter in "qkv"}
            keys |= weight_and_bias(f"{block}.attn1.to_out.0", 256, 512)
            keys |= weight_and_bias(f"{block}.norm1", 256) | weight_and_bias(f"{block}.norm3", 256)
            keys |= weight_and_bias(f"{block}.ff.net.0.proj", 1024, 256) | weight_and_bias(
                f"{block}.ff.net.2", 256, 1024
            )
    keys |= weight_and_bias(f"{estimator}.down_blocks.0.2.conv", 256, 256, 3) | weight_and_bias(
        f"{estimator}.down_blocks.1.2", 256, 256, 3
    )
    keys |= weight_and_bias(f"{estimator}.up_blocks.0.2.conv", 256, 256, 4) | weight_and_bias(
        f"{estimator}.up_blocks.1.2", 256, 256, 3
    )
    keys |= weight_and_bias(f"{estimator}.final_block.block.0", 256, 256, 3) | weight_and_bias(
        f"{estimator}.final_block.block.1", 256
    )
    return keys | weight_and_bias(f"{estimator}.final_proj", 80, 256, 1)


def released_hift_shapes() -> Shapes:
    """Return the keys of CosyVoice-300M-25Hz's hift.pt, from its description."""
    keys = weight_and_bias("m_source.l_linear", 1, 9) | weight_and_bias("f0_predictor.classifier", 1, 512)
    keys |= weight_and_bias("source_downs.0", 256, 18, 16) | weight_and_bias("source_downs.1", 128, 18, 1)
    keys |= normed("conv_pre", 512, 80, 7, bias=512) | normed("conv_post", 18, 128, 7, bias=18)
    keys |= normed("ups.0", 512, 256, 16, bias=256) | normed("ups.1", 256, 128, 16, bias=128)
    for i, width in enumerate([80, 512, 512, 512, 512]):
        keys |= normed(f"f0_predictor.condnet.{2 * i}", 512, width, 3, bias=512)
    blocks = [(f"resblocks.{i}", 256 if i < 3 else 128, (3, 7, 11)[i % 3]) for i in range(6)]
    blocks += [("source_resblocks.0", 256, 7), ("source_resblocks.1", 128, 11)]
    for block, width, kernel in blocks:
        for half in (1, 2):
            for i in range(3):
                keys |= normed(f"{block}.convs{half}.{i}", width, width, kernel, bias=width)
                keys |= {f"{block}.activations{half}.{i}.alpha": (width,)}
    return keys


def test_full_flow_has_the_released_keys_and_shapes() -> None:
    with torch.device("meta"):
        flow = FlowMatching(FULL_VOICE.flow)
    expected = released_flow_shapes()
    assert len(expected) == 1185
    assert sum(math.prod(shape) for shape in expected.values()) == 104_874_752
    assert official_shapes(flow_origins(flow)) == expected
    assert sum(value.numel() for value in flow.parameters()) == 104_874_752


def test_full_vocoder_has_the_released_keys_and_shapes() -> None:
    with torch.device("meta"):
        hift = Hift(FULL_VOICE.hift)
    expected = released_hift_shapes()
    assert len(expected) == 227
    assert sum(math.prod(shape) for shape in expected.values()) == 20_460_591
    assert official_shapes(hift_origins(hift)) == expected


def test_weight_norm_is_folded_once() -> None:
    """The folded weight equals that of torch's parametrised layer; no gain remains in the model."""
    state = random_hift_state()
    layer = torch.nn.utils.parametrizations.weight_norm(torch.nn.ConvTranspose1d(32, 16, 16, 8, 4))
    layer.load_state_dict(
        {name.removeprefix("ups.0."): value for name, value in state.items() if name.startswith("ups.0.")}
    )
    hift = build_hift(state, TINY_VOICE.hift, source="tiny")
    (up, *_) = hift.ups
    assert isinstance(up, torch.nn.ConvTranspose1d)
    assert torch.equal(up.weight, layer.weight)
    assert not [name for name in hift.state_dict() if "original" in name]


def old_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    ends = {
        ".parametrizations.weight.original0": ".weight_g",
        ".parametrizations.weight.original1": ".weight_v",
    }
    for new, old in ends.items():
        state = {name.replace(new, old): value for name, value in state.items()}
    return state


@pytest.mark.parametrize(
    "rename",
    [
        old_names,
        lambda s: {f"generator.{k}": v for k, v in s.items()},
        lambda s: {f"generator.{k}": v for k, v in old_names(s).items()},
    ],
    ids=["old weight norm", "generator prefix", "both"],
)
def test_vocoder_loads_with_alternative_names(rename: Callable[[State], State], tmp_path: Path) -> None:
    torch.save(rename(random_hift_state()), tmp_path / "hift.pt")
    loaded = load_hift(tmp_path / "hift.pt", TINY_VOICE.hift).state_dict()
    expected = build_hift(random_hift_state(), TINY_VOICE.hift, source="tiny").state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.items())


def test_loaded_flow_has_all_values_of_the_file(tmp_path: Path) -> None:
    state = random_flow_state()
    torch.save({name: value.half() for name, value in state.items()}, tmp_path / "flow.pt")
    flow = load_flow(tmp_path / "flow.pt", TINY_VOICE.flow)
    total = sum(float(value.half().double().sum()) for value in state.values())
    assert sum(float(value.double().sum()) for value in flow.state_dict().values()) == pytest.approx(total)
    assert {value.dtype for value in flow.state_dict().values()} == {torch.float32}
    assert not flow.training
    assert not any(value.requires_grad for value in flow.parameters())


def without(name: str) -> Callable[[State], State]:
    return lambda state: {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without("encoder_proj.bias"), "1 missing: encoder_proj.bias"),
        (lambda s: s | {"llm.weight": torch.ones(1)}, "1 unexpected: llm.weight"),
        (
            lambda s: s | {"encoder_proj.bias": torch.ones(81)},
            r"1 of a wrong shape: encoder_proj.bias is \(81,\), not \(80,\)",
        ),
        (
            lambda s: s | {"encoder_proj.bias": torch.full((80,), torch.nan)},
            "1 not finite numbers: encoder_proj.bias",
        ),
        (
            lambda s: s | {"encoder_proj.bias": torch.ones(80, dtype=torch.int8)},
            "1 not finite numbers: encoder_proj.bias",
        ),
        (lambda s: {}, r"191 missing: .*, \.\.\.$"),
    ],
    ids=["missing", "extra", "misshaped", "nan", "integers", "empty"],
)
def test_flow_with_a_wrong_key_is_refused(
    spoil: Callable[[State], State], message: str, tmp_path: Path
) -> None:
    torch.save(spoil(random_flow_state()), tmp_path / "flow.pt")
    with pytest.raises(BadData, match=message) as refused:
        load_flow(tmp_path / "flow.pt", TINY_VOICE.flow)
    assert "flow.pt" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_all_faults_are_listed_in_one_message() -> None:
    state = without("encoder_proj.bias")(random_flow_state()) | {"x": torch.ones(1)}
    with pytest.raises(BadData, match=r"1 missing: encoder_proj.bias; 1 unexpected: x$"):
        build_flow(state, TINY_VOICE.flow, source="flow.pt")


def test_vocoder_file_is_refused_as_flow(tmp_path: Path) -> None:
    torch.save(random_hift_state(), tmp_path / "flow.pt")
    with pytest.raises(BadData, match=r"191 missing.*227 unexpected"):
        load_flow(tmp_path / "flow.pt", TINY_VOICE.flow)


def test_duplicate_parameter_is_refused() -> None:
    state = random_hift_state()
    state["generator.conv_pre.bias"] = state["conv_pre.bias"]
    with pytest.raises(BadData, match=r"'generator\.conv_pre\.bias' is a duplicate of 'conv_pre\.bias'"):
        build_hift(state, TINY_VOICE.hift, source="hift.pt")


class Intruder:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("intruder"),))


def test_file_with_code_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": Intruder()}, tmp_path / "flow.pt")
    with pytest.raises(BadData, match="not a plain file of tensors"):
        load_flow(tmp_path / "flow.pt", TINY_VOICE.flow)
    assert not (tmp_path / "intruder").exists()


@pytest.mark.parametrize(
    "content", [b"", b"not a checkpoint", b"PK\x03\x04cut short", pickle.dumps([1], protocol=2)]
)
def test_damaged_file_is_refused_in_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "hift.pt").write_bytes(content)
    with pytest.raises(BadData, match=r"hift\.pt: ") as refused:
        load_hift(tmp_path / "hift.pt", TINY_VOICE.hift)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_randomly_damaged_file_is_refused_or_read(zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "hift.pt"
    torch.save({"a": torch.ones(3)}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    rng = random.Random(0)
    refusals = []
    for _ in range(200):
        damaged = bytearray(whole[: rng.choice([len(whole), rng.randrange(1, len(whole))])])
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(damaged)
        try:
            read_tensors(path)
        except BadData as error:
            refusals.append(str(error))
    assert len(refusals) > 100
    assert not [message for message in refusals if "\n" in message]


def test_missing_file_and_file_without_tensors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="no such file"):
        load_flow(tmp_path / "flow.pt", TINY_VOICE.flow)
    torch.save({"epoch": 3}, tmp_path / "flow.pt")
    with pytest.raises(BadData, match="expected a state dict"):
        load_flow(tmp_path / "flow.pt", TINY_VOICE.flow)
