from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

# The folder is no package, so that test files of different folders may not clash by accident; its two
# shared modules are found here.
sys.path.insert(0, str(Path(__file__).parent))

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from echat_eval.osum.tiny import make_tiny

    return make_tiny(tmp_path_factory.mktemp("tiny")).parent


@pytest.fixture(scope="session")
def tiny_engine(tiny_folder: Path):
    from echat_eval.osum.checkpoint import load_model
    from echat_eval.osum.engine import Engine
    from echat_eval.osum.tokenizer import load_tokenizer

    return Engine(load_model(tiny_folder, dtype="fp32"), load_tokenizer(tiny_folder))


@pytest.fixture(scope="session")
def qwen():
    """The real Qwen vocabulary, out of an installed package's resources; the package is not imported."""
    from importlib.util import find_spec

    from echat_eval.osum.tokenizer import load_tokenizer

    package = find_spec("dashscope")
    assert package is not None, "these tests need Qwen's vocabulary: pip install -r requirements/assets.txt"
    return load_tokenizer(Path(package.submodule_search_locations[0]) / "resources")
