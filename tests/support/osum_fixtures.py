"""Fixtures: a tiny OSUM-EChat checkpoint and engines that use it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from echat_eval.osum.engine.engine import Engine
    from echat_eval.osum.model.tokenizer import TextTokenizer


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from echat_eval.osum.checkpoint.tiny import make_tiny

    return make_tiny(tmp_path_factory.mktemp("tiny")).parent


@pytest.fixture(scope="session")
def tiny_engine(tiny_folder: Path) -> Engine:
    import torch

    torch.set_num_threads(1)
    from echat_eval.osum.checkpoint.checkpoint import load_model
    from echat_eval.osum.engine.engine import Engine
    from echat_eval.osum.model.tokenizer import load_tokenizer

    return Engine(load_model(tiny_folder, dtype="fp32"), load_tokenizer(tiny_folder))


@pytest.fixture(scope="session")
def qwen() -> TextTokenizer:
    """Return the real Qwen tokenizer, from the resources of an installed package that is not imported."""
    from importlib.util import find_spec

    from echat_eval.osum.model.tokenizer import load_tokenizer

    package = find_spec("dashscope")
    assert package is not None, "these tests need Qwen's vocabulary: pip install -r requirements/assets.txt"
    assert package.submodule_search_locations
    return load_tokenizer(Path(package.submodule_search_locations[0]) / "resources")


@pytest.fixture(scope="session")
def brisk_engine(tiny_folder: Path) -> Engine:
    """Return the tiny model with likelier end tokens: some replies are long, some are a single word."""
    import torch

    from echat_eval.osum.checkpoint.checkpoint import load_model
    from echat_eval.osum.engine.engine import Engine
    from echat_eval.osum.model.tokenizer import load_tokenizer

    torch.set_num_threads(1)
    model = load_model(tiny_folder, dtype="fp32")
    with torch.no_grad():
        bias = model.decoder.speech_head.bias.clone()
        bias[model.config.speech.bos_eos] += 3.0
        model.decoder.speech_head.bias.copy_(bias)
        table = model.decoder.text_embedding.weight.clone()
        table[model.config.text.end] *= 1.3
        model.decoder.text_embedding.weight = torch.nn.Parameter(table, requires_grad=False)
    return Engine(model, load_tokenizer(tiny_folder))
