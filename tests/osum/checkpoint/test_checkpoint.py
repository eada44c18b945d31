"""Checkpoints: strict loading of every known form, without running code from them."""

from __future__ import annotations

import json
import pickle
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from echat_eval.errors import BadData, NotInstalled
from echat_eval.osum.checkpoint.checkpoint import convert, inspect, load_model
from echat_eval.osum.checkpoint.files import checkpoint_sha256
from echat_eval.osum.checkpoint.tensor_names import COPIES, TIED
from echat_eval.osum.checkpoint.tiny import make_tiny, random_tensors
from echat_eval.osum.checkpoint.weights import fill
from echat_eval.osum.model.config import FULL, TINY, read_config
from echat_eval.osum.model.model import OsumModel


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


@pytest.fixture(scope="module")
def plain(tiny_folder: Path) -> OsumModel:
    return load_model(tiny_folder, dtype="fp32")


@pytest.mark.parametrize("form", ["module", "wrapped", "copies", "untied", "west"])
def test_all_name_forms_give_the_same_model(tmp_path: Path, plain: OsumModel, form: str) -> None:
    assert same(load_model(make_tiny(tmp_path, form=form), dtype="fp32"), plain)


@pytest.mark.parametrize(
    ("stored", "name"), [(torch.bfloat16, "bf16"), (torch.float16, "fp16"), (torch.float32, "fp32")]
)
def test_model_loads_and_computes_in_every_dtype(tmp_path: Path, stored: torch.dtype, name: str) -> None:
    path = make_tiny(tmp_path, dtype=stored)
    model = load_model(path, dtype=name)
    assert model.dtype == stored
    expected = fill({n: t.to(stored) for n, t in random_tensors().items()}, TINY, dtype=stored, source="x")
    assert same(model, expected)
    assert str(stored).removeprefix("torch.") in inspect(path).dtypes
    (embeddings,) = model.embed_audio([torch.randn(3200, generator=torch.Generator().manual_seed(0)) * 0.1])
    assert torch.isfinite(embeddings.float()).all()


def spoil(how: str) -> dict[str, torch.Tensor]:
    tensors = random_tensors()
    if how == "missing":
        del tensors["encoder.encoders.1.self_attn.linear_k.weight"], tensors["speech_head.bias"]
    elif how == "no text embedding":
        for name in TIED:
            del tensors[name]
    elif how == "extra":
        tensors["encoder.encoders.2.norm1.weight"] = torch.ones(32)
    elif how == "key bias":
        tensors["encoder.encoders.0.self_attn.linear_k.bias"] = torch.ones(32)
    elif how == "misshaped":
        tensors["speech_token_emded.weight"] = torch.ones(4097, 64)
    elif how == "unequal copies":
        tensors[TIED[3]] = tensors[TIED[0]] + 1
    elif how == "unequal speech head":
        tensors |= {copy: tensors[original] + 1 for copy, original in COPIES.items()}
    return tensors


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("missing", "2 missing: encoder.encoders.1.self_attn.linear_k.weight, speech_head.bias"),
        ("no text embedding", "1 missing: llama_model.model.embed_tokens.weight"),
        ("extra", "1 unknown: encoder.encoders.2.norm1.weight"),
        ("key bias", "1 unknown: encoder.encoders.0.self_attn.linear_k.bias"),
        ("misshaped", r"speech_token_emded.weight \(4097, 64\) instead of \(4099, 64\)"),
        (
            "unequal copies",
            "1 unequal copies: lm_head.weight differs from llama_model.model.embed_tokens.weight",
        ),
        ("unequal speech head", "3 unequal copies: llama_model.speech_token_emded.weight differs"),
    ],
)
def test_mismatched_tensors_are_refused_and_listed(tmp_path: Path, how: str, words: str) -> None:
    path = make_tiny(tmp_path)
    torch.save(spoil(how), path)
    with pytest.raises(BadData, match=words) as refusal:
        load_model(path, dtype="fp32")
    assert "\n" not in str(refusal.value)
    assert inspect(path).faults in str(refusal.value)
    with pytest.raises(BadData):
        convert(path, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


class Bomb:
    def __reduce__(self) -> tuple[Callable[..., None], tuple[Path, ...]]:
        return (Path.touch, (Path("bomb-went-off"),))


@pytest.mark.parametrize("kind", ["zip", "plain pickle"])
def test_pickled_code_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = make_tiny(tmp_path)
    if kind == "zip":
        torch.save({"a": Bomb()}, path)
    else:
        path.write_bytes(pickle.dumps(Bomb()))
    for action in (
        lambda: load_model(path),
        lambda: inspect(path),
        lambda: convert(path, tmp_path / "x.safetensors"),
    ):
        with pytest.raises(BadData, match="refused") as refusal:
            action()
        assert "\n" not in str(refusal.value)
    assert not (tmp_path / "bomb-went-off").exists()


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    path = make_tiny(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(BadData, match=str(path)) as refusal:
        load_model(path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "content", [{"weight": torch.ones(3)}, [torch.ones(3)], {"epoch": 3}, {}, torch.ones(3)]
)
def test_other_content_is_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "other.pt"
    torch.save(content, path)
    with pytest.raises(BadData, match=r"other\.pt"):
        load_model(path)


def test_tiny_checkpoint_without_config_is_refused(tmp_path: Path) -> None:
    path = make_tiny(tmp_path)
    (tmp_path / "config.json").unlink()
    assert read_config(path) == FULL
    with pytest.raises(BadData, match="missing"):
        load_model(path)


def test_foreign_config_is_ignored_and_our_broken_one_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "qwen2"}', encoding="utf-8")
    assert read_config(tmp_path / "x.pt") == FULL
    (tmp_path / "config.json").write_text('{"encoder": {"depth": 3}, "adapter": {}}', encoding="utf-8")
    with pytest.raises(BadData, match="EncoderConfig: unknown key 'depth'"):
        read_config(tmp_path / "x.pt")


@pytest.mark.parametrize("dtype", [None, "bf16"])
def test_conversion_keeps_the_model_and_records_its_source(
    tmp_path: Path, plain: OsumModel, dtype: str | None
) -> None:
    source = make_tiny(tmp_path / "a")
    target = tmp_path / "b" / "tiny.safetensors"
    convert(source, target, dtype=dtype)
    loaded = load_model(target, dtype=dtype or "fp32")
    assert same(
        loaded, plain if dtype is None else plain.__class__.to(load_model(source, dtype="bf16"), "cpu")
    )
    found = inspect(target)
    assert (found.kind, found.faults) == ("converted", "")
    header = json.loads(target.read_bytes()[8 : 8 + int.from_bytes(target.read_bytes()[:8], "little")])
    assert header["__metadata__"]["source_sha256"] == checkpoint_sha256(source)
    with pytest.raises(BadData, match="already converted"):
        convert(target, tmp_path / "c.safetensors")
    target.write_bytes(target.read_bytes()[:-100])
    with pytest.raises(BadData, match="truncated"):
        load_model(target)


def frozen(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: torch.nn.Parameter(tensor, requires_grad=False) for name, tensor in tensors.items()}


CONTAINERS: dict[str, Callable[[dict[str, torch.Tensor]], object]] = {
    "ordered": OrderedDict,
    "DeepSpeed": lambda t: {"module": t, "global_steps": 1},
    "Lightning": lambda t: {"state_dict": {f"model.{name}": x for name, x in t.items()}, "epoch": 1},
    "model": lambda t: {"model": t},
    "training": lambda t: {"model_state_dict": t, "optimizer": {"lr": 0.1}},
    "two wrappers": lambda t: {"model": {"module": {f"module.{name}": x for name, x in t.items()}}},
    "compiled": lambda t: {f"_orig_mod.{name}": x for name, x in t.items()},
    "counter beside": lambda t: t | {"epoch": 3, "lr": None},
    "parameters": frozen,
    "rotary table": lambda t: (
        t | {f"llama_model.model.layers.{i}.self_attn.rotary_emb.inv_freq": torch.ones(8) for i in range(2)}
    ),
    "step as tensor": lambda t: t | {"global_step": torch.tensor(3)},
    "old pickle": lambda t: t,
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_usual_container_gives_the_same_model(tmp_path: Path, plain: OsumModel, container: str) -> None:
    path = make_tiny(tmp_path)
    content = CONTAINERS[container](random_tensors())
    torch.save(content, path, _use_new_zipfile_serialization=container != "old pickle")
    assert same(load_model(path, dtype="fp32"), plain)
    assert inspect(path).faults == ""


def test_unknown_tensors_are_left_out_only_if_they_are_named(tmp_path: Path, plain: OsumModel) -> None:
    path = make_tiny(tmp_path)
    torch.save(
        random_tensors() | {"ctc.ctc_lo.weight": torch.ones(3), "ctc.ctc_lo.bias": torch.ones(3)}, path
    )
    with pytest.raises(BadData, match=r"2 unknown: ctc.*ignore=NAME or a pattern"):
        load_model(path, dtype="fp32")
    assert same(load_model(path, dtype="fp32", ignore=["ctc.*"]), plain)
    assert inspect(path, ignore=["ctc.ctc_lo.weight"]).faults == "1 unknown: ctc.ctc_lo.bias"
    torch.save({n: t for n, t in random_tensors().items() if n != "speech_head.bias"}, path)
    with pytest.raises(BadData, match="1 missing"):
        load_model(path, dtype="fp32", ignore=["*"])


def sharded(folder: Path, suffix: str) -> Path:
    """Write the tiny model in two shards with an index; return the index."""
    from safetensors.torch import save_file

    make_tiny(folder).unlink()
    tensors = {n: t.clone() for n, t in random_tensors().items() if n not in TIED[1:]}
    names = sorted(tensors)
    halves = {f"model-0000{i + 1}-of-00002{suffix}": names[i::2] for i in range(2)}
    for file, part in halves.items():
        content = {name: tensors[name] for name in part}
        (save_file if suffix == ".safetensors" else torch.save)(content, folder / file)
    index = folder / f"model{suffix}.index.json"
    weight_map = {name: file for file, part in halves.items() for name in part}
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}), encoding="utf-8")
    return index


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_shards_with_an_index_give_the_same_model(tmp_path: Path, plain: OsumModel, suffix: str) -> None:
    index = sharded(tmp_path, suffix)
    assert same(load_model(tmp_path, dtype="fp32"), plain)
    assert (inspect(index).files, inspect(index).faults) == (2, "")
    before = checkpoint_sha256(index)
    shard = tmp_path / f"model-00002-of-00002{suffix}"
    shard.write_bytes(shard.read_bytes() + b" ")
    assert checkpoint_sha256(index) != before
    shard.unlink()
    with pytest.raises(BadData, match="1 of 2 shards are missing, such as model-00002-of-00002"):
        load_model(tmp_path, dtype="fp32")


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"weight_map": {}}',
        '{"weight_map": {"a": "../b"}}',
        '{"weight_map": {"a": "/etc/x"}}',
        "[" * 9999,
    ],
)
def test_an_index_that_is_damaged_or_leaves_its_folder_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(content, encoding="utf-8")
    with pytest.raises(BadData, match="not an index of shards") as refusal:
        load_model(tmp_path)
    assert "\n" not in str(refusal.value)


def test_a_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    sharded(tmp_path, ".bin")
    for name in ("model-00001-of-00002.bin", "model-00002-of-00002.bin"):
        torch.save({"speech_head.bias": torch.ones(1)}, tmp_path / name)
    with pytest.raises(BadData, match=r"'speech_head\.bias', which another shard"):
        load_model(tmp_path)


def test_released_tensors_load_from_safetensors(tmp_path: Path, plain: OsumModel) -> None:
    from safetensors.torch import save_file

    make_tiny(tmp_path)
    path = tmp_path / "released.safetensors"
    save_file({n: t.clone() for n, t in random_tensors().items() if n not in TIED[1:]}, path)
    assert same(load_model(path, dtype="fp32"), plain)


def test_missing_and_ambiguous_checkpoints_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotInstalled, match="osum download"):
        load_model(tmp_path / "no.pt")
    for name in ("a.pt", "b.pt"):
        (tmp_path / name).touch()
    with pytest.raises(BadData, match=r"found a\.pt, b\.pt"):
        load_model(tmp_path)


def test_released_file_is_memory_mapped(tmp_path: Path) -> None:
    """The text embedding of a loaded model uses the mapped pages of the file, without a copy in memory."""
    path = make_tiny(tmp_path)
    model = load_model(path, dtype="fp32")
    address = model.decoder.text_embedding.weight.data_ptr()
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        begin, _, end = line.split()[0].partition("-")
        if int(begin, 16) <= address < int(end, 16):
            assert line.endswith(str(path))
            return
    raise AssertionError("the tensor is in no mapping")


def test_sizes_are_checked_against_the_configuration(tmp_path: Path) -> None:
    tensors = random_tensors(replace(TINY, decoder=replace(TINY.decoder, layers=3)))
    path = make_tiny(tmp_path)
    torch.save(tensors, path)
    with pytest.raises(BadData, match=r"unknown: llama_model\.model\.layers\.2"):
        load_model(path)
