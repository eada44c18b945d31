"""Names and settings on the terminal."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from echat_eval.cli.show_runs import show_command
from echat_eval.errors import UnknownName, UsageError


def shown(*words: str) -> Any:
    return CliRunner().invoke(show_command, list(words), standalone_mode=False)


def test_settings_of_a_system_have_default_meaning_and_allowed_values() -> None:
    lines = shown("systems", "http").output.splitlines()
    assert lines[0] == "http: Any HTTP server as a system: posts requests and reads replies."
    (row,) = [line for line in lines if line.split()[:1] == ["send"]]
    assert row.split()[1] == "audio"
    assert row.rstrip().endswith("(audio or json)")
    (required,) = [line for line in lines if line.split()[:1] == ["url"]]
    assert required.split()[1] == "required"


def test_a_settings_file_shows_its_own_values_and_what_was_not_tested() -> None:
    output = shown("systems", "gpt-realtime-2.1").output
    assert "  untested: The service." in output
    (row,) = [line for line in output.splitlines() if line.split()[:1] == ["model"]]
    assert row.split()[1] == "gpt-realtime-2.1"


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (("systems", "htp"), UnknownName, "unknown system 'htp'. Did you mean 'http'?"),
        (("judges", "echat-r1"), UsageError, "judges have no settings to show"),
    ],
)
def test_unknown_names_and_kinds_without_settings_are_refused(
    words: tuple[str, ...], error: type[Exception], message: str
) -> None:
    caught = shown(*words).exception
    assert isinstance(caught, error)
    assert message in str(caught)
