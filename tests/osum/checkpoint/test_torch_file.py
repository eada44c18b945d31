"""Checkpoints and voices are read by one function, with the same refusals."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import echat_eval
from echat_eval.errors import BadData

torch = pytest.importorskip("torch")

from echat_eval.osum.checkpoint.checkpoint import load_model  # noqa: E402
from echat_eval.osum.checkpoint.torch_file import read_tensors  # noqa: E402
from echat_eval.osum.voice.config import FULL_VOICE  # noqa: E402
from echat_eval.osum.voice.weights import load_flow, load_hift  # noqa: E402

pytestmark = pytest.mark.torch

READERS: dict[str, Callable[[Path], Any]] = {
    "tensors": read_tensors,
    "mapped tensors": lambda path: read_tensors(path, mmap=True),
    "checkpoint": load_model,
    "flow": lambda path: load_flow(path, FULL_VOICE.flow),
    "vocoder": lambda path: load_hift(path, FULL_VOICE.hift),
}


class Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("this must not run",))


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "truncated or not a torch file"),
        ({"w": 5}, "1 entries are not tensors, such as 'w'; expected a state dict"),
        ([], "holds a list; expected a state dict"),
        (
            b"<html>404</html>",
            "not a plain file of tensors: .* is not a checkpoint; refused, no code was run",
        ),
        ({"w": Code()}, "not a plain file of tensors.*no code was run"),
    ],
)
def test_every_reader_refuses_what_is_no_file_of_tensors(
    name: str, content: Any, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(BadData, match=message) as error:
        READERS[name](path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    assert "PyTorch" not in str(error.value)
    assert capsys.readouterr().out == ""


def test_tensors_are_read_plain_and_in_deepspeeds_form(tmp_path: Path) -> None:
    tensors = {"a": torch.ones(2), "b": torch.zeros(1)}
    for content in (tensors, {"module": tensors, "step": 3}):
        torch.save(content, tmp_path / "file.pt")
        assert {name: t.tolist() for name, t in read_tensors(tmp_path / "file.pt").items()} == {
            "a": [1.0, 1.0],
            "b": [0.0],
        }


def test_no_other_module_of_osum_loads_torch_files() -> None:
    package = Path(echat_eval.__file__).parent / "osum"
    users = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr == "load"
        and isinstance(node.value, ast.Name)
        and node.value.id == "torch"
    }
    assert users == {"checkpoint/torch_file.py"}
