"""From a plan to a task folder: a scripted text server, the embedded voice, checks, and the way back in."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from echat_eval.cost.budget import read_budget
from echat_eval.errors import RunError, UsageError
from echat_eval.importers.draft import Draft, ImportOptions
from echat_eval.importers.echat import read_echat
from echat_eval.importers.facts import TaskFacts
from echat_eval.importers.writing import write_task
from echat_eval.io.jsonl import read_rows
from echat_eval.task import find_faults, load_task
from echat_eval.testing import ScriptedChatServer
from echat_eval.testset import Plan, assignments, build, estimate_texts, read_plan

PROMPTS = Path(__file__).resolve().parents[2] / "examples" / "build-testset" / "prompts"
PLAN = """
name: desk
title: {{en: Desk}}
description: Words at a desk.
licence: CC0 1.0
domain: a library
topics: [books, rooms]
cues: {{emotion: [happy, sad]}}
sentences: {{en: 2}}
same: {{en: 1}}
texts: {{model: scripted, url: "{url}", prompts: {prompts}, tries: 2}}
voices: {{en: {{use: embedded, speakers: {{ada: female, dov: male}}}}}}
clip: {{seconds: 3.0}}
checks: {{measurable: 1}}
redistributable: true
seed: 3
"""
WORDS = ("The blue book is back.", "The small room is free.", "When do you close?", "Someone called for me.")


PRICES = "scripted: {currency: USD, text_in: 1, text_out: 2, date: '2026-11-30', source: a test}\n"


def scripted(request: dict[str, Any]) -> str:
    """Answer the first request for a sentence with a label in it, and all others well."""
    number = request["seed"] % 10_000
    words = "I am so happy today." if request["seed"] == 1 else WORDS[number]
    names = request["response_format"]["json_schema"]["schema"]["required"][1:]
    return json.dumps(
        {"transcript": words} | {n: f"This is {n.replace('_', ' ')} to your words." for n in names}
    )


def plan_for(folder: Path, url: str) -> Plan:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plan.yaml").write_text(PLAN.format(url=url, prompts=PROMPTS))
    return read_plan(folder / "plan.yaml")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Any, list[dict[str, Any]]]:
    """Return the folder, the results of two equal commands, and the requests of both."""
    out = tmp_path_factory.mktemp("built")
    with ScriptedChatServer(scripted) as server:
        plan = plan_for(out, server.url)
        first = build(plan, out)
        bytes_of = {path.name: path.read_bytes() for path in sorted((out / "desk").rglob("*.*"))}
        (out / "bytes").write_text(repr(sorted((name, hash(content)) for name, content in bytes_of.items())))
        second = build(plan, out)
        return out, first, second, server.requests


def test_task_is_valid_and_balanced(made: Any) -> None:
    out, built, _, _ = made
    assert find_faults(built.task) == []
    task = load_task("desk", data=built.task)
    assert (built.sentences, built.groups, built.clips, len(task.samples)) == (3, 6, 12, 12)
    # Every speaker has every label, and each sentence has two speakers.
    assert set(Counter((s.speaker, s.cues["emotion"]) for s in task.samples).values()) == {3}
    by_sentence = Counter((s.transcript, s.speaker) for s in task.samples)
    assert set(by_sentence.values()) == {2}
    same = [s for s in task.samples if s.expect == "same"]
    assert len(same) == 4
    assert len({s.references for s in same}) == 1
    assert {round(s.audio.seconds, 3) for s in task.samples} == {3.0}
    card = (built.task / "DATA-CARD.md").read_text()
    assert "| ada (en) | 6 |" in card
    assert "hibari-tts" in (built.task / "LICENCE").read_text()


def test_dropped_rows_have_reasons(made: Any) -> None:
    out, built, _, _ = made
    rows = [json.loads(line) for line in (out / "dropped.jsonl").read_text().splitlines()]
    assert [(row["stage"], row["id"], row["reason"]) for row in rows] == [
        ("texts", "en-02", "names-the-label")
    ]
    assert "1 dropped (names-the-label 1)" in str(built)


def test_same_command_asks_nothing_and_writes_the_same_bytes(made: Any) -> None:
    out, first, second, requests = made
    assert len(requests) == 4  # three sentences, one of them twice
    assert second == replace(first)
    again = {path.name: path.read_bytes() for path in sorted((out / "desk").rglob("*.*"))}
    assert (out / "bytes").read_text() == repr(sorted((n, hash(content)) for n, content in again.items()))


def test_training_rows_are_read_back_unchanged(made: Any) -> None:
    out, built, _, _ = made
    samples = {sample.id: sample for sample in load_task("desk", data=built.task).samples}
    entries = list(read_echat(out / "echat.jsonl", ImportOptions(audio=built.task)))
    assert len(entries) == len(samples)
    for entry in entries:
        assert isinstance(entry, Draft), entry
        sample = samples[str(entry.id)]
        assert (entry.transcript, dict(entry.cues), entry.speaker) == (
            sample.transcript,
            dict(sample.cues),
            sample.speaker,
        )
        assert (entry.references, entry.language, entry.source, entry.expect) == (
            sample.references,
            sample.language,
            sample.source,
            sample.expect,
        )
        assert Path(str(entry.audio)).read_bytes() == sample.audio.path.read_bytes()


def test_stages_and_limits(tmp_path: Path) -> None:
    with ScriptedChatServer(scripted, usage=(500, 200)) as server:
        plan = plan_for(tmp_path, server.url)
        with pytest.raises(UsageError, match="run the stage texts first"):
            build(plan, tmp_path, stages=["clips"])
        with pytest.raises(UsageError, match="stage 'voices'; expected texts, clips, write"):
            build(plan, tmp_path, stages=["voices"])
        prices = tmp_path / "prices.yaml"
        prices.write_text(PRICES, encoding="utf-8")
        line = estimate_texts(plan, assignments(plan), read_budget(prices))
        assert line.startswith("3 sentences, at most 6 calls; about ")
        assert server.requests == []
        limit = r"no sentence was written; first reason: no-answer, .*--max-cost.*; one call may cost up to 0\.00\d+ USD"
        with pytest.raises(RunError, match=limit):
            build(plan, tmp_path, stages=["texts"], budget=read_budget(prices, "0.000001"))
        lost = [row["reason"] for _, row in read_rows(tmp_path / "work" / "dropped-texts.jsonl")]
        assert set(lost) == {"no-answer"}
        assert server.requests == []
        texts = build(plan, tmp_path, stages=["texts"], budget=read_budget(prices, "1"))
        assert (texts.sentences, texts.task) == (3, None)
        assert "4 calls" in texts.cost


def test_training_rows_keep_their_contrast_groups(made: Any, tmp_path: Path) -> None:
    """Each sentence has two speakers; the groups that an import finds are those of one speaker."""
    out, built, _, _ = made
    entries = read_echat(out / "echat.jsonl", ImportOptions(audio=built.task))
    write_task(entries, tmp_path / "back", name="back", facts=TaskFacts(), cues=("emotion",))

    def groups(folder: Path, name: str) -> set[frozenset[str]]:
        found: dict[str | None, set[str]] = {}
        for sample in load_task(name, data=folder).samples:
            found.setdefault(sample.contrast_group, set()).add(sample.id)
        return set(map(frozenset, found.values()))

    assert groups(tmp_path / "back", "back") == groups(built.task, "desk")
