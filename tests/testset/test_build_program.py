"""examples/build-testset/build.py ends with one line and a code, whatever happens."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "examples" / "build-testset" / "build.py"
PLAN = """
name: desk
title: {en: Desk}
description: Words at a desk.
licence: CC BY 4.0
cues: {emotion: [happy, sad]}
texts: {file: said.yaml}
voices: {en: {use: embedded, speakers: {ada: female, dov: male}}}
"""
SAID = """
sentences:
  - language: en
    transcript: The book is back.
    members: [{cues: {emotion: sad}, reply: What a pity it is.}, {cues: {emotion: happy}, reply: How very good it is.}]
  - language: en
    transcript: I am so angry at it.
    members: [{cues: {emotion: sad}, reply: What a pity it was.}, {cues: {emotion: happy}, reply: How very good it was.}]
"""


def ended(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *given: str
) -> tuple[object, str]:
    """Run the program; return its code and its last line."""
    (folder / "plan.yaml").write_text(PLAN)
    (folder / "said.yaml").write_text(SAID)
    monkeypatch.setattr(
        "sys.argv", ["build.py", str(folder / "plan.yaml"), "--out", str(folder / "out"), *given]
    )
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(PROGRAM), run_name="__main__")
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    return end.value.code, (shown.err or shown.out).splitlines()[-1]


def test_each_end_has_its_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*given: str) -> tuple[object, str]:
        return ended(tmp_path, capsys, monkeypatch, *given)

    assert run("--estimate") == (0, f"2 sentences from {tmp_path / 'said.yaml'}: no calls, no cost")
    code, line = run("--stage", "texts")
    assert (code, "wanted 2 sentences, got 1" in line) == (3, True)
    assert "names-the-label" in (tmp_path / "out" / "dropped.jsonl").read_text()
    (tmp_path / "a-file").touch()
    for out in (str(tmp_path / "a-file"), "/proc/x"):
        code, line = run("--out", out)
        assert (code, f"{out}: cannot be written" in line) == (2, True)
    (tmp_path / "out" / "desk").mkdir()
    (tmp_path / "out" / "desk" / "mine").touch()
    code, line = run()
    assert (code, "desk: not empty, and no build wrote it" in line) == (2, True)
    monkeypatch.setattr(f"{__name__}.PLAN", PLAN.replace("[happy, sad]", "[happy, sad, fear]"))
    code, line = run("--stage", "clips")
    assert (code, "run the stage texts again" in line) == (2, True)


def test_an_interrupt_is_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*given: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("echat_eval.testset.build", interrupted)
    code, line = ended(tmp_path, capsys, monkeypatch)
    assert (code, line) == (130, "echat-eval: interrupted; run the same command to continue")
