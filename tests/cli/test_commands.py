"""Commands in this process: names, installation, cache, exit codes and error lines."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from echat_eval import cli
from echat_eval.cli import command_line, main
from echat_eval.errors import BadData, Exit


def call(*words: str) -> Result:
    return CliRunner().invoke(command_line, list(words), standalone_mode=False)


def exit_of(monkeypatch: pytest.MonkeyPatch, error: BaseException | None, *words: str) -> int:
    """Return the exit code of `main` when its command raises an error, or runs."""
    monkeypatch.setattr(sys, "argv", ["echat-eval", *words])
    if error is not None:

        def fail(**_: object) -> None:
            raise error

        monkeypatch.setattr(command_line, "main", fail)
    with pytest.raises(SystemExit) as caught:
        main()
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.mark.parametrize(
    ("kind", "name", "description"),
    [
        ("tasks", "emotion", "36 samples"),
        ("systems", "canned", "sentence"),
        ("scorers", "cue-contrast", ""),
        ("annotators", "acoustics", ""),
        ("judges", "echat-r1", ""),
        ("published", "echat-automatic", ""),
    ],
)
def test_list_prints_a_line_per_name(kind: str, name: str, description: str) -> None:
    lines = call("list", kind).output.splitlines()
    (line,) = [line for line in lines if line.split()[0] == name]
    assert description in line


def test_list_without_a_kind_prints_all_kinds() -> None:
    kinds = [line.partition(":")[0] for line in call("list").output.splitlines()]
    assert kinds == ["tasks", "systems", "annotators", "scorers", "judges", "published"]


def test_doctor_prints_versions_and_parts() -> None:
    result = call("doctor")
    assert result.return_value == Exit.DONE
    assert result.output.startswith("echat-eval ")
    assert "whisper" in result.output


def test_cache_is_shown_pruned_and_cleared(tones: Path, tmp_path: Path) -> None:
    run = ["run", "--system", "echo", "--task", "emotion", "--data", str(tones), "--annotator", "acoustics"]
    assert call(*run, "--out", str(tmp_path / "run")).return_value == Exit.DONE
    assert "annotations: " in call("cache").output
    assert call("cache", "prune", "--older-than", "1d").output.startswith("removed 0 rows")
    assert isinstance(call("cache", "prune").exception, Exception)
    assert "expected a number and m, h, d or w" in str(
        call("cache", "prune", "--older-than", "long").exception
    )
    assert "expected a size" in str(call("cache", "prune", "--larger-than", "big").exception)
    assert call("cache", "clear", "--yes").output.startswith("removed ")
    assert "annotations: 0\n" in call("cache").output


def test_check_task_accepts_a_task_and_reports_the_design(tones: Path) -> None:
    result = call("check", "task", str(tones / "emotion"))
    assert result.return_value == Exit.DONE, result.output
    assert "4 sentences" in result.output


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (BadData("x.yaml:1: broken"), Exit.MISUSE, "echat-eval: x.yaml:1: broken"),
        (KeyboardInterrupt(), Exit.INTERRUPTED, "run the same command to continue"),
        (ModuleNotFoundError("no", name="whisper"), Exit.MISUSE, "package 'whisper' is not installed"),
        (OSError(28, "No space left on device", "run"), Exit.CANNOT_TELL, "finished rows are kept"),
        (RuntimeError("odd"), Exit.BUG, "a bug of ours: RuntimeError: odd"),
        (MemoryError(), Exit.CANNOT_TELL, "out of memory; finished rows are kept"),
        (RuntimeError("can't start new thread"), Exit.CANNOT_TELL, "can't start new thread; finished rows"),
        (ImportError("x.so: failed to map segment from shared object"), Exit.CANNOT_TELL, "failed to map"),
    ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_every_error_has_one_line_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: Exit,
    line: str,
    debug: bool,
) -> None:
    assert exit_of(monkeypatch, error, *(["--debug"] if debug else [])) == code
    printed = capsys.readouterr().err
    assert line in printed.splitlines()[-1]
    assert debug or len(printed.splitlines()) == 1


def test_wrong_words_exit_with_misuse(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_of(monkeypatch, None, "shw") == Exit.MISUSE
    assert "Did you mean 'show'?" in capsys.readouterr().err
    assert exit_of(monkeypatch, None, "show", "--nope") == Exit.MISUSE
    assert "see `echat-eval show --help`" in capsys.readouterr().err
    assert exit_of(monkeypatch, None, "show", "names") == Exit.DONE


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    output = call("--help").output
    assert all(name in output for name in cli.COMMANDS)
