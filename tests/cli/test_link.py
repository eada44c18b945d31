"""`run --link`: refused before anything is sent, and one line with exit code 3 where no link can be made."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from echat_eval.cli.run import run
from echat_eval.errors import Exit, UsageError
from echat_eval.scorers.judge_link import JudgeLink
from echat_eval.scorers.stored_links import link_lines
from echat_eval.testing import ScriptedChatServer
from tests.support.scripted_judge import fitting


def call(*words: str) -> Any:
    return CliRunner().invoke(
        run, [*words, "--annotator", "acoustics", "--tries", "1"], standalone_mode=False
    )


def test_a_small_archive_keeps_its_scores_and_names_what_a_link_needs(tones: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    data = ["--data", str(tones), "--task", "emotion", "--system", "canned", "--out", out]
    with ScriptedChatServer(fitting) as server:
        first = call(*data, "--judge", "old-2024-11-20", "--judge-url", server.url)
        assert first.return_value == Exit.DONE, first.exception
        before = len(server.prompts)
        new = ["--judge", "new-2026-09-22", "--judge-url", server.url]
        estimated = call(out, *new, "--link", "old-2024-11-20", "--estimate")
        assert "--link: old-2024-11-20 grades at most 150 replies, less those" in estimated.output
        done = call(out, *new, "--link", "old-2024-11-20")
        questions = [r["model"] for r in server.requests if len(r["messages"][0]["content"]) > 100]
    assert done.return_value == Exit.CANNOT_TELL, done.exception
    assert "the scores of old-2024-11-20 are replaced by those of new-2026-09-22" in done.output
    assert (
        "No estimates on the scale of old-2024-11-20: new-2026-09-22 and old-2024-11-20 have 8" in done.output
    )
    assert "to link them, grade more samples with both" in done.output
    assert "no estimates on the scale of old-2024-11-20; the lines above have the reason" in done.output
    assert questions[before:] == ["new-2026-09-22"] * (len(questions) - before)  # the old verdicts are stored
    assert "No estimates on the scale" in (Path(out) / "leaderboard.md").read_text()
    itself = call(out, *new, "--link", "new-2026-09-22")
    assert isinstance(itself.exception, UsageError)
    assert "--judge and --link both name new-2026-09-22" in str(itself.exception)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--link", "o"], "--link without --judge"),
        (["--judge", "gpt-4o-2024-11-20", "--link", "gpt-4o-2024-11-20"], "the judge of this run itself"),
        (["--judge", "gpt-4o-2024-11-20", "--link", "qwen"], "give --set link.url= the address"),
        (["--judge", "gpt-4o-2024-11-20", "--set", "link.anchors=60"], "--set link.anchors without a link"),
        (
            ["--judge", "gpt-4o-2024-11-20", "--link", "gpt-4.1-2025-04-14", "--set", "link.anchors=3"],
            "link.anchors=3: expected a whole number from 30 to 5000",
        ),
        (
            ["--judge", "gpt-4o-2024-11-20", "--link", "m", "--set", "link.url=ftp://host/v1"],
            "expected http://host:port/path",
        ),
        (
            ["--judge", "gpt-4o-2024-11-20", "--link", "gpt-4.1-2025-04-14", "--set", "link.anchor=60"],
            "unknown setting of a link: 'link.anchor'. Did you mean 'link.anchors'?",
        ),
    ],
)
def test_a_wrong_link_is_refused_before_anything_is_sent(
    tones: Path, tmp_path: Path, options: list[str], fault: str
) -> None:
    done = call(*["--data", str(tones), "--system", "canned", "--out", str(tmp_path / "run")], *options)
    assert isinstance(done.exception, UsageError)
    assert fault in str(done.exception)
    assert not (tmp_path / "run").exists()


def test_the_advice_fits_what_a_link_lacks() -> None:
    nothing = JudgeLink(new="n", old="o", metric="m", state="too few", anchors=0, clusters=0, unanswered=0)
    (line,) = link_lines(nothing)
    assert "stand" not in line
    assert "No reply has a score of n and words that o can grade" in line
    (line,) = link_lines(replace(nothing, unanswered=30, reason="down"))
    assert "run the same command while o answers" in line
