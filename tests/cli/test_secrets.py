"""No secret of a command is stored or shown, also if a server repeats it in every field."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from echat_eval import cli, errors
from echat_eval.cli.report import report
from echat_eval.cli.run import run
from echat_eval.clients.keys import remember_known_secrets
from echat_eval.errors import Exit, scrub
from echat_eval.testing.servers import Exchange, in_schema, schema_of

Serve = Callable[[Callable[[Any], None]], Any]
KEY, TOKEN, SIGNATURE = "sk-leaked-key-1", "leaked-token-2", "leaked-signature-3"


@pytest.fixture(autouse=True)
def no_other_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "_secrets", set())
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def echo(exchange: Exchange) -> None:
    """Answer with the key and the address in every field, as a system or as a judge."""
    said = f"{exchange.headers.get('authorization')} {exchange.path}"
    # Escapes that the text of a whole body does not show.
    hidden = "".join(f"\\u{ord(character):04x}" for character in said)
    if exchange.command == "GET":
        exchange.reply(said, status=404)
    elif "chat/completions" not in exchange.path:
        usage = {said.replace(" ", "_"): 3}
        exchange.reply_json({"text": f"Oh, {said}", "think": said, "finish_reason": said, "usage": usage})
    else:
        verdict = f'{{"reason": "{hidden}", "content": 4, "cue_awareness": 4, "empathy": 4}}'
        request = json.loads(exchange.body)
        message = {"content": in_schema(verdict, schema_of(request)), "reasoning_content": said}
        exchange.reply_json(
            {
                "model": f"m {said}",
                "system_fingerprint": {"of": said},
                "choices": [{"message": message, "finish_reason": f"stop {said}"}],
                "usage": {"prompt_tokens": 3, "completion_tokens": 2, said: 5},
            }
        )


def leaks(*places: Path) -> list[str]:
    files = [path for place in places for path in ([place] if place.is_file() else place.rglob("*"))]
    secrets = [secret.encode() for secret in (KEY, TOKEN, SIGNATURE)]
    return [f.name for f in files if f.is_file() and any(secret in f.read_bytes() for secret in secrets)]


def test_a_server_that_repeats_every_secret(
    serve: Serve, tones: Path, tmp_path: Path, own_cache: Path
) -> None:
    url = serve(echo).url
    options = {
        "--data": tones,
        "--task": "emotion",
        "--system": f"h={url}/speak?token={TOKEN}",
        "--annotator": "acoustics",
        "--judge": "m",
        "--judge-url": f"{url}/v1?sig={SIGNATURE}",
        "--out": tmp_path / "run",
    }
    words = [str(word) for option in options.items() for word in option]
    result = CliRunner().invoke(run, words, standalone_mode=False)
    assert result.return_value == Exit.DONE, (result.output, result.exception)
    shown = result.output
    result = CliRunner().invoke(report, [str(tmp_path / "run"), "--out", str(tmp_path / "report")])
    (tmp_path / "shown").write_text(shown + result.output)
    assert (tmp_path / "run" / "verdicts.jsonl").stat().st_size > 0
    assert leaks(tmp_path / "run", tmp_path / "report", tmp_path / "shown", own_cache) == []


@pytest.mark.parametrize("url", ["http://bob:leaked-pw@127.0.0.1:9/v1", "http://bob@127.0.0.1:9/v1"])
def test_a_judge_url_with_a_user_is_refused_and_not_shown(tones: Path, tmp_path: Path, url: str) -> None:
    words = ["--data", str(tones), "--system", "canned", "--judge", "m", "--judge-url", url]
    result = CliRunner().invoke(run, [*words, "--out", str(tmp_path / "run")], standalone_mode=False)
    assert isinstance(result.exception, errors.UsageError)
    assert "user name or password" in str(result.exception)
    assert "leaked-pw" not in result.output + str(result.exception)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["--judge-url", f"http://h/v1?api_key={TOKEN}"],
        ["--set", f"url=https://h/v1?sig={TOKEN}"],
        ["--system", f"m=command:./infer --server http://me:{TOKEN}@h/"],
    ],
)
def test_a_crash_report_has_no_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    def crash(**_: Any) -> None:
        raise RuntimeError(f"{KEY} {' '.join(sys.argv)}")

    monkeypatch.setattr(sys, "argv", ["echat-eval", "run", *words])
    monkeypatch.setattr(cli.command_line, "main", crash)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == Exit.BUG
    shown = capsys.readouterr().err
    path = Path(shown.rpartition("Report: ")[2].strip())
    assert leaks(path) == []
    assert "[secret]" in path.read_text()
    assert KEY not in shown
    assert TOKEN not in shown
    path.unlink()


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "http_proxy", "ALL_PROXY"])
def test_the_password_of_a_proxy_is_a_secret(name: str) -> None:
    remember_known_secrets([], {name: f"http://me:{TOKEN}@proxy:3128"})
    assert scrub(f"407 for {TOKEN}") == "407 for [secret]"


def test_a_short_password_in_a_url_is_a_secret() -> None:
    assert scrub("cannot reach http://me:pw@proxy:1/x") == "cannot reach http://me:[secret]@proxy:1/x"
    assert scrub("write to me@host or http://host/@me") == "write to me@host or http://host/@me"
