"""A judge linked to the one that it replaces, with scripted judges: estimates, refusals, and their lines."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from echat_eval.checks.scripted_judge import scripted_client
from echat_eval.errors import BadData, Unavailable, UsageError
from echat_eval.judge import JudgeClient, load_judge
from echat_eval.scorers import link_settings
from echat_eval.scorers.judge_link import JudgeLink, link_judges
from echat_eval.scorers.judge_settings import JudgeSettings
from echat_eval.scorers.judged import Judged
from echat_eval.scorers.link_settings import parse_link
from echat_eval.scorers.stored_links import (
    link_lines,
    link_notes,
    new_judges,
    run_and_store_links,
    stored_links,
)
from echat_eval.store.forget import forget_speaker
from echat_eval.store.run_folder import RunFolder
from echat_eval.testing import ScriptedChatClient, ScriptedSystem
from tests.support.scripted_run import evaluated
from tests.support.scripted_world import make_task, number_of

Grade = Callable[[Mapping[str, str]], tuple[int, int, int]]


def judge(grade: Grade, model: str, *, store: Path | None = None, name: str | None = None) -> Judged:
    client = scripted_client(grade)
    client.model = model
    return Judged(JudgeClient(load_judge("echat-r1"), client, store=store), judge_name=name)  # type: ignore[arg-type]


def quality(shown: Mapping[str, str], who: str) -> int:
    """Return a grade of 1 to 4 that two judges share in most replies."""
    own = number_of(shown["reply"], shown["cues"], who) < 0.2
    return 1 + own + int(3 * number_of(shown["reply"], shown["cues"]))


def new_grade(shown: Mapping[str, str]) -> tuple[int, int, int]:
    grade = quality(shown, "new")
    return grade, grade + 1, grade


def old_grade(shown: Mapping[str, str]) -> tuple[int, int, int]:
    grade = quality(shown, "old")
    return grade - 1, grade, grade - 1


def strict_in_chinese(shown: Mapping[str, str]) -> tuple[int, int, int]:
    grade = quality(shown, "old")
    chinese = any(ord(letter) > 0x3000 for letter in shown["transcript"])
    return (0, 0, 0) if chinese else (grade, grade + 1, grade)


def reply_with(name: str) -> ScriptedSystem:
    """Return a system whose replies are all different."""
    return ScriptedSystem(lambda request: f"{name} {request.audio.sha256}", name)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Return a run of two systems on 24 sentences with four labels each, graded by the new judge."""
    root = tmp_path_factory.mktemp("linked")
    task = make_task(root / "tasks", "emotion", 24)
    systems = [reply_with(name) for name in ("a", "b")]
    return evaluated(root / "run", task, systems, scorers=[judge(new_grade, "new-2026-09-22")])


def linked(run: RunFolder, old: Grade, **more: Any) -> JudgeLink:
    return link_judges(
        run,
        judge(new_grade, "new-2026-09-22"),
        judge(old, "old-2024-11-20"),
        anchors=more.get("anchors", 150),
    )


def old_mean(run: RunFolder, system: str) -> float:
    """Return what the old judge gives a system, graded in full."""
    replies = [r.reply.text for r in run.responses().values() if r.system == system and r.reply]
    assert len(replies) == 96
    old = judge(old_grade, "old-2024-11-20")
    link = link_judges(run, judge(new_grade, "new-2026-09-22"), old, anchors=5000)
    grades = [row[4] for row in link.pairs if row[0] == system]
    assert len(grades) == 96
    return sum(grades) / 96


def test_estimates_hold_what_the_old_judge_gives(run: RunFolder) -> None:
    link = linked(run, old_grade)
    assert (link.state, link.anchors, link.unanswered) == ("linked", 150, 0)
    assert (link.new, link.old) == ("new-2026-09-22", "old-2024-11-20")
    assert {shift.kind for shift in link.slices} == {"language", "label", "system"}
    for system in link.systems:
        assert system.estimate is not None
        assert system.estimate.low is not None
        assert system.estimate.high is not None
        assert system.anchors in {74, 75, 76}
        assert system.estimate.low <= old_mean(run, system.system) <= system.estimate.high
        assert system.estimate.high - system.estimate.low < 20


def test_lines_mark_every_estimate_and_name_both_models(run: RunFolder) -> None:
    lines = link_lines(linked(run, old_grade))
    assert lines[0].startswith(
        "Estimates on the scale of old-2024-11-20, not scores and never ranked: new-2026-09-22"
    )
    assert [line.endswith("by old-2024-11-20 (estimate)") for line in lines[1:3]] == [True, True]
    assert "agree within 10 points in every tested slice: label (4), system (1), language (1)" in lines[3]


def test_judges_that_disagree_in_a_language_are_refused_by_name(run: RunFolder) -> None:
    link = linked(run, strict_in_chinese)
    assert (link.state, link.systems) == ("disagree", ())
    assert (link.slices[0].kind, link.slices[0].state) == ("language", "differs")
    lines = link_lines(link)
    assert lines[0].startswith(
        "No estimates on the scale of old-2024-11-20: new-2026-09-22 and old-2024-11-20"
    )
    assert "they differ on language" in lines[1]
    assert not any("(estimate)" in line for line in lines)


def test_too_few_anchors_leave_the_link_open(run: RunFolder) -> None:
    def rolling(shown: Mapping[str, str]) -> tuple[int, int, int]:
        return (int(6 * number_of(shown["reply"], "content")), int(6 * number_of(shown["reply"], "cue")), 3)

    link = linked(run, rolling, anchors=40)
    assert link.state in {"open", "disagree"}
    assert "not shown to agree" in "".join(link_lines(link))
    assert "link.anchors=N" in link_lines(link)[0]


def test_an_old_judge_that_is_away_gives_one_line_and_what_is_possible(run: RunFolder) -> None:
    def away(prompt: str) -> str:
        raise Unavailable("503 from the server")

    client = JudgeClient(load_judge("echat-r1"), ScriptedChatClient(away, model="old-2024-11-20"))  # type: ignore[arg-type]
    link = link_judges(run, judge(new_grade, "new-2026-09-22"), Judged(client), anchors=40)
    assert (link.state, link.anchors, link.unanswered) == ("too few", 0, 40)
    (line,) = link_lines(link)
    assert "old-2024-11-20 gave no verdict on 40 of the anchors: 503 from the server" in line
    assert "run the same command while old-2024-11-20 answers, or use a run folder whose replies" in line


def test_stored_verdicts_link_without_the_old_server(run: RunFolder, tmp_path: Path) -> None:
    store = tmp_path / "verdicts.jsonl"
    answering = judge(old_grade, "old-2024-11-20", store=store)
    answering.judge_client.server_identity()
    whole = link_judges(run, judge(new_grade, "new-2026-09-22"), answering, anchors=120)
    answering.close()

    class Unreachable(ScriptedChatClient):
        async def ask(self, *_: Any, **__: Any) -> Any:
            raise Unavailable("shut down")

    client = Unreachable(lambda _: "", model="old-2024-11-20")
    old = Judged(JudgeClient(load_judge("echat-r1"), client, store=store))  # type: ignore[arg-type]
    old.judge_client.server_identity()
    link = link_judges(run, judge(new_grade, "new-2026-09-22"), old, anchors=120)
    assert (link.state, link.anchors) == ("linked", 120)
    assert set(link.pairs) == set(whole.pairs)


def test_links_are_stored_beside_the_scores_they_fit(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    old = judge(old_grade, "old-2024-11-20")
    run_and_store_links(run, [judge(new_grade, "new-2026-09-22")], old, anchors=150)
    (link,) = stored_links(run)
    assert link == linked(run, old_grade)
    assert link_notes(run) == link_lines(link)
    file = run.path / "links.jsonl"
    text = file.read_text()
    file.write_text(text.replace('"basis":"', '"basis":"x'))
    assert stored_links(run) == []
    (line,) = link_notes(run)
    assert f"`echat-eval run {run.path} --link old-2024-11-20 --set link.url=URL`" in line
    file.write_text(text.replace('"linked"', '"fine"'))
    with pytest.raises(BadData, match=r"links\.jsonl:1: 'state' is"):
        link_notes(run)
    file.unlink()


def test_a_forgotten_speaker_is_in_no_link(run: RunFolder, tmp_path: Path) -> None:
    copy = RunFolder(Path(shutil.copytree(run.path, tmp_path / "run")))
    old = judge(old_grade, "old-2024-11-20")
    run_and_store_links(copy, [judge(new_grade, "new-2026-09-22")], old, anchors=150)
    assert '"g3-' in (copy.path / "links.jsonl").read_text()
    with copy.writing():
        forget_speaker(copy, "s3", None)
    assert not (copy.path / "links.jsonl").exists()


def test_a_link_needs_another_judge() -> None:
    same = judge(new_grade, "m-2026-01-01")
    with pytest.raises(UsageError, match="--link m-2026-01-01: that is the judge of this run itself"):
        new_judges([judge(old_grade, "m-2026-01-01")], same)
    with pytest.raises(UsageError, match="--link m-2026-01-01 without --judge"):
        new_judges([], same)


def test_a_link_stands_for_a_judge_of_the_run_by_name_or_model() -> None:
    known = JudgeSettings(name="strict", model="old-2024-11-20", url="http://127.0.0.1:1/v1", repeats=2)
    for given in ("strict", "old-2024-11-20"):
        found = parse_link(given, [known])
        assert found is not None
        assert (found.judge, found.anchors) == (known, link_settings.ANCHORS)
    changed = parse_link({"model": "strict", "anchors": 60, "repeats": 1}, [known])
    assert changed is not None
    assert (changed.anchors, changed.judge.repeats, changed.judge.url) == (60, 1, known.url)
    other = parse_link("mine=other-2025-01-01", [known])
    assert other is not None
    assert (other.judge.model, other.judge.url) == ("other-2025-01-01", None)
    assert parse_link(None, [known]) is None
    for wrong in (
        {"model": "m", "anchors": 5},
        {"model": "m", "anchors": "abc"},
        {"model": "m", "anchors": True},
        {"anchors": 60},
    ):
        with pytest.raises(UsageError, match=r"link"):
            parse_link(wrong, [])
