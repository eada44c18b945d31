"""A single thread, and a tiny token2wav shared by the tests."""

from __future__ import annotations

import pytest
import torch

from echat_eval.osum.voice.token2wav import Token2Wav
from tests.support.tiny_speaker import build_tiny


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny() -> Token2Wav:
    return build_tiny()


@pytest.fixture(scope="session")
def tiny_upstream() -> Token2Wav:
    return build_tiny(noise="upstream")
